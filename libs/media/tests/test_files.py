"""What callers may rely on when files from outside are read."""

import gzip
import os
from pathlib import Path

import pytest
from vermeil_errors import InvalidInput, NotFound, PermissionDenied, TooLarge
from vermeil_media import open_lines, read_bytes, read_text


def test_a_file_is_read_and_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_text(path).text == "one\ntwo"


def test_a_gzip_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"packed words"))
    assert read_text(path).text == "packed words"


def test_the_limit_counts_what_comes_out_of_a_gzip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(TooLarge, match=r"bomb\.txt\.gz: is larger than 1,000,000 bytes") as error:
        read_bytes(path, max_bytes=1_000_000)
    assert error.value.metadata == {"problem": "too_large"}


@pytest.mark.parametrize("raw", [b"not gzip at all", gzip.compress(b"x" * 1000, mtime=0)[:-9]])
def test_a_broken_gzip_file_is_named(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(raw)
    with pytest.raises(InvalidInput, match=r"broken\.gz: is not a whole gzip file"):
        read_bytes(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.txt: does not exist"):
        read_bytes(tmp_path / "gone.txt")


def test_a_forbidden_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(PermissionDenied, match=r"secret\.txt"):
        read_bytes(path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_bytes(tmp_path / "pipe")


def test_lines_come_one_by_one_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"one\r\n\ntwo"))
    assert list(open_lines(path)) == [(1, b"one"), (2, b""), (3, b"two")]


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"short\n" + b"x" * 100)
    with pytest.raises(TooLarge, match=r"line 2 is longer than 10 bytes"):
        list(open_lines(path, max_bytes=10))
