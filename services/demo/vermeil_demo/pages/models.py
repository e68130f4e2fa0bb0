"""Models: what each can do, and where it comes from."""

import gradio as gr
from vermeil_client import Vermeil
from vermeil_client.resources import Model
from vermeil_errors import VermeilError

from vermeil_demo.clients import Gateway
from vermeil_demo.lineage import Version, described
from vermeil_demo.markup import escaped, notice
from vermeil_demo.problems import problem

_NONE = notice(
    "No model yet",
    "The quickstart makes three in minutes: one that writes, one that draws, and both as one.",
    ["make quickstart", "vermeil train nano --dataset NAME"],
)


def add_models(gateway: Gateway) -> None:
    """Put it on a tab of its own."""
    vermeil = gateway.plain
    with gr.Tab("Models", id="models") as tab:
        listed = gr.HTML(label="Models")
        chosen = gr.Dropdown([], label="Look at", allow_custom_value=True)
        shown = gr.HTML(label="Model")
    tab.select(
        lambda name: listing(vermeil, name),
        chosen,
        [listed, chosen],
        show_progress="hidden",
        api_visibility="private",
    )
    chosen.change(
        lambda name: about(vermeil, name), chosen, shown, show_progress="hidden", api_visibility="private"
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
        f"<tr><td><strong>{escaped(model.id)}</strong></td><td>{model.version or '–'}</td>"
        f"<td>{escaped(', '.join(model.takes))}</td><td>{escaped(', '.join(model.gives))}</td></tr>"
        for model in models
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Model", "Version", "Reads", "Answers with"))
    return f'<table class="vermeil-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def about(vermeil: Vermeil, name: str | None) -> str:
    """The newest version of a model, or the one that is named, such as nano@1."""
    if not name:
        return ""
    try:
        version = version_of(vermeil, name)
        if version is None:
            return notice(f"{name} has no version yet", "It gets one when its training ends.")
        return described(version, lambda full: version_of(vermeil, full))
    except VermeilError as error:
        return problem(error)


def version_of(vermeil: Vermeil, name: str) -> Version | None:
    """A version by nano, nano@3 or its full name; None where there is none."""
    model, _, number = name.removeprefix("models/").replace("/versions/", "@").partition("@")
    for body in vermeil.model_versions(model):
        if not number or body["name"].endswith(f"/versions/{number}"):
            return Version.from_json(body)
    return None
