"""What a shadow run may tell of a cell: counts as bounds, lines that moved, questions."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from gridsecure.billing.rules import CONTRACT, POWER_FACTOR, QUOTA, LineRule, line_rules
from gridsecure.errors import InputError
from gridsecure.periods import billing_month
from gridsecure.plans.cells import Member
from gridsecure.plans.previews import (
    bound_count,
    check_columns,
    count_questions,
    find_moved_lines,
    moves_hidden_limit,
)
from gridsecure.tariffs.elements import DemandRatchet, DynamicPrices
from gridsecure.tariffs.rows import DayRow
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, parse_tariff
from tests.held_policy import FEWEST

JULY = billing_month(2026, 7, timezone="Asia/Shanghai")
TEXT = catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8")


def rules(*edits: tuple[str, str]) -> tuple[LineRule, ...]:
    text = TEXT
    for edit in edits:
        assert edit[0] in text
        text = text.replace(*edit)
    return line_rules(parse_tariff(text), JULY)


def catalogue(name: str) -> tuple[LineRule, ...]:
    tariff = parse_tariff(catalogue_tariffs()[name].read_text(encoding="utf-8"))
    first = tariff.valid_from
    return line_rules(tariff, billing_month(first.year, first.month, timezone=tariff.timezone))


def cell(**points: int) -> list[Member]:
    return [Member(f"{own}{n}", own, True) for own, count in points.items() for n in range(count)]


@pytest.mark.parametrize("sizes", [{"a": 30}, {"a": 45}, {"a": 20, "b": 20}, {"a": 40, "b": 15}])
def test_a_bound_is_true_and_no_owner_can_sharpen_it(sizes: dict[str, int]) -> None:
    """Whatever number of each owner's bills change, and whoever takes its own away."""
    members = cell(**sizes)
    for counts in product(*(range(size + 1) for size in sizes.values())):
        chosen = [
            m for m in members if int(m.name[1:]) < dict(zip(sizes, counts, strict=True))[m.owner]
        ]
        least, most = bound_count(members, chosen=chosen, minimum=FEWEST)
        assert least <= len(chosen) <= most
        for own, count in (*zip(sizes, counts, strict=True), ("", 0)):
            others = len(members) - sizes.get(own, 0)
            if not others:
                continue
            # What is left for the others' changed bills, as the owner computes it.
            low, high = max(least - count, 0), min(most - count, others)
            if least == most:
                assert FEWEST <= low <= others - FEWEST
            else:
                assert min(FEWEST - 1, others) <= high - low


def test_who_does_not_count_widens_the_bound() -> None:
    members = [*cell(a=40), *(Member(f"more{n}", "a", False) for n in range(3))]
    assert bound_count(members, chosen=members[:2], minimum=FEWEST) == (0, 17)


def test_a_moved_price_asks_one_question_and_a_new_limit_another() -> None:
    old = rules()
    assert count_questions(old, old) == 1
    assert find_moved_lines(old, old) == []
    dearer = rules(('rate = "0.30"', 'rate = "0.35"'))
    assert [(line.key[2], line.is_new_limit) for line in find_moved_lines(old, dearer)] == [
        (3, False)
    ]
    assert count_questions(old, dearer) == 1
    other = rules(("upper_limit_kwh = 600", "upper_limit_kwh = 555"))
    assert {line.key[2]: line.is_new_limit for line in find_moved_lines(old, other)} == {
        2: False,  # its energy ends elsewhere
        3: True,
    }
    assert count_questions(old, other) == 2


def test_every_new_limit_of_a_ladder_is_a_question() -> None:
    old = rules()
    both = rules(
        ("upper_limit_kwh = 260", "upper_limit_kwh = 251"),
        ("upper_limit_kwh = 600", "upper_limit_kwh = 601"),
    )
    assert count_questions(old, both) == 3
    assert all(rule.lower in (Decimal(0), 251, 601) for rule in both)


