"""The catalogue: published prices to the last decimal, doubts marked, nothing invented."""

from __future__ import annotations

import json
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.calendars import label_intervals
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import line_rules
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import (
    Tariff,
    catalogue_paths,
    catalogue_tariffs,
    load_tariff,
    parse_tariff,
)
from tests.billing.bill_inputs import HOUR, SHANGHAI, readings_frame

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors/oracle/china_vectors.json").read_text(encoding="utf-8")
)
ROUNDING = VECTORS["price_rounding"]
FILES = [path for paths in catalogue_paths().values() for path in paths]
PARTIAL = sorted(name for name in catalogue_tariffs() if name.endswith("-grid-part"))
# The tariffs whose figures nobody has to doubt.
WITHOUT_DOUBTS = {
    "flat",
    "guangzhou-commercial-below-1kv",
    "guangzhou-residential-shared-meter",
    "guangzhou-residential-tiers",
    "shanghai-large-industry-10kv-capacity-grid-part",
    "shanghai-residential-tiers",
    "shenzhen-residential-peak-valley",
    "shenzhen-residential-shared-meter",
    "shenzhen-residential-tiers",
}


def named(tariff_id: str) -> Tariff:
    return load_tariff(catalogue_tariffs()[tariff_id])


def prices_fen(tariff_id: str) -> dict[str, Decimal]:
    """All that a kWh of each period costs in the first tier [fen]."""
    tariff = named(tariff_id)
    rates = [rate for rate in tariff.rates if rate.per == "kWh" and rate.tier in (None, 1)]
    return {
        label: 100 * sum(rate.rate for rate in rates if rate.tou_period in (None, label))
        for label in tariff.tou_periods or ("total",)
    }


