"""IDX, the format of the MNIST family: a header of type and sizes, then the numbers. Gzipped or not.

The sizes in the header are compared with the bytes that are there before anything is allocated.
"""

import math
import zlib

import numpy as np
import numpy.typing as npt
from vermeil_errors import InvalidInput, TooLarge

from vermeil_media.files import MAX_FILE_BYTES

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 8


def read_idx(raw: bytes, *, name: str = "idx", max_bytes: int = MAX_FILE_BYTES) -> npt.NDArray[np.generic]:
    """The array of an IDX file, in the byte order of this machine; errors call it `name`."""
    packed = raw[:2] == b"\x1f\x8b"
    head = _unpacked(raw, 4 + 4 * _MAX_DIMENSIONS, name) if packed else raw
    dtype, shape = _header(head, name)
    begin = 4 + 4 * len(shape)
    needed = begin + math.prod(shape) * dtype.itemsize
    if needed > max_bytes:
        raise TooLarge(
            f"announces {needed:,} bytes, the limit is {max_bytes:,}",
            field=name,
            metadata={"problem": "too_large"},
        )
    body = _unpacked(raw, needed + 1, name) if packed else raw
    if len(body) != needed:
        has = f"more than {needed:,}" if packed and len(body) > needed else f"{len(body):,}"
        announced = f"{' × '.join(map(str, shape))} {dtype.name}"
        raise _malformed(f"its header announces {announced} = {needed:,} bytes, it has {has}", name)
    array = np.frombuffer(body, dtype, offset=begin).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(head: bytes, name: str) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise _malformed(f"it begins with {head[:4].hex(' ') or 'nothing'}", name)
    num_dimensions = head[3]
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS or len(head) < 4 + 4 * num_dimensions:
        raise _malformed(f"its header of {num_dimensions} dimensions is not whole", name)
    sizes = (head[at : at + 4] for at in range(4, 4 + 4 * num_dimensions, 4))
    return np.dtype(_TYPES[head[2]]), tuple(int.from_bytes(size, "big") for size in sizes)


def _unpacked(raw: bytes, length: int, name: str) -> bytes:
    """The first bytes of what is packed, at most `length`."""
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, length)
    except zlib.error as error:
        raise InvalidInput(
            f"is not a whole gzip file: {error}", field=name, metadata={"problem": "malformed"}
        ) from error


def _malformed(problem: str, name: str) -> InvalidInput:
    return InvalidInput(f"is not a whole IDX file: {problem}", field=name, metadata={"problem": "malformed"})
