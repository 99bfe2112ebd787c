"""Random URDB rates that SAM and the importer both price, and random years of real load."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.peer.oracle import load_wh

Rate = dict[str, Any]
MONTHS = 12
HOURS = 24
ENERGY_KINDS = ("flat", "time", "tiers", "pro-rata", "chronological", "dynamic")
DEMAND_KINDS = ("none", "flat", "time", "both", "ratchet")
LOADS = ("home_h", "home_hh", "metal_q")
STEPS = {"home_h": 1, "home_hh": 2, "metal_q": 4}

NET_METERING, NET_BILLING = 0, 2
# Limits are drawn as a part of what these loads use, so that most months reach the upper tiers.
LIMITS = {
    "kWh": {"home_h": (50, 900), "home_hh": (50, 900), "metal_q": (20_000, 300_000)},
    "kWh daily": {"home_h": (2, 30), "home_hh": (2, 30), "metal_q": (500, 8_000)},
    "kWh/kW": {"home_h": (10, 250), "home_hh": (10, 250), "metal_q": (50, 500)},
    "kWh/kW daily": {"home_h": (1, 8), "home_hh": (1, 8), "metal_q": (1, 18)},
}


def prices(*, top: int = 200_000) -> st.SearchStrategy[Decimal]:
    """Up to two units of money, with five decimals; zero is a price too."""
    return st.integers(0, top).map(lambda units: Decimal(units).scaleb(-5))


def schedules(periods: int) -> st.SearchStrategy[list[list[int]]]:
    """Twelve months of a few blocks of hours; some months alike, as seasons are."""
    cuts = st.lists(st.integers(1, HOURS - 1), max_size=4, unique=True).map(sorted)
    day = cuts.flatmap(
        lambda at: st.tuples(
            st.just(at), st.lists(st.integers(0, periods - 1), min_size=5, max_size=5)
        )
    ).map(lambda drawn: _hours(*drawn))
    seasons = st.lists(day, min_size=1, max_size=3)
    return seasons.flatmap(
        lambda days: st.lists(st.sampled_from(days), min_size=MONTHS, max_size=MONTHS)
    )


def _hours(cuts: list[int], periods: list[int]) -> list[int]:
    edges = [0, *cuts, HOURS]
    return [
        period
        for start, end, period in zip(edges, edges[1:], periods, strict=False)
        for _ in range(start, end)
    ]


@st.composite
def ladders(draw: st.DrawFn, *, load: str, unit: str, periods: int) -> list[list[dict[str, Any]]]:
    """Tiers with the same limits in every period, as SAM demands; prices rise, fall or stay."""
    lowest, highest = LIMITS[unit][load]
    limits = draw(st.lists(st.integers(lowest, highest), min_size=1, max_size=3, unique=True))
    structure = []
    for _ in range(periods):
        tiers: list[dict[str, Any]] = [
            {"max": limit, "unit": unit, "rate": draw(prices())} for limit in sorted(limits)
        ]
        tiers.append({"unit": unit, "rate": draw(prices())})
        structure.append(tiers)
    return structure


@st.composite
def energy(draw: st.DrawFn, *, kind: str, load: str, units: list[str]) -> Rate:
    """One price, time of use, tiers by season, or both under a convention that SAM has."""
    if kind == "flat":
        rate = draw(prices())
        return {"energyratestructure": [[{"rate": rate, "adj": draw(prices(top=9_999))}]]}
    if kind == "dynamic":
        return draw(dynamic(load=load))
    if kind == "time":
        periods = draw(st.integers(2, 4))
        structure = [[{"rate": draw(prices())}] for _ in range(periods)]
        weekday, weekend = draw(schedules(periods)), draw(schedules(periods))
    else:
        # Two seasons with limits and tiers of their own; each has one period, or two.
        periods = 1 if kind == "tiers" else 2
        unit = draw(st.sampled_from(units))
        structure = [
            tiers
            for _ in range(2)
            for tiers in draw(ladders(load=load, unit=unit, periods=periods))
        ]
        season = draw(st.lists(st.sampled_from([0, periods]), min_size=MONTHS, max_size=MONTHS))
        weekday, weekend = (
            [
                [first + period for period in hours]
                for first, hours in zip(season, draw(schedules(periods)), strict=True)
            ]
            for _ in range(2)
        )
    return {
        "energyratestructure": structure,
        "energyweekdayschedule": weekday,
        "energyweekendschedule": weekend,
        "metering_option": NET_BILLING if kind == "chronological" else NET_METERING,
    }


@st.composite
def dynamic(draw: st.DrawFn, *, load: str) -> Rate:
    """A price for every interval: a day's curve, shifted from day to day."""
    per_day = HOURS * STEPS[load]
    curve = draw(st.lists(prices(), min_size=per_day, max_size=per_day))
    shift = draw(st.integers(0, per_day - 1))
    series = [
        curve[(interval + day * shift) % per_day]
        for day in range(365)
        for interval in range(per_day)
    ]
    return {
        "energyratestructure": [[{"rate": Decimal(0)}]],
        "ts_buy_rate": series,
        "metering_option": NET_BILLING,
    }


