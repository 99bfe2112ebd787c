"""The bill plan: encrypted equals plaintext, exactly, at every limit and beyond the range.

Every catalogue tariff goes through whole bills in `test_catalogue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridsecure.billing.charges import line_amounts, line_quantities
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import (
    CONTRACT,
    REGISTER,
    TIER_PART,
    TOTAL,
    LineRule,
    line_rules,
)
from gridsecure.billing.settlement_columns import register_column
from gridsecure.errors import InvalidTariffError, OutOfRangeError
from gridsecure.homomorphic.parameters import PARAMETER_SETS
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.periods import billing_month
from gridsecure.plans.bills import plan_bill, run_bill
from gridsecure.plans.needs import published_needs
from gridsecure.plans.quantities import (
    MAX_REGISTER_WH,
    MAX_TIER_WH,
    TOTAL_QUANTITY,
    register_quantity,
)
from gridsecure.plans.recombination import recombine_outputs
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.grid_simulator import grid_keys

PERIOD = billing_month(2026, 7, timezone="Asia/Shanghai")
TARIFFS = (
    "flat",
    "guangzhou-residential-peak-valley",
    "shenzhen-commercial-four-period",
    "shenzhen-residential-peak-valley",
    "shenzhen-residential-tiers",
)
LIMIT_WH = (0, 1, 259_999, 260_000, 260_001, 359_999, 360_000, 360_001, 600_000, 600_001, 700_001)


def contracts_of(slots: int, *, quotas: bool) -> pd.DataFrame:
    contracts = default_contracts([f"m{i}" for i in range(slots)])
    contracts["household_quota_wh"] = np.where(np.arange(slots) % 3 == 0, 100_000 * quotas, 0)
    contracts["contracted_va"] = 315_000
    return contracts


def settlements_of(total: NDArray[np.int64], tou_periods: tuple[str, ...]) -> pd.DataFrame:
    """The total spread over the registers, all but the last getting a share."""
    frame = pd.DataFrame({"total_wh": total})
    rest = total.copy()
    for name in tou_periods[:-1]:
        frame[register_column(name)] = rest // 3
        rest = rest - rest // 3
    for name in tou_periods[-1:]:
        frame[register_column(name)] = rest
    return frame


def values_of(
    settlements: pd.DataFrame, rules: Sequence[LineRule], tou_periods: tuple[str, ...] = ()
) -> dict[str, NDArray[np.int64]]:
    return settlement_values(
        settlements,
        rules=rules,
        tou_periods=tou_periods,
        contracted_va=np.zeros(len(settlements), dtype=np.int64),
    )


@pytest.mark.parametrize("tariff_id", TARIFFS)
@pytest.mark.parametrize("quotas", [False, True])
def test_encrypted_bills_equal_the_oracle(tariff_id: str, quotas: bool) -> None:
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    rules = line_rules(tariff, PERIOD)
    random = np.random.default_rng(7)
    total = np.concatenate([np.array(LIMIT_WH), random.integers(0, MAX_TIER_WH + 1, 40)])
    total = np.append(total, MAX_TIER_WH)
    contracts = contracts_of(len(total), quotas=quotas)
    settlements = settlements_of(total, tariff.tou_periods)
    quantities = line_quantities(rules, settlements=settlements, contracts=contracts, period=PERIOD)
    plan = plan_bill(rules, contracts=contracts, period=PERIOD)
    values = values_of(settlements, rules, tariff.tou_periods)
    keys = grid_keys().secret
    inputs = {
        need.quantity: keys[need.parameters.name].public.encrypt(
            values[need.quantity], high=need.high
        )
        for need in plan.needs
    }
    decrypted = {
        name: keys[column.evaluation.parameters.name].decrypt(column)
        for name, column in run_bill(plan, inputs=inputs).items()
    }
    lines = recombine_outputs(plan, values=decrypted)
    found, amounts = lines.quantities, lines.amounts
    encrypted = [line for line, rule in enumerate(rules) if rule.basis != CONTRACT]
    expected = line_amounts(rules, quantities=quantities)
    assert (found[encrypted] == quantities[encrypted]).all()
    assert (amounts[encrypted] == expected[encrypted]).all()


@settings(deadline=None)
@given(
    total=st.lists(st.integers(0, MAX_TIER_WH), min_size=1, max_size=8),
    first=st.integers(0, 2000),
    width=st.integers(1, 1739),  # with a household's quota of 100 kWh no limit is beyond 3,839 kWh
    rates=st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=3),
)
def test_any_ladder_equals_the_oracle_in_the_clear(
    total: list[int], first: int, width: int, rates: list[int]
) -> None:
    """The plan's own arithmetic, on integers that do not wrap: random limits and rates."""
    limits = [(0, first), (first, first + width), (first + width, None)]
    rules = [
        tier_rule(number, lower, upper, Decimal(rate).scaleb(-8))
        for number, ((lower, upper), rate) in enumerate(zip(limits, rates, strict=True), 1)
    ]
    contracts = contracts_of(len(total), quotas=True)
    settlements = pd.DataFrame({"total_wh": np.array(total, dtype=np.int64)})
    quantities = line_quantities(rules, settlements=settlements, contracts=contracts, period=PERIOD)
    plan = plan_bill(rules, contracts=contracts, period=PERIOD)
    values = values_of(settlements, rules)
    inputs = {need.quantity: PlainColumn.of(values[need.quantity]) for need in plan.needs}
    results = {name: column.values for name, column in run_bill(plan, inputs=inputs).items()}
    moduli = {name: p.plain_modulus for name, p in PARAMETER_SETS.items()}
    assert all(0 <= v < max(moduli.values()) for column in results.values() for v in column)
    lines = recombine_outputs(plan, values=results)
    found, amounts = lines.quantities, lines.amounts
    assert (found == quantities).all()
    assert (amounts == line_amounts(rules, quantities=quantities.astype(object))).all()


