"""Plain .npy files: written as they grow, memory-mapped when read, and never unpickled."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vermeil_errors import DataCorrupted

Int64s = npt.NDArray[np.int64]


class ArrayWriter:
    """One array that grows along its first axis. Written, not mapped, so that a full disk is an error
    and no signal."""

    def __init__(self, path: Path, dtype: npt.DTypeLike, row: tuple[int, ...] = ()) -> None:
        """`row` is the shape of what is added one after the other."""
        self._dtype, self._row = np.dtype(dtype), row
        self._file = path.open("wb")
        self.num_rows = 0
        self._write_header()

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self.num_rows += len(rows)

    def finish(self) -> None:
        """Say in the header how many rows there are; numpy leaves room for it to grow in place."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write_header(self) -> None:
        shape = (self.num_rows, *self._row)
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def write_array(path: Path, values: npt.NDArray[Any]) -> None:
    """Write a whole array."""
    writer = ArrayWriter(path, values.dtype, values.shape[1:])
    writer.add(values)
    writer.finish()


def offsets_of(lengths: Sequence[int]) -> Int64s:
    """Where things of these lengths begin, laid end to end, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(np.asarray(lengths, np.int64)))).astype(np.int64)


class ArrayFolder:
    """The arrays of a folder, each opened once; read-only views of the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def open(self, split: str, part: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """One part of a split; refused where it does not have the shape that the card says."""
        name = part_file(split, part)
        if name not in self._arrays:
            path = self._folder / name
            try:
                # An empty file cannot be mapped.
                array = np.load(path, mmap_mode="r" if math.prod(shape) else None)
            except FileNotFoundError as error:
                raise DataCorrupted("a file named by the data card is missing", field=str(path)) from error
            except (ValueError, EOFError, OSError) as error:
                raise DataCorrupted(f"is not a whole array: {error}", field=str(path)) from error
            if array.shape != shape:
                raise DataCorrupted(f"has shape {array.shape}, the card says {shape}", field=str(path))
            self._arrays[name] = array
        return self._arrays[name]


def part_file(split: str, part: str) -> str:
    """The file name of one part of a split."""
    return f"{split}-{part.replace('_', '-')}.npy"
