"""Which numbers may be told: owners who subtract, customers counted twice, tariffs that isolate."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.messages import RosterManifest
from gridsecure.periods import billing_month
from gridsecure.plans.cells import (
    ALL_MEASURES,
    BILLS,
    ENERGY,
    MEASURES,
    MONEY,
    NO_MEASURES,
    WHOLE,
    CellCrowds,
    Member,
    Minima,
    ToldSet,
    cell_sets,
    is_enough,
    may_tell,
    money_keys,
    roster_members,
    thin,
)
from gridsecure.plans.load_curve import lay_out_cells
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.grid_simulator import FLAT, TIERS
from tests.held_policy import APART, BY_MEASURE, FEWEST, told

HOME = ("futian", "household")
JULY = billing_month(2026, 7, timezone="Asia/Shanghai")


def members(owner: str, count: int, *, counted: int | None = None) -> list[Member]:
    """Members of one owner, the first of which count."""
    counts = count if counted is None else counted
    return [Member(f"{owner}-{n}", owner, n < counts) for n in range(count)]


def roster(name: str, count: int, **changes: object) -> RosterManifest:
    facts = {
        "roster_id": name,
        "gateway_id": name * 64,
        "domain": "test",
        "tariff": "0" * 64,
        "pseudonyms": [f"{name}-{n}" for n in range(count)],
        "zones": [HOME[0]] * count,
        "customer_classes": [HOME[1]] * count,
        "household_quota_wh": [0] * count,
        "contracted_va": [0] * count,
    }
    return RosterManifest(**(facts | changes))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (members("a", 15), True),
        (members("a", 14), False),
        ([], False),
        (members("a", 16) + members("b", 1), False),
        (members("a", 16) + members("b", 14), False),
        (members("a", 15) + members("b", 15), True),
        (members("a", 1) + members("b", 1) + members("c", 14), False),
        (members("a", 8) + members("b", 8) + members("c", 8), True),
        (members("a", 40, counted=14), False),
        (members("a", 30) + members("b", 30, counted=14), False),
        (members("a", 15) + members("b", 1, counted=0), False),
    ],
)
def test_for_every_owner_the_others_are_enough_or_none(found: list[Member], expected: bool) -> None:
    assert is_enough(found, minimum=FEWEST) is expected


def test_a_rogue_cannot_pad_the_cell_of_a_victim() -> None:
    """Sixteen of its own beside the victim's one: total minus own is the victim's."""
    (cell,) = lay_out_cells([roster("v", 1), roster("r", 16)], minima=APART).cells
    assert (cell.members, cell.is_released) == (17, False)


def test_gateways_of_one_owner_count_as_one() -> None:
    parts = [roster(name, 8, owner="utility") for name in ("a", "b")]
    assert lay_out_cells(parts, minima=APART).cells[0].is_released
    assert not lay_out_cells([roster("a", 8), roster("b", 8)], minima=APART).cells[0].is_released


def test_a_customer_counts_once() -> None:
    counted = [n < 14 for n in range(20)]
    assert not lay_out_cells([roster("a", 20, counted=counted)], minima=APART).cells[0].is_released
    assert (
        lay_out_cells([roster("a", 20, counted=[True, *counted[:-1]])], minima=APART)
        .cells[0]
        .is_released
    )


def rows(*parts: RosterManifest) -> list[tuple[tuple[str, str], Member, object]]:
    return [
        (HOME, member, (part.tariff, part.household_quota_wh[slot]))
        for part in parts
        for slot, member in enumerate(roster_members(part))
    ]


def test_one_household_on_another_price_has_no_money_told() -> None:
    """Energy and money of 19 on one price and one on another are two equations."""
    odd = roster("b", 1, tariff="1" * 64, owner="utility")
    sets = cell_sets(rows(roster("a", 19, owner="utility"), odd))
    assert sets[HOME].list_withheld(minima=BY_MEASURE) == {MONEY}
    assert sets[HOME].list_told(frozenset({MONEY}), minima=BY_MEASURE) == tuple(
        told(sets[HOME].cell)
    )
    many = roster("b", 15, tariff="1" * 64, owner="utility")
    sets = cell_sets(rows(roster("a", 19, owner="utility"), many))
    assert sets[HOME].list_withheld(minima=BY_MEASURE) == NO_MEASURES
    few = cell_sets(rows(roster("a", 14)))
    assert few[HOME].list_withheld(minima=BY_MEASURE) == ALL_MEASURES


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 16), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.dictionaries(st.sampled_from(MEASURES), st.sampled_from((5, 15, 30))),
)
def test_counted_members_withhold_what_remembered_ones_do(
    groups: list[tuple[str, str, int, bool]], minima: dict[str, int]
) -> None:
    """Owners, tariffs and who counts, in any mixture: the vault keeps counts and no names."""
    crowds, found = CellCrowds(), []
    for number, (owner, key, count, counts) in enumerate(groups):
        for n in range(count):
            member = Member(f"{number}-{n}", owner, counts)
            crowds.add(member, key)
            found.append((HOME, member, key))
    sets = cell_sets(found)[HOME]
    assert crowds.list_withheld(minima=minima) == sets.list_withheld(minima=minima)
    assert len(crowds.cell) == len(sets.cell)


def test_a_number_of_bills_says_of_no_cell_that_it_kept_a_limit() -> None:
    cell = cell_sets(rows(roster("a", 19)))[HOME]
    by_limit = {"minima": BY_MEASURE, "limit": 15}
    assert {one.limit for one in cell.list_told(NO_MEASURES, **by_limit)} == {15}
    assert {one.limit for one in cell.list_told(frozenset({MONEY}), **by_limit)} == {15}
    assert {one.limit for one in cell.list_told(frozenset({ENERGY, MONEY}), **by_limit)} == {100}


def test_what_money_depends_on_is_told_apart_where_it_enters() -> None:
    flat, tiers = (load_tariff(catalogue_tariffs()[name]) for name in (FLAT, TIERS))
    part = roster("a", 2, household_quota_wh=[0, 100_000], contracted_va=[0, 5_000])
    assert len(set(money_keys(part, tariff=tiers, period=JULY))) == 2
    assert len(set(money_keys(part, tariff=flat, period=JULY))) == 1


names = st.frozensets(st.integers(0, 70).map(str))


def held(found: frozenset[str]) -> frozenset[Member]:
    return frozenset(Member(name, "utility", True) for name in found)


@given(st.lists(names, max_size=3), names)
def test_no_atom_of_a_cell_is_ever_smaller_than_the_minimum(
    sets: list[frozenset[str]], candidate: frozenset[str]
) -> None:
    """Whatever is admitted in whatever order, parts that were summed have enough members."""
    cell = frozenset(map(str, range(60)))
    admitted = [cell]
    for found in [*sets, candidate]:
        inside = found & cell
        if may_tell(told(held(inside)), told=told(*map(held, admitted))):
            admitted.append(inside)
    parts: dict[tuple[bool, ...], int] = {}
    for name in cell:
        key = tuple(name in found for found in admitted)
        parts[key] = parts.get(key, 0) + 1
    assert min(parts.values()) >= FEWEST


@given(st.randoms(use_true_random=False))
def test_of_thinned_sets_the_same_may_be_told(random: Random) -> None:
    """Whatever some sets are held to, whoever owns their members, and who is seated anew."""
    homes = [Member(str(n), random.choice("aab"), random.random() < 0.9) for n in range(24)]
    sets = [
        frozenset(
            one._replace(counts=False) if random.random() < 0.02 else one
            for one in homes[random.randrange(8) : random.randrange(8, 25)]
        )
        for _ in range(random.randrange(1, 6))
    ]
    left = thin(sets, most=3)
    some = [ToldSet(own, random.randrange(4), random.choice([15, WHOLE])) for own in sets]
    few = [one._replace(members=left[one.members]) for one in some]
    at, is_compared = random.randrange(len(some)), random.random() < 0.5
    expected = may_tell(some[at:], told=some[:at], is_compared=is_compared)
    assert may_tell(few[at:], told=few[:at], is_compared=is_compared) is expected


def test_thinning_leaves_of_every_atom_what_is_enough() -> None:
    cell, part = frozenset(members("a", 500)), frozenset(members("a", 100))
    left = thin([cell, part], most=15)
    assert (len(left[part]), len(left[cell])) == (15, 30)
    assert left[part] < left[cell] < cell


def test_the_rule_on_a_few_sets() -> None:
    quarters = [held(frozenset(map(str, range(n, n + 15)))) for n in range(0, 60, 15)]
    before = [frozenset().union(*quarters)]
    for quarter in quarters:
        assert may_tell(told(quarter), told=told(*before))
        before.append(quarter)
    assert may_tell(told(quarters[0] | quarters[2]), told=told(*before))
    assert not may_tell(told(quarters[0] | held(frozenset({"15"}))), told=told(*before))
    assert not may_tell(told(frozenset()), told=[])
    assert may_tell(told(quarters[0]), told=[])


def test_an_atom_needs_the_largest_minimum_of_the_sets_it_lies_in() -> None:
    whole = held(frozenset(map(str, range(120))))
    part = held(frozenset(map(str, range(20))))
    months, hours = ToldSet(whole, 15), ToldSet(whole, 100)
    assert may_tell([ToldSet(part, 15)], told=[months])
    assert not may_tell([ToldSet(part, 15)], told=[hours]), "hours of 20 would follow"
    # Months of both parts are told; hours of the whole could be taken apart by them.
    assert not may_tell([hours], told=[months, ToldSet(part, 15)])
    assert may_tell([hours], told=[months])


def test_a_raised_minimum_holds_for_what_old_numbers_would_tell_beside_new_ones() -> None:
    whole = held(frozenset(map(str, range(120))))
    most = held(frozenset(map(str, range(100))))
    old = ToldSet(whole, 15)
    assert may_tell([ToldSet(most, 15)], told=[old])
    assert not may_tell([ToldSet(most, 100)], told=[old]), "the other 20 would be what is left"
    # Whoever has nothing to do with it is not held to it, over however many sets.
    apart = ToldSet(held(frozenset(map(str, range(200, 220)))), 15)
    assert may_tell([ToldSet(whole, 100)], told=[old, apart])
    bridge = ToldSet(whole | apart.members, 15)
    assert not may_tell([ToldSet(whole, 100)], told=[old, apart, bridge])


def test_a_measure_that_is_not_permitted_is_withheld_and_the_rest_told() -> None:
    sets = cell_sets(rows(roster("a", 40)))[HOME]
    assert sets.list_withheld(minima={}) == ALL_MEASURES
    assert sets.list_withheld(minima={ENERGY: 15}) == {BILLS, MONEY}
    assert sets.list_withheld(minima={ENERGY: 41}) == ALL_MEASURES
    assert sets.list_withheld(minima={ENERGY: 15, MONEY: 41}) == {BILLS, MONEY}
    assert sets.list_withheld(minima={MONEY: 15}) == {BILLS, ENERGY}
    layout = lay_out_cells(
        [roster("a", 40)], minima=Minima({HOME[1]: {MONEY: 15}, "*": BY_MEASURE})
    )
    assert not layout.cells[0].is_released
