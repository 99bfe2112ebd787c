"""The page of reason codes says what the code says, and other pages name no code besides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gridsecure.errors import NotFoundError
from gridsecure.wire.reasons import TABLE, Meaning, meanings_of, reason_codes, reasons_page
from tests.wire.reason_sources import table_text

ROOT = Path(__file__).parents[2]
WRITTEN = re.compile(r'reason="([a-z0-9-]+\.[a-z0-9.-]+)"')
QUOTED = re.compile(r"`([a-z-]+\.[a-z-]+)`")


def known() -> set[str]:
    return {meaning.code for meaning in reason_codes()}


def test_every_code_that_is_written_out_is_found():
    files = [path for room in ("src", "apps") for path in (ROOT / room).rglob("*.py")]
    written = {code for path in files for code in WRITTEN.findall(path.read_text("utf-8"))}
    assert len(written) > 200
    assert written - known() == set()


def test_the_table_is_what_the_code_says():
    assert TABLE.read_text("utf-8") == table_text(), "run `make reasons` and commit the table"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("service.failed", "Look into the log of the {service} service."),
        ("service.too-many", "Wait a minute, then try once more."),
    ],
)
def test_a_code_that_is_chosen_in_a_variable_is_found_with_its_remedy(code, remedy):
    assert [one.remedy for one in meanings_of(code)] == [remedy]


def test_a_code_of_whichever_service_failed_is_found():
    (found,) = meanings_of("platform.failed")
    assert found.message == "The {name} refused."
    assert "log of the {name}" in found.remedy


def test_a_code_made_of_parts_is_found_with_its_parts_in_braces():
    assert "tariff.{code}" in known()


PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "reasons.md")
"""That one is made of the codes when the documentation is built, maybe of earlier ones."""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_names_only_codes_that_exist(page: Path):
    """Of areas that the code has; `module.py` and `table.column` are others' words."""
    made = {code.split(".")[0] for code in known() if "{" in code}
    areas = {code.split(".")[0] for code in known()} - made
    named = {
        code
        for code in QUOTED.findall(page.read_text("utf-8"))
        if not code.endswith((".py", ".pem"))
    }
    assert {code for code in named if code.split(".")[0] in areas} - known() == set()


def test_the_page_has_every_code_once_with_what_to_do():
    page = reasons_page(
        [
            Meaning("a.b", "It *broke*.", "Mend it."),
            Meaning("a.b", "It fell.", ""),
            Meaning("a.c", "Off.", "On."),
        ]
    )
    assert page.count("## a\n") == 1
    assert page.count("### `a.b`") == page.count("### `a.c`") == 1
    assert r"- It \*broke\*. *What to do:* Mend it." in page
    assert "- It fell." in page


def test_a_code_says_what_it_means_whether_written_out_or_made_of_parts():
    assert [one.remedy for one in meanings_of("not-found.reason")] == [
        "Copy it whole from the error."
    ]
    assert all("be reached" in one.message for one in meanings_of("platform.unreachable"))
    assert {one.code for one in meanings_of("tariff.never-heard-of")} == {"tariff.{code}"}


@pytest.mark.parametrize(
    "code", ["", "{x}.y", "tariff", "nothing.of.the.kind", "../errors", "a" * 99]
)
def test_what_is_no_code_has_no_meaning(code):
    with pytest.raises(NotFoundError) as caught:
        meanings_of(code)
    assert caught.value.reason == "not-found.reason"


def test_every_code_has_an_anchor_of_its_own():
    anchors = re.findall(r"^\(([a-z0-9-]+)\)=$", reasons_page(reason_codes()), re.MULTILINE)
    assert len(anchors) > 200
    assert len(set(anchors)) == len(anchors)
