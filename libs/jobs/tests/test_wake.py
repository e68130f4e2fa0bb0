"""Waiting for files, told by the system or not."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from vermeil_jobs.wake import FolderWatch


@contextmanager
def waiting(watch: FolderWatch) -> Iterator[None]:
    """Somebody waits for an hour, unless something ends that."""
    waiter = threading.Thread(target=watch.wait, args=(3600,), daemon=True)
    waiter.start()
    yield
    waiter.join(60)
    assert not waiter.is_alive()


def test_a_file_that_appears_ends_the_wait(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, nap=0.01)
    with waiting(watch):
        time.sleep(0.1)  # most often until it waits
        (tmp_path / "message").write_text("here")
    watch.close()


def test_a_file_that_appeared_before_the_wait_is_not_missed(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, nap=0.01)
    (tmp_path / "part").write_text("here")
    (tmp_path / "part").rename(tmp_path / "message")
    with waiting(watch):
        pass
    watch.close()


def test_nothing_new_takes_the_whole_wait(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("here")
    watch, start = FolderWatch(tmp_path, nap=0.2), time.monotonic()
    watch.wait(0.2)
    assert time.monotonic() - start >= 0.19
    watch.close()


def test_where_nobody_tells_a_wait_is_a_nap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermeil_jobs.wake.ctypes.CDLL", lambda *_args, **_options: object())
    with waiting(FolderWatch(tmp_path, nap=0.01)):
        pass