def tier_rule(tier: int, lower: int, upper: int | None, rate: Decimal) -> LineRule:
    return LineRule(
        charge="energy",
        tou_period=None,
        tier=tier,
        basis=TIER_PART,
        rate=rate,
        unit="CNY/kWh",
        source="test",
        lower=Decimal(lower),
        upper=None if upper is None else Decimal(upper),
    )


def test_a_free_line_still_tells_its_quantity() -> None:
    rule = LineRule("energy", "peak", None, REGISTER, Decimal(0), "CNY/kWh", "test")
    plan = plan_bill([rule], contracts=contracts_of(2, quotas=False), period=PERIOD)
    inputs = {register_quantity("peak"): PlainColumn.of(np.array([5, 70]))}
    results = {name: column.values for name, column in run_bill(plan, inputs=inputs).items()}
    lines = recombine_outputs(plan, values=results)
    assert lines.quantities.tolist() == [[5, 70]]
    assert lines.amounts.tolist() == [[0, 0]]
    assert lines.energy_wh.tolist() == [5, 70]


def test_a_dear_rate_is_split_into_limbs_that_stay_in_range() -> None:
    dear = LineRule("energy", None, None, TOTAL, Decimal("9999.12345678"), "CNY/kWh", "test")
    plan = plan_bill([dear], contracts=contracts_of(1, quotas=False), period=PERIOD)
    assert len(plan.outputs) > 1
    assert all(out.factor * MAX_REGISTER_WH < 2**60 for out in plan.outputs)
    inputs = {TOTAL_QUANTITY: PlainColumn.of(np.array([MAX_REGISTER_WH]))}
    results = {name: column.values for name, column in run_bill(plan, inputs=inputs).items()}
    amounts = recombine_outputs(plan, values=results).amounts
    assert amounts[0, 0] == MAX_REGISTER_WH * 999_912_345_678


def test_limbs_that_disagree_are_not_billed() -> None:
    dear = LineRule("energy", None, None, TOTAL, Decimal("9999.12345678"), "CNY/kWh", "test")
    plan = plan_bill([dear], contracts=contracts_of(1, quotas=False), period=PERIOD)
    inputs = {TOTAL_QUANTITY: PlainColumn.of(np.array([1000]))}
    results = {name: column.values for name, column in run_bill(plan, inputs=inputs).items()}
    last = plan.outputs[-1]
    for wrong in (results[last.name] + 1, results[last.name] + last.factor):
        with pytest.raises(OutOfRangeError) as refused:
            recombine_outputs(plan, values={**results, last.name: wrong})
        assert refused.value.reason == "bill.inconsistent"


def test_limits_must_be_whole_kwh() -> None:
    rule = tier_rule(1, 0, None, Decimal(1))
    broken = tier_rule(2, 0, None, Decimal(1))
    object.__setattr__(broken, "lower", Decimal("33.5"))
    with pytest.raises(InvalidTariffError) as refused:
        plan_bill([rule, broken], contracts=contracts_of(1, quotas=False), period=PERIOD)
    assert refused.value.reason == "plan.limit"


def test_limits_beyond_the_digits_are_refused() -> None:
    rules = [tier_rule(1, 0, 3839, Decimal(1)), tier_rule(2, 3840, None, Decimal(1))]
    with pytest.raises(OutOfRangeError) as refused:
        plan_bill(rules, contracts=contracts_of(1, quotas=False), period=PERIOD)
    assert refused.value.reason == "plan.threshold"


@pytest.mark.parametrize("tariff_id", TARIFFS)
def test_a_gateway_publishes_all_a_plan_reads_and_the_plan_has_margin(tariff_id: str) -> None:
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    rules = line_rules(tariff, PERIOD)
    plan = plan_bill(rules, contracts=contracts_of(6, quotas=True), period=PERIOD)
    published = set(published_needs(rules, tou_periods=tariff.tou_periods))
    assert set(plan.needs) <= published
    assert plan.margin_bits >= 5
