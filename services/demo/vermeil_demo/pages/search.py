"""Find pictures of a dataset by a text."""

from collections.abc import Generator, Sequence

import gradio as gr
from vermeil_client import Vermeil
from vermeil_client.resources import Hit, Job
from vermeil_errors import InvalidInput, VermeilError

from vermeil_demo.clients import Gateway
from vermeil_demo.drawing import GridEntry, picture_grid
from vermeil_demo.markup import figure, notice
from vermeil_demo.problems import problem
from vermeil_demo.skills import FINDS, offered

_TEXTS = ("a red circle", "two blue squares", "a green triangle at the bottom left")
_EMPTY = notice("Nothing looked for yet", "Say what the pictures should show.")
_NO_DATASET = notice("No dataset yet", "Make one:", ["vermeil ingest FOLDER --media image --name pictures"])


def add_search(gateway: Gateway) -> None:
    """Put it on a tab of its own."""
    vermeil = gateway.plain

    def look(dataset: str, model: str, text: str, count: float) -> Generator[str, None, None]:
        try:
            yield from found(vermeil, dataset or "", model or "", text, int(count))
        except VermeilError as error:
            yield problem(error)

    with gr.Tab("Search", id="search") as tab:
        missing = gr.HTML(visible=False)
        with gr.Row():
            dataset = gr.Dropdown([], label="Dataset", allow_custom_value=True, min_width=140)
            model = gr.Dropdown([], label="Model", allow_custom_value=True, min_width=140)
            count = gr.Slider(4, 48, 12, step=4, label="Pictures", min_width=140)
        text = gr.Textbox(
            label="What they show", placeholder="a red circle", submit_btn="Search", elem_id="wanted"
        )
        gr.Examples([[each] for each in _TEXTS], text, label="Try one of these")
        hits = gr.HTML(_EMPTY, label="Pictures found")
    text.submit(look, [dataset, model, text, count], hits, show_progress="hidden", api_visibility="private")
    tab.select(
        lambda chosen: offered(vermeil, FINDS, chosen), model, [model, missing], show_progress="hidden"
    ).then(lambda chosen: datasets(vermeil, chosen), dataset, dataset, show_progress="hidden")


def datasets(vermeil: Vermeil, chosen: str | None) -> gr.Dropdown:
    """The dropdown of datasets as they are now."""
    try:
        names = [each.name.removeprefix("datasets/") for each in vermeil.datasets()]
    except VermeilError:
        return gr.Dropdown()
    return gr.Dropdown(names, value=chosen if chosen in names else next(iter(names), None))


def found(vermeil: Vermeil, dataset: str, model: str, text: str, count: int) -> Generator[str, None, None]:
    """What stands below the question: how far embedding is, if this is the first search, then pictures."""
    if not dataset:
        yield _NO_DATASET
        return
    if not text.strip():
        raise InvalidInput("There is nothing to look for", fix="say what the pictures should show")
    job = vermeil.embed(dataset, model)
    if not job.finished:
        for now in vermeil.watch(job.name):
            job = now
            yield _embedding(now)
    job.raise_for_state()
    yield grid_of(vermeil.search(dataset, text.strip(), model=model, num_hits=count, previews=True))


def grid_of(hits: Sequence[Hit]) -> str:
    """Pictures that were found, nearest first."""
    if not hits:
        return notice("Nothing found", "The dataset has no pictures.")
    return picture_grid(
        GridEntry(hit.preview, _words(hit), f"{hit.score:.3f} · {_words(hit)}") for hit in hits
    )


def _words(hit: Hit) -> str:
    return "; ".join(hit.captions) or hit.class_name or hit.sample


def _embedding(job: Job) -> str:
    far = f"{figure(job.done)} of {figure(job.total)} {job.unit}" if job.total else "waiting for the worker"
    return notice("The first search reads the whole dataset", far, tone="busy")
