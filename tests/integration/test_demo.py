"""The demo in a real browser, before a gateway with fakes behind it. Skipped where there is no Chromium."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.settings import DemoSettings
from vermeil_demo.wiring import start
from vermeil_errors import Unavailable
from vermeil_gateway.testing import Running, eventually, running_gateway

pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
"""Of pandas, which Gradio counts its requests with."""
_SECONDS = 60
"""A browser on a busy machine takes its time."""
_PHONE = {"width": 390, "height": 844}


@dataclass
class Shown:
    """The demo in a browser, and the gateway that it talks to."""

    page: Page
    gateway: Running
    hosts: set[str]
    """All that the browser asked for anything."""


def _chromium() -> str:
    found = os.environ.get("VERMEIL_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not found:
        pytest.skip("no Chromium: install one, or name it in VERMEIL_TEST_CHROMIUM")
    return found


@contextmanager
def _running_demo(home: Path, gateway: str) -> Iterator[str]:
    """The demo in a thread."""
    ready: Future[str] = Future()
    stop = threading.Event()

    async def live() -> None:
        settings = DemoSettings(home=home, url=gateway, demo_bind="127.0.0.1:0")
        async with await start(settings) as demo:
            ready.set_result(demo.url)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="demo-under-test")
    thread.start()
    try:
        yield ready.result(_SECONDS * 3)
    finally:
        stop.set()
        thread.join(30)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    chromium = _chromium()
    home = tmp_path_factory.mktemp("demo")
    with (
        running_gateway() as gateway,
        _running_demo(home, gateway.url) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(1000 * _SECONDS)
        expect.set_options(timeout=1000 * _SECONDS)
        hosts: set[str] = set()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
        page.goto(url)
        expect(page.get_by_label("Model", exact=True).first).to_have_value("vermeil-nano")
        yield Shown(page, gateway, hosts)
        browser.close()


@pytest.fixture
def page(shown: Shown) -> Page:
    shown.page.get_by_role("tab", name="Chat").click()
    return shown.page


def _listens(page: Page) -> None:
    """Wait until the answer before is complete: what is brought earlier goes with it."""
    expect(page.locator("#message .submit-button")).to_be_visible()
    expect(page.locator("#message textarea")).to_be_editable()


def _say(page: Page, text: str) -> None:
    _listens(page)
    field = page.locator("#message textarea")
    field.fill(text)
    field.press("Enter")


def test_a_chat_streams_its_answer(page: Page) -> None:
    _say(page, "Hi")
    expect(page.locator("#conversation")).to_contain_text("Hello, world")


def test_a_picture_that_is_brought_reaches_the_model(page: Page, shown: Shown) -> None:
    _listens(page)
    page.locator("#message input[type=file]").set_input_files(EXAMPLES[0])
    expect(page.locator("#message img")).to_be_visible()
    _say(page, "What is this?")
    eventually(
        lambda: (
            shown.gateway.backends.generation.requests[-1]
            .conversation.messages[-1]
            .parts[0]
            .HasField("image")
        ),
        _SECONDS,
    )


def test_a_picture_in_an_answer_is_shown(page: Page) -> None:
    _say(page, "draw")
    expect(page.locator("#conversation .bot img").first).to_be_visible()


def test_stop_ends_the_work_behind_an_answer_at_once(page: Page, shown: Shown) -> None:
    generation = shown.gateway.backends.generation
    _say(page, "wait")
    eventually(lambda: generation.num_active == 1, _SECONDS)
    page.locator("#message .stop-button").click()
    eventually(lambda: generation.num_active == 0, _SECONDS)
    _say(page, "Hi again")
    expect(page.locator("#conversation")).to_contain_text("Hi again")


def test_an_error_is_a_sentence_in_the_place_of_the_answer(page: Page, shown: Shown) -> None:
    generation = shown.gateway.backends.generation
    generation.refusal = Unavailable("the model is being loaded", fix="try again in a moment")
    try:
        _say(page, "Hi")
        expect(page.locator("#conversation")).to_contain_text("try again in a moment")
    finally:
        generation.refusal = None
    assert "Traceback" not in page.content()


def test_a_picture_is_drawn_and_can_be_saved(shown: Shown) -> None:
    page = shown.page
    page.get_by_role("tab", name="Studio").click()
    expect(page.get_by_label("Model", exact=True).locator("visible=true")).to_have_value("vermeil-pictures")
    page.get_by_label("What to draw").fill("a red circle")
    page.get_by_role("button", name="Draw", exact=True).click()
    last = page.get_by_role("img", name="a red circle, number 4", exact=True)
    expect(last).to_be_visible()
    sampling = shown.gateway.backends.generation.image_requests[-1].sampling
    assert not sampling.HasField("steps")
    assert not sampling.HasField("guidance")
    with page.expect_download() as saving:
        last.click()
    assert saving.value.suggested_filename == "a red circle, number 4.png"


def test_every_page_fits_a_phone(shown: Shown) -> None:
    page, before = shown.page, shown.page.viewport_size
    page.set_viewport_size(_PHONE)
    try:
        for tab in ("Chat", "Studio", "See"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= _PHONE["width"], tab
    finally:
        page.set_viewport_size(before or {"width": 1280, "height": 720})


def test_the_browser_asked_no_other_host(shown: Shown) -> None:
    assert shown.hosts <= {"127.0.0.1", ""}
