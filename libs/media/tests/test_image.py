"""What callers may rely on when bytes become pixels."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from vermeil_errors import InvalidInput, TooLarge, VermeilError
from vermeil_media import (
    Channels,
    ImageLimits,
    Pixels,
    decode_image,
    encode_png,
    inspect_image,
)

HTML = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"


def picture(height: int = 20, width: int = 30, channels: int = 3) -> Pixels:
    """A picture by formula, smooth enough for JPEG."""
    rows, columns, planes = np.ogrid[:height, :width, :channels]
    return np.asarray(rows * 4 + columns * 3 + planes * 20, np.uint8)


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that announces any size, followed by next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def blank_png(width: int, height: int) -> bytes:
    """A whole picture, one bit a pixel."""
    return file_of(Image.new("1", (width, height)), "PNG")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_comes_back_exactly(channels: Channels) -> None:
    pixels = picture(channels=channels)
    decoded = decode_image(encode_png(pixels), channels=channels)
    assert np.array_equal(decoded, pixels)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    assert encode_png(pixels) == encode_png(pixels)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")],
)
def test_every_format_is_told_by_its_bytes_and_decoded(kind: str, media_type: str) -> None:
    raw = file_of(Image.fromarray(picture()), kind)
    info = inspect_image(raw)
    assert (info.width, info.height, info.media_type, info.num_frames) == (30, 20, media_type, 1)
    decoded = decode_image(raw)
    assert decoded.shape == (20, 30, 3)
    assert np.abs(decoded.astype(int) - picture()).mean() < 12


def test_grey_becomes_colour_and_colour_grey() -> None:
    raw = encode_png(picture(channels=1))
    assert np.array_equal(decode_image(raw, channels=3), picture(channels=1).repeat(3, axis=2))
    white = encode_png(np.full((4, 4, 3), 255, np.uint8))
    assert (decode_image(white, channels=1) == 255).all()
    assert decode_image(white, channels=4)[0, 0].tolist() == [255, 255, 255, 255]


def test_transparency_is_laid_over_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    pixels[0, 1] = (0, 0, 255, 128)
    decoded = decode_image(encode_png(pixels))
    assert decoded[0, 0].tolist() == [255, 0, 0]
    assert decoded[0, 1].tolist() == [127, 127, 255]
    assert decoded[1, 1].tolist() == [255, 255, 255]
    assert decode_image(encode_png(pixels), channels=1)[1, 1].tolist() == [255]
    assert np.array_equal(decode_image(encode_png(pixels), channels=4), pixels)


def test_a_transparent_palette_is_laid_over_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putpixel((1, 1), 1)
    for kind in ("PNG", "GIF"):
        decoded = decode_image(file_of(image, kind, transparency=0))
        assert decoded[0, 0].tolist() == [255, 255, 255]
        assert decoded[1, 1].tolist() == [0, 200, 0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_sixteen_bits_the_upper_eight_are_kept(channels: Channels) -> None:
    values = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
    decoded = decode_image(file_of(Image.fromarray(values), "PNG"), channels=channels)
    assert decoded[:, :, 0].tolist() == [[0, 0, 1], [128, 254, 255]]


def test_cmyk_and_black_and_white_are_decoded() -> None:
    cmyk = Image.fromarray(picture()).convert("CMYK")
    assert decode_image(file_of(cmyk, "JPEG"), channels=1).shape == (20, 30, 1)
    one_bit = Image.fromarray(picture()).convert("1")
    assert set(np.unique(decode_image(file_of(one_bit, "PNG")))) <= {0, 255}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_by_exif_is_applied(kind: str, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20] = 250
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    turned = Image.fromarray(upright)
    methods = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
        **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
        **{6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90},
    }
    if undo in methods:
        turned = turned.transpose(methods[undo])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(file_of(turned, kind, exif=exif, **options))
    assert decoded.shape == (24, 40, 3)
    assert np.abs(decoded.astype(int) - upright).mean() < 5


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        raw = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
        assert inspect_image(raw).num_frames == 3
        assert decode_image(raw)[2, 2].tolist() == pytest.approx([255, 0, 0], abs=4)
        with pytest.raises(TooLarge, match="more than 2 frames") as error:
            inspect_image(raw, limits=ImageLimits(max_frames=2))
        assert error.value.metadata == {"problem": "frames"}


def test_a_bomb_is_refused_by_its_header_with_its_size() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TooLarge, match=r"bomb\.png: would have 60,000 × 60,000 = 3,600,000,000") as error:
            inspect_image(png_header(60_000, 60_000), name="bomb.png")
    assert error.value.metadata == {"problem": "too_large"}
    with pytest.raises(TooLarge):
        decode_image(png_header(60_000, 60_000))


def test_fifty_megapixels_in_a_small_file_are_refused_before_they_are_unpacked() -> None:
    raw = blank_png(8000, 6250)
    assert len(raw) < 10_000
    with pytest.raises(TooLarge, match="50,000,000 pixels, the limit is 33,554,432"):
        decode_image(raw)
    assert decode_image(blank_png(80, 62)).shape == (62, 80, 3)


@pytest.mark.parametrize(
    "header",
    [
        b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16383).to_bytes(3, "little") * 2,
        b"VP8L" + struct.pack("<I", 20) + b"\x2f" + b"\xff\xff\xff\x0f" + bytes(15),
        b"VP8 " + struct.pack("<I", 20) + b"\x00\x00\x00\x9d\x01\x2a" + b"\xff\x3f\xff\x3f" + bytes(10),
    ],
)
def test_a_webp_bomb_is_refused_before_it_is_opened(header: bytes) -> None:
    raw = b"RIFF" + struct.pack("<I", 4 + len(header)) + b"WEBP" + header
    with pytest.raises(TooLarge, match=r"16,38\d × 16,38\d"):
        inspect_image(raw)


def test_a_picture_that_is_all_length_is_refused() -> None:
    with pytest.raises(TooLarge, match="is 6,000 × 2: longer than 50 to 1") as error:
        inspect_image(png_header(6000, 2))
    assert error.value.metadata == {"problem": "ratio"}


def test_a_file_over_the_limit_is_refused_with_both_sizes() -> None:
    raw = encode_png(picture())
    with pytest.raises(TooLarge, match=f"has {len(raw):,} bytes, the limit is 50"):
        decode_image(raw, limits=ImageLimits(max_bytes=50))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    raw = file_of(Image.fromarray(noise), kind)
    for part in (0.02, 0.3, 0.6, 0.9):
        with pytest.raises(InvalidInput, match="cut: is not a whole picture") as error:
            decode_image(raw[: int(len(raw) * part)], name="cut")
        assert error.value.metadata == {"problem": "malformed"}


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (HTML, "it is an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG drawing"),
        (b"%PDF-1.7", "it is a PDF document"),
        (b"II*\0\x08\0\0\0", "it is a TIFF picture"),
        (b"BM\x36\0\0\0", "it is a BMP picture"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "of kind 'avif'"),
        (b"just words", "it is text"),
        (b"", "it is empty"),
        (b"\x01\x02\x03", "it begins with 01 02 03"),
    ],
)
def test_what_is_no_picture_is_refused_by_what_it_is(raw: bytes, what: str) -> None:
    with pytest.raises(InvalidInput, match=rf"cat\.png: is not a picture in PNG, .*: .*{what}") as error:
        inspect_image(raw, name="cat.png")
    assert error.value.metadata == {"problem": "mislabelled"}


def test_a_media_type_that_is_not_true_is_refused() -> None:
    raw = file_of(Image.fromarray(picture()), "JPEG")
    with pytest.raises(InvalidInput, match="is not image/png: it is a JPEG picture"):
        decode_image(raw, media_type="image/png")
    assert decode_image(raw, media_type="image/jpeg").shape == (20, 30, 3)


def test_an_unknown_number_of_channels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="channels = 2"):
        decode_image(encode_png(picture()), channels=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_quick_way_into_a_png_gives_what_pillow_gives(
    mode: str, channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (37, 23, 4), np.uint8)
    image = Image.fromarray(noise)
    image = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
    about = PngInfo()
    about.add_text("comment", "words " * 100, zip=True)
    files = [file_of(image, "PNG"), file_of(image, "PNG", pnginfo=about, gamma=0.45, dpi=(72, 72))]
    quick = [decode_image(file, channels=channels) for file in files]
    monkeypatch.setattr("vermeil_media.image.plain_png", lambda _: None)
    for file, pixels in zip(files, quick, strict=True):
        assert np.array_equal(decode_image(file, channels=channels), pixels)


FILES = [
    file_of(Image.fromarray(picture()), "PNG"),
    file_of(Image.fromarray(picture()).quantize(16), "PNG", transparency=1),
    file_of(
        Image.fromarray(picture()),
        "JPEG",
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\6\0\0",
    ),
    file_of(Image.fromarray(picture()), "JPEG", progressive=True),
    file_of(Image.fromarray(picture()), "WEBP"),
    file_of(Image.fromarray(picture()), "GIF", save_all=True, append_images=[Image.new("RGB", (30, 20))]),
]


@settings(max_examples=400, deadline=None)
@given(
    raw=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    end=st.floats(0.2, 1.5),
)
def test_damaged_files_are_decoded_or_refused_with_a_clear_error(
    raw: bytes, changes: list[tuple[float, int]], end: float
) -> None:
    damaged = bytearray(raw)
    for place, value in changes:
        damaged[int(place * len(raw))] = value
    problem = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = decode_image(
                bytes(damaged[: int(end * len(raw))]), limits=ImageLimits(max_pixels=1 << 20)
            )
            assert pixels.shape[2] == 3
        except VermeilError as error:
            problem = error.metadata["problem"]
    assert problem in ("", "malformed", "mislabelled", "too_large", "ratio", "frames")
