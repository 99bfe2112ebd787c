"""The dashboard's own process, spoken to as a browser does: pages, cookie, reload, another tab.

`streamlit run` starts the server that `gridsecure run` starts; the socket carries Streamlit's own
messages, so that a reload is a new connection with the cookies of the browser, as it is outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from google.protobuf import text_format
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from gridsecure.wire.sessions import Session
from gridsecure_dashboard.sign_ins import TICKET_SECONDS, SignIns, cookie_name
from tests.analyst.zone_services import PASSWORD, ZoneServices, certificate, served
from tests.apps.dashboard_server import PATIENCE, dashboard

NOW = datetime(2026, 8, 1, 9, 0, tzinfo=UTC)
ONE_MINUTE = timedelta(seconds=TICKET_SECONDS)


# --- sign-ins, without a server ----------------------------------------------------------------


def somebody(user: str = "billing", *, hours: int = 1) -> Session:
    until = NOW + timedelta(hours=hours)
    return Session(user, frozenset({user}), until, {"authority": f"{user}:token"})


def test_a_handle_opens_its_sign_in_until_it_ends() -> None:
    kept = SignIns()
    name = kept.keep(somebody(), at=NOW)
    ticket = kept.ticket(name, at=NOW)
    assert ticket is not None
    handle = kept.redeem(ticket, at=NOW)
    assert handle is not None
    assert handle.until == NOW + timedelta(hours=1)
    assert kept.find(handle.text, at=NOW) == name
    assert kept.session(name, at=NOW) == somebody()
    kept.end(name)
    assert kept.find(handle.text, at=NOW) is kept.session(name, at=NOW) is None


def test_a_ticket_is_good_once_and_for_a_minute() -> None:
    kept = SignIns()
    first, second = (kept.keep(somebody(), at=NOW) for _ in range(2))
    ticket, late = kept.ticket(first, at=NOW), kept.ticket(second, at=NOW)
    assert ticket is not None
    assert late is not None
    assert kept.redeem("", at=NOW) is kept.redeem("é" * 43, at=NOW) is None
    assert kept.redeem(ticket, at=NOW) is not None
    assert kept.redeem(ticket, at=NOW) is kept.redeem("", at=NOW) is None
    assert kept.ticket(first, at=NOW) is None
    assert kept.ticket(second, at=NOW + ONE_MINUTE) is None
    assert kept.redeem(late, at=NOW + ONE_MINUTE) is None


def test_a_name_or_a_ticket_is_no_handle() -> None:
    kept = SignIns()
    name = kept.keep(somebody(), at=NOW)
    ticket = kept.ticket(name, at=NOW)
    assert ticket is not None
    for text in (name, ticket, ""):
        assert kept.find(text, at=NOW) is None


def test_a_sign_in_ends_with_its_session_and_everyone_elses_stays() -> None:
    kept = SignIns()
    short, long = kept.keep(somebody(), at=NOW), kept.keep(somebody(hours=3), at=NOW)
    ticket = kept.ticket(short, at=NOW)
    assert ticket is not None
    handle = kept.redeem(ticket, at=NOW)
    assert handle is not None
    later = NOW + timedelta(hours=1)
    assert kept.find(handle.text, at=later) is kept.session(short, at=later) is None
    assert kept.session(long, at=later) is not None


# --- the server --------------------------------------------------------------------------------


@dataclass
class Tab:
    """One connection of a browser: what it was sent last, and what it can press."""

    connection: ClientConnection
    texts: str = ""
    page: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    widgets: dict[str, str] = field(default_factory=dict)

    def run(self, *, page: str = "", values: dict[str, str] | None = None, press: str = "") -> Tab:
        """Have the page run, as loading it does, or with values entered and a button pressed."""
        message = BackMsg()
        message.rerun_script.page_name = page
        for label, value in (values or {}).items():
            state = message.rerun_script.widget_states.widgets.add()
            state.id, state.string_value = self.widgets[label], value
        if press:
            state = message.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self.widgets[press], True
            message.rerun_script.page_script_hash = self.page
        self.connection.send(message.SerializeToString())
        return self._read()

    def listen(self) -> Tab:
        """Wait for a run that the page begins by itself."""
        return self._read()

    def _read(self) -> Tab:
        """Everything until a run ends by itself and none follows."""
        self.texts, self.widgets = "", {}
        patience: float = PATIENCE
        while True:
            try:
                data = self.connection.recv(timeout=patience)
            except TimeoutError:
                return self
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            self._take(message)
            # A page that hands over to another run ends twice: wait for a moment more.
            kind = message.WhichOneof("type")
            if kind in ("script_finished", "new_session"):
                patience = 0.7 if kind == "script_finished" else PATIENCE

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        self.texts += text_format.MessageToString(message, as_utf8=True)
        if kind == "new_session":
            self.texts, self.widgets = "", {}
        elif kind == "navigation":
            self.page = message.navigation.page_script_hash
            self.pages = {
                page.page_script_hash: page.url_pathname for page in message.navigation.app_pages
            }
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            widget = getattr(element, element.WhichOneof("type") or "", None)
            if getattr(widget, "id", "") and getattr(widget, "label", ""):
                self.widgets[widget.label] = widget.id

    @property
    def address(self) -> str:
        return self.pages[self.page]

    @property
    def is_signed_in(self) -> bool:
        return "退出 Sign out" in self.widgets


@dataclass
class Browser:
    """Cookies, and the tabs that send them."""

    address: str
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)
    tabs: ExitStack = field(default_factory=ExitStack)

    def load(self, page: str = "") -> Tab:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connecting = connect(
            f"{self.address.replace('http', 'ws')}/_stcore/stream",
            additional_headers={"Cookie": cookies, "Origin": self.address},
            subprotocols=["streamlit"],
            max_size=None,
        )
        return Tab(self.tabs.enter_context(connecting)).run(page=page)

    def keep(self, ticket: str, *, origin: str | None = None) -> httpx.Response:
        headers = {"Origin": self.address if origin is None else origin}
        answer = httpx.post(f"{self.address}/keep-sign-in", content=ticket, headers=headers)
        self.cookies.extract_cookies(answer)
        return answer


@pytest.fixture(scope="module")
def services() -> Iterator[ZoneServices]:
    services = ZoneServices()
    services.publish(certificate())
    with served(services) as address:
        services.address = address
        yield services


@pytest.fixture(scope="module")
def server(services: ZoneServices, tmp_path_factory) -> Iterator[str]:
    with dashboard(services, folder=tmp_path_factory.mktemp("elsewhere")) as address:
        yield address


@pytest.fixture
def browser(server: str) -> Iterator[Browser]:
    browser = Browser(server)
    yield browser
    browser.tabs.close()


def sign_in(tab: Tab, role: str = "billing") -> str:
    """Sign in with a password; the ticket that the page was sent."""
    values = {"用户名 User name": role, "密码 Password": PASSWORD}
    tab.run(values=values, press="以密码登录 Sign in with password")
    if not tab.is_signed_in:  # a busy machine takes its time between two runs of a page
        tab.listen()
    assert tab.is_signed_in, tab.texts[-2000:]
    return tab.texts.split('body: \\"')[1].split('\\"')[0]


def test_a_sign_in_outlives_a_reload_and_leads_to_the_page_asked_for(browser, services) -> None:
    services.asked.clear()
    tab = browser.load("revenue")
    assert not tab.is_signed_in
    assert "page_not_found" not in tab.texts
    assert "GET /releases" not in services.asked
    ticket = sign_in(tab)
    assert tab.address == "revenue"
    assert "492,222.13" in tab.texts
    answer = browser.keep(ticket)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(cookie_name(services.key.public_key.point.hex()))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie

    again = browser.load("revenue")
    assert again.is_signed_in
    assert "492,222.13" in again.texts
    assert "keep-sign-in" not in again.texts  # the ticket was used and is not sent again
    for sent in (tab.texts, again.texts, ticket, *browser.cookies.values()):
        assert "billing:authority" not in sent
    with ExitStack() as tabs:
        assert not Browser(browser.address, tabs=tabs).load("revenue").is_signed_in

    again.run(press="退出 Sign out")
    assert not again.is_signed_in
    tab.run(page="revenue")
    assert not tab.is_signed_in
    assert "492,222.13" not in tab.texts
    assert not browser.load("revenue").is_signed_in


def test_home_is_the_start_page_and_no_page_is_missing(browser) -> None:
    tab = browser.load()
    browser.keep(sign_in(tab))
    assert tab.address == ""
    assert "492,222.13" in tab.texts
    for page in ("bill_runs", "revenue", "load_curve", "releases"):
        again = browser.load(page)
        assert again.address == page
        assert again.is_signed_in
        assert "page_not_found" not in again.texts
    denied = browser.load("openings")
    assert "page_not_found" not in denied.texts
    assert "page.denied" in denied.texts


def test_a_cookie_planted_before_sign_in_names_no_sign_in(browser, services) -> None:
    name = cookie_name(services.key.public_key.point.hex())
    browser.cookies.set(name, "planted" * 6)
    sign_in(browser.load("revenue"))
    assert not browser.load("revenue").is_signed_in


@pytest.mark.parametrize("origin", ["https://elsewhere.test", ""])
def test_another_site_cannot_spend_a_ticket(browser, origin) -> None:
    ticket = sign_in(browser.load("revenue"))
    answer = browser.keep(ticket, origin=origin)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert browser.keep(ticket).status_code == 204
    assert browser.keep(ticket).status_code == 403


def test_a_ticket_that_is_none_is_refused(browser) -> None:
    assert browser.keep("x" * 43).status_code == 403
    assert browser.keep("x" * 65).status_code == 413
    assert "gridsecure" not in httpx.get(f"{browser.address}/keep-sign-in").headers.get(
        "set-cookie", ""
    )


def test_no_comment_of_a_script_is_a_text_of_a_page(browser) -> None:
    """Streamlit's magic is off in the process that people start, from whatever folder."""
    tab = browser.load("bill_runs")
    sign_in(tab)
    assert "What the key authority releases" not in tab.texts


