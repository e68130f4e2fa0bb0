"""What can be read off the first bytes of a picture without a decoder: its format, and what a bomb hides."""

_GIF_HEADER, _GIF_IMAGE = 13, 10


def image_type(raw: bytes) -> str | None:
    """The media type by signature, None if it is none of those that are decoded."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return None


def webp_size(raw: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file; None if the header is not whole."""
    kind, body = raw[12:16], raw[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return width, height
    return None


def num_gif_frames(raw: bytes, limit: int) -> int:
    """Frames of a GIF, counted block by block up to one over the limit; what is cut off is not counted."""
    if len(raw) < _GIF_HEADER:
        return 0
    at = _GIF_HEADER + _table_bytes(raw[10])
    num_frames = 0
    while at < len(raw) and num_frames <= limit:
        if raw[at] == 0x21:
            at = _after_blocks(raw, at + 2)
        elif raw[at] == 0x2C and at + _GIF_IMAGE < len(raw):
            num_frames += 1
            at = _after_blocks(raw, at + _GIF_IMAGE + _table_bytes(raw[at + 9]) + 1)
        else:
            break
    return num_frames


def _table_bytes(flags: int) -> int:
    """Size of the colour table that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(raw: bytes, at: int) -> int:
    while at < len(raw) and raw[at]:
        at += raw[at] + 1
    return at + 1
