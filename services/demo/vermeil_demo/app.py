"""The page: a header, a tab for each thing people do, and what keeps strangers out."""

from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from vermeil_demo.clients import Gateway
from vermeil_demo.header import add_header
from vermeil_demo.own_pages import OwnPages
from vermeil_demo.pages import PAGES
from vermeil_demo.pages.chat import add_chat
from vermeil_demo.settings import DemoSettings
from vermeil_demo.theme import VermeilTheme

_STYLE = Path(__file__).parent / "style.css"
_NAMES = (Path(__file__).parent / "names.js").read_text(encoding="utf-8")
_AT_ONCE = 8
"""Requests of one kind that are worked on together."""
_LOOK_SECONDS = 0.02
"""How often Gradio looks for something to do; its own 1 ms costs 6 % of a core while nobody is there."""
_KEPT_SECONDS = 24 * 3600
"""How long files of a conversation are kept."""
_MAX_UPLOAD = "16mb"


def create_page(gateway: Gateway) -> gr.Blocks:
    """All pages as tabs of one."""
    with gr.Blocks(
        title="Vermeil",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, _KEPT_SECONDS),
    ) as blocks:
        add_header(blocks, gateway.plain)
        blocks.load(None, js=_NAMES, api_visibility="private")
        with gr.Tabs(elem_id="pages"):
            add_chat(blocks, gateway)
            for add_page in PAGES:
                add_page(gateway)
        blocks.queue(default_concurrency_limit=_AT_ONCE, api_open=False)
        blocks._queue.sleep_when_free = _LOOK_SECONDS
    page: gr.Blocks = blocks
    return page


def create_app(settings: DemoSettings, gateway: Gateway) -> FastAPI:
    """The demo as an ASGI application: nothing in it comes from another host."""
    settings.require_password_outside()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OwnPages)
    if settings.is_local:
        # A page of the web that has itself named 127.0.0.1 must not get in.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    password = settings.demo_password
    gr.mount_gradio_app(
        app,
        create_page(gateway),
        path="/",
        auth=("vermeil", password.get_secret_value()) if password else None,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        max_file_size=_MAX_UPLOAD,
        theme=VermeilTheme(),
        css_paths=[_STYLE],
    )
    return app
