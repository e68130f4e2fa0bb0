"""Ask about a picture: what it shows, or a question of one's own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import gradio as gr
from vermeil_client import AsyncVermeil, user_turn
from vermeil_errors import InvalidInput

from vermeil_demo.clients import Gateway
from vermeil_demo.conversation import paced, words
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.files import sendable
from vermeil_demo.problems import toasted
from vermeil_demo.skills import SEES, offered
from vermeil_demo.stopping import run_and_stop

_QUESTIONS = ("how many shapes are there?", "what color is the circle?", "is there a black triangle?")
_LONGEST = 48


def add_see(gateway: Gateway) -> None:
    """Put it on a tab of its own."""

    @toasted
    def ask(model: str | None, picture: str | None, question: str) -> AsyncGenerator[str, None]:
        return said_of(gateway.streams, model or "", picture, question)

    @toasted
    def describe(model: str | None, picture: str | None) -> AsyncGenerator[str, None]:
        return said_of(gateway.streams, model or "", picture, "")

    with gr.Tab("See", id="see") as tab:
        missing = gr.HTML(visible=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                picture = gr.Image(
                    type="filepath",
                    label="Picture",
                    sources=["upload", "clipboard"],
                    placeholder="Drop a picture here, or click to choose one",
                    height=300,
                    elem_id="looked-at",
                    buttons=[],
                )
                gr.Examples([[path] for path in EXAMPLES], picture, label="Or one of these")
            with gr.Column(scale=3, min_width=280):
                model = gr.Dropdown([], label="Model", allow_custom_value=True)
                caption = gr.Button("Describe it", variant="primary")
                question = gr.Textbox(label="Question", placeholder="how many shapes are there?", max_lines=3)
                gr.Examples([[each] for each in _QUESTIONS], question, label="Or one of these")
                go, stop = run_and_stop("Ask")
                answer = gr.Textbox(
                    label="Answer",
                    lines=3,
                    interactive=False,
                    buttons=["copy"],
                    placeholder="What the model says stands here.",
                    elem_id="answer",
                )
    asked = gr.on(
        [go.click, question.submit],
        ask,
        [model, picture, question],
        answer,
        show_progress="minimal",
        api_visibility="private",
    )
    described = caption.click(
        describe, [model, picture], answer, show_progress="minimal", api_visibility="private"
    )
    stop.click(None, cancels=[asked, described])
    tab.select(
        lambda chosen: offered(gateway.plain, SEES, chosen), model, [model, missing], show_progress="hidden"
    )


async def said_of(
    vermeil: AsyncVermeil, model: str, picture: str | None, question: str
) -> AsyncGenerator[str, None]:
    """What a model says of a picture, as it says it; without a question it describes it.

    Raises:
        InvalidInput: There is no picture.
    """
    if picture is None:
        raise InvalidInput("There is no picture to look at", fix="bring one, or choose one of the examples")
    turn = user_turn(question.strip(), [await asyncio.to_thread(sendable, picture)])
    async with aclosing(vermeil.chat(model, [turn], max_tokens=_LONGEST, temperature=0)) as pieces:
        async for look in paced(words(pieces)):
            yield look
