"""A button that begins something, and one that ends it."""

import gradio as gr


def run_and_stop(begin: str, *, primary: bool = False) -> tuple[gr.Button, gr.Button]:
    """Both, side by side."""
    with gr.Row(elem_classes="vermeil-buttons"):
        return (
            gr.Button(begin, variant="primary" if primary else "secondary", min_width=120),
            gr.Button("Stop", variant="stop", min_width=90, scale=0),
        )
