"""Trainings while they run and after: how far, how the losses fall, what is drawn, how the gates open."""

from itertools import islice
from typing import Any

import gradio as gr
from vermeil_client import Vermeil
from vermeil_client.resources import Job
from vermeil_errors import VermeilError

from vermeil_demo.clients import Gateway
from vermeil_demo.markup import notice
from vermeil_demo.problems import problem
from vermeil_demo.run_log import LOG, RunLog, RunLogs
from vermeil_demo.runs import (
    TRAIN,
    Losses,
    completed,
    name_of,
    newest,
    newest_picture,
    shown,
    validation_points,
)

_MOST = 20
_MOST_PICTURES = 9
_SECONDS = 2.0
_LOOKING = notice("Looking for trainings…", tone="busy")
_NONE = notice(
    "No training yet",
    "Start one, and watch it here:",
    ["vermeil train nano --dataset NAME", "make quickstart"],
)


def add_training(gateway: Gateway) -> None:
    """Put it on a tab of its own."""
    vermeil, losses, logs = gateway.plain, Losses(), RunLogs(gateway.plain)

    def shown_now(job: str | None, seen: str) -> Any:
        return look(vermeil, losses, logs, job, seen) if job else gr.skip()

    with gr.Tab("Training", id="training") as tab:
        chosen = gr.Dropdown([], label="Training", allow_custom_value=True, visible=False)
        curves = gr.HTML(_LOOKING, label="Training")
        pictures = gr.HTML(label="Samples", elem_id="samples")
        seen = gr.State("")
        clock = gr.Timer(_SECONDS, active=False)
    now = [curves, pictures, seen, clock]
    tab.select(
        lambda job: trainings(vermeil, job),
        chosen,
        [chosen, curves],
        show_progress="hidden",
        api_visibility="private",
    ).then(shown_now, [chosen, seen], now, show_progress="hidden", api_visibility="private")
    gr.on(
        [clock.tick, chosen.input],
        shown_now,
        [chosen, seen],
        now,
        show_progress="hidden",
        api_visibility="private",
    )


def trainings(vermeil: Vermeil, chosen: str | None) -> tuple[gr.Dropdown, Any]:
    """The newest trainings as choices; what stands below if there is nothing to look at."""
    try:
        jobs = list(islice(vermeil.jobs(kind=TRAIN), _MOST))
    except VermeilError as error:
        return gr.Dropdown(), problem(error)
    if not jobs:
        return gr.Dropdown([], value=None, visible=False), _NONE
    choices = [(name_of(job), job.name) for job in jobs]
    value = chosen if chosen in [job.name for job in jobs] else jobs[0].name
    return gr.Dropdown(choices, value=value, visible=True), gr.skip()


def look(
    vermeil: Vermeil, losses: Losses, logs: RunLogs, name: str, seen: str
) -> tuple[str, Any, str, gr.Timer]:
    """A training as it is now; looked at again for as long as it can change.

    Its pictures are sent only where they are others than those that were `seen`.
    """
    try:
        job = vermeil.job(name)
        lines = list(vermeil.logs(job.name))
        log = completed(logs.of(job), losses.add(job), validation_points(lines))
        html = shown(job, log, newest(lines))
        showing = f"{job.name} {job.outputs.get(LOG, '')}"
        pictures = gr.skip() if showing == seen else newest_picture(log, drawn(logs, job, log))
    except VermeilError as error:
        return problem(error), gr.skip(), seen, gr.Timer(active=False)
    return html, pictures, showing, gr.Timer(active=not job.finished)


def drawn(logs: RunLogs, job: Job, log: RunLog) -> dict[str, bytes]:
    """The newest pictures of a run and some from before, evenly, by their paths."""
    every = -(-len(log.pictures) // _MOST_PICTURES) or 1
    some = log.pictures[::-every]
    found = ((path, logs.picture(job, path)) for _, path in some)
    return {path: png for path, png in found if png is not None}
