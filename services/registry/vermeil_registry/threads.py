"""Threads: where blocking calls run, apart from everybody else's, so that nobody waits in a circle.

Services in one process share an event loop and its default threads; a service that blocks one of
those while it calls the registry must not take the thread the registry needs to answer.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads of the registry's own."""

    def __init__(self, num_threads: int = 8) -> None:
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="registry")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a blocking call, made with the caller's context variables."""
        variables = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: variables.run(call, *args, **kwargs))

    def close(self) -> None:
        """Let running calls end and take no more."""
        self._executor.shutdown(wait=True)
