"""The browser of a module's tests; without one on this machine, they are not collected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import is_left_out, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

collect_ignore_glob = ["test_console.py", "test_portal_pages.py"] if is_left_out() else []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Started for a module and closed after it."""
    with launched() as browser:
        yield browser
