"""The browser of a module's tests; without one on this machine, they are not collected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import ARGUMENTS, HOW_TO, find_chromium, is_left_out

if TYPE_CHECKING:
    from playwright.sync_api import Browser

collect_ignore_glob = ["test_console.py", "test_portal_pages.py"] if is_left_out() else []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Started for a module and closed after it: Playwright's loop would disturb those of others."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not where it is left out

    program = find_chromium()
    assert program is not None, HOW_TO
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()
