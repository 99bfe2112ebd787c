"""Whole bills under every catalogue tariff: encrypted equals plaintext, to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.charges import exact_lines
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import line_rules
from gridsecure.billing.settlements import settle
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.bills import BillPlan, plan_bill, run_bill
from gridsecure.plans.needs import largest_total_wh, published_needs
from gridsecure.plans.recombination import recombine_outputs
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff
from tests.grid_simulator import grid_keys

METERS = 12


def month_of(tariff: Tariff) -> BillingPeriod:
    year, month = (2026, 7)
    if tariff.valid_to is not None:
        year, month = tariff.valid_from.year, tariff.valid_from.month
    return billing_month(year, month, timezone=tariff.timezone)


def settled_month(tariff: Tariff) -> tuple[BillingPeriod, pd.DataFrame, pd.DataFrame]:
    """Hourly readings of meter points from nothing to the largest a tier bill takes."""
    period = month_of(tariff)
    random = np.random.default_rng(3)
    starts = pd.date_range(period.start, period.end, freq="h", inclusive="left")
    largest = largest_total_wh(line_rules(tariff, period)) // len(starts)
    readings = pd.concat(
        [
            pd.DataFrame(
                {
                    "meter_point_id": f"m{number:02d}",
                    "start": starts,
                    "energy_wh": random.integers(0, size + 1, len(starts)),
                    "reactive_varh": random.integers(0, size + 1, len(starts)),
                    "quality": "actual",
                }
            )
            for number, size in enumerate([0, *np.geomspace(1, largest, METERS - 1).astype(int)])
        ],
        ignore_index=True,
    )
    number = np.arange(METERS)
    contracts = default_contracts(sorted(readings["meter_point_id"].unique())).assign(
        household_quota_wh=np.where(number % 3 == 0, 100_000, 0),
        free_quota_wh=15_000,
        year_to_date_wh=number * 400_000,
        contracted_va=100_000 * (number + 1),
    )
    interval = pd.Timedelta(hours=1)
    return (
        period,
        settle(readings, tariff=tariff, interval=interval, contracts=contracts),
        contracts,
    )


def compiled(
    tariff: Tariff, period: BillingPeriod, settled: pd.DataFrame, contracts: pd.DataFrame
) -> tuple[BillPlan, Mapping[str, Any]]:
    rules = line_rules(tariff, period)
    plan = plan_bill(rules, contracts=contracts, period=period)
    published = published_needs(rules, tou_periods=tariff.tou_periods)
    assert set(plan.needs) <= set(published)
    assert plan.margin_bits >= 5
    values = settlement_values(
        settled,
        rules=rules,
        tou_periods=tariff.tou_periods,
        contracted_va=contracts["contracted_va"].to_numpy(np.int64),
    )
    return plan, values


def check_lines(plan: BillPlan, decrypted: Mapping[str, Any], settled: pd.DataFrame) -> None:
    lines = recombine_outputs(plan, values=decrypted)
    quantities, amounts = exact_lines(
        plan.rules, settlements=settled, contracts=plan.contracts, period=plan.period
    )
    assert lines.quantities.tolist() == quantities.tolist()
    assert lines.amounts.tolist() == amounts.tolist()


@pytest.mark.parametrize("tariff_id", sorted(catalogue_tariffs()))
def test_the_plan_is_the_arithmetic(tariff_id: str) -> None:
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    period, settled, contracts = settled_month(tariff)
    plan, values = compiled(tariff, period, settled, contracts)
    inputs = {need.quantity: PlainColumn.of(values[need.quantity]) for need in plan.needs}
    results = run_bill(plan, inputs=inputs)
    check_lines(plan, {name: column.values for name, column in results.items()}, settled)


ENCRYPTED: Sequence[str] = (
    "shanghai-large-industry-10kv-demand-grid-part",
    "shanghai-residential-peak-valley",
    "shanghai-residential-tiers",
    "shenzhen-commercial-capacity",
    "shenzhen-commercial-demand",
    "shenzhen-residential-low-income",
)


@pytest.mark.parametrize("tariff_id", ENCRYPTED)
def test_encrypted_bills_equal_the_oracle(tariff_id: str) -> None:
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    period, settled, contracts = settled_month(tariff)
    plan, values = compiled(tariff, period, settled, contracts)
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
    check_lines(plan, decrypted, settled)
