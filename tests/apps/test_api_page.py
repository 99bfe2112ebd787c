"""The API page of every service needs nothing from any other host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient

from gridsecure_api.api_page import PAGE_PATHS
from tests.apps.zone_apps import every_zone

ZONES = ("identity", "gateway", "platform", "authority", "market", "encryption")
CONTENT_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
}


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[str, TestClient]]:
    with every_zone(tmp_path_factory.mktemp("zones")) as running:
        yield running


class Links(HTMLParser):
    """Every address that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = ""
        self._in_script = False

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in {"src", "href", "action"}]
        self._in_script = tag == "script"

    def handle_data(self, data):
        self.inline += data.strip() if self._in_script else ""


def links_of(client: TestClient, page: str) -> Links:
    links = Links()
    links.feed(client.get(page).text)
    return links


@pytest.mark.parametrize("prefix", ["http://testserver/", "http://testserver/behind/a/proxy/"])
@pytest.mark.parametrize("zone", ZONES)
def test_the_page_loads_from_its_own_service_alone(services, zone, prefix):
    client = services[zone]
    links = links_of(client, "/docs")
    assert len(links.found) == 4
    for link in links.found:
        address = urljoin(prefix + "docs", link)
        assert address.startswith(prefix), link
        answer = client.get("/" + address.removeprefix(prefix))
        assert answer.status_code == 200, link
        assert answer.headers["Content-Type"] == CONTENT_TYPES[link[link.rindex(".") :]], link
        assert len(answer.content) > 100


@pytest.mark.parametrize("zone", ZONES)
def test_nothing_public_is_left_unserved(services, zone):
    for path in PAGE_PATHS:
        answer = services[zone].get(path)
        assert answer.status_code == 200, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("zone", ZONES)
def test_the_browser_is_told_to_stay_at_this_origin(services, zone):
    answer = services[zone].get("/docs")
    rules = dict(
        rule.strip().split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split(";")
    )
    assert rules["default-src"] == "'none'"
    for name in ("script-src", "connect-src", "style-src", "img-src"):
        assert set(rules[name].split()) <= {"'self'", "data:", "'unsafe-inline'"}, name
    assert rules["script-src"] == "'self'"
    # A script inside the page would not run under that policy.
    assert links_of(services[zone], "/docs").inline == ""


@pytest.mark.parametrize("zone", ZONES)
def test_what_starts_the_page_names_the_services_own_document(services, zone):
    client = services[zone]
    start = client.get("/docs/start.js").text
    assert not re.search(r"https?:|//", start)
    named = re.search(r'url: "([^"]+)"', start)
    assert named is not None
    assert urlsplit(named[1]).netloc == ""
    assert client.get(f"/{named[1]}").json()["info"]["title"]
    # Swagger UI would otherwise show the document to a validator on the internet.
    assert "validatorUrl: null" in start


@pytest.mark.parametrize("zone", ZONES)
def test_the_other_page_of_the_framework_is_off(services, zone):
    # It, too, loads its script from a stranger's host.
    assert services[zone].get("/redoc").status_code == 401


@pytest.mark.parametrize("zone", ZONES)
def test_the_style_sheet_loads_nothing(services, zone):
    style = services[zone].get("/docs/swagger-ui.css").text
    loaded = re.findall(r"url\(\s*[\"']?([^\"')]{0,30})", style)
    assert all(address.startswith("data:") for address in loaded)
    assert "@import" not in style