@st.composite
def demand(draw: st.DrawFn, *, kind: str) -> Rate:
    """None, by month, by time of use, or both; a ratchet over the month's demand alone."""
    rate: Rate = {}
    if kind in ("flat", "both", "ratchet"):
        periods = draw(st.integers(1, 3))
        rate |= {
            "flatdemandstructure": [[{"rate": draw(demand_prices())}] for _ in range(periods)],
            "flatdemandmonths": draw(
                st.lists(st.integers(0, periods - 1), min_size=MONTHS, max_size=MONTHS)
            ),
            "flatdemandunit": "kW",
        }
    if kind in ("time", "both"):
        periods = draw(st.integers(1, 3))
        rate |= {
            "demandratestructure": [[{"rate": draw(demand_prices())}] for _ in range(periods)],
            "demandweekdayschedule": draw(schedules(periods)),
            "demandweekendschedule": draw(schedules(periods)),
            "demandrateunit": "kW",
        }
    if kind == "ratchet":
        rate |= {
            "lookbackpercent": Decimal(draw(st.integers(50, 100))).scaleb(-2),
            "lookbackrange": draw(st.integers(1, 12)),
            "lookbackmonths": draw(
                st.lists(st.booleans(), min_size=MONTHS, max_size=MONTHS).filter(any)
            ),
        }
    return rate


def demand_prices() -> st.SearchStrategy[Decimal]:
    """Up to fifty units of money per kW, with two decimals."""
    return st.integers(0, 5_000).map(lambda units: Decimal(units).scaleb(-2))


@st.composite
def money(draw: st.DrawFn) -> Rate:
    """A fixed charge and a minimum bill, each of them or none."""
    rate: Rate = {}
    if draw(st.booleans()):
        rate |= {"fixedchargefirstmeter": draw(demand_prices()), "fixedchargeunits": "$/month"}
    if draw(st.booleans()):
        rate |= {"mincharge": draw(demand_prices()) * 20, "minchargeunits": "$/month"}
    return rate


@dataclass(frozen=True, slots=True)
class Year:
    """A year of load: a real one's shape, other size and first day, perhaps an empty January."""

    load: str
    percent: int
    first_day: int
    empty_january: bool

    def wh(self) -> list[int]:
        """Whole Wh per interval."""
        per_day = HOURS * STEPS[self.load]
        wh = load_wh(self.load)
        turned = wh[self.first_day * per_day :] + wh[: self.first_day * per_day]
        scaled = [value * self.percent // 100 for value in turned]
        return [0] * 31 * per_day + scaled[31 * per_day :] if self.empty_january else scaled


@st.composite
def rates_with_load(draw: st.DrawFn, *, energy_kind: str, demand_kind: str) -> tuple[Rate, Year]:
    """A rate, and a load of the size that its limits are meant for."""
    load = draw(st.sampled_from(LOADS))
    # Tiers counted on demand and a ratchet together are refused, which has a test of its own.
    units = [unit for unit in LIMITS if demand_kind != "ratchet" or "/kW" not in unit]
    rate = draw(energy(kind=energy_kind, load=load, units=units))
    rate |= draw(demand(kind=demand_kind)) | draw(money())
    size, first_day = draw(st.integers(25, 200)), draw(st.integers(0, 364))
    return rate, Year(load, size, first_day, draw(st.integers(0, 4)) == 4)
