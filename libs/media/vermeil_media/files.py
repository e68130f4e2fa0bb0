"""Reading files from outside: regular ones only, up to a limit, gzip unpacked on the way.

Every error names the file, and says in metadata["problem"] what it is: too_large, missing, unreadable
or malformed. What the bytes mean is for the decoders.
"""

import gzip
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from vermeil_errors import InvalidInput, NotFound, PermissionDenied, TooLarge, Unavailable

from vermeil_media.text import DecodedText, Invalid, decode_text

MAX_FILE_BYTES = 1 << 30
"""Default limit on a file, unpacked: 1 GiB."""
_UNREADABLE = {"problem": "unreadable"}


def read_text(path: Path, *, invalid: Invalid = "refuse", max_bytes: int = MAX_FILE_BYTES) -> DecodedText:
    """Read and decode one text file."""
    return decode_text(read_bytes(path, max_bytes=max_bytes), invalid=invalid, name=str(path))


def read_bytes(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """All bytes of a file; a gzip file is unpacked, and its limit counts what comes out."""
    with _opened(path) as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise TooLarge(
            f"is larger than {max_bytes:,} bytes",
            field=str(path),
            fix="split it or raise the limit",
            metadata={"problem": "too_large"},
        )
    return raw


def open_lines(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, without line ends, one at a time; max_bytes limits a line."""
    with _opened(path) as file:
        number = 0
        while line := file.readline(max_bytes + 1):
            number += 1
            if len(line) > max_bytes:
                raise TooLarge(
                    f"line {number:,} is longer than {max_bytes:,} bytes",
                    field=str(path),
                    metadata={"problem": "too_large"},
                )
            yield number, line.rstrip(b"\r\n")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    name = str(path)
    try:
        # A pipe would block and a device never ends.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput("is not a regular file", field=name, metadata=_UNREADABLE)
        with path.open("rb") as file:
            packed = path.suffix == ".gz"
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    except FileNotFoundError as error:
        raise NotFound("does not exist", field=name, metadata={"problem": "missing"}) from error
    except PermissionError as error:
        raise PermissionDenied("may not be read by this process", field=name, metadata=_UNREADABLE) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"is not a whole gzip file: {error}", field=name, metadata={"problem": "malformed"}
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise Unavailable(f"could not be read: {reason}", field=name, metadata=_UNREADABLE) from error
