"""A `vermeil up` in the background: start it, wait until it is ready, or say why it is not."""

import os
import subprocess
import sys
import time

from vermeil_errors import DeadlineExceeded, Internal, StaleFence, VermeilError, catalogue

from vermeil_local.home import Home, Running
from vermeil_local.ports import check_free
from vermeil_local.settings import LocalSettings


def start_detached(settings: LocalSettings) -> Running:
    """Start a `vermeil up` that outlives this process, and wait until it is ready.

    Raises:
        Conflict: The home or one of its ports is taken.
        DeadlineExceeded: It was not ready in time.
        VermeilError: What it ended with.
    """
    home = Home(settings.home)
    check_free(settings)
    home.prepare()
    output = home.logs / "up.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "vermeil_local"],
            env={**os.environ, **settings.environment()},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    deadline = time.monotonic() + settings.ready_seconds
    while time.monotonic() < deadline:
        running = home.running()
        if running is not None and running.pid == process.pid:
            return running
        if process.poll() is not None:
            raise _ended(process.returncode, output.read_text(), home)
        time.sleep(0.05)
    process.terminate()
    raise DeadlineExceeded(
        f"not ready after {settings.ready_seconds:.0f} s", fix=f"see the logs in {home.logs}"
    )


def _ended(exit_code: int, text: str, home: Home) -> VermeilError:
    """The error that a `vermeil up` ended with, read back from its last line and its exit code."""
    lines = text.strip().splitlines()
    message = lines[-1].removeprefix("vermeil: ") if lines else f"ended at once; see the logs in {home.logs}"
    known = {each.exit_code: each for each in catalogue().values() if each is not StaleFence}
    return known.get(exit_code, Internal)(message)
