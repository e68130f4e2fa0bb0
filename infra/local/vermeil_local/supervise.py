"""Keep one child process running: start it, start it again when it dies, end it gently."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from vermeil_telemetry import get_logger

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STEADY_SECONDS = 60.0

log = get_logger(__name__)


class Child:
    """A Python module run as a process of its own, with its output in a log file."""

    def __init__(self, module: Sequence[str], environment: Mapping[str, str], log_file: Path) -> None:
        self._command = [sys.executable, "-m", *module]
        self._environment = {**os.environ, **environment}
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self.num_starts = 0

    async def keep_running(self) -> None:
        """Start the child and replace it whenever it ends, until this task is cancelled."""
        pause = _FIRST_PAUSE
        while True:
            began = asyncio.get_running_loop().time()
            process = await self._start()
            code = await process.wait()
            if asyncio.get_running_loop().time() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            log.warning(
                "process ended; starting another",
                module=self._command[2],
                exit_code=code,
                pause_seconds=pause,
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    @asynccontextmanager
    async def kept_running(self, grace: float) -> AsyncIterator[None]:
        """Keep it running inside the block; at its end it has `grace` seconds to stop."""
        keeper = asyncio.create_task(self.keep_running())
        try:
            yield
        finally:
            keeper.cancel()
            await self.end(grace)

    async def end(self, grace: float) -> None:
        """Ask the child to stop; after `grace` seconds make it."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            log.warning("process did not stop in time", module=self._command[2], grace_seconds=grace)
            process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        with self._log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._process = process
        self.num_starts += 1
        return process
