"""What is learned of a picture by decoding it once: size, sharpness, a hash of how it looks.

Plain JSON values, because they come out of a process that is not trusted.
"""

from dataclasses import asdict, dataclass

from vermeil_errors import InvalidInput, TooLarge, VermeilError
from vermeil_media import (
    ImageLimits,
    blur_score,
    decode_image,
    inspect_image,
    perceptual_hash,
    resize_image,
)
from vermeil_media.image_header import image_type

Json = dict[str, object]
_TOO_LARGE = ("too_large", "ratio", "frames")
_SHARPNESS_SIDE = 512
"""Sharpness is measured on a picture of at most this side, so that it means the same for all."""


@dataclass(frozen=True)
class Looking:
    """What is to be found out beyond the size."""

    sharpness: bool
    hash: bool
    limits: ImageLimits

    def to_json(self) -> Json:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Json) -> "Looking":
        """What to_json wrote."""
        return cls(
            bool(values["sharpness"]),
            bool(values["hash"]),
            ImageLimits(**values["limits"]),  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Facts:
    """What was found out."""

    width: int
    """Pixels, upright."""
    height: int
    media_type: str
    sharpness: float | None = None
    hash: int | None = None
    """Perceptual hash."""
    colours: str | None = None
    """Hexadecimal 4 × 4 × 3 miniature: pictures with one hash may differ in colour alone."""


def look_at(raw: bytes, looking: Looking) -> Facts:
    """Decode a picture and measure it; errors are those of vermeil_media."""
    pixels_HWC = decode_image(raw, limits=looking.limits)
    height, width = pixels_HWC.shape[:2]
    sharpness = seen = colours = None
    if looking.sharpness:
        scale = min(1.0, _SHARPNESS_SIDE / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        sharpness = blur_score(resize_image(pixels_HWC, *size, "stretch"))
    if looking.hash:
        seen = perceptual_hash(pixels_HWC)
        colours = resize_image(pixels_HWC, 4, 4, "stretch").tobytes().hex()
    return Facts(width, height, image_type(raw) or "", sharpness, seen, colours)


def read_off(raw: bytes, looking: Looking) -> Facts:
    """The same of a picture that was made here: its header is true, so no pixel is decoded in vain."""
    if looking.sharpness or looking.hash:
        return look_at(raw, looking)
    info = inspect_image(raw, limits=looking.limits)
    return Facts(info.width, info.height, info.media_type)


def answer(raw: bytes, looking: Looking) -> Json:
    """Facts or an error, as plain values."""
    try:
        return vars(look_at(raw, looking))
    except VermeilError as error:
        return {"error": error.message, "problem": error.metadata.get("problem", "malformed")}
    except MemoryError:
        return {"error": "needs too much memory to be decoded", "problem": "too_large"}


def understood(values: Json, name: str) -> Facts | VermeilError:
    """An answer as facts or as an error that names the picture."""
    if "error" not in values:
        return Facts(**values)  # type: ignore[arg-type]
    problem = str(values["problem"])
    kind = TooLarge if problem in _TOO_LARGE else InvalidInput
    return kind(str(values["error"]), field=name, metadata={"problem": problem})
