"""Waiting for files, told by the system or not."""

import threading
import time
from pathlib import Path

import pytest
from vermeil_jobs.wake import FolderWatch


def elapsed(watch: FolderWatch, seconds: float) -> float:
    start = time.monotonic()
    watch.wait(seconds)
    return time.monotonic() - start


def test_a_file_that_appears_ends_the_wait(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, nap=0.01)
    threading.Timer(0.1, lambda: (tmp_path / "message").write_text("here")).start()
    assert elapsed(watch, 10) < 5
    watch.close()


def test_a_file_that_appeared_before_the_wait_is_not_missed(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, nap=0.01)
    (tmp_path / "part").write_text("here")
    (tmp_path / "part").rename(tmp_path / "message")
    assert elapsed(watch, 10) < 5
    watch.close()


def test_nothing_new_takes_the_whole_wait(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("here")
    watch = FolderWatch(tmp_path, nap=0.2)
    assert elapsed(watch, 0.2) >= 0.19
    watch.close()


def test_where_nobody_tells_a_wait_is_a_nap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermeil_jobs.wake.ctypes.CDLL", lambda *_args, **_options: object())
    assert elapsed(FolderWatch(tmp_path, nap=0.01), 10) < 5
