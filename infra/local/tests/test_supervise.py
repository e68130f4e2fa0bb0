"""A child process that is kept running and ended gently."""

import asyncio
import os
import signal
from pathlib import Path

from vermeil_local.supervise import Child

_LOOP = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"


def _module(folder: Path, text: str) -> Path:
    (folder / "child_module.py").write_text(text)
    return folder


async def _until(condition, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def test_a_child_that_is_killed_is_replaced_and_then_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"{_LOOP}import os\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)\n"
    _module(tmp_path, text)

    async def scenario() -> int:
        child = Child(["child_module"], {"PYTHONPATH": str(tmp_path)}, tmp_path / "log")
        keeper = asyncio.create_task(child.keep_running())
        await _until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 1)
        os.kill(int(pids.read_text()), signal.SIGKILL)
        # It may be there before whoever started it knows.
        await _until(lambda: len(pids.read_text().splitlines()) == child.num_starts == 2)
        keeper.cancel()
        await child.end(grace=60)
        return child.num_starts

    assert asyncio.run(scenario()) == 2


def test_a_child_that_will_not_stop_is_made_to(tmp_path: Path) -> None:
    started = tmp_path / "started"
    text = (
        f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen({str(started)!r}, 'w')\n"
    )
    _module(tmp_path, f"{text}time.sleep(600)\n")

    async def scenario() -> None:
        child = Child(["child_module"], {"PYTHONPATH": str(tmp_path)}, tmp_path / "log")
        keeper = asyncio.create_task(child.keep_running())
        await _until(lambda: started.exists() and child.num_starts == 1)
        keeper.cancel()
        async with asyncio.timeout(60):
            await child.end(grace=0.2)

    asyncio.run(scenario())
