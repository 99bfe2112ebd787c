"""Laws that every bill obeys, on random readings, tariffs and contracts."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import Bills, bill_readings
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.settlement_columns import register_column
from gridsecure.billing.settlements import settle
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff, parse_tariff
from tests.billing.bill_inputs import HOUR, SHANGHAI, readings_frame

PRICED_TIERS = """
tariff_id = "priced-tiers"
version = "1"
name_en = "A price per tier"
name_zh = "阶梯"
city = "Shenzhen"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2025-01-01
sources = [{ id = "s", title = "Made up", confidence = "unconfirmed" }]
tiers = [
    { tier = 1, upper_limit_kwh = 0.5 },
    { tier = 2, upper_limit_kwh = 1.25 },
    { tier = 3 },
]
rates = [
    { charge = "energy", tier = 1, rate = "0.617", unit = "CNY/kWh", source = "s" },
    { charge = "energy", tier = 2, rate = "0.66712345", unit = "CNY/kWh", source = "s" },
    { charge = "energy", tier = 3, rate = "0.917", unit = "CNY/kWh", source = "s" },
    { charge = "standing", rate = "0.333", unit = "CNY/day", source = "s" },
    { charge = "rebate", rate = "-0.005", unit = "CNY/kWh", source = "s" },
]
"""
# What the naive bill below can do: rates on energy by period or monthly tier, and capacity.
TARIFF_IDS = (
    "flat",
    "guangzhou-residential-peak-valley",
    "guangzhou-residential-shared-meter",
    "guangzhou-residential-tiers",
    "shenzhen-commercial-four-period",
    "shenzhen-residential-peak-valley",
    "shenzhen-residential-tiers",
    "xinjiang-residential",
    "priced-tiers",
)


@cache
def tariff_named(tariff_id: str) -> Tariff:
    if tariff_id == "priced-tiers":
        return parse_tariff(PRICED_TIERS)
    return load_tariff(catalogue_tariffs()[tariff_id])


HOURS = pd.date_range("2025-06-29", "2025-07-03", freq="h", inclusive="left")
METERS = ("A", "B", "C")
ENERGY = st.one_of(st.integers(0, 5000), st.integers(0, 10**6), st.integers(0, 10**9))


@st.composite
def readings(draw: st.DrawFn) -> pd.DataFrame:
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(METERS), st.integers(0, len(HOURS) - 1)),
            min_size=1,
            max_size=12,
            unique=True,
        )
    )
    return readings_frame([(meter, str(HOURS[hour]), draw(ENERGY)) for meter, hour in keys])


def contracts_with(quotas_wh: list[int]) -> pd.DataFrame:
    return default_contracts(METERS).assign(
        household_quota_wh=np.array(quotas_wh), contracted_va=np.array([0, 100_000, 315_500])
    )


contracts = st.builds(contracts_with, st.lists(st.integers(0, 500_000), min_size=3, max_size=3))
tariffs = st.sampled_from(TARIFF_IDS).map(tariff_named)


def bills_of(frame: pd.DataFrame, tariff: Tariff, facts: pd.DataFrame) -> tuple[Bills, ...]:
    return bill_readings(frame, tariff=tariff, contracts=facts, interval=HOUR)


def naive_bills(frame: pd.DataFrame, tariff: Tariff, facts: pd.DataFrame) -> dict[str, Any]:
    """The same bills by Decimal, one meter point, one reading, one line at a time."""
    quotas = dict(zip(facts["meter_point_id"], facts["household_quota_wh"], strict=True))
    capacities = dict(zip(facts["meter_point_id"], facts["contracted_va"], strict=True))
    months: dict[tuple[str, int], dict[str, Decimal]] = {}
    for row in frame.itertuples():
        local = row.start.tz_convert(SHANGHAI)
        registers = months.setdefault((row.meter_point_id, local.month), {})
        day_type = "weekend" if local.day_of_week >= 5 else "weekday"
        minute = local.hour * 60 + local.minute
        labels = [
            window.tou_period
            for window in tariff.windows
            if local.month in window.months
            and day_type in window.day_types
            and window.from_minute <= minute < window.to_minute
        ]
        for label in ["total", *labels]:
            registers[label] = registers.get(label, Decimal(0)) + Decimal(row.energy_wh) / 1000
    result: dict[str, Any] = {}
    for (meter, month), registers in sorted(months.items()):
        lines = []
        for rate in tariff.rates:
            if rate.tou_period:
                quantity = registers.get(rate.tou_period, Decimal(0))
            elif rate.tier:
                quantity = Decimal(0)
                left, floor = registers["total"], Decimal(0)
                for tier in sorted(
                    (t for t in tariff.tiers if month in t.months), key=lambda t: t.tier
                ):
                    if tier.upper_limit is None:
                        width = left
                    else:
                        top = tier.upper_limit + Decimal(int(quotas[meter])) / 1000
                        width, floor = top - floor, top
                    part = min(left, width)
                    left -= part
                    if tier.tier == rate.tier:
                        quantity = part
            else:
                quantity = {
                    "CNY/kWh": registers["total"],
                    "CNY/kVA-month": Decimal(int(capacities[meter])) / 1000,
                    "CNY/month": Decimal(1),
                    "CNY/day": Decimal({6: 30, 7: 31}[month]),
                }[rate.unit]
            exact = quantity * rate.rate
            rounded = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
            lines.append((rate.charge, rate.tou_period, rate.tier, quantity, exact, rounded))
        result[f"{meter}-{month}"] = lines
    return result


@given(frame=readings(), tariff=tariffs, facts=contracts)
def test_the_oracle_equals_a_naive_decimal_bill(
    frame: pd.DataFrame, tariff: Tariff, facts: pd.DataFrame
) -> None:
    document = bills_to_json(bills_of(frame, tariff, facts))
    with localcontext(prec=60):
        expected = naive_bills(frame, tariff, facts)
        billed = {}
        for meter, bill in document["meters"].items():
            for period in bill["periods"]:
                lines = [
                    (
                        line["charge"],
                        line["tou_period"],
                        line["tier"],
                        Decimal(line["quantity"]),
                        Decimal(line["amount_exact"]),
                        Decimal(line["amount"]),
                    )
                    for line in period["lines"]
                ]
                billed[f"{meter}-{int(period['start'][5:7])}"] = lines
                assert Decimal(period["total_exact"]) == sum(line[4] for line in lines)
                assert Decimal(period["total"]) == sum(line[5] for line in lines)
    assert billed == expected


@given(frame=readings(), tariff=tariffs, facts=contracts, data=st.data())
def test_the_order_of_readings_and_contracts_does_not_matter(
    frame: pd.DataFrame, tariff: Tariff, facts: pd.DataFrame, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(frame))))
    shuffled = bills_of(frame.iloc[order], tariff, facts.iloc[::-1])
    assert bills_to_json(shuffled) == bills_to_json(bills_of(frame, tariff, facts))


@given(frame=readings(), tariff=tariffs, facts=contracts)
def test_billing_meter_points_one_by_one_keeps_every_bill(
    frame: pd.DataFrame, tariff: Tariff, facts: pd.DataFrame
) -> None:
    together = bills_to_json(bills_of(frame, tariff, facts))["meters"]
    apart: dict[str, Any] = {}
    for meter in frame["meter_point_id"].unique():
        part = frame.loc[frame["meter_point_id"] == meter]
        apart |= bills_to_json(bills_of(part, tariff, facts))["meters"]
    assert apart == together


@given(frame=readings(), tariff=tariffs)
def test_registers_add_up_and_lose_nothing(frame: pd.DataFrame, tariff: Tariff) -> None:
    settlements = settle(frame, tariff=tariff, interval=HOUR)
    assert settlements["total_wh"].sum() == frame["energy_wh"].sum()
    if tariff.windows:
        registers = settlements[[register_column(label) for label in tariff.tou_periods]]
        assert (registers.sum(axis=1) == settlements["total_wh"]).all()


@given(frame=readings(), facts=contracts)
def test_tier_parts_add_up_to_the_total(frame: pd.DataFrame, facts: pd.DataFrame) -> None:
    tariff = tariff_named("priced-tiers")
    settlements = settle(frame, tariff=tariff, interval=HOUR)
    parts = [
        bills.quantities[[rule.charge == "energy" for rule in bills.rules]].sum(axis=0)
        for bills in bills_of(frame, tariff, facts)
    ]
    assert np.concatenate(parts).tolist() == settlements["total_wh"].tolist()


@pytest.mark.parametrize("tariff_id", ["shenzhen-residential-tiers", "priced-tiers"])
@given(energy=st.integers(0, 10**6), more=st.integers(1, 10**6), quota=st.integers(0, 200_000))
def test_more_energy_never_costs_less_and_a_quota_never_costs_more(
    tariff_id: str, energy: int, more: int, quota: int
) -> None:
    def total_exact(energy_wh: int, quota_wh: int) -> int:
        frame = readings_frame([("A", "2025-07-01T00:00", energy_wh)])
        facts = contracts_with([quota_wh, 0, 0])
        (bills,) = bills_of(frame, tariff_named(tariff_id), facts)
        return int(bills.totals[0])

    assert total_exact(energy, quota) < total_exact(energy + more, quota)
    assert total_exact(energy, quota) <= total_exact(energy, 0)
