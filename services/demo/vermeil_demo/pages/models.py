"""Models: what each can do, where it comes from, how it learned, and where a fused one fuses."""

from typing import Any

import gradio as gr
from vermeil_client import Vermeil
from vermeil_client.resources import Model
from vermeil_errors import NotFound, VermeilError

from vermeil_demo.clients import Gateway
from vermeil_demo.gates import gate_map
from vermeil_demo.lineage import Version, described
from vermeil_demo.markup import card, escaped, notice
from vermeil_demo.problems import problem
from vermeil_demo.run_log import RunLog, RunLogs
from vermeil_demo.runs import curves, newest_picture, task_curves

_LOOKING = notice("Looking for models…", tone="busy")
_NONE = notice(
    "No model yet",
    "The quickstart makes three in minutes: one that writes, one that draws, and both as one.",
    ["make quickstart", "vermeil train nano --dataset NAME"],
)
_GATED = ("alloy", "cross_attention")
"""Ways of joining whose gates have a map."""


def add_models(gateway: Gateway) -> None:
    """Put it on a tab of its own."""
    vermeil, logs = gateway.plain, RunLogs(gateway.plain)
    with gr.Tab("Models", id="models") as tab:
        listed = gr.HTML(_LOOKING, label="Models")
        chosen = gr.Dropdown([], label="Look at", allow_custom_value=True, visible=False)
        shown = gr.HTML(label="Model")
    tab.select(
        lambda name: listing(vermeil, name),
        chosen,
        [listed, chosen],
        show_progress="hidden",
        api_visibility="private",
    )
    chosen.change(
        lambda name: about(vermeil, logs, name),
        chosen,
        shown,
        show_progress="hidden",
        api_visibility="private",
    )


def listing(vermeil: Vermeil, chosen: str | None) -> tuple[str, gr.Dropdown]:
    """The table of all models, and the choices of which to look at."""
    try:
        models = sorted(vermeil.models(), key=lambda model: -model.created)
    except VermeilError as error:
        return problem(error), gr.Dropdown()
    if not models:
        return _NONE, gr.Dropdown([], value=None, visible=False)
    names = [model.id for model in models]
    return table(models), gr.Dropdown(names, value=chosen if chosen in names else names[0], visible=True)


def table(models: list[Model]) -> str:
    """Models, what they read and what they answer with."""
    rows = "".join(
        f'<tr><th scope="row">{escaped(model.id)}</th><td>{model.version or "–"}</td>'
        f"<td>{escaped(', '.join(model.takes))}</td><td>{escaped(', '.join(model.gives))}</td></tr>"
        for model in models
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Model", "Version", "Reads", "Answers with"))
    return f'<table class="vermeil-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def about(vermeil: Vermeil, logs: RunLogs, name: str | None) -> str:
    """The newest version of a model, or the one that is named, such as nano@1."""
    if not name:
        return ""
    try:
        version = version_of(vermeil, name)
        if version is None:
            return notice(f"{name} has no version yet", "It gets one when its training ends.")
        learned = how_it_learned(vermeil, logs, version)
        return described(version, lambda full: version_of(vermeil, full), learned)
    except VermeilError as error:
        return problem(error)


def how_it_learned(vermeil: Vermeil, logs: RunLogs, version: Version) -> str:
    """Its gates, the curves of its run and what was drawn at its end, as far as they were kept."""
    log, pictures = RunLog(), dict[str, bytes]()
    if version.job:
        try:
            job = vermeil.job(version.job)
        except NotFound:
            return ""
        log = logs.of(job)
        for _, path in log.pictures[-1:]:
            pictures = {path: png} if (png := logs.picture(job, path)) else {}
    parts: list[Any] = [
        fusing(version, log),
        card("How it learned", curves(log)) if log.training else "",
        card("Loss by task", by_task) if (by_task := task_curves(log)) else "",
        newest_picture(log, pictures),
    ]
    return "".join(parts)


def fusing(version: Version, log: RunLog) -> str:
    """The map of a fused model, or why there is none; nothing for others."""
    if not version.kind:
        return ""
    title = "Where it fuses"
    if log.gates:
        return card(title, gate_map(log.gates))
    if version.kind in _GATED:
        why = "No map of its gates was kept: it was trained before maps were. Train it again to see one."
    else:
        why = f"There is no map of {version.kind}: it joins the towers without gates."
    return card(title, f'<p class="vermeil-caption">{escaped(why)}</p>')


def version_of(vermeil: Vermeil, name: str) -> Version | None:
    """A version by nano, nano@3 or its full name; None where there is none."""
    model, _, number = name.removeprefix("models/").replace("/versions/", "@").partition("@")
    for body in vermeil.model_versions(model):
        if not number or body["name"].endswith(f"/versions/{number}"):
            return Version.from_json(body)
    return None
