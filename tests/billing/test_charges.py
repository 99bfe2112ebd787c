from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.charges import line_amounts
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.limits import OPEN_LIMIT_WH, tier_limits_wh
from gridsecure.billing.rules import (
    LineRule,
    line_rules,
    rate_units,
)
from gridsecure.errors import InputError
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff, parse_tariff
from tests.billing.bill_inputs import SHANGHAI, catalogue_text

JULY = billing_month(2025, 7, timezone=SHANGHAI)
JANUARY = billing_month(2026, 1, timezone=SHANGHAI)


def test_the_lines_are_those_of_the_rate_rows_with_the_months_limits() -> None:
    tariff = load_tariff(catalogue_tariffs()["shenzhen-residential-peak-valley"])
    described = [
        (r.charge, r.tou_period, r.tier, r.basis, r.lower, r.upper)
        for r in line_rules(tariff, JULY)
    ]
    assert described == [
        ("energy", "peak", None, "register", 0, None),
        ("energy", "flat", None, "register", 0, None),
        ("energy", "valley", None, "register", 0, None),
        ("tier-adder", None, 2, "tier-part", 260, 600),
        ("tier-adder", None, 3, "tier-part", 600, None),
    ]
    winter = [(r.lower, r.upper) for r in line_rules(tariff, JANUARY) if r.tier]
    assert winter == [(200, 400), (400, None)]


def test_total_and_contract_lines() -> None:
    tariff = load_tariff(catalogue_tariffs()["flat"])
    assert [rule.basis for rule in line_rules(tariff, JULY)] == ["total"]
    commercial = load_tariff(catalogue_tariffs()["shenzhen-commercial-four-period"])
    assert line_rules(commercial, JULY)[-1].basis == "contract"


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "valid"),
    [
        ("2025-07-01", "2025-08-01", True),
        ("2025-07-02", "2025-12-01", False),
        ("2025-01-01", "2025-07-31", False),
        ("2025-08-01", "2025-09-01", False),
    ],
)
def test_a_tariff_bills_only_periods_wholly_inside_its_validity(
    valid_from: str, valid_to: str, *, valid: bool
) -> None:
    text = catalogue_text("flat").replace(
        "valid_from = 2021-10-01", f"valid_from = {valid_from}\nvalid_to = {valid_to}"
    )
    tariff = parse_tariff(text)
    if valid:
        assert len(line_rules(tariff, JULY)) == 1
        return
    with pytest.raises(InputError, match="2025-07") as caught:
        line_rules(tariff, JULY)
    assert caught.value.reason == "tariff.not-valid"


@pytest.mark.parametrize("days", [(0, 62), (1, 31), (0, 30)])
def test_a_period_that_is_not_one_local_month_is_refused(days: tuple[int, int]) -> None:
    first, last = (JULY.start + timedelta(days=day) for day in days)
    with pytest.raises(InputError) as caught:
        line_rules(load_tariff(catalogue_tariffs()["flat"]), BillingPeriod(start=first, end=last))
    assert caught.value.reason == "period.not-a-month"


def test_a_period_in_another_zone_is_the_same_month() -> None:
    tariff = load_tariff(catalogue_tariffs()["shenzhen-residential-tiers"])
    utc = BillingPeriod(start=JULY.start.astimezone(UTC), end=JULY.end.astimezone(UTC))
    assert line_rules(tariff, utc) == line_rules(tariff, JULY)


def test_a_quota_moves_both_limits_and_never_the_floor() -> None:
    rules = line_rules(load_tariff(catalogue_tariffs()["shenzhen-residential-tiers"]), JULY)
    contracts = default_contracts(["A", "B"]).assign(household_quota_wh=np.array([0, 100_000]))
    limits = [
        [side.tolist() for side in tier_limits_wh(rule, contracts, period=JULY)] for rule in rules
    ]
    assert limits == [
        [[0, 0], [OPEN_LIMIT_WH, OPEN_LIMIT_WH]],
        [[260_000, 360_000], [600_000, 700_000]],
        [[600_000, 700_000], [OPEN_LIMIT_WH, OPEN_LIMIT_WH]],
    ]


def test_the_first_tier_of_a_priced_ladder_starts_at_zero_for_everyone() -> None:
    rule = LineRule(
        charge="energy",
        tou_period=None,
        tier=1,
        basis="tier-part",
        rate=Decimal("0.5"),
        unit="CNY/kWh",
        source="s",
        upper=Decimal("100.5"),
    )
    contracts = default_contracts(["A"]).assign(household_quota_wh=np.array([100_000]))
    lower, upper = tier_limits_wh(rule, contracts, period=JULY)
    assert (lower.tolist(), upper.tolist()) == ([0], [200_500])


@given(rate=st.decimals(min_value=-1_000_000, max_value=1_000_000, places=8))
def test_rate_units_are_exact(rate: Decimal) -> None:
    assert Fraction(rate_units(rate), 10**8) == Fraction(rate)


def test_a_rate_beyond_eight_decimals_or_infinite_is_a_programming_mistake() -> None:
    for rate in ("0.000000001", "Infinity"):
        with pytest.raises(ValueError, match="8 decimals"):
            rate_units(Decimal(rate))


def rule_of(rate: str) -> LineRule:
    return LineRule(
        charge="energy",
        tou_period=None,
        tier=None,
        basis="total",
        rate=Decimal(rate),
        unit="CNY/kWh",
        source="s",
    )


@given(
    quantities=st.lists(st.integers(0, 2**63 - 1), max_size=5),
    rate=st.decimals(min_value=-1000, max_value=1000, places=8),
)
def test_amounts_are_exact_in_and_beyond_63_bits(quantities: list[int], rate: Decimal) -> None:
    amounts = line_amounts([rule_of(str(rate))], quantities=np.array([quantities], dtype=np.int64))
    assert amounts.tolist() == [[quantity * rate_units(rate) for quantity in quantities]]


def test_the_dtype_follows_the_bound() -> None:
    def dtype_of(quantity: int) -> np.dtype[np.generic]:
        return line_amounts([rule_of("0.00000002")], quantities=np.array([[quantity]])).dtype

    assert dtype_of(2**62 - 1).kind == "i"
    assert dtype_of(2**62).kind == "O"


def test_no_lines_and_no_meter_points_are_fine() -> None:
    assert line_amounts([], quantities=np.zeros((0, 3), dtype=np.int64)).shape == (0, 3)
    assert line_amounts([rule_of("1")], quantities=np.zeros((1, 0), dtype=np.int64)).shape == (1, 0)
