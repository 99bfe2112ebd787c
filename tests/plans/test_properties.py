"""Random tariffs × contracts × loads: what must hold of every bill, however it is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridsecure.billing.charges import exact_lines
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.limits import tier_limits_wh
from gridsecure.billing.rules import MINIMUM, LineRule, line_rules
from gridsecure.billing.settlements import settle
from gridsecure.errors import GridSecureError
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.bills import BillPlan, plan_bill, run_bill
from gridsecure.plans.recombination import Lines, recombine_outputs
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from tests.grid_simulator import grid_keys
from tests.plans.element_tariffs import LADDER_RATES, PEAK_VALLEY, ladder, rate, tariff
from tests.plans.random_tariffs import (
    HOUR,
    PERIOD,
    PRICES,
    Case,
    cases,
    settled_july,
    tier_texts,
)

REFUSALS = {"plan.range", "plan.noise", "plan.threshold", "plan.limit", "plan.power-factor"}
"""What planning may say to a random tariff; anything else is a defect."""

Values = Mapping[str, NDArray[np.int64]]


def planned(rules: Sequence[LineRule], contracts: pd.DataFrame) -> BillPlan | None:
    """The plan, or None where it was refused for one of the known reasons."""
    try:
        return plan_bill(rules, contracts=contracts, period=PERIOD)
    except GridSecureError as refusal:
        if refusal.reason not in REFUSALS:
            raise
        return None


def values_of(case: Case) -> Values:
    return settlement_values(
        case.settled,
        rules=case.rules,
        tou_periods=case.tariff.tou_periods,
        contracted_va=case.contracts["contracted_va"].to_numpy(np.int64),
    )


def in_the_clear(plan: BillPlan, values: Values) -> Lines:
    """Run a plan on integers that never wrap, and hold every one to its declared bounds."""
    for need in plan.needs:
        column = values[need.quantity]
        assert 0 <= int(column.min()) <= int(column.max()) <= need.high, need
    inputs = {need.quantity: PlainColumn.of(values[need.quantity]) for need in plan.needs}
    results = {name: column.values for name, column in run_bill(plan, inputs=inputs).items()}
    for output in plan.outputs:
        half = output.modulus // 2
        least, most = (-half, half) if output.is_signed else (0, output.modulus - 1)
        assert all(least <= value <= most for value in results[output.name]), output
    return recombine_outputs(plan, values=results)


def bill(
    text: str,
    settled: pd.DataFrame,
    contracts: pd.DataFrame,
    period: BillingPeriod = PERIOD,
) -> tuple[tuple[LineRule, ...], Lines]:
    """A bill computed as on ciphertext, in the clear."""
    read = parse_tariff(text)
    rules = circuit_rules(line_rules(read, period), contracts=contracts, period=period, large=False)
    values = settlement_values(
        settled,
        rules=rules,
        tou_periods=read.tou_periods,
        contracted_va=contracts["contracted_va"].to_numpy(np.int64),
    )
    return rules, in_the_clear(plan_bill(rules, contracts=contracts, period=period), values)


def assert_is_the_oracle(case: Case, lines: Lines) -> None:
    quantities, amounts = exact_lines(
        case.rules, settlements=case.settled, contracts=case.contracts, period=PERIOD
    )
    for line, rule in enumerate(case.rules):
        assert lines.quantities[line].tolist() == quantities[line].tolist(), rule
        assert lines.amounts[line].tolist() == amounts[line].tolist(), rule
    assert lines.energy_wh.tolist() == case.settled["total_wh"].tolist()


@given(cases())
def test_the_plan_equals_the_oracle_and_nothing_wraps(case: Case) -> None:
    plan = planned(case.rules, case.contracts)
    if plan is not None:
        assert_is_the_oracle(case, in_the_clear(plan, values_of(case)))


def encrypted(case: Case) -> None:
    plan = planned(case.rules, case.contracts)
    if plan is None:
        return
    keys, values = grid_keys().secret, values_of(case)
    inputs = {
        need.quantity: keys[need.parameters.name].public.encrypt(
            values[need.quantity], high=need.high
        )
        for need in plan.needs
    }
    decrypted: dict[str, Any] = {}
    for name, column in run_bill(plan, inputs=inputs).items():
        own = keys[column.evaluation.parameters.name]
        decrypted[name] = own.decrypt(column)
        assert plan.margin_bits <= own.noise_margin(column) + 4  # as in tests/crypto
    assert_is_the_oracle(case, recombine_outputs(plan, values=decrypted))


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(cases())
def test_encrypted_equals_the_oracle(case: Case) -> None:
    encrypted(case)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(cases())
def test_encrypted_equals_the_oracle_in_many_cases(case: Case) -> None:
    encrypted(case)


# --- rosters and files ---------------------------------------------------------------------------


@given(cases(), st.data())
def test_splitting_a_roster_changes_nothing(case: Case, data: st.DataObject) -> None:
    """Also where tiers are counted in steps, which each half chooses for itself."""
    cut = data.draw(st.integers(0, len(case.contracts)))
    large = any(rule.step_wh for rule in case.rules)
    found = []
    for rows in (slice(0, cut), slice(cut, None), slice(None)):
        contracts = case.contracts.iloc[rows].reset_index(drop=True)
        settled = case.settled.iloc[rows].reset_index(drop=True)
        if contracts.empty:
            continue
        rules = circuit_rules(
            line_rules(case.tariff, PERIOD), contracts=contracts, period=PERIOD, large=large
        )
        plan = planned(rules, contracts)
        if plan is None:
            return
        part = Case(case.tariff, contracts, case.readings, settled, rules)
        found.append(in_the_clear(plan, values_of(part)))
    *parts, whole = found
    for name in ("quantities", "amounts", "energy_wh"):
        together = np.concatenate([getattr(part, name) for part in parts], axis=-1)
        assert together.tolist() == getattr(whole, name).tolist()


@given(cases(), st.data())
def test_splitting_a_month_into_files_changes_nothing(case: Case, data: st.DataObject) -> None:
    """Readings settle alike whichever file they stood in, and in whichever order."""
    in_second = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(case.readings), max_size=len(case.readings)))
    )
    files = [case.readings[in_second], case.readings[~in_second]]
    for order in (files, files[::-1]):
        together = pd.concat(order, ignore_index=True)
        again = settled_july(together, case.tariff, case.contracts)
        pd.testing.assert_frame_equal(again, case.settled)


# --- tiers ---------------------------------------------------------------------------------------


@st.composite
def growing_ladders(draw: Any) -> str:
    """Tiers whose prices are not negative and grow."""
    limits = sorted(draw(st.sets(st.integers(1, 3_839), min_size=1, max_size=4)))
    prices = sorted(draw(st.lists(st.integers(0, 10**9), min_size=5, max_size=5)))
    rates = "".join(
        rate("energy", f"{price / 10**8:.8f}", tier=n)
        for n, price in enumerate(prices[: len(limits) + 1], 1)
    )
    return tariff("growing", ladder(*map(str, limits)), rates)


@given(growing_ladders(), st.lists(st.integers(0, 8_388_607), min_size=2, max_size=12))
def test_tiers_are_monotone_in_energy(text: str, total_wh: list[int]) -> None:
    """More energy is never less in any tier, nor a smaller bill, nor a smaller mean price."""
    total = np.array(sorted(total_wh), dtype=np.int64)
    contracts = default_contracts([f"m{n}" for n in range(len(total))])
    _, lines = bill(text, pd.DataFrame({"total_wh": total}), contracts)
    for row in (*lines.quantities, *lines.amounts, lines.amounts.sum(axis=0)):
        assert (np.diff(row) >= 0).all()
    amounts = lines.amounts.sum(axis=0).tolist()
    for (less, low), (more, high) in zip(
        zip(total.tolist(), amounts, strict=True),
        zip(total[1:].tolist(), amounts[1:], strict=False),
        strict=False,
    ):
        assert low * more <= high * less or less == 0


def year_of(
    monthly_wh: Sequence[int], *, service_from: str = "", begun: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readings and the contract of one meter point, one reading a month."""
    contracts = default_contracts(["m"]).assign(service_from=service_from)
    starts = [pd.Timestamp(f"2026-{month:02d}-11", tz="Asia/Shanghai") for month in range(1, 13)]
    readings = pd.DataFrame(
        {"meter_point_id": "m", "start": starts, "energy_wh": monthly_wh, "quality": "actual"}
    )
    return readings.iloc[begun - 1 :].reset_index(drop=True), contracts


