"""Random tariffs, contracts and loads for property tests: every element, alone and combined.

A load is a handful of hourly readings: the totals they add up to are drawn near limits and at the
ends of every range, and where they fall (peak or valley) is drawn too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import DYNAMIC as PRICED
from gridsecure.billing.rules import LineRule, line_rules
from gridsecure.billing.settlements import settle
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.needs import largest_total_wh
from gridsecure.plans.quantities import MAX_PRICED_WH, MAX_YEAR_WH
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from tests.plans.element_tariffs import (
    DEMAND_WINDOWS,
    DYNAMIC,
    PEAK_VALLEY,
    ladder,
    rate,
    tariff,
)

PERIOD: Final = billing_month(2026, 7, timezone="Asia/Shanghai")
HOUR: Final = pd.Timedelta(hours=1)
HOURS: Final = (2, 9, 26, 400, 743)
"""Hours of July that have readings: valley and peak, the first day and the last."""

PRICES = st.sampled_from(
    [
        "0",
        "0.00000001",
        "0.617",
        "-0.5006",
        "1.43716875",
        "0.66286875",
        "99.99999999",
        "-3",
        "12000",
    ]
)
LADDERS: Final = {
    "kWh": [("260", "400"), ("1", "3839"), ("15", "16"), ("33.5", "67"), ("3840", "20000"), ("7",)],
    "kWh/day": [("8", "15"), ("10.2", "15.3")],
    "kWh/kVA": [("250", "400"), ("1", "2"), ("3839",)],
    "kWh/kW": [("200", "400"), ("1",), ("3839",)],
    "kWh/kW-day": [("6", "12"), ("1", "123")],
}
YEAR_LADDERS: Final = [("3120", "4800"), ("12", "13247"), ("2880",)]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A tariff, and what some meter points were settled with in July."""

    tariff: Tariff
    contracts: pd.DataFrame
    readings: pd.DataFrame
    settled: pd.DataFrame
    rules: tuple[LineRule, ...]


def grid(draw: Any, tiers: int, *, by_period: bool = True) -> str:
    """Energy rates for every period and tier, or for every tier."""
    periods = ("peak", "valley") if by_period else ("",)
    return "".join(
        rate("energy", draw(PRICES), period=period, tier=number)
        for period in periods
        for number in range(1, tiers + 1)
    )


def adders(draw: Any, tiers: int) -> str:
    return "".join(rate("tier-adder", draw(PRICES), tier=n) for n in range(2, tiers + 1))


@st.composite
def tier_texts(draw: Any) -> str:
    """Tiers under every convention, unit and reset."""
    convention = draw(
        st.sampled_from(["", "uniform-adder", "pro-rata", "chronological", "per-period"])
    )
    by_year = convention != "per-period" and draw(st.booleans())
    unit = "kWh" if by_year else draw(st.sampled_from(sorted(LADDERS)))
    limits = draw(st.sampled_from(YEAR_LADDERS if by_year else LADDERS[unit]))
    tiers, options = len(limits) + 1, 'tier_reset = "year"\n' if by_year else ""
    if convention == "per-period":
        steps = "".join(ladder(*limits, unit=unit, period=p) for p in ("peak", "valley"))
    else:
        steps = ladder(*limits, unit=unit)
    if convention:
        options += f'tier_convention = "{convention}"\n'
    if convention == "uniform-adder":
        energy = rate("energy", draw(PRICES)) + adders(draw, tiers)
    else:
        energy = grid(draw, tiers, by_period=bool(convention))
    windows = PEAK_VALLEY if convention not in ("", "uniform-adder") else ""
    return tariff("tiers", windows, steps, energy, draw(extras()), options=options)


DISCOUNT = rate("demand-discount", "-4.2", unit="kW-month", more="min_kwh_per_kva = 260")
OUT_OF_REACH = rate("demand-discount", "0", unit="kW-month", more="min_kwh_per_kva = 3839")


@st.composite
def business_texts(draw: Any) -> str:
    """Time-of-use components, demand, its discount, capacity, and the power factor over them."""
    demand = rate("demand", draw(PRICES), unit="kW-month")
    parts = [
        PEAK_VALLEY,
        rate("energy", draw(PRICES), period="peak") + rate("energy", draw(PRICES), period="valley"),
        rate("transmission-distribution", draw(PRICES)),
        draw(st.sampled_from(["", rate("capacity", "22", unit="kVA-month")])),
        draw(st.sampled_from(["", demand, demand + DISCOUNT, demand + OUT_OF_REACH])),
        draw(extras()),
    ]
    if parts[4] and draw(st.booleans()):
        names = "day", "night"
        by_period = (rate("demand", draw(PRICES), unit="kW-month", period=n) for n in names)
        parts += [DEMAND_WINDOWS, *by_period]
    options = ""
    if draw(st.booleans()):
        unit = draw(st.sampled_from(sorted(LADDERS)))
        limits = draw(st.sampled_from(LADDERS[unit]))
        parts += [ladder(*limits, unit=unit), adders(draw, len(limits) + 1)]
        options = 'tier_convention = "uniform-adder"\n'
    standard = draw(st.sampled_from(["", "0.90", "0.85", "0.80"]))
    if standard:
        excluded = draw(st.sampled_from(["[]", '["transmission-distribution"]']))
        parts.append(
            f'\n[power_factor]\nstandard = "{standard}"\nsource = "made-up"\n'
            f"excludes = {excluded}\n"
        )
    return tariff("business", *parts, options=options)


