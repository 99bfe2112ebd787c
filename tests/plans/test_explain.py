"""What `plan explain` says is what the plan does: columns, bounds, refusals, and the cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import CONTRACT, MINIMUM, line_rules
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.counting import RELINEARISE, SCALE, SWITCH
from gridsecure.homomorphic.parameters import PARAMETER_SETS, PRODUCT, REGISTER, TIER
from gridsecure.periods import billing_month
from gridsecure.plans.bills import plan_bill, run_bill
from gridsecure.plans.explain import Explanation, explain
from gridsecure.plans.lines.registry import DIVISOR, describe_line
from gridsecure.plans.operation_costs import (
    ENCRYPT,
    OPERATION_MS,
    column_bytes_each,
    family,
    operation_ms,
)
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff, parse_tariff
from tests.grid_simulator import grid_keys
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS, ladder, rate, tariff

PERIOD = billing_month(2026, 7, timezone="Asia/Shanghai")
ALL = {**HOUSEHOLDS, **BUSINESSES, "dynamic": DYNAMIC}


def roster(slots: int) -> pd.DataFrame:
    return default_contracts([f"m{n}" for n in range(slots)]).assign(contracted_va=315_000)


def explained(text: str, *, slots: int = 16) -> Explanation:
    return explain(parse_tariff(text), contracts=roster(slots), period=PERIOD)


@pytest.mark.parametrize("name", ALL)
def test_it_explains_the_plan_itself(name: str) -> None:
    explanation = explained(ALL[name])
    rules = line_rules(parse_tariff(ALL[name]), PERIOD)
    assert explanation.rules == circuit_rules(
        rules, contracts=roster(16), period=PERIOD, large=False
    )
    plan = plan_bill(explanation.rules, contracts=roster(16), period=PERIOD)
    outputs = [output for line in explanation.lines for output in line.outputs]
    assert outputs == list(plan.outputs)
    assert {need for line in explanation.lines for need in line.columns} == set(plan.needs)
    margins = [line.margin_bits for line in explanation.lines if line.margin_bits is not None]
    assert min(margins) == plan.margin_bits
    assert not explanation.refused
    for line in explanation.lines:
        if line.line == DIVISOR:
            continue
        rule = explanation.rules[line.line]
        assert describe_line(line.line, explanation.rules).how
        public = rule.basis in (CONTRACT, MINIMUM)
        empty = public or rule.charge == "free-quota"  # this roster has no free quota
        assert bool(line.outputs) == (not empty)
        assert not (public and line.columns)
        if line.outputs:
            assert line.platform_us >= 0, "zero where an earlier line did it all"
            assert line.largest < max(s.plain_modulus for s in PARAMETER_SETS.values())
            assert line.range_margin_bits is not None
            assert line.range_margin_bits >= 0


@pytest.mark.parametrize("tariff_id", sorted(catalogue_tariffs()))
def test_every_tariff_of_the_catalogue_can_be_explained(tariff_id: str) -> None:
    loaded = load_tariff(catalogue_tariffs()[tariff_id])
    first = max(loaded.valid_from, date(2026, 7, 1))
    if loaded.valid_to is not None:
        first = loaded.valid_from
    period = billing_month(first.year, first.month, timezone=loaded.timezone)
    assert not explain(loaded, contracts=roster(4), period=period).refused


def test_depth_of_a_power_factor_is_that_of_its_base() -> None:
    rules = explained(BUSINESSES["power-factor"]).rules
    assert describe_line(len(rules) - 1, rules).depth == 1
    rules = explained(BUSINESSES["power-factor-demand"]).rules
    assert describe_line(len(rules) - 1, rules).depth == 3


def test_a_small_roster_pays_for_empty_slots() -> None:
    few, many = (explained(HOUSEHOLDS["daily-limits"], slots=n).costs for n in (1024, 16384))
    assert few.platform_us == pytest.approx(16 * many.platform_us)
    assert few.gateway_us == pytest.approx(16 * many.gateway_us, rel=0.2)
    assert few.stored_bytes == pytest.approx(16 * many.stored_bytes, rel=0.05)


def test_stored_bytes_are_those_of_the_files() -> None:
    """46 tier columns of four 60-bit primes, and one register column."""
    costs = explained(HOUSEHOLDS["daily-limits"], slots=16384).costs
    assert costs.stored_columns == 47
    assert 2_700 < costs.stored_bytes < 2_900
    assert column_bytes_each(REGISTER, primes=2, slots=16384) == pytest.approx(28)


# --- refusals ------------------------------------------------------------------------------------


def test_a_line_that_cannot_be_computed_is_named_and_the_others_are_explained() -> None:
    """A ladder of the year: limits of the month could be counted in steps."""
    text = tariff(
        "broken", rate("energy", "0.6"), ladder("33.6", "50000"),
        rate("tier-adder", "0.1", tier=2), rate("tier-adder", "0.2", tier=3),
        options='tier_convention = "uniform-adder"\ntier_reset = "year"',
    )  # fmt: skip
    explanation = explained(text)
    assert [line.line for line in explanation.refused] == [1, 2]
    reasons = [line.refusal and line.refusal.reason for line in explanation.refused]
    assert reasons == ["plan.limit", "plan.threshold"]
    assert explanation.lines[0].platform_us > 0


def test_limits_without_a_common_step_are_refused_line_by_line() -> None:
    text = tariff(
        "no-step", rate("energy", "0.6"), ladder("33.601", "5000"),
        rate("tier-adder", "0.1", tier=2), rate("tier-adder", "0.2", tier=3),
        options='tier_convention = "uniform-adder"',
    )  # fmt: skip
    explanation = explained(text)
    assert {line.refusal.reason for line in explanation.refused if line.refusal} == {
        "plan.threshold"
    }
    assert [line.line for line in explanation.refused] == [1, 2]


def test_the_dearest_rate_a_tariff_may_have_is_split() -> None:
    (line,) = explained(tariff("dear", rate("energy", "999999.99999999"))).lines
    assert line.rate_limbs == 2
    assert line.refusal is None


def test_everybody_without_capacity_is_refused_by_reason() -> None:
    explanation = explain(
        parse_tariff(BUSINESSES["kva-tier"]), contracts=default_contracts(["a"]), period=PERIOD
    )
    (line,) = explanation.refused
    assert line.refusal is not None
    assert line.refusal.reason == "contract.no-capacity"


# --- costs ---------------------------------------------------------------------------------------


def test_the_table_knows_every_operation_of_both_families() -> None:
    assert set(OPERATION_MS) == {family(s) for s in (REGISTER, TIER, PRODUCT)}
    for kind, by_primes in OPERATION_MS["BGV 16384"].items():
        costs = [by_primes[n] for n in sorted(by_primes)]
        assert costs == sorted(costs), f"{kind}: more primes never cost less"
    assert operation_ms(SWITCH, TIER, primes=3, size=3) == 1.5 * operation_ms(
        SWITCH, PRODUCT, primes=3
    )
    assert operation_ms(RELINEARISE, TIER, primes=3, size=3) == operation_ms(
        RELINEARISE, TIER, primes=3
    )
    assert {TIER.fresh_primes, PRODUCT.fresh_primes} == set(OPERATION_MS["BGV 16384"][ENCRYPT])


def cpu_ms(work: Callable[[], object]) -> float:
    """Least processor time of three runs: other programs add waiting, not work."""
    found = []
    for _ in range(3):
        started = time.process_time()
        work()
        found.append((time.process_time() - started) * 1e3)
    return min(found)


def machine_factor() -> float:
    """How much slower this machine is than the one the table was measured on."""
    column = grid_keys().secret[TIER.name].public.encrypt(np.ones(16384, dtype=np.int64), high=1)
    square = column.times(column)

    def mix() -> None:
        for _ in range(4):
            square.relinearise()
            column.switch_down(column.primes - 1)
            column.scale(1021)

    primes = column.primes
    table = 4 * (
        operation_ms(RELINEARISE, TIER, primes=primes)
        + operation_ms(SWITCH, TIER, primes=primes)
        + operation_ms(SCALE, TIER, primes=primes)
    )
    return cpu_ms(mix) / table


def real_us(text: str, *, slots: int) -> float:
    """Processor time of the plan on ciphertexts [µs a meter point]."""
    read: Tariff = parse_tariff(text)
    plan = plan_bill(line_rules(read, PERIOD), contracts=roster(slots), period=PERIOD)
    keys = grid_keys().secret
    zero = np.zeros(slots, dtype=np.int64)
    inputs: dict[str, EncryptedColumn] = {
        need.quantity: keys[need.parameters.name].public.encrypt(zero, high=need.high)
        for need in plan.needs
    }
    return cpu_ms(lambda: run_bill(plan, inputs=inputs)) * 1e3 / slots


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minimum", "daily-limits", "pro-rata", "power-factor"])
def test_the_estimate_is_within_a_factor_of_two_of_a_real_run(name: str) -> None:
    text, slots = ALL[name], 16384
    estimate = explained(text, slots=slots).costs.platform_us * machine_factor()
    assert estimate / 2 < real_us(text, slots=slots) < estimate * 2
