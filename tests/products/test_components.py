"""The component library: a card for all that is registered, which changes when its plan does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError
from gridsecure.homomorphic.counting import ADD_ARRAY
from gridsecure.messages import sign_message
from gridsecure.products import components, references
from gridsecure.products.components import (
    SORTS,
    ComponentCard,
    ComponentLibrary,
    compare_libraries,
    component_words,
    list_components,
    make_library,
    open_library,
)
from gridsecure.queries.forms import NOT_COMPUTABLE

PAGE = Path(__file__).parents[2] / "docs" / "workshop.md"


@pytest.fixture(scope="module")
def library() -> ComponentLibrary:
    return make_library()


def card_of(library: ComponentLibrary, sort: str, name: str) -> ComponentCard:
    return next(card for card in library.cards if (card.sort, card.name) == (sort, name))


def test_all_that_is_registered_has_a_card_and_words(library: ComponentLibrary) -> None:
    registered = {(sort, name) for sort, names in list_components().items() for name in names}
    assert {(card.sort, card.name) for card in library.cards} == registered
    words = {(sort, name) for sort, named in component_words().items() for name in named}
    assert words == registered
    assert {sort for sort, _ in registered} == set(SORTS)
    assert not {card.name for card in library.cards} & NOT_COMPUTABLE.keys()


def test_a_card_says_what_its_plan_does(library: ComponentLibrary) -> None:
    tier = card_of(library, "measure", "tier")
    assert tier.depth == 2
    assert tier.references[0].columns["tier:total"] > 0
    energy = card_of(library, "measure", "energy")
    assert [one.operations for one in energy.references] == [{ADD_ARRAY: 1}] * 3
    assert energy.references[0].largest == references.INTERVAL_BOUNDS_WH["household"]
    assert energy.minimum["strict"]["household"] == 100
    assert card_of(library, "measure", "bill").minimum["strict"]["household"] is None
    assert card_of(library, "statistic", "variance").parameters == []
    assert card_of(library, "statistic", "histogram").parameters == ["edges_kwh", "shown"]


def test_a_card_changes_when_its_plan_does(
    library: ComponentLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert compare_libraries(library, make_library()) == []
    monkeypatch.setitem(references.INTERVAL_BOUNDS_WH, "household", 2**15)  # type: ignore[arg-type] # a dictionary
    assert compare_libraries(library, make_library()) == [
        "measure energy", "plan load-curve", "plan query",
    ]  # fmt: skip
    monkeypatch.undo()
    other = tmp_path / "steps.py"
    other.write_text("another = 1\n")
    sources = components._sources
    changed = "gridsecure.queries.steps"
    monkeypatch.setattr(
        components, "_sources", lambda name: [(name, other)] if name == changed else sources(name)
    )
    assert compare_libraries(library, make_library()) == [
        "step day", "step hour", "step interval", "step month",
    ]  # fmt: skip


def test_a_library_is_its_makers(library: ComponentLibrary) -> None:
    maker, other = generate_private_key(), generate_private_key()
    envelope = sign_message(library, key=maker)
    assert open_library(envelope, maker=maker.public_key) == library
    with pytest.raises(AuthenticityError) as refused:
        open_library(envelope, maker=other.public_key)
    assert refused.value.reason == "components.signature"


def test_the_page_prints_what_components_tell(library: ComponentLibrary) -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [
        f"| {card.sort} `{card.name}` | {card.title_zh} | {card.leaks} | {card.leaks_zh} |"
        for card in library.cards
    ]
    table = [
        line for line in page.splitlines() if line.startswith(tuple(f"| {s} `" for s in SORTS))
    ]
    assert table == rows
