"""Many groups of one question, joined by what was told before: looked at together first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gridsecure.key_authority.checker import ledger
from gridsecure.key_authority.checker.ledger import (
    Basis,
    KnownSet,
    withhold_beside,
)
from gridsecure.plans import cells
from gridsecure.plans.cells import ENERGY, CellSets, Member, Place, ToldSet
from gridsecure.plans.merging import Merged

SIZE, MINIMUM = 16, 15


def group(number: int) -> list[Member]:
    return [Member(f"{number:03d}/{n:02d}", "utility", counts=True) for n in range(SIZE)]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[set[Place], int]]:
    """Look at some groups of a city of which all was told; those withheld, and how many looks."""

    def looked(groups: Sequence[list[Member]], *, most: int | None) -> tuple[set[Place], int]:
        city = [member for number in range(len(groups)) for member in group(number)]
        told = [KnownSet("month", ToldSet(frozenset(city), MINIMUM))]
        times = []

        def counting(*given: Any, **named: Any) -> bool:
            times.append(given)
            return real(*given, **named)

        real = cells.may_tell
        with monkeypatch.context() as patched:
            patched.setattr(ledger, "may_tell", counting)
            patched.setattr(cells, "may_tell", counting)
            sets = {("query", f"{n:03d}"): CellSets(frozenset(own)) for n, own in enumerate(groups)}
            found = withhold_beside(
                told,
                sets,
                merged=Merged({}, {place: {ENERGY: MINIMUM} for place in sets}),
                basis=Basis(is_compared=False),
                most=most,
            )
        return set(found), len(times)

    return looked


def test_groups_that_may_all_be_told_are_looked_at_once(look):
    groups = [group(number) for number in range(60)]
    assert look(groups, most=50) == (set(), 1)
    assert look(groups, most=None)[0] == set()


def test_of_few_groups_the_one_that_may_not_be_told_is_withheld(look):
    groups = [group(0)[1:], *(group(number) for number in range(1, 40))]
    last = {("query", "039")}  # with it, one member of the city would be left
    assert look(groups, most=50)[0] == look(groups, most=None)[0] == last


def test_of_many_groups_none_is_told_where_one_may_not_be(look):
    groups = [group(0)[1:], *(group(number) for number in range(1, 60))]
    withheld, looks = look(groups, most=50)
    assert (len(withheld), looks) == (60, 1)
