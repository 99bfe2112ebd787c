"""Tariffs that use every element, as files of rows, for tests of plans and bills."""

from __future__ import annotations

from typing import Final

HEAD: Final = """
tariff_id = "{name}"
version = "1"
name_en = "Made up for a test"
name_zh = "测试用"
city = "Nowhere"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2020-01-01
{options}
[[sources]]
id = "made-up"
title = "Made up for a test"
confidence = "unconfirmed"
"""

PEAK_VALLEY: Final = """
[[windows]]
from = "06:00"
to = "22:00"
tou_period = "peak"
[[windows]]
from = "00:00"
to = "06:00"
tou_period = "valley"
[[windows]]
from = "22:00"
to = "24:00"
tou_period = "valley"
"""


def rate(
    charge: str, amount: str, *, unit: str = "kWh", period: str = "", tier: int = 0, more: str = ""
) -> str:
    """One rate row."""
    lines = [
        "[[rates]]", f'charge = "{charge}"', f'rate = "{amount}"', f'unit = "CNY/{unit}"',
        'source = "made-up"', more,
    ]  # fmt: skip
    if period:
        lines.append(f'tou_period = "{period}"')
    if tier:
        lines.append(f"tier = {tier}")
    return "\n".join(lines) + "\n"


def tier(number: int, limit: str = "", *, unit: str = "kWh", period: str = "") -> str:
    """One tier row."""
    lines = ["[[tiers]]", f"tier = {number}"]
    if limit:
        lines += [f"upper_limit = {limit}", f'unit = "{unit}"']
    if period:
        lines.append(f'tou_period = "{period}"')
    return "\n".join(lines) + "\n"


def ladder(*limits: str, unit: str = "kWh", period: str = "") -> str:
    """Tiers with these upper limits, and an open one."""
    closed = [tier(n, limit, unit=unit, period=period) for n, limit in enumerate(limits, 1)]
    return "".join(closed) + tier(len(limits) + 1, period=period)


def grid_of_rates(*prices: tuple[str, tuple[str, ...]]) -> str:
    """Energy rates by period and tier."""
    return "".join(
        rate("energy", amount, period=period, tier=number)
        for period, amounts in prices
        for number, amount in enumerate(amounts, 1)
    )


def tariff(name: str, *parts: str, options: str = "") -> str:
    """A whole tariff file."""
    return HEAD.format(name=name, options=options) + "".join(parts)


SHANGHAI = (("peak", ("0.617", "0.677", "0.977")), ("valley", ("0.307", "0.337", "0.487")))
LADDER_RATES = "".join(
    rate("energy", amount, tier=n) for n, amount in enumerate(("0.617", "0.667", "0.917"), 1)
)

HOUSEHOLDS: Final = {
    "annual": tariff(
        "annual", ladder("3120", "4800"), LADDER_RATES, options='tier_reset = "year"'
    ),
    "annual-adder": tariff(
        "annual-adder", PEAK_VALLEY, ladder("3120", "4800"),
        rate("energy", "0.617", period="peak"), rate("energy", "0.307", period="valley"),
        rate("tier-adder", "0.05", tier=2), rate("tier-adder", "0.30", tier=3),
        options='tier_reset = "year"\ntier_convention = "uniform-adder"',
    ),
    "pro-rata": tariff(
        "pro-rata", PEAK_VALLEY, ladder("260", "400"), grid_of_rates(*SHANGHAI),
        options='tier_convention = "pro-rata"',
    ),
    "annual-pro-rata": tariff(
        "annual-pro-rata", PEAK_VALLEY, ladder("3120", "4800"), grid_of_rates(*SHANGHAI),
        options='tier_reset = "year"\ntier_convention = "pro-rata"',
    ),
    "chronological": tariff(
        "chronological", PEAK_VALLEY, ladder("260", "400"), grid_of_rates(*SHANGHAI),
        options='tier_convention = "chronological"',
    ),
    "annual-chronological": tariff(
        "annual-chronological", PEAK_VALLEY, ladder("3120", "4800"), grid_of_rates(*SHANGHAI),
        options='tier_reset = "year"\ntier_convention = "chronological"',
    ),
    "per-period": tariff(
        "per-period", PEAK_VALLEY, ladder("200", "300", period="peak"),
        ladder("60", "120", period="valley"), grid_of_rates(*SHANGHAI),
        options='tier_convention = "per-period"',
    ),
    "daily-limits": tariff("daily-limits", ladder("8", "15", unit="kWh/day"), LADDER_RATES),
    "minimum": tariff(
        "minimum", rate("energy", "0.58886875"), rate("standing", "12.5", unit="month"),
        rate("meter", "0.11", unit="day"), rate("minimum", "320", unit="month"),
    ),
    "free-quota": tariff(
        "free-quota", ladder("260", "600"), rate("energy", "0.66286875"),
        rate("tier-adder", "0.05", tier=2), rate("tier-adder", "0.30", tier=3),
        rate("free-quota", "-0.66286875"), options='tier_convention = "uniform-adder"',
    ),
    "feed-in": tariff("feed-in", rate("energy", "0.6"), rate("feed-in", "-0.453")),
}  # fmt: skip

