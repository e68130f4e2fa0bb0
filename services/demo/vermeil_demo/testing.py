"""For tests: the demo in a thread, and which browser to open it in."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from vermeil_demo.clients import Gateway
from vermeil_demo.settings import DemoSettings
from vermeil_demo.wiring import start

BROWSERS = ("chromium", "chromium-headless-shell", "chrome")
AT_REST = """() => document.getAnimations().every(
    each => each.playState !== "running" || each.effect.getComputedTiming().endTime === Infinity)"""
"""For a browser: whether all that fades or slides has arrived; what is half there cannot be read."""
_START_SECONDS = 180
"""Gradio takes seconds to load, on a busy machine many."""


@contextmanager
def running_demo(settings: DemoSettings, gateway: Gateway | None = None) -> Iterator[str]:
    """Its address while it runs; `gateway` stands in for the one that the settings name."""
    ready: Future[str] = Future()
    stop = threading.Event()

    async def live() -> None:
        async with await start(settings, gateway=gateway) as demo:
            ready.set_result(demo.url)
            await asyncio.to_thread(stop.wait)

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="demo-under-test")
    thread.start()
    try:
        yield ready.result(_START_SECONDS)
    finally:
        stop.set()
        thread.join()


def find_browser() -> str | None:
    """A Chromium of this machine, or the one that VERMEIL_TEST_CHROMIUM names; None if there is none."""
    return os.environ.get("VERMEIL_TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