def reproduced(entry: dict[str, Any], ratio: str) -> Decimal:
    """A period's price by the printed rule: base times ratio to 0.01 fen, then the funds."""
    price = Decimal(entry["base_fen"]) * Decimal(ratio)
    return price.quantize(Decimal("0.01"), ROUND_HALF_UP) + Decimal(entry["funds_fen"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_named_by_its_id_and_edition(path: Path) -> None:
    tariff = load_tariff(path)
    name, mark, edition = path.stem.partition("@")
    assert tariff.tariff_id == name
    assert edition == (tariff.version if mark else "")
    used = {source for _, source in tariff.named_sources}
    assert used == {source.source_id for source in tariff.sources}, "a source without a figure"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_windows_tiers_conventions_and_tax_have_sources_too(path: Path) -> None:
    tariff = load_tariff(path)
    wanted = {
        "windows": bool(tariff.windows),
        "tiers": bool(tariff.tiers),
        "tier_convention": tariff.tier_convention is not None and bool(tariff.windows),
        "vat_rate": tariff.vat_rate is not None,
    }
    given = {figure.figure for figure in tariff.figure_sources}
    assert {figure for figure, there in wanted.items() if there} <= given


def test_who_needs_not_be_doubted() -> None:
    doubted = {
        name
        for name in catalogue_tariffs()
        for sure in [{s.source_id for s in named(name).sources if s.confidence != "unconfirmed"}]
        if any(own not in sure for row, own in named(name).named_sources if row != "part_month")
    }
    assert set(catalogue_tariffs()) - doubted == WITHOUT_DOUBTS


def test_tiers_that_ship_have_a_rule_for_a_part_of_a_month_that_says_it_is_a_choice() -> None:
    """Whole limits, because nobody publishes another rule; of a free quota there is none."""
    tiered = {name for name in catalogue_tariffs() if named(name).tiers and "residential" in name}
    ruled = {name for name in tiered if named(name).has_doubtful_parts}
    assert tiered - ruled == {"shenzhen-residential-low-income"}
    assert {named(name).part_month.limits for name in ruled} == {"whole"}


@pytest.mark.parametrize(
    "tariff_id", ["shenzhen-commercial-capacity", "shenzhen-commercial-demand"]
)
def test_components_add_up_to_the_published_price_of_every_period(tariff_id: str) -> None:
    entry = ROUNDING["shenzhen_ci_2025_02"]
    published = {label: Decimal(price) for label, price in entry["published"].items()}
    assert prices_fen(tariff_id) == published
    assert prices_fen("shenzhen-commercial-four-period") == published
    floating = {
        rate.charge: rate.rate * 100
        for rate in named(tariff_id).rates
        if rate.tou_period is None and rate.per == "kWh" and rate.tier is None
    }
    assert floating.pop("government-funds") == Decimal(entry["funds_fen"])
    assert sum(floating.values()) == Decimal(entry["base_fen"])


@pytest.mark.parametrize(
    ("tariff_id", "key", "ratios"),
    [
        ("guangzhou-residential-peak-valley", "guangzhou_residential", ("1.7", "0.38")),
        ("shenzhen-residential-peak-valley", "shenzhen_residential", ("1.7", "0.38")),
    ],
)
def test_household_prices_are_the_published_ones_and_their_rule_reproduces(
    tariff_id: str, key: str, ratios: tuple[str, str]
) -> None:
    entry, prices = ROUNDING[key], prices_fen(tariff_id)
    assert prices["peak"] == Decimal(entry["peak_fen"]) == reproduced(entry, ratios[0])
    assert prices["valley"] == Decimal(entry["valley_fen"]) == reproduced(entry, ratios[1])
    assert prices["flat"] == Decimal(entry["base_fen"]) + Decimal(entry["funds_fen"])


def test_commercial_ratios_reproduce_but_are_not_what_is_billed() -> None:
    """The ratios were fitted to the published prices; the sharp price follows the peak price."""
    entry, prices = ROUNDING["shenzhen_ci_2025_02"], prices_fen("shenzhen-commercial-capacity")
    assert prices["peak"] == reproduced(entry, entry["ratio_peak"])
    low, high = entry["ratio_valley"].split("..")
    assert reproduced(entry, low) <= prices["valley"] <= reproduced(entry, high)
    funds = Decimal(entry["funds_fen"])
    sharp = ((prices["peak"] - funds) * Decimal("1.25")).quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert prices["sharp"] == sharp + funds


def test_a_price_that_its_rule_does_not_give_stays_as_published() -> None:
    prices = prices_fen("guangzhou-commercial-below-1kv")
    funds = Decimal("2.766875")
    base = prices["flat"] - funds
    hundredth = Decimal("0.01")
    peak = (base * Decimal("1.7")).quantize(hundredth, ROUND_HALF_UP)
    assert prices["peak"] == peak + funds
    assert prices["valley"] == (base * Decimal("0.38")).quantize(hundredth, ROUND_HALF_UP) + funds
    assert (peak * Decimal("1.25")).quantize(hundredth, ROUND_HALF_UP) + funds == Decimal(
        "167.026875"
    )
    assert prices["sharp"] == Decimal("167.036875")


@pytest.mark.parametrize(
    ("tariff_id", "prices"),
    [
        ("flat", ["0.69986875"]),
        ("shenzhen-residential-shared-meter", ["0.69986875"]),
        ("shenzhen-residential-low-income", ["0.66286875", "0.05", "0.30", "-0.66286875"]),
        ("guangzhou-residential-tiers", ["0.58886875", "0.05", "0.30"]),
        ("guangzhou-residential-shared-meter", ["0.62586875"]),
        ("shanghai-residential-tiers", ["0.617", "0.667", "0.917"]),
        ("xinjiang-residential", ["0.39"]),
    ],
)
def test_household_prices_stand_as_told(tariff_id: str, prices: list[str]) -> None:
    assert [rate.rate for rate in named(tariff_id).rates] == [Decimal(price) for price in prices]


@pytest.mark.parametrize("vector", VECTORS["shenzhen_residential_third_party"]["vectors"])
def test_bills_that_others_published(vector: dict[str, Any]) -> None:
    month = f"2026-{vector['month']:02d}"
    readings = readings_frame([("A", f"{month}-01 00:00", int(Decimal(vector["kwh"]) * 1000))])
    (bills,) = bill_readings(
        readings,
        tariff=named("shenzhen-residential-tiers"),
        contracts=default_contracts(["A"]),
        interval=HOUR,
    )
    (period,) = bills_to_json([bills])["meters"]["A"]["periods"]
    assert period["total"] == vector["yuan"]


@pytest.mark.parametrize("tariff_id", PARTIAL)
def test_partial_tariffs_say_so_in_their_name_and_have_no_energy_price(tariff_id: str) -> None:
    tariff = named(tariff_id)
    assert "without the energy purchase" in tariff.name_en
    assert "不含购电" in tariff.name_zh
    assert {rate.charge for rate in tariff.rates if rate.per == "kWh"} == {
        "transmission-distribution"
    }
    assert tariff.power_factor is None


def test_shanghai_half_a_year_has_half_the_limits() -> None:
    """The check of 2012: 1,560 kWh from July to December."""
    tariff = named("shanghai-residential-tiers")
    contracts = default_contracts(["A"]).assign(service_from="2012-07")
    readings = readings_frame(
        [("A", "2012-07-01 00:00", 1_560_000), ("A", "2012-08-01 00:00", 1_000)]
    )
    july, august = bill_readings(readings, tariff=tariff, contracts=contracts, interval=HOUR)
    assert july.quantities[:, 0].tolist() == [1_560_000, 0, 0]
    assert august.quantities[:, 0].tolist() == [0, 1_000, 0]


def hours_of(tariff: Tariff, day: str) -> dict[str, int]:
    starts = pd.Series(pd.date_range(day, periods=24, freq="h", tz=SHANGHAI))
    labels = label_intervals(starts, interval=HOUR, tariff=tariff)
    return dict(Counter(labels))


def test_a_bill_names_the_price_documents_of_rates_and_tiers_and_no_remark() -> None:
    (bills,) = bill_readings(
        readings_frame([("A", "2026-07-01 00:00", 1000)]),
        tariff=named("guangzhou-residential-peak-valley"),
        contracts=default_contracts(["A"]),
        interval=HOUR,
    )
    document = bills_to_json([bills], tariff=named("guangzhou-residential-peak-valley"))
    (period,) = document["meters"]["A"]["periods"]
    assert period["sources"] == {
        "guangzhou-peak-valley": {"document": "粤发改价格〔2021〕331号"},
        "guangdong-tiers": {"document": "粤价〔2012〕135号、粤发改价格〔2017〕498号"},
    }


HOURS_OF = [
    # (tariff, date, hours of each period)
    ("shanghai-large-industry-10kv-capacity-grid-part", "2026-07-01",
        {"valley": 8, "flat": 6, "peak": 8, "sharp": 2}),
    ("shanghai-large-industry-10kv-capacity-grid-part", "2026-09-01",
        {"valley": 8, "flat": 6, "peak": 10}),
    ("shanghai-large-industry-10kv-capacity-grid-part", "2026-01-05",
        {"valley": 8, "flat": 10, "peak": 4, "sharp": 2}),
    ("shanghai-large-industry-10kv-capacity-grid-part", "2026-03-07",
        {"deep-valley": 8, "flat": 10, "peak": 6}),
    ("shanghai-large-industry-10kv-capacity-grid-part", "2026-08-01",
        {"valley": 8, "flat": 6, "peak": 8, "sharp": 2}),
    ("xinjiang-commercial-10kv-capacity-grid-part", "2026-03-01",
        {"flat": 8, "valley": 8, "peak": 8}),
    ("xinjiang-commercial-10kv-capacity-grid-part", "2026-07-01",
        {"flat": 8, "valley": 6, "deep-valley": 2, "peak": 6, "sharp": 2}),
    ("xinjiang-commercial-10kv-capacity-grid-part", "2026-12-01",
        {"flat": 8, "valley": 8, "peak": 6, "sharp": 2}),
    ("guangzhou-commercial-below-1kv", "2026-10-01", {"valley": 8, "flat": 9, "peak": 7}),
    ("shanghai-residential-peak-valley", "2026-10-01", {"valley": 8, "peak": 16}),
]  # fmt: skip


@pytest.mark.parametrize(("tariff_id", "day", "hours"), HOURS_OF)
def test_hours_of_a_day(tariff_id: str, day: str, hours: dict[str, int]) -> None:
    assert hours_of(named(tariff_id), day) == hours


def test_public_holidays_are_for_the_operator_to_list() -> None:
    path = catalogue_tariffs()["shanghai-large-industry-10kv-capacity-grid-part"]
    assert named(path.stem).days == ()
    text = path.read_text(encoding="utf-8")
    text += '\n[[days]]\ndate = 2026-07-01\nday_type = "public-holiday"\n'
    assert hours_of(parse_tariff(text), "2026-07-01")["deep-valley"] == 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_month_of_a_year_compiles(path: Path) -> None:
    tariff = load_tariff(path)
    year = tariff.valid_from.year + (tariff.valid_to is None)
    months = range(1, 13) if tariff.valid_to is None else [tariff.valid_from.month]
    for month in months:
        assert line_rules(tariff, billing_month(year, month, timezone=SHANGHAI))