COMMERCE = (
    PEAK_VALLEY
    + rate("energy", "0.51130000")
    + rate("transmission-distribution", "0.1804")
    + rate("tou-float", "0.3975", period="peak")
    + rate("tou-float", "-0.5006", period="valley")
    + rate("government-funds", "0.02766875")
)
POWER_FACTOR = '\n[power_factor]\nstandard = "0.90"\nsource = "made-up"\n'
DEMAND_WINDOWS = """
[[demand_windows]]
from = "08:00"
to = "20:00"
tou_period = "day"
[[demand_windows]]
from = "00:00"
to = "08:00"
tou_period = "night"
[[demand_windows]]
from = "20:00"
to = "24:00"
tou_period = "night"
"""
DEMAND = rate("demand", "42", unit="kW-month")
DISCOUNT = rate("demand-discount", "-4.2", unit="kW-month", more="min_kwh_per_kva = 260")
KVA_TIER = ladder("250", unit="kWh/kVA") + rate("tier-adder", "-0.05", tier=2)

BUSINESSES: Final = {
    "demand": tariff("demand", COMMERCE, DEMAND, DISCOUNT),
    "demand-periods": tariff(
        "demand-periods", DEMAND_WINDOWS, COMMERCE, DEMAND,
        rate("demand", "11.25", unit="kW-month", period="day"),
        rate("demand", "0", unit="kW-month", period="night"),
    ),
    "ratchet": tariff(
        "ratchet", COMMERCE, DEMAND,
        '[demand_ratchet]\npercent = "0.80"\nrange_months = 11\nsource = "made-up"\n',
    ),
    "kva-tier": tariff(
        "kva-tier", COMMERCE, KVA_TIER, rate("capacity", "22", unit="kVA-month"),
        options='tier_convention = "uniform-adder"',
    ),
    "kw-tier": tariff(
        "kw-tier", ladder("200", "400", unit="kWh/kW"), LADDER_RATES,
    ),
    "kw-day-tier": tariff("kw-day-tier", ladder("6", "12", unit="kWh/kW-day"), LADDER_RATES),
    "kw-tier-pro-rata": tariff(
        "kw-tier-pro-rata", PEAK_VALLEY, ladder("200", "400", unit="kWh/kW"),
        grid_of_rates(*SHANGHAI), options='tier_convention = "pro-rata"',
    ),
    "kva-tier-per-period": tariff(
        "kva-tier-per-period", PEAK_VALLEY, ladder("100", unit="kWh/kVA", period="peak"),
        ladder("30", "60", unit="kWh/kVA", period="valley"),
        grid_of_rates(("peak", ("0.9", "0.8")), ("valley", ("0.4", "0.3", "0.2"))),
        options='tier_convention = "per-period"',
    ),
    "kw-tier-per-period": tariff(
        "kw-tier-per-period", PEAK_VALLEY, ladder("20", "60", unit="kWh/kW", period="peak"),
        ladder("10", unit="kWh/kW", period="valley"),
        grid_of_rates(("peak", ("0.9", "0.8", "0.7")), ("valley", ("0.4", "0.3"))),
        options='tier_convention = "per-period"',
    ),
    "power-factor": tariff(
        "power-factor", COMMERCE, rate("capacity", "22", unit="kVA-month"), POWER_FACTOR,
        options='vat_rate = "0.13"',
    ),
    "power-factor-demand": tariff(
        "power-factor-demand", COMMERCE, KVA_TIER, DEMAND, DISCOUNT,
        rate("standing", "15.75", unit="month"), POWER_FACTOR.replace("0.90", "0.85"),
        options='tier_convention = "uniform-adder"',
    ),
    "power-factor-farm": tariff(
        "power-factor-farm", rate("energy", "0.3"), POWER_FACTOR.replace("0.90", "0.80")
        + "excludes = []\n",
    ),
}  # fmt: skip

