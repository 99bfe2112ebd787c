"""What the dearer tariff elements cost: tiers of a year, pro-rata shares, power factors.

Tariffs here are shaped as Shanghai's households and Shenzhen's industry are billed, with numbers of
the same size; whether a number is confirmed does not matter to its cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.bill_costs import BillCosts, bill_costs
from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys
from benchmarks.random_meters import random_meters_of
from benchmarks.sizes import BenchSizes
from gridsecure.tariffs.tariff import parse_tariff

_HEAD: Final = """
tariff_id = "bench-{name}"
version = "1"
name_en = "For measuring"
name_zh = "测量用"
city = "Nowhere"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2020-01-01
{options}
sources = [{{ id = "bench", title = "Sizes as in practice", confidence = "unconfirmed" }}]
"""
_YEAR_LADDER: Final = "tiers = [{ tier = 1, upper_limit_kwh = 3120 }, { tier = 2, upper_limit_kwh = 4800 }, { tier = 3 }]\n"  # noqa: E501
_MONTH_LADDER: Final = _YEAR_LADDER.replace("3120", "260").replace("4800", "400")
_WINDOWS: Final = """
windows = [
    { from = "00:00", to = "06:00", tou_period = "valley" },
    { from = "06:00", to = "22:00", tou_period = "peak" },
    { from = "22:00", to = "24:00", tou_period = "valley" },
]
"""
_FOUR_WINDOWS: Final = """
windows = [
    { from = "00:00", to = "08:00", tou_period = "valley" },
    { from = "08:00", to = "10:00", tou_period = "flat" },
    { from = "10:00", to = "19:00", tou_period = "peak" },
    { from = "19:00", to = "22:00", tou_period = "sharp" },
    { from = "22:00", to = "24:00", tou_period = "flat" },
]
"""


@dataclass(frozen=True, slots=True)
class Element:
    """A tariff to time.

    Args:
        seed: Of the random meter points.
    """

    name: str
    title: str
    text: str
    seed: int


def _rate(charge: str, rate: str, *, unit: str = "kWh", period: str = "", tier: int = 0) -> str:
    scope = f', tou_period = "{period}"' if period else ""
    scope += f", tier = {tier}" if tier else ""
    return (
        f'{{ charge = "{charge}", rate = "{rate}", unit = "CNY/{unit}", source = "bench"{scope} }}'
    )


def _tariff(name: str, *parts: str, rates: list[str], options: str = "") -> str:
    head = _HEAD.format(name=name, options=options)
    tables = '\n[power_factor]\nstandard = "0.90"\nsource = "bench"\n'
    factor = tables if name == "power-factor" else ""
    return head + "".join(parts) + "rates = [" + ",\n".join(rates) + "]\n" + factor


_PRICES: Final = {"peak": ("0.617", "0.677", "0.977"), "valley": ("0.307", "0.337", "0.487")}
ELEMENTS: Final = (
    Element(
        "annual_tier_bill",
        "annual three-tier bill",
        _tariff(
            "annual",
            _YEAR_LADDER,
            rates=[_rate("energy", rate, tier=n) for n, rate in enumerate(_PRICES["peak"], 1)],
            options='tier_reset = "year"',
        ),
        21,
    ),
    Element(
        "pro_rata_bill",
        "pro-rata time-of-use × tier bill",
        _tariff(
            "pro-rata",
            _MONTH_LADDER,
            _WINDOWS,
            rates=[
                _rate("energy", rate, period=period, tier=n)
                for period, rates in _PRICES.items()
                for n, rate in enumerate(rates, 1)
            ],
            options='tier_convention = "pro-rata"',
        ),
        22,
    ),
    Element(
        "power_factor_bill",
        "power-factor bill (4 registers, capacity, components)",
        _tariff(
            "power-factor",
            _FOUR_WINDOWS,
            rates=[
                _rate("agency-purchase", "0.5113"),
                _rate("transmission-distribution", "0.1804"),
                _rate("system-operation", "0.0384"),
                _rate("tou-float", "0.6794", period="sharp"),
                _rate("tou-float", "0.3975", period="peak"),
                _rate("tou-float", "0", period="flat"),
                _rate("tou-float", "-0.5006", period="valley"),
                _rate("government-funds", "0.02766875"),
                _rate("capacity", "22", unit="kVA-month"),
            ],
        ),
        23,
    ),
)


def element_costs(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Figures of each element, with what surrounds the platform's work."""
    figures: list[Figure] = []
    for element in ELEMENTS:
        meters = random_meters_of(
            parse_tariff(element.text), count=sizes.roster_slots, seed=element.seed, quotas=False
        )
        figures += _figures(element, bill_costs(meters, keys, sizes=sizes))
    return figures


def _figures(element: Element, costs: BillCosts) -> list[Figure]:
    bill = Figure(
        name=element.name,
        title=element.title,
        unit="µs per meter",
        value=costs.micros(costs.run),
        must=150,
        try_for=40,
        note=f"one core, {costs.slots:,} slots, {costs.files} columns read, in memory",
    )
    around = (
        ("load", costs.load, f"{costs.files} column files checked and opened"),
        ("write", costs.write, f"{costs.outputs} column files written"),
        ("release", costs.release, "vault: decrypt, recombine, divide, round"),
        ("encrypt", costs.encrypt, "gateway: the columns read, under the public key"),
    )
    return [
        bill,
        *(
            Figure(
                name=f"{element.name}_{part}",
                title=f"{element.title}: {part}",
                unit="µs per meter",
                value=costs.micros(seconds),
                note=note,
            )
            for part, seconds, note in around
        ),
    ]
