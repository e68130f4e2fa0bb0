"""The top of the page: the name, how the gateway is, light or dark."""

import gradio as gr
from vermeil_client import Vermeil
from vermeil_errors import VermeilError

from vermeil_demo.markup import escaped

_MARK = (
    '<svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true"><defs>'
    '<linearGradient id="gilt" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#e9e5de"/>'
    '<stop offset=".5" stop-color="#dcb866"/><stop offset="1" stop-color="#8a6419"/></linearGradient></defs>'
    '<path d="M3 6 16 27 29 6" fill="none" stroke="url(#gilt)" stroke-width="4" stroke-linejoin="round" '
    'stroke-linecap="round"/><circle cx="16" cy="7" r="2.6" fill="url(#gilt)"/></svg>'
)
_TURN = """() => {
  const dark = document.body.classList.toggle('dark');
  localStorage.setItem('vermeil-theme', dark ? 'dark' : 'light');
}"""
_REMEMBERED = """() => {
  const chosen = localStorage.getItem('vermeil-theme');
  if (chosen) document.body.classList.toggle('dark', chosen === 'dark');
}"""


def add_header(page: gr.Blocks, vermeil: Vermeil) -> None:
    """Put it on the page."""
    with gr.Row(elem_id="top", equal_height=False):
        gr.HTML(
            f'<h1 class="vermeil-brand">{_MARK}<span>Vermeil</span></h1>', container=False, elem_id="brand"
        )
        standing = gr.HTML(container=False, elem_id="standing", min_width=80, label="Gateway")
        turn = gr.Button("Light / dark", size="sm", elem_id="turn", min_width=96, scale=0)
    turn.click(None, js=_TURN)
    page.load(None, js=_REMEMBERED)
    gr.on(
        [page.load, gr.Timer(20).tick],
        lambda: state(vermeil),
        outputs=standing,
        show_progress="hidden",
        api_visibility="private",
    )


def state(vermeil: Vermeil) -> str:
    """One line: how many models there are, or that nothing answers."""
    try:
        count = len(vermeil.models())
    except VermeilError:
        return '<p role="status" class="vermeil-state off">no answer · run <code>vermeil up</code></p>'
    models = "no model yet" if not count else f"{count} model{'s' if count > 1 else ''}"
    return f'<p role="status" class="vermeil-state on">{escaped(models)}</p>'