NEEDED = ("/_stcore/health", "/_stcore/host-config", "/", "/revenue")
CLOSED = (
    "/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/agent/interact",
    "/_stcore/agent/openapi.json", "/_stcore/agent/mcp", "/revenue/_stcore/metrics",
    "/_stcore//metrics", "/_stcore/health/../metrics", "/_stcore/%6detrics", "/_stcore",
    "/auth/login", "/auth/logout", "/oauth2callback",
)  # fmt: skip


def test_nothing_is_open_that_no_page_needs(server: str) -> None:
    """Streamlit's metrics say who is at work; whatever it adds next stays closed, too."""
    for path in NEEDED:
        assert httpx.get(server + path).status_code == 200, path
    for path in CLOSED:
        answer = httpx.get(server + path)
        assert answer.status_code == 404, path
        assert answer.text == "Not Found", path


def test_every_answer_of_the_dashboard_protects_who_reads_it(server: str) -> None:
    page = httpx.get(server + "/")
    script = re.search(r'src="[^"]*(/static/[^"]+\.js)"', page.text)
    assert script is not None
    answers = {path: httpx.get(server + path) for path in ("/", "/_stcore/metrics", script[1])}
    for path, answer in answers.items():
        assert answer.headers["x-frame-options"] == "DENY", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy, "no other origin"
        stored = answer.headers.get("cache-control") != "no-store"
        assert stored is (path == script[1]), path
