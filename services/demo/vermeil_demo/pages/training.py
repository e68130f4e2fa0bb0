"""Trainings while they run: how far, and how the losses fall."""

from itertools import islice
from typing import Any

import gradio as gr
from vermeil_client import Vermeil
from vermeil_errors import VermeilError

from vermeil_demo.clients import Gateway
from vermeil_demo.markup import notice
from vermeil_demo.problems import problem
from vermeil_demo.runs import TRAIN, Losses, name_of, shown, validation_points

_MOST = 20
_SECONDS = 2.0
_NONE = notice(
    "No training yet",
    "Start one, and watch it here:",
    ["vermeil train nano --dataset NAME", "make quickstart"],
)


def add_training(gateway: Gateway) -> None:
    """Put it on a tab of its own."""
    vermeil = gateway.plain
    losses = Losses()

    def shown_now(job: str | None) -> Any:
        return look(vermeil, losses, job) if job else gr.skip()

    with gr.Tab("Training", id="training") as tab:
        chosen = gr.Dropdown([], label="Training", allow_custom_value=True)
        curves = gr.HTML(label="Training")
        clock = gr.Timer(_SECONDS, active=False)
    tab.select(
        lambda job: trainings(vermeil, job),
        chosen,
        [chosen, curves],
        show_progress="hidden",
        api_visibility="private",
    ).then(shown_now, chosen, [curves, clock], show_progress="hidden", api_visibility="private")
    gr.on(
        [clock.tick, chosen.input],
        shown_now,
        chosen,
        [curves, clock],
        show_progress="hidden",
        api_visibility="private",
    )


def trainings(vermeil: Vermeil, chosen: str | None) -> tuple[gr.Dropdown, str]:
    """The newest trainings as choices; what stands below until one is looked at."""
    try:
        jobs = list(islice(vermeil.jobs(kind=TRAIN), _MOST))
    except VermeilError as error:
        return gr.Dropdown(), problem(error)
    if not jobs:
        return gr.Dropdown([], value=None, visible=False), _NONE
    choices = [(name_of(job), job.name) for job in jobs]
    value = chosen if chosen in [job.name for job in jobs] else jobs[0].name
    return gr.Dropdown(choices, value=value, visible=True), ""


def look(vermeil: Vermeil, losses: Losses, name: str) -> tuple[str, gr.Timer]:
    """A training as it is now; looked at again for as long as it can change."""
    try:
        job = vermeil.job(name)
        html = shown(job, losses.add(job), validation_points(vermeil.logs(job.name)))
    except VermeilError as error:
        return problem(error), gr.Timer(active=False)
    return html, gr.Timer(active=not job.finished)