STEPS: Final = {
    "fractional-limits": tariff(
        "fractional-limits", ladder("10.2", "15.3", unit="kWh/day"), LADDER_RATES
    ),
    "wide-limits": tariff("wide-limits", ladder("20000", "65000"), LADDER_RATES),
    "wide-pro-rata": tariff(
        "wide-pro-rata", PEAK_VALLEY, ladder("500.5", "1501.5"), grid_of_rates(*SHANGHAI),
        options='tier_convention = "pro-rata"',
    ),
    "wide-per-period": tariff(
        "wide-per-period", PEAK_VALLEY, ladder("2000", "3000", period="peak"),
        ladder("600", "1200", period="valley"), grid_of_rates(*SHANGHAI),
        options='tier_convention = "per-period"',
    ),
    "wide-quota": tariff(
        "wide-quota", ladder("260", "60000"), rate("energy", "0.66286875"),
        rate("tier-adder", "0.05", tier=2), rate("tier-adder", "0.30", tier=3),
        rate("free-quota", "-0.66286875"), options='tier_convention = "uniform-adder"',
    ),
}  # fmt: skip


def dynamic(*, hours: int) -> str:
    """A price for every interval of so many hours of July 2026."""
    rates = ", ".join(f'"{0.05 + (n * 37 % 301) / 1000:.4f}"' for n in range(31 * 24 // hours))
    prices = f"""
[dynamic]
source = "made-up"
start = "2026-07-01T00:00"
interval_minutes = {hours * 60}
rates = [{rates}]
"""
    return tariff("dynamic", prices, rate("standing", "0.4", unit="day"))


DYNAMIC: Final = dynamic(hours=1)


def part_month(charges: str = "", limits: str = "") -> str:
    """What a tariff says of a part of a month."""
    said = "".join(
        f'{key} = "{value}"\n' for key, value in (("charges", charges), ("limits", limits)) if value
    )
    return f'\n[part_month]\n{said}source = "made-up"\n'


PARTS: Final = {
    "part-tiers": tariff(
        "part-tiers", ladder("260", "600"), LADDER_RATES, rate("standing", "12.5", unit="month"),
        part_month("days", "days"),
    ),
    "part-whole-limits": tariff(
        "part-whole-limits", ladder("260", "600"), LADDER_RATES, part_month(limits="whole"),
    ),
    "part-daily": tariff(
        "part-daily", ladder("8", "15", unit="kWh/day"), LADDER_RATES,
        rate("meter", "0.1133", unit="day"), rate("minimum", "1.05", unit="day"),
    ),
    "part-pro-rata": tariff(
        "part-pro-rata", PEAK_VALLEY, ladder("260", "400"), grid_of_rates(*SHANGHAI),
        part_month(limits="days"), options='tier_convention = "pro-rata"',
    ),
    "part-per-period": tariff(
        "part-per-period", PEAK_VALLEY, ladder("200", "300", period="peak"),
        ladder("60", "120", period="valley"), grid_of_rates(*SHANGHAI), part_month(limits="days"),
        options='tier_convention = "per-period"',
    ),
    "part-year": tariff(
        "part-year", ladder("3120", "4800"), LADDER_RATES, part_month(limits="whole"),
        options='tier_reset = "year"',
    ),
    "part-demand": tariff(
        "part-demand", DEMAND_WINDOWS, COMMERCE, DEMAND,
        rate("demand", "11.25", unit="kW-month", period="day"),
        rate("demand", "0", unit="kW-month", period="night"),
        rate("capacity", "22", unit="kVA-month"), part_month("thirtieths"),
    ),
    "part-ratchet": tariff(
        "part-ratchet", COMMERCE, DEMAND, part_month("days"),
        '[demand_ratchet]\npercent = "0.80"\nrange_months = 11\nsource = "made-up"\n',
    ),
    "part-power-factor": tariff(
        "part-power-factor", COMMERCE, rate("capacity", "22", unit="kVA-month"),
        POWER_FACTOR + 'excludes = ["capacity"]\n', part_month("thirtieths"),
    ),
}  # fmt: skip
"""Tariffs that say what they are for a part of a month."""
ALL_BY_NAME: Final = {**HOUSEHOLDS, **BUSINESSES, **STEPS, **PARTS, "dynamic": DYNAMIC}