@settings(max_examples=15)
@given(
    monthly_wh=st.lists(st.integers(0, 2_796_202), min_size=12, max_size=12),
    quota_wh=st.sampled_from([0, 100_000]),
    begun=st.sampled_from([1, 4, 7]),
)
def test_a_year_of_months_is_the_year(monthly_wh: list[int], quota_wh: int, begun: int) -> None:
    """Under yearly tiers the twelve months add up to the tiers of the year, to the last digit."""
    text = tariff("year", ladder("3120", "4800"), LADDER_RATES, options='tier_reset = "year"')
    service = f"2026-{begun:02d}" if begun > 1 else ""
    readings, contracts = year_of(monthly_wh, service_from=service, begun=begun)
    contracts = contracts.assign(household_quota_wh=quota_wh)
    read = parse_tariff(text)
    settled = settle(readings, tariff=read, interval=HOUR, contracts=contracts)
    quantities, amounts, rules = np.zeros(3, dtype=object), np.zeros(3, dtype=object), ()
    for month in range(begun, 13):
        period = billing_month(2026, month, timezone="Asia/Shanghai")
        own = settled[settled["period_start"] == period.start].reset_index(drop=True)
        rules, lines = bill(text, own, contracts, period)
        quantities += lines.quantities[:, 0]
        amounts += lines.amounts[:, 0]
    year = sum(monthly_wh[begun - 1 :])
    for rule, quantity, amount in zip(rules, quantities, amounts, strict=True):
        lower, upper = tier_limits_wh(rule, contracts, period=PERIOD)
        expected = min(year, int(upper[0])) - min(year, int(lower[0]))
        assert quantity == expected
        assert amount == expected * int(rule.rate.scaleb(8))
    assert sum(quantities) == year


