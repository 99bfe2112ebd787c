"""The library reference: public modules are on its pages, and docstrings read as written."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest
from docutils.core import publish_doctree

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs" / "api_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_module_of_a_room_is_on_its_page(pages: ModuleType) -> None:
    texts = pages.api_pages()
    for room in pages.ROOMS:
        modules = [path.stem for path in (ROOT / "src/gridsecure" / room).glob("[a-z]*.py")]
        named = [stem for stem in modules if f"gridsecure.{room}.{stem}" in texts[f"{room}.rst"]]
        assert named, room
    assert "gridsecure.tariffs.urdb.conversion" in texts["tariffs.rst"]
    assert "gridsecure.errors" in texts["foundations.rst"]
    assert all(room in texts["index.rst"] for room in pages.ROOMS)


def test_a_page_of_a_room_that_is_gone_disappears(pages: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "gone.rst").write_text("Gone\n====\n")
    pages.write_api_pages(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(pages.api_pages())


@pytest.mark.parametrize(
    ("docstring", "read"),
    [
        ("One `code` and `Column`s.", "One code and Columns."),
        ("Split over `two\nlines`.", "Split over two\nlines."),
        ("At most |v| * 2, a name_ and 2**63.", "At most |v| * 2, a name_ and 2**63."),
        ("Invariants:\n- one\n- two", "Invariants:\n\none\n\ntwo"),
        ("1. first\n   goes on\n2. second", "first\ngoes on\n\nsecond"),
        ("As:\n\n    x = |y|\n\nDone.", "As:\n\nx = |y|\n\nDone."),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |"),
    ],
)
def test_a_docstring_reads_as_it_was_written(pages: ModuleType, docstring: str, read: str) -> None:
    told = io.StringIO()
    rst = "\n".join(pages.as_rst(docstring.split("\n")))
    tree = publish_doctree(rst, settings_overrides={"warning_stream": told, "report_level": 1})
    assert told.getvalue() == ""
    assert tree.astext().strip() == read


def test_sections_are_left_for_napoleon(pages: ModuleType) -> None:
    lines = ["What it does.", "", "Args:", "    one: The `first`.", "", "Raises:", "    X: Never."]
    assert pages.as_rst(lines)[-5:] == ["Args:", "    one: The ``first``.", *lines[-3:]]
