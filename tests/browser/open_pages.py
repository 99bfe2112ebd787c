"""A tab on the console: how it is signed in, moved about and looked at.

Nothing sleeps: every step waits for the state that it leads to, patient as a slow machine needs it.
What must never happen on any page – a console error, a failed request, one to elsewhere – is noted
from the first page to the last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, FloatRect, Keyboard, Page, Request, Response
from playwright.sync_api import TimeoutError as TooLongError

from gridsecure_dashboard.phrases import PHRASES
from tests.analyst.zone_services import PASSWORD
from tests.browser.chromium import ARTEFACTS

PATIENCE: Final = 60_000  # milliseconds
LANGUAGES: Final = {"zh": "中文", "en": "English"}
WIDTHS: Final = (390, 1920, 1024)
USUAL: Final = WIDTHS[-1]
"""The width while pages are turned and read, in pixels."""
HEIGHT: Final = 2400
"""Pixels: enough for any page whole, so that nothing is below the edge and not drawn."""
_SIGN_OUT: Final = re.compile("退出|Sign out")
_SIGN_IN: Final = re.compile("以密码登录|Sign in with password")
_BY_CODE: Final = re.compile("^(登录|Sign in|登录 Sign in)$")
_MOST_STOPS: Final = 60
SERIOUS: Final = frozenset({"serious", "critical"})
_EVERY: Final = 100  # milliseconds between two looks at whether a page is finished
_AXE: Final[str] = Axe().axe_script

_HEADING: Final = '[data-testid="stMain"] h1'
# Whether the page of a title stands finished: no run at work, nothing of the last one left.
_IS_SHOWN: Final = """([title, tag]) => {
  const app = document.querySelector('[data-testid="stApp"]');
  const heading = document.querySelector('[data-testid="stMain"] h1');
  const charts = [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')];
  return app?.dataset.testScriptState === 'notRunning'
    && heading?.innerText.trim() === title
    && document.documentElement.lang.startsWith(tag)
    && !document.querySelector(
      '[data-stale="true"], [data-testid="stSkeleton"], [data-testid="stSpinner"]')
    && charts.every(chart => chart.querySelector('canvas, svg'));
}"""
_FITS: Final = """() => [...document.querySelectorAll('html, [data-testid="stMain"]')]
  .every(part => part.scrollWidth <= part.clientWidth + 1)"""
# Tables are drawn on a canvas, with the rows as elements inside it for those who cannot see it.
# Charts are hidden for a moment: their axes have numbers of their own.
_TEXT: Final = """() => {
  const main = document.querySelector('[data-testid="stMain"]');
  const cells = [...main.querySelectorAll('canvas th, canvas td')].map(cell => cell.textContent);
  const charts = [...main.querySelectorAll('[data-testid="stVegaLiteChart"]')];
  charts.forEach(chart => { chart.style.visibility = 'hidden'; });
  const text = [main.innerText, ...cells].join('\\n');
  charts.forEach(chart => { chart.style.visibility = ''; });
  return text;
}"""
_HAVE_ROWS: Final = """() =>
  [...document.querySelectorAll('[data-testid="stMain"] canvas[data-testid="data-grid-canvas"]')]
    .every(canvas => canvas.querySelector('tr'))"""
_HAS_FOCUS: Final = """selector => document.activeElement?.matches(selector)
  && document.activeElement.matches(':focus-visible')"""
_IS_IN: Final = """scheme => {
  const app = document.querySelector('[data-testid="stApp"]');
  const light = getComputedStyle(app).backgroundColor.match(/\\d+/g)[0] > 127;
  return light === (scheme === 'light');
}"""
_STANDS_STILL: Final = """() => document.getAnimations().every(
  one => one.playState !== 'running' || one.effect.getComputedTiming().iterations === Infinity)"""
_BOTTOM: Final = """() => Math.ceil(Math.max(
  ...[...document.querySelectorAll('[data-testid="stMainBlockContainer"] > *')]
    .map(part => part.getBoundingClientRect().bottom)))"""


@dataclass
class Tab:
    """A page of the browser on the console.

    Args:
        noted: What must not happen, as sentences.
    """

    page: Page
    address: str
    noted: list[str] = field(default_factory=list)
    language: str = ""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.set_viewport_size({"width": USUAL, "height": HEIGHT})
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.noted.append(f"script error: {error}"))
        self.page.on("request", self._note_request)
        self.page.on("requestfailed", self._note_failed)
        self.page.on("response", self._note_response)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.noted.append(f"console: {message.text}")

    def _note_request(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme in {"http", "https", "ws", "wss"} and where.hostname != "127.0.0.1":
            self.noted.append(f"request to elsewhere: {request.url}")

    def _note_failed(self, request: Request) -> None:
        # A page that is left gives up what it was still fetching.
        if request.failure != "net::ERR_ABORTED":
            self.noted.append(f"request failed: {request.url}: {request.failure}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400:
            self.noted.append(f"request answered {response.status}: {response.url}")

    def start_anew(self) -> None:
        """Sign out who was signed in, and begin at the start page with nothing noted."""
        out = self.page.get_by_role("button", name=_SIGN_OUT)
        if out.count():
            out.click()
            self.page.get_by_role("button", name=_SIGN_IN).wait_for()
        if self.page.url != f"{self.address}/":
            self.page.goto(self.address)
            self.language = ""
        self.page.get_by_role("button", name=_SIGN_IN).wait_for()
        self.noted.clear()

    def sign_in(self, role: str, *, password: str = PASSWORD) -> None:
        """Sign in by password, with whatever language the form is in."""
        self.page.get_by_label(re.compile("User name|用户名")).fill(role)
        field = self.page.get_by_label(re.compile("^密码|^Password"))
        field.and_(self.page.locator("input")).fill(password)
        self.page.get_by_role("button", name=_SIGN_IN).click()

    def sign_in_by_code(self, code: str) -> None:
        """Sign in by a code of one's own key."""
        self.page.get_by_label(re.compile("登录码|Sign-in code")).fill(code)
        self.page.get_by_role("button", name=_BY_CODE).click()

    def speak(self, language: str, *, page: str) -> None:
        """Choose a language, from the page that is open."""
        chosen = LANGUAGES[language]
        box = self.page.get_by_test_id("stSidebar").get_by_test_id("stSelectbox")
        box.locator("input").click()
        self.page.get_by_role("option", name=chosen, exact=True).click()
        self.language = language
        self.wait_for(page)

    def turn_to(self, page: str) -> None:
        """Follow the menu to a page, unless it is open."""
        menu = self.page.get_by_test_id("stSidebarNav")
        if self.page.locator(_HEADING).inner_text().strip() != self.title(page):
            menu.get_by_role("link", name=self.title(page)).click()
        self.wait_for(page)

    def title(self, page: str) -> str:
        """What a page is called in the language chosen; in both, before one is."""
        chinese, english = PHRASES[f"page_{page}"]
        return {"zh": chinese, "en": english, "": f"{chinese} {english}"}[self.language]

    def wait_for(self, page: str, *, polling: float | Literal["raf"] = _EVERY) -> None:
        """Until a page stands finished.

        Args:
            polling: Between two looks [ms]; `raf` looks at every frame, for who measures.
        """
        tag = {"zh": "zh", "en": "en", "": "zh"}[self.language]
        self.page.wait_for_function(_IS_SHOWN, arg=[self.title(page), tag], polling=polling)

    def press_to(self, selector: str) -> Keyboard:
        """Press Tab until the element has the focus, and shows it."""
        for _ in range(_MOST_STOPS):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(_HAS_FOCUS, selector):
                return self.page.keyboard
        raise AssertionError(f"the keyboard does not reach {selector}")

    def show_in(self, scheme: Literal["light", "dark"]) -> None:
        """Have the browser ask for light or dark pages, and wait for the colours."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(_IS_IN, arg=scheme, polling=_EVERY)

    def resize(self, width: int) -> None:
        """Make the window so wide, and note what does not fit into it."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        try:
            self.page.wait_for_function(_FITS, timeout=PATIENCE / 4, polling=_EVERY)
        except TooLongError:
            self.noted.append(f"{self.page.url} is wider than {width} pixels")

    def text(self) -> str:
        """All that stands on the page, cells of tables among it, which come a moment later."""
        self.page.wait_for_function(_HAVE_ROWS, polling=_EVERY)
        found: str = self.page.evaluate(_TEXT)
        return found

    def ask_axe(self, where: str) -> None:
        """Note what axe calls serious or critical."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_AXE)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        self.noted += [
            f"{where}: axe, {one['impact']}: {one['id']}: {one['help']}: "
            + " | ".join(node["html"][:200] for node in one["nodes"][:3])
            for one in found["violations"]
            if one["impact"] in SERIOUS
        ]

    def keep_picture(self, name: str) -> None:
        """Keep a screenshot down to the end of what is on the page."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_function(_STANDS_STILL, polling=_EVERY)
        size = self.page.viewport_size or {"width": WIDTHS[0], "height": HEIGHT}
        bottom = min(self.page.evaluate(_BOTTOM) + 40, size["height"])
        clip: FloatRect = {"x": 0, "y": 0, "width": size["width"], "height": max(bottom, 600)}
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", clip=clip)
