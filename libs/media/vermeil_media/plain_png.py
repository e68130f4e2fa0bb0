"""The quick way into a plain PNG: 8 bits, grey or colour, no palette, not interlaced, nothing unusual.

Nearly all small pictures of data sets are such, and half of the time Pillow takes for one goes into
looking for what it does not have. Whatever is not surely plain and whole is left to Pillow itself.
"""

import struct
import zlib
from typing import NamedTuple

from PIL import Image

_MODES = {0: "L", 2: "RGB", 6: "RGBA"}
_HEADER = struct.Struct(">IIBBBBB")
_IHDR = b"\0\0\0\x0dIHDR"
_FIRST_CHUNK = 8 + 4 + 4 + 13 + 4
_PASSED_OVER = {
    b"gAMA",
    b"cHRM",
    b"sRGB",
    b"iCCP",
    b"pHYs",
    b"tIME",
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"bKGD",
    b"sBIT",
}
"""Chunks that do not change how pixels are read here: colour profiles are ignored, words too."""


class PlainPng(NamedTuple):
    """The header and the packed pixels."""

    width: int
    height: int
    mode: str
    """L, RGB or RGBA."""
    packed: bytes

    def image(self) -> Image.Image | None:
        """The picture; None if the pixels are not whole."""
        try:
            return Image.frombytes(self.mode, (self.width, self.height), self.packed, "zip", self.mode, 0)
        except (ValueError, OSError, SyntaxError):
            return None


def plain_png(raw: bytes) -> PlainPng | None:
    """Take a PNG apart if it is plain; `raw` begins with the signature of one."""
    if raw[8:16] != _IHDR or len(raw) < _FIRST_CHUNK:
        return None
    width, height, depth, colour, packing, filtering, interlace = _HEADER.unpack_from(raw, 16)
    if depth != 8 or colour not in _MODES or packing or filtering or interlace or not width or not height:
        return None
    at, parts = _FIRST_CHUNK, []
    while at + 12 <= len(raw):
        end = at + 8 + int.from_bytes(raw[at : at + 4], "big")
        kind = raw[at + 4 : at + 8]
        if kind == b"IDAT":
            part = raw[at + 8 : end]
            if zlib.crc32(part, zlib.crc32(kind)) != int.from_bytes(raw[end : end + 4], "big"):
                return None
            parts.append(part)
        elif kind == b"IEND":
            packed = parts[0] if len(parts) == 1 else b"".join(parts)
            return PlainPng(width, height, _MODES[colour], packed)
        elif kind not in _PASSED_OVER:
            return None
        at = end + 4
    return None
