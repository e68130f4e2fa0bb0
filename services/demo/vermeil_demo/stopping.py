"""A button that begins something, and one that ends it while there is something to end."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr


def run_and_stop(begin: str, *, primary: bool = False) -> tuple[gr.Button, gr.Button]:
    """Both, side by side."""
    with gr.Row(elem_classes="vermeil-buttons"):
        return (
            gr.Button(begin, variant="primary" if primary else "secondary", min_width=120),
            gr.Button("Stop", variant="stop", interactive=False, min_width=90, scale=0),
        )


def stops(stop: gr.Button, beginnings: Sequence[Callable[..., Any]], work: Sequence[Any]) -> None:
    """Let `stop` end the `work` that begins with any of the `beginnings`."""
    gr.on(beginnings, None, outputs=stop, js=_SET.format("true"), api_visibility="private")
    stop.click(None, outputs=stop, cancels=list(work), js=_SET.format("false"), api_visibility="private")
    for each in work:
        each.then(None, outputs=stop, js=_SET.format("false"), api_visibility="private")


_SET = "() => ({{ __type__: 'update', interactive: {} }})"