# --- conventions ---------------------------------------------------------------------------------


def loads(peak_wh: list[int], valley_wh: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Some hours of July, three in the peak period and three in the valley."""
    frames = []
    for number, (peak, valley) in enumerate(zip(peak_wh, valley_wh, strict=True)):
        starts, energies = [], []
        for part, (first, second) in enumerate(zip((8, 30, 704), (3, 50, 742), strict=True)):
            starts += [PERIOD.start + first * HOUR, PERIOD.start + second * HOUR]
            energies += [(peak + part) // 3, (valley + part) // 3]
        frames.append(
            pd.DataFrame(
                {
                    "meter_point_id": f"m{number}",
                    "start": pd.to_datetime(starts),
                    "energy_wh": energies,
                    "quality": "actual",
                }
            )
        )
    readings = pd.concat(frames, ignore_index=True)
    return readings, default_contracts(sorted(readings["meter_point_id"].unique()))


REGISTERS = st.lists(st.integers(0, 700_000), min_size=3, max_size=3)
ADDER = 'tier_convention = "uniform-adder"\n'


def total_of(text: str, readings: pd.DataFrame, contracts: pd.DataFrame) -> NDArray[Any]:
    """Exact total of each bill [1e-11 yuan]."""
    read = parse_tariff(text)
    _, lines = bill(text, settled_july(readings, read, contracts), contracts)
    total: NDArray[Any] = lines.amounts.sum(axis=0)
    return total


@given(
    peak=REGISTERS,
    valley=REGISTERS,
    prices=st.lists(PRICES, min_size=4, max_size=4),
    by_year=st.booleans(),
)
def test_a_uniform_adder_is_time_of_use_plus_tiers(
    peak: list[int], valley: list[int], prices: list[str], by_year: bool
) -> None:
    readings, contracts = loads(peak, valley)
    reset = 'tier_reset = "year"\n' if by_year else ""
    time_of_use = rate("energy", prices[0], period="peak")
    time_of_use += rate("energy", prices[1], period="valley")
    steps = ladder("260", "400")
    adders = rate("tier-adder", prices[2], tier=2) + rate("tier-adder", prices[3], tier=3)
    both = tariff("both", PEAK_VALLEY, steps, time_of_use, adders, options=ADDER + reset)
    alone = tariff("tou", PEAK_VALLEY, time_of_use)
    tiers = tariff("tiers", steps, rate("energy", "0"), adders, options=ADDER + reset)
    apart = total_of(alone, readings, contracts) + total_of(tiers, readings, contracts)
    assert total_of(both, readings, contracts).tolist() == apart.tolist()


@given(
    peak=REGISTERS,
    valley=REGISTERS,
    prices=st.lists(PRICES, min_size=3, max_size=3),
    by_year=st.booleans(),
)
def test_conventions_agree_where_prices_do_not_depend_on_the_period(
    peak: list[int], valley: list[int], prices: list[str], by_year: bool
) -> None:
    """To the digit where nothing is divided; a share is cut, below 1e-11 yuan a line.

    Ladders of their own for every period agree where all energy is in one period.
    """
    readings, contracts = loads(peak, valley)
    reset = 'tier_reset = "year"\n' if by_year else ""
    steps = ladder("260", "400")
    alike = "".join(
        rate("energy", price, period=period, tier=tier)
        for period in ("peak", "valley")
        for tier, price in enumerate(prices, 1)
    )
    flat = "".join(rate("energy", price, tier=tier) for tier, price in enumerate(prices, 1))
    plain = total_of(tariff("plain", steps, flat, options=reset), readings, contracts)

    def under(convention: str) -> NDArray[Any]:
        options = f'tier_convention = "{convention}"\n{reset}'
        return total_of(
            tariff("alike", PEAK_VALLEY, steps, alike, options=options), readings, contracts
        )

    assert under("chronological").tolist() == plain.tolist()
    assert (abs(under("pro-rata") - plain) <= 6).all()
    if not by_year:
        own, facts = loads(peak, [0, 0, 0])
        ladders = ladder("260", "400", period="peak") + ladder("260", "400", period="valley")
        text = tariff(
            "own", PEAK_VALLEY, ladders, alike, options='tier_convention = "per-period"\n'
        )
        expected = total_of(tariff("plain", steps, flat), own, facts)
        assert total_of(text, own, facts).tolist() == expected.tolist()


# --- refusals ------------------------------------------------------------------------------------


@given(tier_texts(), st.integers(1, 10**12))
def test_what_cannot_be_computed_is_refused_before_it_runs(text: str, scale: int) -> None:
    """Limits far beyond the digits and quotas of any size: a plan that holds, or a known reason."""
    read: Tariff = parse_tariff(text)
    contracts = default_contracts(["a", "b"]).assign(contracted_va=scale)
    contracts["household_quota_wh"] = np.array([0, scale])
    contracts["free_quota_wh"] = np.array([scale, 0])
    try:
        rules = circuit_rules(
            line_rules(read, PERIOD), contracts=contracts, period=PERIOD, large=False
        )
    except GridSecureError as refusal:
        if refusal.reason not in {*REFUSALS, "tariff.proration", "tariff.tier-limit"}:
            raise
        return
    plan = planned(rules, contracts)
    if plan is not None:
        assert plan.margin_bits >= 5
        for output in plan.outputs:
            bound = max(-output.low, output.high) * output.factor
            assert bound < output.modulus // (2 if output.is_signed else 1)
        assert all(rule.basis == MINIMUM or rule.charge for rule in plan.rules)
