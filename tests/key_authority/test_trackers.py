"""Trackers: totals that differ by one household, asked for in every way that there is.

Each goes through the real ledger, and what comes out is searched as linear equations
(`test_row_space`): without its rule, a combination of released numbers is about one household, or
about fewer than their minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridsecure.plans.execution import roster_data
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.key_authority.test_row_space import (
    DAYS,
    MERGING,
    TARIFFS,
    Month,
    Upload,
    begun,
    in_zones,
    is_clean,
    new_rows,
    smallest_told,
)

COMPARED = cut(
    "gridsecure.key_authority.checker.ledger:_compare",
    "if number in found and matters:",
    "if False:",
)
"""Nothing is compared with anything that was told before, neither before the vault nor after it."""


@pytest.fixture
def month(tmp_path: Path) -> Iterator[Month]:
    """A month of one utility, in which nothing has happened yet."""
    with begun(0, tmp_path, owners="a") as made:
        yield made


def tell(month: Month, release: Callable[[], None], attacked: Attacked) -> None:
    """The release that would close a tracker: nothing is told by it, or a household is."""
    assert is_clean(month)
    attacked.ends(None if new_rows(month, release) else WITHHELD)


def tell_days(month: Month, arrived: list[Upload], attacked: Attacked) -> None:
    """The same of load curves of every day."""

    def every_day() -> None:
        for day in range(DAYS):
            month.release_load_curve(arrived, day=day)

    tell(month, every_day, attacked)


@attack(
    "one household by a month's total and its days with one household more",
    rule("A cell is told of only beside all that was told of its members.", WITHHELD, COMPARED),
)
def test_a_month_and_its_days_with_one_more(month: Month, attacked: Attacked) -> None:
    first, late = month.arrive(40), month.arrive(1)
    month.release_bills([first])

    tell_days(month, [first, late], attacked)
    assert smallest_told(month, known_to="") == (1 if attacked.goes_through else None)


@attack(
    "a late group of three by the next list and a part of it",
    rule("A cell is told of only beside all that was told of its members.", WITHHELD, COMPARED),
)
def test_a_late_group_by_its_complement(month: Month, attacked: Attacked) -> None:
    """The three were told of together with sixteen; the sixteen alone leave the three."""
    few, more = month.arrive(3), month.arrive(16)
    month.release_bills([few, more])
    assert len(month.rows) == 2

    tell_days(month, [more], attacked)
    assert smallest_told(month, known_to="") == (3 if attacked.goes_through else None)


@attack(
    "nine of a district by a merged cell and the next list's own one",
    rule(
        "Told sets are compared by whom they have in common, whatever their cells are called.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:_compare",
            "find_joined([*cells.values(), *(one.told.members for one in known)])",
            "list(range(len(cells) + len(known)))",
        ),
    ),
)
def test_a_district_by_a_merged_cell(month: Month, attacked: Attacked) -> None:
    """Eighteen of two districts are merged; then one of the districts has enough for itself."""
    month.merging = MERGING
    few = month.arrive(18)
    few = month.uploads[-1] = (few[0], in_zones(few[1], ["futian"] * 9 + ["luohu"] * 9))
    month.release_bills([few])
    more = month.arrive(20)
    more = month.uploads[-1] = (more[0], in_zones(more[1], ["luohu"] * 20))
    month.release_bills([more])

    tell_days(month, [few, more], attacked)
    assert smallest_told(month, known_to="") == (9 if attacked.goes_through else None)


@attack(
    "one household on a tariff of its own by energy and money of its cell",
    rule(
        "Money is told only where every part that is billed by a function of its own is enough.",
        WITHHELD,
        cut(
            "gridsecure.plans.cells:cell_sets",
            "tuple(map(frozenset, found.pop(place).values()))",
            "(frozenset().union(*found.pop(place).values()),)",
        ),
    ),
)
def test_two_measures_as_equations(month: Month, attacked: Attacked) -> None:
    """The others' money follows from the days' energies, which are told; what is left is one's."""
    flat, tiers = sorted(TARIFFS)
    first, lone = (
        (digest, roster_data(data.roster.model_copy(update={"tariff": tariff}), data.upload))
        for (digest, data), tariff in ((month.arrive(39), flat), (month.arrive(1), tiers))
    )
    month.uploads[:] = [first, lone]
    for day in range(DAYS):
        month.release_load_curve([first, lone], day=day)
    assert is_clean(month)
    told = new_rows(month, lambda: month.release_bills([first, lone]))
    assert told[0] == 40, "energy is told in any case"
    attacked.ends(None if len(told) == 2 else WITHHELD)
    assert smallest_told(month, known_to="") == (1 if attacked.goes_through else None)


@attack(
    "one household by the bills of sixteen and the first bills of fifteen under other names",
    rule(
        "Nothing is told of whoever has other days of a month than it was first billed by.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.told_cells:_moved_cells",
            "in data.upload.moved_slots",
            "in ()",
        ),
    ),
)
def test_bills_of_the_same_homes_under_other_names(month: Month, attacked: Attacked) -> None:
    """No member is in both, so nothing that the ledger compares shows that the homes are."""
    first = month.arrive(16)
    month.release_bills([first])
    again = month.move(first, slots=range(15))
    tell(month, lambda: month.release_bills([again]), attacked)
    assert again[0] in month.billed, "issued whatever is told"
    assert smallest_told(month, known_to="") == (1 if attacked.goes_through else None)


@attack(
    "one household by bills taken back, and others of the same homes issued before",
    rule(
        "Nothing is told of the difference of whoever has other days than before.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.told_cells:_moved_corrections",
            "in corrected & moved",
            "in ()",
        ),
    ),
)
def test_bills_taken_back_of_homes_told_under_other_names(month: Month, attacked: Attacked) -> None:
    """A day of a move was wrong: what sixteen pay less, fifteen of the same homes pay more."""
    first, others = month.arrive(16), month.arrive(15)
    month.release_bills([first, others])
    fewer, more = first[1].roster.pseudonyms, others[1].roster.pseudonyms
    month.release_correction([others], slots=range(15), moved=range(15))
    is_told = new_rows(
        month, lambda: month.release_correction([first], slots=range(16), moved=range(16))
    )
    attacked.ends(None if is_told else WITHHELD)
    # What one home's second name has more is what its first has less.
    homes = dict(zip(more, fewer, strict=False))
    for row in month.rows[2:]:
        for who, version, day in [key for key in row if key[0] in homes]:
            row[homes[who], version, day] = -row.pop((who, version, day))
    assert smallest_told(month, known_to="") == (1 if attacked.goes_through else None)
