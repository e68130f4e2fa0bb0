"""What went wrong, as a sentence with its fix: never a traceback."""

import functools
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import ParamSpec, TypeVar

import gradio as gr
from vermeil_errors import Unavailable, VermeilError

from vermeil_demo.markup import notice

Given = ParamSpec("Given")
Shown = TypeVar("Shown")


_PATH = re.compile(r"^[a-z_]+(\[\d+\]|\.[a-z_]+)+: ")
"""Where in a request something was wrong: of use to programs only."""


def sentence(error: VermeilError) -> str:
    """What people read: a capital, a full stop."""
    text = _PATH.sub("", error.public_message.strip())
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def problem(error: VermeilError) -> str:
    """A box in the place where the answer would stand."""
    if isinstance(error, Unavailable):
        return notice("Vermeil does not answer", sentence(error), ["vermeil up"], tone="error")
    return notice("That did not work", sentence(error), tone="error")


def toasted(
    callback: Callable[Given, AsyncGenerator[Shown, None]],
) -> Callable[Given, AsyncGenerator[Shown, None]]:
    """A callback whose errors appear above the page and stay until they are closed."""

    @functools.wraps(callback)
    async def shown(*given: Given.args, **named: Given.kwargs) -> AsyncGenerator[Shown, None]:
        try:
            async with aclosing(callback(*given, **named)) as looks:
                async for look in looks:
                    yield look
        except VermeilError as error:
            title = "That did not work"
            raise gr.Error(sentence(error), title=title, duration=None, print_exception=False) from error

    return shown
