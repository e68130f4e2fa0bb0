"""The studio: say what to draw, and watch it leave the noise."""

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

import gradio as gr
from vermeil_errors import InvalidInput

from vermeil_demo.clients import Gateway
from vermeil_demo.drawing import looks
from vermeil_demo.markup import caption, notice
from vermeil_demo.problems import toasted
from vermeil_demo.skills import DRAWS, offered
from vermeil_demo.stopping import run_and_stop

Number = TypeVar("Number", int, float)

_PROMPTS = ("a red circle", "two blue squares", "a purple cross and an orange circle", "7")
_PREVIEWS = 8
_SEEDS = 2**31
_SUITS = "what suits the model"
_EMPTY = notice("Nothing drawn yet", "Say what to draw, or leave it empty and let the model choose.")


def options(count: float, steps: str | None, guidance: str | None, seed: str | None) -> dict[str, object]:
    """Fields of the request; what is left empty suits the model, and the seed is any.

    Raises:
        InvalidInput: One of the texts is no number.
    """
    given = {"steps": _number("Steps", steps, int), "guidance": _number("Guidance", guidance, float)}
    wanted = {name: value for name, value in given.items() if value is not None}
    drawn_from = _number("Seed", seed, int)
    if drawn_from is None:
        drawn_from = secrets.randbelow(_SEEDS)
    return {"n": int(count), "partial_images": _PREVIEWS, "seed": drawn_from, **wanted}


def _number(dial: str, text: str | None, kind: Callable[[str], Number]) -> Number | None:
    if text is None or not text.strip():
        return None
    try:
        return kind(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise InvalidInput.for_field(dial, text, f"is not {what}", "write one, or leave it empty") from error


def add_studio(gateway: Gateway) -> None:
    """Put it on a tab of its own."""

    @toasted
    async def draw(
        model: str | None,
        prompt: str,
        count: float,
        steps: str | None,
        guidance: str | None,
        seed: str | None,
    ) -> AsyncGenerator[tuple[str, str], None]:
        wanted = options(count, steps, guidance, seed)
        async with aclosing(gateway.streams.draw(model or "", prompt, **wanted)) as events:
            async for html, words in looks(prompt, events, int(count)):
                yield html, caption(words)

    with gr.Tab("Studio", id="studio") as tab:
        missing = gr.HTML(visible=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                model = gr.Dropdown([], label="Model", allow_custom_value=True)
                prompt = gr.Textbox(label="What to draw", placeholder="a red circle", lines=2, max_lines=4)
                gr.Examples([[each] for each in _PROMPTS], prompt, label="Try one of these")
                count = gr.Slider(1, 16, 4, step=1, label="Pictures")
                with gr.Accordion("Finer dials", open=False):
                    steps = gr.Textbox(label="Steps", info="1 to 1000", placeholder=_SUITS)
                    guidance = gr.Textbox(
                        label="Guidance",
                        info="how strongly the words are followed, 0 to 30",
                        placeholder=_SUITS,
                    )
                    seed = gr.Textbox(label="Seed", info="same seed, same pictures", placeholder="any")
                go, stop = run_and_stop("Draw", primary=True)
            with gr.Column(scale=3, min_width=280):
                grid = gr.HTML(_EMPTY, label="Pictures", elem_id="drawn")
                told = gr.HTML(label="Drawing", elem_id="told")
    given = [model, prompt, count, steps, guidance, seed]
    drawing = gr.on(
        [go.click, prompt.submit], draw, given, [grid, told], show_progress="hidden", api_visibility="private"
    )
    stop.click(None, cancels=[drawing])
    tab.select(
        lambda chosen: offered(gateway.plain, DRAWS, chosen), model, [model, missing], show_progress="hidden"
    )
