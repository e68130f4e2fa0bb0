"""What callers may rely on when IDX files are read."""

import gzip
import struct

import numpy as np
import numpy.typing as npt
import pytest
from vermeil_errors import InvalidInput, TooLarge
from vermeil_media import read_idx


def idx(array: npt.NDArray[np.generic], kind: int = 0x08) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


DIGITS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_arrays_of_every_type_come_back_gzipped_or_not(packed: bool, kind: int, dtype: str) -> None:
    array = DIGITS.astype(dtype)
    raw = idx(array, kind)
    read = read_idx(gzip.compress(raw) if packed else raw)
    assert np.array_equal(read, array)
    assert read.dtype == np.dtype(dtype)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("cut", "has"), [(-1, "it has 39"), (-24, "it has 16"), (None, "it has")])
def test_a_header_that_does_not_fit_its_data_is_refused_with_both_sizes(
    packed: bool, cut: int | None, has: str
) -> None:
    raw = idx(DIGITS)[:cut] if cut else idx(DIGITS) + b"more"
    message = rf"labels: is not a whole IDX file: its header announces 2 × 3 × 4 uint8 = 40 bytes, {has}"
    with pytest.raises(InvalidInput, match=message) as error:
        read_idx(gzip.compress(raw) if packed else raw, name="labels")
    assert error.value.metadata == {"problem": "malformed"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0\0", b"\x89PNG\r\n\x1a\n", b"\0\0\x07\x01\0\0\0\0", b"\0\0\x08\x03\0\0\0\x02", b"\0\0\x08\0"],
)
def test_something_else_is_not_taken_for_idx(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not a whole IDX file"):
        read_idx(raw)


def test_a_header_that_announces_too_much_is_refused_before_anything_is_allocated() -> None:
    raw = b"\0\0\x08\x03" + struct.pack(">3I", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    with pytest.raises(TooLarge, match="announces 79,228"):
        read_idx(raw)
    with pytest.raises(TooLarge, match="the limit is 20"):
        read_idx(gzip.compress(idx(DIGITS)), max_bytes=20)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_says() -> None:
    with pytest.raises(InvalidInput, match="it has more than 40"):
        read_idx(gzip.compress(idx(DIGITS) + bytes(50_000_000)))


def test_a_broken_gzip_file_is_refused() -> None:
    with pytest.raises(InvalidInput):
        read_idx(gzip.compress(idx(DIGITS))[:-12])
    with pytest.raises(InvalidInput, match="is not a whole gzip file"):
        read_idx(b"\x1f\x8bnothing")


def test_no_numbers_at_all_are_an_empty_array() -> None:
    assert read_idx(idx(np.zeros((0, 28, 28), np.uint8))).shape == (0, 28, 28)
