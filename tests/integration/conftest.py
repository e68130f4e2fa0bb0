"""A browser for the tests that open the demo. Where there is none they are skipped, but never in CI."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from vermeil_demo.testing import find_browser

SECONDS = 60
"""A browser on a busy machine takes its time."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system; Playwright's event loop must not outlive a module."""
    found = find_browser()
    if found is None:
        words = "no Chromium: install chromium-headless-shell, or name one in VERMEIL_TEST_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    with sync_playwright() as playwright:
        expect.set_options(timeout=1000 * SECONDS)
        opened = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"], timeout=3000 * SECONDS
        )
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def pictures_of_pages() -> Path | None:
    """Where pictures of the pages are left for people: VERMEIL_SCREENSHOTS_DIR; None where nobody asked."""
    folder = os.environ.get("VERMEIL_SCREENSHOTS_DIR")
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
