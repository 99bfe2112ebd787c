"""The browser of these tests: Debian's Chromium, as the machine has it.

Playwright drives it and downloads none of its own. Where there is no Chromium the tests are left
out, and the run's closing says so with the command that adds it; with GRIDSECURE_REQUIRE_BROWSER=1
they fail instead, as they do in `.ci/run` where it installed one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REQUIRED: Final = "GRIDSECURE_REQUIRE_BROWSER"
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
ROOM: Final = Path(__file__).parent
ARTEFACTS: Final = ROOM.parents[1] / "build/browser"
"""Where screenshots are kept."""
HOW_TO: Final = "sudo apt-get install chromium fonts-wqy-microhei"
LEFT_OUT: Final = (
    "!!! There is no Chromium here: no browser opened the console (tests/browser was left out).",
    f"!!! This adds it: {HOW_TO}",
)
# Nothing outside this machine has an address for it, whatever a page or the browser asks for.
ARGUMENTS: Final = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-gpu",
)


def find_chromium() -> str | None:
    """The program, if this machine has it."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def is_left_out() -> bool:
    """Whether tests that need it are not even collected."""
    return find_chromium() is None and os.environ.get(REQUIRED) != "1"


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, with Playwright's loop, which would disturb those of others if it stayed."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not where it is left out

    program = find_chromium()
    assert program is not None, HOW_TO
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


def write_left_out(reporter: Any) -> None:
    """Say what was left out, if it was asked for."""
    asked = [Path(argument.partition("::")[0]).resolve() for argument in reporter.config.args]
    concerned = any(path in ROOM.parents or ROOM in (path, *path.parents) for path in asked)
    if is_left_out() and concerned:
        for line in LEFT_OUT:
            reporter.write_line(line)