@st.composite
def extras(draw: Any) -> str:
    """Lines that go with any tariff."""
    return "".join(
        draw(
            st.sets(
                st.sampled_from(
                    [
                        rate("standing", "12.5", unit="month"),
                        rate("meter", "-0.11", unit="day"),
                        rate("minimum", "320", unit="month"),
                        rate("feed-in", "-0.453"),
                        rate("free-quota", "-0.66286875"),
                    ]
                ),
                max_size=2,
            ).map(sorted)
        )
    )


ANY_TEXT = st.one_of(tier_texts(), business_texts(), st.just(DYNAMIC))


@st.composite
def contracts_of(draw: Any, meters: int) -> pd.DataFrame:
    """Random facts of some meter points."""
    frame = default_contracts([f"m{n}" for n in range(meters)])

    def several(*choices: Any) -> list[Any]:
        chosen = st.lists(st.sampled_from(choices), min_size=meters, max_size=meters)
        return draw(chosen)

    return frame.assign(
        household_quota_wh=several(0, 100_000, 35_000),
        free_quota_wh=several(0, 15_000, 10_000),
        contracted_va=several(1, 1_000, 315_000, 10**9),
        service_from=several("", "2026-04", "2026-07"),
        year_to_date_wh=several(0, 1, 3_119_999, 3_120_000, 9_999_999),
    ).astype({name: np.int64 for name in ("household_quota_wh", "free_quota_wh")})


def totals(rules: tuple[LineRule, ...], contracts: pd.DataFrame) -> st.SearchStrategy[int]:
    """Energies of a month [Wh]: nothing, 1 Wh, around limits, and the most there may be."""
    largest = largest_total_wh(rules)
    if any(rule.reset == YEAR for rule in rules):
        largest = min(largest, MAX_YEAR_WH - int(contracts["year_to_date_wh"].max()))
    if any(rule.basis == PRICED for rule in rules):
        largest = MAX_PRICED_WH
    limits = {int(limit * 1000) for rule in rules for limit in (rule.lower, rule.upper or 0)}
    quotas = {0, *contracts["household_quota_wh"].tolist(), *contracts["free_quota_wh"].tolist()}
    hours = {int(va) * rule.min_use_hours for va in contracts["contracted_va"] for rule in rules}
    edges = {limit + quota for limit in limits for quota in quotas} | hours
    near = {edge + step for edge in edges for step in (-1, 0, 1)} | {0, 1, largest}
    inside = sorted(wh for wh in near if 0 <= wh <= largest)
    return st.sampled_from(inside) | st.integers(0, largest)


@st.composite
def cases(draw: Any, texts: st.SearchStrategy[str] = ANY_TEXT, *, most: int = 4) -> Case:
    """A whole case."""
    read = parse_tariff(draw(texts))
    meters = draw(st.integers(1, most))
    contracts = draw(contracts_of(meters))
    rules = circuit_rules(
        line_rules(read, PERIOD), contracts=contracts, period=PERIOD, large=draw(st.booleans())
    )
    frames = [
        _load(name, total, draw) for name, total in zip(
            contracts["meter_point_id"],
            draw(st.lists(totals(rules, contracts), min_size=meters, max_size=meters)),
            strict=True,
        )
    ]  # fmt: skip
    readings = pd.concat(frames, ignore_index=True)
    settled = settled_july(readings, read, contracts)
    return Case(read, contracts, readings, settled, rules)


def _load(name: str, total: int, draw: Any) -> pd.DataFrame:
    """A total spread over the hours, with reactive energy and feed-in."""
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=4, max_size=4)))
    energies = np.diff(np.array([0, *cuts, total], dtype=np.int64))
    return pd.DataFrame(
        {
            "meter_point_id": name,
            "start": [pd.Timestamp(PERIOD.start) + hour * HOUR for hour in HOURS],
            "energy_wh": energies,
            "reactive_varh": energies * draw(st.sampled_from([0, 1, 3])) // 4,
            "export_wh": draw(st.sampled_from([0, 1, 12_345])),
            "quality": "actual",
        }
    )


def settled_july(
    readings: pd.DataFrame, read: Tariff, contracts: pd.DataFrame, period: BillingPeriod = PERIOD
) -> pd.DataFrame:
    settled = settle(readings, tariff=read, interval=HOUR, contracts=contracts)
    return settled[settled["period_start"] == period.start].reset_index(drop=True)
