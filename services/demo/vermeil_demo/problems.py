"""What went wrong, as a sentence with its fix: never a traceback."""

import functools
from collections.abc import Callable, Generator
from typing import ParamSpec, TypeVar

import gradio as gr
from vermeil_errors import Unavailable, VermeilError

from vermeil_demo.markup import notice

Given = ParamSpec("Given")
Shown = TypeVar("Shown")


def sentence(error: VermeilError) -> str:
    """What people read: a capital, a full stop."""
    text = error.public_message.strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def problem(error: VermeilError) -> str:
    """A box in the place where the answer would stand."""
    if isinstance(error, Unavailable):
        return notice("Vermeil does not answer", sentence(error), ["vermeil up"], tone="error")
    return notice("That did not work", sentence(error), tone="error")


def toasted(
    callback: Callable[Given, Generator[Shown, None, None]],
) -> Callable[Given, Generator[Shown, None, None]]:
    """A callback whose errors appear above the page and stay until they are closed."""

    @functools.wraps(callback)
    def shown(*given: Given.args, **named: Given.kwargs) -> Generator[Shown, None, None]:
        try:
            yield from callback(*given, **named)
        except VermeilError as error:
            raise gr.Error(
                sentence(error), title="That did not work", duration=None, print_exception=False
            ) from error

    return shown
