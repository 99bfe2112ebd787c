"""The page of what the slides name, and the map of clauses, name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from gridsecure.cli.main import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROW = re.compile(r"^\| (\d+) \|(.+)\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[a-z_/0-9]+\.py)(?:::(test_[a-z0-9_]+))?`")
COMMAND = re.compile(r"`gridsecure ([a-z -]+)`")
LINK = re.compile(r"\]\(([a-z0-9/.-]+)(?:#[a-z-]+)?\)")
ROWS = 72
MADE = {"reasons.md", "settings.md"}
"""Pages that are made with the documentation."""


def rows_of() -> dict[int, list[str]]:
    """The cells of each row behind its number."""
    page = (DOCS / "coverage.md").read_text(encoding="utf-8")
    found = {
        int(number): [cell.strip() for cell in rest.split("|")]
        for number, rest in ROW.findall(page)
    }
    assert len(ROW.findall(page)) == len(found)
    return found


def test_every_row_of_the_slides_is_there_with_its_words_in_both_languages() -> None:
    rows = rows_of()
    assert list(rows) == list(range(1, ROWS + 1))
    for number, cells in rows.items():
        assert len(cells) == 5, number
        assert re.search(r"[\u4e00-\u9fff]|EaaS|API|MPC|SM2", cells[0]), number
        assert cells[1], number
        assert cells[2] in {"●", "◐", "○"}, number


def test_what_is_shown_is_shown_by_a_command_or_a_test_and_a_gap_is_named() -> None:
    for number, (_, _, state, shown, missing) in rows_of().items():
        if state != "○":
            assert TEST.search(shown) or COMMAND.search(shown), number
        if state != "●":
            assert missing, number


@pytest.mark.parametrize("page", ["coverage.md", "compliance.md", "stages.md"])
def test_tests_that_a_page_names_exist(page: str) -> None:
    named = TEST.findall((DOCS / page).read_text(encoding="utf-8"))
    assert named
    for path, function in named:
        assert (ROOT / path).is_file(), path
        if function:
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), function


@pytest.mark.parametrize("page", ["coverage.md", "security-cost.md", "dataspaces.md"])
def test_commands_that_a_page_names_exist(page: str) -> None:
    for words in COMMAND.findall((DOCS / page).read_text(encoding="utf-8")):
        command = get_command(app)
        for word in words.split(" --")[0].split():
            command = getattr(command, "commands", {}).get(word)
            assert command is not None, words
        assert words


@pytest.mark.parametrize("page", ["coverage.md", "dataspaces.md", "stages.md", "security-cost.md"])
def test_pages_that_a_page_links_exist(page: str) -> None:
    for path in LINK.findall((DOCS / page).read_text(encoding="utf-8")):
        assert path in MADE or (DOCS / path).is_file(), path