def test_whatever_moves_under_a_power_factor_is_weighed_by_each_customers_own() -> None:
    old = catalogue("shenzhen-commercial-demand")
    assert not moves_hidden_limit(old, old)
    dearer = replace(old[0], rate=old[0].rate + 1)
    fee = replace(old[0], charge="customer", basis=CONTRACT)
    without = tuple(rule for rule in old if rule.basis != POWER_FACTOR)
    assert len(without) < len(old)
    for new in ((dearer, *old[1:]), (*old, fee), without):
        assert moves_hidden_limit(old, new)
        assert moves_hidden_limit(new, old)
    assert not moves_hidden_limit(without, (dearer, *without[1:], fee))


def test_a_free_quota_is_a_limit_that_no_line_shows() -> None:
    new = catalogue("shenzhen-residential-low-income")
    old = tuple(rule for rule in new if rule.basis != QUOTA)
    assert len(old) < len(new)
    assert count_questions(old, new) == 2
    assert moves_hidden_limit(old, new)
    assert moves_hidden_limit(new, old)
    first = replace(new[0], rate=new[0].rate + 1)
    assert not moves_hidden_limit(new, (first, *new[1:]))


def everything() -> Tariff:
    """A tariff of all that a gateway sums readings by, as no real one has it."""
    tariff = parse_tariff(
        catalogue_tariffs()["guangzhou-residential-peak-valley"].read_text(encoding="utf-8")
    )
    return replace(
        tariff,
        tier_convention="chronological",
        demand_windows=tariff.windows[:1],
        ratchet=DemandRatchet(Decimal("0.8"), (6, 7, 8), 11, "s"),
        dynamic=DynamicPrices(datetime(2026, 1, 1), timedelta(hours=1), (Decimal(1),), "s"),  # noqa: DTZ001 - local
    )


OLD = everything()
MOVED = replace(OLD.windows[0], to_minute=OLD.windows[0].to_minute - 60)
HIGHER = tuple(replace(t, upper_limit=t.upper_limit and t.upper_limit + 1) for t in OLD.tiers)
assert OLD.ratchet
assert OLD.dynamic
COLUMNS: list[tuple[str, dict[str, object]]] = [
    ("time zone", {"timezone": "Asia/Hong_Kong"}),
    ("time-of-use windows", {"windows": (MOVED, *OLD.windows[1:])}),
    ("demand windows", {"demand_windows": (MOVED,)}),
    ("day types", {"day_types": (*OLD.day_types, "hot")}),
    ("day types", {"days": (DayRow(date(2026, 7, 4), "weekday", "r"),)}),
    ("tiers by the order of time", {"tiers": HIGHER}),
    ("tiers by the order of time", {"tier_reset": "year"}),
    ("demand ratchet", {"ratchet": replace(OLD.ratchet, share=Decimal("0.7"))}),
    ("demand ratchet", {"ratchet": replace(OLD.ratchet, months=(6,))}),
    ("demand ratchet", {"ratchet": replace(OLD.ratchet, range_months=12)}),
    ("price intervals", {"dynamic": replace(OLD.dynamic, interval=timedelta(minutes=30))}),
]


@pytest.mark.parametrize(("name", "changes"), COLUMNS)
def test_other_columns_of_the_same_names_are_refused(name: str, changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"in its {name},") as refused:
        check_columns(OLD, tried=replace(OLD, **changes))
    assert refused.value.reason == "shadow.columns"


def test_prices_plain_limits_and_the_order_of_rows_may_differ() -> None:
    dearer = tuple(replace(rate, rate=rate.rate + 1) for rate in OLD.rates)
    prices = replace(OLD.dynamic, rates=(Decimal(2),))
    numbered = tuple(replace(window, row="other") for window in reversed(OLD.windows))
    check_columns(OLD, tried=replace(OLD, rates=dearer, dynamic=prices, windows=numbered))
    plain = replace(OLD, tier_convention="pro-rata")
    check_columns(plain, tried=replace(plain, tiers=HIGHER))
    without = {"windows": (), "demand_windows": (), "ratchet": None, "dynamic": None}
    check_columns(OLD, tried=replace(plain, **without))
    with pytest.raises(InputError, match="windows, demand windows, day types, tiers"):
        check_columns(replace(plain, **without), tried=OLD)
