"""What evaluations found: numbers with their intervals, and the whole report."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import gradio as gr
from vermeil_client import Vermeil
from vermeil_client.resources import Job
from vermeil_errors import VermeilError

from vermeil_demo.charts import interval
from vermeil_demo.clients import Gateway
from vermeil_demo.markup import card, escaped, facts, figure, folded, notice
from vermeil_demo.problems import problem

_EVALUATE = "vermeil.evaluator.v1.evaluate"
_MOST = 50
_LOOKING = notice("Looking for evaluations…", tone="busy")
_NONE = notice("No evaluation yet", "Measure a model:", ["vermeil evaluate MODEL"])


def add_reports(gateway: Gateway) -> None:
    """Put it on a tab of its own."""
    vermeil = gateway.plain

    def shown_now(job: str | None) -> Any:
        return report(vermeil, job) if job else gr.skip()

    with gr.Tab("Reports", id="reports") as tab:
        chosen = gr.Dropdown([], label="Evaluation", allow_custom_value=True, visible=False)
        shown = gr.HTML(_LOOKING, label="Report")
    tab.select(
        lambda job: evaluations(vermeil, job),
        chosen,
        [chosen, shown],
        show_progress="hidden",
        api_visibility="private",
    ).then(shown_now, chosen, shown, show_progress="hidden", api_visibility="private")
    chosen.input(shown_now, chosen, shown, show_progress="hidden", api_visibility="private")


def evaluations(vermeil: Vermeil, chosen: str | None) -> tuple[gr.Dropdown, str]:
    """The newest evaluations as choices; what stands below until one is looked at."""
    try:
        jobs = list(islice(vermeil.jobs(state="SUCCEEDED", kind=_EVALUATE), _MOST))
    except VermeilError as error:
        return gr.Dropdown(), problem(error)
    if not jobs:
        return gr.Dropdown([], value=None, visible=False), _NONE
    names = [job.name for job in jobs]
    choices = [(_name(job), job.name) for job in jobs]
    return gr.Dropdown(choices, value=chosen if chosen in names else names[0], visible=True), ""


def report(vermeil: Vermeil, name: str) -> str:
    """The numbers of an evaluation, and its page in a frame that can reach nothing."""
    try:
        found = vermeil.report(name)
    except VermeilError as error:
        return problem(error)
    page = escaped(found.get("page") or "")
    frame = f'sandbox="allow-scripts" title="The whole report" srcdoc="{page}"'
    whole = folded("The whole report", f'<iframe class="vermeil-page" {frame}></iframe>')
    return f"{numbers(found['report'])}{whole}"


def numbers(body: Mapping[str, Any]) -> str:
    """A vermeil.evaluation.v1.Report as a table."""
    about = [
        ("Task", body.get("task", "")),
        ("Model", str(body.get("model", "")).removeprefix("models/").replace("/versions/", "@")),
        ("Data", body.get("data", "")),
        ("Items", body.get("num_items", "")),
        ("Judge", body.get("judge", "")),
    ]
    rows = "".join(_row(metric) for metric in body.get("metrics") or ())
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Number", "Value", "Interval", ""))
    table = f'<table class="vermeil-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f"{card('What was measured', facts(about))}{card('What was found', table)}"


def _row(metric: Mapping[str, Any]) -> str:
    value, low, high = (float(metric.get(each) or 0) for each in ("value", "low", "high"))
    better = "lower is better" if metric.get("lower_is_better") else "higher is better"
    name = escaped(str(metric.get("name", "")).replace("_", " "))
    return (
        f"<tr><td>{name}<br><small>{better}</small></td><td><strong>{figure(value)}</strong></td>"
        f"<td>{figure(low)} to {figure(high)}</td><td>{interval(low, value, high)}</td></tr>"
    )


def _name(job: Job) -> str:
    model = str(job.result.get("model", "")).removeprefix("models/").replace("/versions/", "@")
    return f"{job.result.get('task', 'evaluation')} of {model or job.name} · {job.name[-6:]}"
