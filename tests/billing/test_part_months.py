"""Parts of a month: amounts and limits by hand, and what no rule divides."""

from __future__ import annotations

import numpy as np
import pytest

from gridsecure.billing.charges import exact_lines
from gridsecure.billing.part_months import (
    UNHELD_COLUMN,
    counts_days,
    divide_limit,
    is_divisible,
    weighs_days,
)
from gridsecure.billing.rules import line_rules
from gridsecure.billing.table_rows import Columns
from gridsecure.errors import InvalidTariffError
from gridsecure.periods import month_period
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff, parse_tariff
from tests.plans.element_tariffs import (
    ALL_BY_NAME,
    COMMERCE,
    LADDER_RATES,
    PARTS,
    ladder,
    part_month,
    rate,
    tariff,
)

JULY = month_period("2026-07", timezone="Asia/Shanghai")
FEN = 10**9


def fen(text: str, *, unheld: list[int], total_wh: int = 0) -> list[list[float]]:
    """Amounts of every line [fen], for holders of 100 kVA with so many days left out."""
    slots = len(unheld)
    contracts = {
        name: np.zeros(slots, dtype=np.int64)
        for name in ("household_quota_wh", "free_quota_wh", "contracted_va")
    }
    contracts["contracted_va"] += 100_000
    contracts[UNHELD_COLUMN] = np.array(unheld)
    settled = {name: np.full(slots, total_wh) for name in ("total_wh", "demand_w")}
    rows = Columns({**contracts, "service_from": [""] * slots})
    rules = line_rules(parse_tariff(text), JULY)
    _, amounts = exact_lines(rules, settlements=Columns(settled), contracts=rows, period=JULY)
    return (amounts / FEN).astype(float).tolist()


def test_a_day_costs_a_thirtieth_of_the_month_or_its_share_of_the_days():
    """22 yuan per kVA and month, 100 kVA, 31 days: for 31, 30, 16 and 0 days of them."""
    unheld = [0, 1, 15, 31]
    capacity = rate("energy", "1") + rate("capacity", "22", unit="kVA-month")
    _, thirtieths = fen(tariff("a", capacity, part_month("thirtieths")), unheld=unheld)
    assert thirtieths == pytest.approx([220_000, 220_000, 117_333.333_33, 0], abs=1e-4)
    _, by_days = fen(tariff("a", capacity, part_month("days")), unheld=unheld)
    assert by_days == pytest.approx([220_000, 212_903.225_80, 113_548.387_09, 0], abs=1e-4)
    _, by_day = fen(
        tariff("a", rate("energy", "1"), rate("standing", "0.4", unit="day")), unheld=unheld
    )
    assert by_day == [1_240, 1_200, 640, 0]


def test_limits_by_days_are_whole_kwh_and_a_whole_months_are_its_own():
    """260 kWh of 31 days: 16 are 134.19, 15 are 125.81; and 8 kWh a day are 8 for each day held."""
    contracts = Columns({UNHELD_COLUMN: np.array([0, 15, 16, 31])})
    limits = divide_limit(np.full(4, 260_000), contracts, period=JULY)
    assert limits.tolist() == [260_000, 134_000, 126_000, 0]
    odd = divide_limit(np.full(4, 260_500), contracts, period=JULY)
    assert odd.tolist()[0] == 260_500

    tiers = tariff("a", ladder("260", "600"), LADDER_RATES, part_month(limits="days"))
    first, second, third = fen(tiers, unheld=[0, 15], total_wh=300_000)
    assert first == pytest.approx([26_000 * 0.617, 13_400 * 0.617])
    assert second == pytest.approx([4_000 * 0.667, 16_600 * 0.667])  # 600 are 310 of 16 days
    assert third == [0, 0]


@pytest.mark.parametrize(
    ("name", "held"),
    [
        *((name, set()) for name in PARTS),
        ("daily-limits", set()),
        ("feed-in", set()),
        ("pro-rata", {"share"}),
        ("annual", {"tier-part"}),
        ("chronological", {"split"}),
        ("free-quota", {"tier-part", "quota"}),
        ("minimum", {"contract", "minimum"}),
        ("demand", {"demand", "discount"}),
        ("ratchet", {"own-demand", "ratchet"}),
        ("power-factor", {"contract"}),
        ("kva-tier", {"contract", "tier-part"}),
        ("dynamic", {"dynamic"}),
    ],
)
def test_what_has_no_rule_is_held(name, held):
    rules = line_rules(parse_tariff(ALL_BY_NAME[name]), JULY)
    assert {rule.basis for rule in rules if not is_divisible(rule, rules)} == held


def test_a_power_factor_on_what_is_divided_is_held():
    factor = '\n[power_factor]\nstandard = "0.90"\nsource = "made-up"\n'
    text = tariff(
        "a", COMMERCE, rate("capacity", "22", unit="kVA-month"), factor, part_month("thirtieths")
    )
    rules = line_rules(parse_tariff(text), JULY)
    assert {r.basis for r in rules if not is_divisible(r, rules)} == {"power-factor"}


def test_days_are_told_only_where_a_bill_depends_on_them():
    def of(text: str) -> tuple[bool, bool]:
        rules = line_rules(parse_tariff(text), JULY)
        return counts_days(rules), weighs_days(rules)

    assert of(ALL_BY_NAME["feed-in"]) == (False, False)
    assert of(PARTS["part-whole-limits"]) == (False, False)
    assert of(tariff("a", rate("energy", "1"), rate("meter", "0.1", unit="day"))) == (True, False)
    assert of(PARTS["part-power-factor"]) == (True, False)
    for name in ("part-tiers", "part-demand", "part-daily"):
        assert of(PARTS[name]) == (True, True)


def test_tiers_that_ship_are_divided_by_the_rule_chosen_here_and_free_quotas_not_at_all():
    """None of their sources says what a limit is for a part of a month."""
    divided = {"shenzhen-residential-tiers": True, "shenzhen-residential-low-income": False}
    for name, is_divided in divided.items():
        rules = line_rules(load_tariff(catalogue_tariffs()[name]), JULY)
        assert all(is_divisible(rule, rules) for rule in rules) is is_divided


@pytest.mark.parametrize(
    "said", ['charges = "halves"', 'limits = "thirtieths"', "", 'more = "days"', "charges = 30"]
)
def test_a_rule_that_is_none_is_refused(said):
    text = tariff("a", rate("energy", "1"), f'\n[part_month]\n{said}\nsource = "made-up"\n')
    with pytest.raises(InvalidTariffError) as refused:
        parse_tariff(text)
    assert "part_month" in str(refused.value)
