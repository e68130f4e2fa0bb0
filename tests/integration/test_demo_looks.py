"""Every page of the demo as people meet it: light, dark and on a phone, with something of everything to show.

Who hears the page or has a keyboard only is met by the rules of axe-core.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from vermeil_demo.clients import Gateway
from vermeil_demo.fakes import FakeVermeil
from vermeil_demo.settings import DemoSettings
from vermeil_demo.testing import AT_REST, running_demo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
"""Pandas, which Gradio counts its requests with, warns."""

PAGES = {
    "Chat": "Talk with your model",
    "Studio": "Nothing drawn yet",
    "See": "Describe it",
    "Search": "Nothing looked for yet",
    "Training": "validation loss",
    "Models": "text looks at pictures",
    "Reports": "bits per byte",
}
"""Tabs, and words that are there once a page has come."""
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
_SERIOUS = ("serious", "critical")
_WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    fake = FakeVermeil()
    settings = DemoSettings(home=tmp_path_factory.mktemp("demo"), demo_bind="127.0.0.1:0")
    with running_demo(settings, Gateway.on(fake, fake)) as address:
        yield address


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_fits_is_named_and_can_be_read(
    browser: Browser, url: str, look: str, pictures_of_pages: Path | None
) -> None:
    context = browser.new_context(**(_WIDE | LOOKS[look]))
    context.set_default_timeout(60_000)
    try:
        page = context.new_page()
        page.goto(url)
        wrong = [problem for tab in PAGES for problem in _problems(page, tab, look, pictures_of_pages)]
    finally:
        context.close()
    assert not wrong, "\n".join(wrong)


def _problems(page: Page, tab: str, look: str, pictures_of_pages: Path | None) -> Iterator[str]:
    """What is wrong with a page, in sentences."""
    open_tab(page, tab)
    if tab == "Models":
        page.get_by_label("Look at", exact=True).click()
        page.get_by_role("option", name="fused-shapes").click()
    page.get_by_text(PAGES[tab]).locator("visible=true").first.wait_for()
    page.wait_for_function(AT_REST)
    if pictures_of_pages is not None:
        page.screenshot(path=pictures_of_pages / f"{tab.lower()}-{look}.png", full_page=True)
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if width > 0:
        yield f"{tab} is {width} pixels wider than the screen"
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] in _SERIOUS:
            places = ", ".join(node["html"][:120] for node in violation["nodes"][:3])
            yield f"{tab}: {violation['impact']}: {violation['help']}: {places}"


def open_tab(page: Page, name: str) -> None:
    """Choose a tab; those that do not fit a phone are in a menu."""
    page.get_by_role("tab", name="Chat").first.wait_for()
    tab = page.get_by_role("tab", name=name, exact=True).locator("visible=true")
    if tab.count():
        tab.first.click()
    else:
        page.locator("#pages .overflow-menu > button").click()
        page.locator("#pages .overflow-dropdown").get_by_text(name, exact=True).click()
