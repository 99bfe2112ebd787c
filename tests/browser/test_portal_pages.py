"""A customer's portal in a real browser: a bill is opened, read in both languages, asked about."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Final

import pytest
import uvicorn
from playwright.sync_api import Browser

from gridsecure.portal.folder import BillFolder
from gridsecure.portal.own_bills import CustomerKeys
from gridsecure.portal.web import HOST, Door, new_token, portal_app
from tests.browser.chromium import ARTEFACTS
from tests.browser.open_pages import WIDTHS, Tab
from tests.portal.test_portal import CUSTOMER, NOW, OFFICE, PERIOD, put

TOTAL: Final = "1,025.72"
"""Yuan, of the sample's bill."""


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bill of July and one of the July before, sealed to the customer."""
    folder: Path = tmp_path_factory.mktemp("bills")
    put(folder, "2026-07-1.bill", PERIOD)
    put(folder, "2025-07-1.bill", json.loads(json.dumps(PERIOD).replace("2026-0", "2025-0")))
    return folder


@pytest.fixture(scope="module")
def portal(bills: Path) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen()
        door = Door(listening.getsockname()[1], new_token())
        opened = BillFolder(bills, CustomerKeys(CUSTOMER, OFFICE.public_key))
        app = portal_app(opened, door=door, clock=lambda: NOW)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield door.address
        finally:
            server.should_exit = True
            thread.join()


def test_a_customer_opens_a_bill_and_asks_about_it(
    chromium: Browser, portal: str, bills: Path
) -> None:
    with chromium.new_context(color_scheme="light", reduced_motion="reduce") as context:
        tab = Tab(context.new_page(), portal)
        page = tab.page
        page.goto(portal)
        look_at(tab, "bills-zh")
        page.get_by_role("link", name=re.compile("2026年7月")).click()
        page.get_by_text(TOTAL).first.wait_for()
        look_at(tab, "bill-zh")
        page.get_by_role("link", name="English").click()
        page.locator("html[lang^=en]").wait_for()
        look_at(tab, "bill-en")
        page.locator("form.ask textarea").fill("Why is there a second tier?")
        page.locator("form.ask button").last.click()
        page.get_by_role("alert").or_(page.locator("section[aria-labelledby=message]")).wait_for()
        look_at(tab, "asked-en")
    assert [path.name for path in bills.glob("*.question")]
    assert not tab.noted, "\n".join(tab.noted)


def look_at(tab: Tab, name: str) -> None:
    tab.ask_axe(name)
    for width in WIDTHS:
        tab.resize(width)
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        tab.page.screenshot(path=ARTEFACTS / f"portal-{name}-{width}.png", full_page=True)
