"""Tells text from everything else by looking at bytes; names and extensions are not believed."""

import codecs

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh91AY&SY", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (b"\x7fELF", "a program"),
    (b"PAR1\x15", "a Parquet file"),
    (b"ARROW1\x00\x00", "an Arrow file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"OggS\x00", "an Ogg sound or clip"),
)
_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"RIFF", "a WebP picture, a sound or a clip"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
)
_MARKUP: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
)
_HEAD = 8192
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b") + b"\x7f"
_MAX_CONTROL = 0.02
"""Share of control characters above which bytes are no prose; old documents do have a few strays."""
_BYTE_ORDER_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def byte_order_mark(raw: bytes) -> tuple[bytes, str] | None:
    """The mark at the start, and the encoding it announces."""
    return next(((mark, name) for mark, name in _BYTE_ORDER_MARKS if raw.startswith(mark)), None)


def unmarked_utf16(raw: bytes) -> str | None:
    """UTF-16 written without a mark, where it is mostly Latin so that every other byte is NUL."""
    head = raw[:_HEAD]
    if len(raw) % 2 or len(head) < 4:
        return None
    num_even, num_odd = head[0::2].count(0), head[1::2].count(0)
    threshold = 0.6 * len(head) / 2
    if num_odd > threshold and num_even == 0:
        return "utf-16-le"
    if num_even > threshold and num_odd == 0:
        return "utf-16-be"
    return None


def binary_reason(raw: bytes) -> str | None:
    """Why these bytes are not text, or None if they may be; `raw` is not UTF-16 or UTF-32."""
    for signature, what in _SIGNATURES:
        if raw.startswith(signature):
            return f"it is {what}"
    at = raw.find(0)
    if at >= 0:
        return f"it has a NUL byte at offset {at:,}"
    head = raw[:_HEAD]
    num_control = len(head) - len(head.translate(None, _CONTROL))
    if num_control > _MAX_CONTROL * len(head):
        return f"{num_control} of its first {len(head)} bytes are control characters"
    return None


def what_it_is(raw: bytes) -> str:
    """A few words, for people, on what bytes are that should have been something else."""
    if not raw:
        return "it is empty"
    if raw[4:8] == b"ftyp":
        brand = raw[8:12].decode("ascii", "replace").strip()
        return f"it is a picture or clip of kind {brand!r}"
    head = raw[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = [what for signature, what in (*_SIGNATURES, *_PICTURES) if raw.startswith(signature)]
    found += [what for mark, what in _MARKUP if head.startswith(mark)]
    if found:
        return f"it is {found[0]}"
    return "it is text" if binary_reason(raw) is None else f"it begins with {raw[:8].hex(' ')}"
