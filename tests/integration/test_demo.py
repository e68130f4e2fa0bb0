"""The demo in a real browser, before a gateway with fakes behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.settings import DemoSettings
from vermeil_demo.testing import AT_REST, running_demo
from vermeil_errors import Unavailable
from vermeil_gateway.testing import Running, eventually, running_gateway

pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
"""Of pandas, which Gradio counts its requests with."""
_SECONDS = 60
"""A browser on a busy machine takes its time."""


@dataclass
class Shown:
    """The demo in a browser, and the gateway that it talks to."""

    page: Page
    gateway: Running
    hosts: set[str]
    """All that the browser asked for anything."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Shown]:
    home = tmp_path_factory.mktemp("demo")
    with (
        running_gateway() as gateway,
        running_demo(DemoSettings(home=home, url=gateway.url, demo_bind="127.0.0.1:0")) as url,
    ):
        page = browser.new_page()
        page.set_default_timeout(1000 * _SECONDS)
        hosts: set[str] = set()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
        page.goto(url)
        expect(page.get_by_label("Model", exact=True).first).to_have_value("vermeil-nano")
        yield Shown(page, gateway, hosts)
        page.close()


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


def test_the_message_shows_that_it_has_the_focus(page: Page) -> None:
    box = page.locator("#message .full-container")
    _listens(page)
    page.locator("#message textarea").focus()
    expect(box).not_to_have_css("box-shadow", "none")
    page.locator("#message textarea").blur()
    expect(box).to_have_css("box-shadow", "none")


def test_a_chat_streams_its_answer(page: Page) -> None:
    _say(page, "Hi")
    expect(page.locator("#conversation")).to_contain_text("Hello, world")


def test_a_picture_that_is_brought_reaches_the_model(page: Page, shown: Shown) -> None:
    _listens(page)
    page.locator("#message input[type=file]").set_input_files(EXAMPLES[0])
    expect(page.locator("#message img")).to_be_visible()
    _say(page, "What is this?")
    eventually(
        lambda: any(
            part.HasField("image")
            for request in shown.gateway.backends.generation.requests
            for part in request.conversation.messages[-1].parts
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


def test_a_conversation_with_pictures_and_a_failure_can_be_heard(page: Page, shown: Shown) -> None:
    generation = shown.gateway.backends.generation
    _say(page, "draw")
    _listens(page)
    expect(page.locator("#conversation .bot img").last).to_be_visible()
    generation.refusal = Unavailable("the model is away", fix="try again in an hour")
    try:
        _say(page, "Hi")
        expect(page.locator("#conversation")).to_contain_text("try again in an hour")
    finally:
        generation.refusal = None
    _listens(page)
    page.wait_for_function(AT_REST)
    found = Axe().run(page).response["violations"]
    assert [each["help"] for each in found if each["impact"] in ("serious", "critical")] == []


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


def test_the_browser_asked_no_other_host(shown: Shown) -> None:
    assert shown.hosts <= {"127.0.0.1", ""}
