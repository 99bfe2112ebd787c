"""Without a browser, a run's closing says what it did not do, and the command that changes it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.browser import chromium
from tests.browser.chromium import HOW_TO, REQUIRED, ROOM, write_left_out


@pytest.mark.parametrize(
    ("program", "required", "asked", "says"),
    [
        (None, "", ROOM.parent, True),
        (None, "", ROOM / "test_console.py::test_a_page", True),
        (None, "", ROOM.parent / "wire", False),
        (None, "1", ROOM, False),
        ("/usr/bin/chromium", "", ROOM, False),
    ],
    ids=["all", "one test", "another room", "required", "there"],
)
def test_what_was_left_out_is_said(monkeypatch, program, required, asked, says) -> None:
    monkeypatch.setattr(chromium.shutil, "which", lambda _name: program)
    monkeypatch.setenv(REQUIRED, required)
    lines: list[str] = []
    config = SimpleNamespace(args=[str(asked)])
    write_left_out(SimpleNamespace(config=config, write_line=lines.append))
    assert bool(lines) is says
    assert all(line.startswith("!!! ") for line in lines)
    assert any(HOW_TO in line for line in lines) is says
