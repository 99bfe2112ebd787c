from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from gridsecure.errors import InputError, InvalidTariffError
from gridsecure.tariffs.tariff import load_tariff, parse_tariff
from gridsecure.toml_documents import read_document
from tests.billing.bill_inputs import catalogue_text

GOOD = """
tariff_id = "good"
version = "1"
name_en = "Good"
name_zh = "好"
city = "Shenzhen"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2025-01-01
valid_to = 2026-01-01
tier_convention = "uniform-adder"
day_types = ["hot"]

[[sources]]
id = "s"
title = "A source"
confidence = "secondary"

[[windows]]
months = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
day_types = ["weekday", "weekend", "hot"]
from = "00:00"
to = "08:00"
tou_period = "valley"

[[windows]]
from = "08:00"
to = "24:00"
tou_period = "flat"

[[tiers]]
tier = 1
upper_limit_kwh = 200.5

[[tiers]]
tier = 2
upper_limit_kwh = "400"

[[tiers]]
tier = 3

[[rates]]
charge = "energy"
tou_period = "flat"
rate = "0.66286875"
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "energy"
tou_period = "valley"
rate = 0.25726875
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "tier-adder"
tier = 2
rate = "0.05"
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "tier-adder"
tier = 3
rate = "0.30"
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "standing"
rate = 1
unit = "CNY/month"
source = "s"

[[days]]
date = 2025-05-20
day_type = "hot"
"""
VALLEY_RATE = """[[rates]]
charge = "energy"
tou_period = "valley"
rate = 0.25726875
unit = "CNY/kWh"
source = "s"
"""
TIER_3_RATE = """[[rates]]
charge = "tier-adder"
tier = 3
rate = "0.30"
unit = "CNY/kWh"
source = "s"
"""
# Rates per kWh that neither windows nor tiers decide.
PLAIN = (
    GOOD.partition("[[windows]]")[0].replace('tier_convention = "uniform-adder"', "")
    + """[[rates]]
charge = "energy"
rate = "0.5"
unit = "CNY/kWh"
source = "s"
"""
)
TIERS = """
[[tiers]]
tier = 1
upper_limit_kwh = 100

[[tiers]]
tier = 2
"""
TIER_RATES = """
[[rates]]
charge = "energy"
tier = 1
rate = "0.5"
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "energy"
tier = 2
rate = "0.6"
unit = "CNY/kWh"
source = "s"
"""


def test_a_good_tariff_keeps_every_number_exact() -> None:
    tariff = parse_tariff(GOOD)
    assert [rate.rate for rate in tariff.rates[:2]] == [
        Decimal("0.66286875"),
        Decimal("0.25726875"),
    ]
    assert tariff.tiers[0].upper_limit == Decimal("200.5")
    assert tariff.tou_periods == ("flat", "valley")
    assert tariff.day_types == ("weekday", "weekend", "hot")
    assert (tariff.valid_from, tariff.valid_to) == (date(2025, 1, 1), date(2026, 1, 1))


BAD = [
    # (what is changed, what it becomes, reason, what the message names)
    ("version =", "version", "syntax", "file"),
    ('version = "1"', "", "missing-key", "header"),
    ('city = "Shenzhen"', "city = 5", "text", "header"),
    ('currency = "CNY"', 'currency = "USD"', "unit", "rates[1]"),
    ('currency = "CNY"', 'currency = "JPY"', "currency", "hundredth"),
    ('"Asia/Shanghai"', '"Asia/Atlantis"', "timezone", "Atlantis"),
    ('"Asia/Shanghai"', '"../etc/passwd"', "timezone", "header"),
    ("valid_from = 2025-01-01", 'valid_from = "2025"', "date", "valid_from"),
    ("valid_from = 2025-01-01", "valid_from = 2025-01-01T00:00:00", "date", "valid_from"),
    ("valid_to = 2026-01-01", "valid_to = 2025-01-01", "validity", "valid_to"),
    ('"uniform-adder"', '"pro-rata"', "convention", "rates[3]"),
    ('"uniform-adder"', "5", "text", "tier_convention"),
    ('day_types = ["hot"]', 'day_types = ["hot", "weekend"]', "day-type", "twice"),
    ('day_types = ["hot"]', 'day_types = "hot"', "text", "day_types"),
    ('[[days]]\ndate = 2025-05-20\nday_type = "hot"', "[days]", "rows", "days"),
    ("[[days]]", "[[dayz]]", "unknown-key", "dayz"),
    ('confidence = "secondary"', 'confidence = "sure"', "confidence", "sources[1]"),
    ("months = [1, 2,", "months = [1, 1,", "months", "windows[1]"),
    ("months = [1, 2,", "months = [0, 2,", "months", "windows[1]"),
    ("months = [1, 2,", "months = [true, 2,", "months", "windows[1]"),
    ("months = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]", "months = []", "months", "windows[1]"),
    ("months = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]", "months = 5", "months", "windows[1]"),
    ('"weekend", "hot"]', '"weekend", "cold"]', "day-type", "cold"),
    ('to = "08:00"', 'to = "09:00"', "window-overlap", "windows[2]"),
    ('to = "08:00"', 'to = "07:59"', "window-gap", "07:59"),
    ('"weekend", "hot"]', '"weekend"]', "window-gap", "month 1 (hot)"),
    ('to = "08:00"', 'to = "00:00"', "window", "windows[1]"),
    ('to = "08:00"', 'to = "8:00"', "window", "HH:MM"),
    ('to = "08:00"', 'to = "ab:cd"', "window", "HH:MM"),
    ('to = "08:00"', 'to = "٠٨:٠٠"', "window", "HH:MM"),
    ('to = "08:00"', 'to = "07:60"', "window", "24:00"),
    ('to = "24:00"', 'to = "24:01"', "window", "24:00"),
    ('tou_period = "valley"', 'tou_period = "total"', "window", "total"),
    ("tier = 1\n", "tier = 0\n", "tier", "tiers[1]"),
    ("tier = 1\n", "tier = true\n", "tier", "tiers[1]"),
    ("tier = 1\n", "tier = 1001\n", "tier", "from 1 to 1,000"),
    ("tier = 1\n", "tier = 99999999999999999999999999\n", "tier", "tiers[1]"),
    ("tier = 1\n", "tier = 2\n", "tier-overlap", "tiers[2]"),
    ("tier = 1\n", "tier = 4\n", "tier-gap", "1, 2"),
    ("tier = 1\n", "tier = 1\nmonths = [1]\n", "tier-gap", "month 2"),
    ("upper_limit_kwh = 200.5", "upper_limit_kwh = 400", "tier-limit", "tiers[2]"),
    ("upper_limit_kwh = 200.5", "upper_limit_kwh = 401", "tier-limit", "tiers[2]"),
    ("upper_limit_kwh = 200.5", "upper_limit_kwh = -1", "tier-limit", "tiers[1]"),
    ("upper_limit_kwh = 200.5", "upper_limit_kwh = 0", "tier-limit", "tiers[1]"),
    ("upper_limit_kwh = 200.5", "", "tier-limit", "tiers[1]"),
    ("upper_limit_kwh = 200.5", "upper_limit_kwh = 200.0005", "decimals", "tiers[1]"),
    ("[[tiers]]\ntier = 3", "[[tiers]]\ntier = 3\nupper_limit_kwh = 500", "tier-limit", "last"),
    ('unit = "CNY/month"', 'unit = "CNY/kW"', "unit", "rates[5]"),
    ('unit = "CNY/month"', 'unit = "CNY/kVA-month"', "rate-scope", "standing counts month or day"),
    ('to = "24:00"', 'to = "25:00"', "window", "windows[2]"),
    ('"0.66286875"', '"0.662868751"', "decimals", "rates[1]"),
    ('"0.66286875"', '"cheap"', "number", "rates[1]"),
    ('"0.66286875"', "nan", "number", "rates[1]"),
    ('"0.66286875"', "inf", "number", "rates[1]"),
    ('"0.66286875"', "true", "number", "rates[1]"),
    ('"0.66286875"', '"1000001"', "number", "rates[1]"),
    ('"0.66286875"', '"1E+999999999"', "number", "rates[1]"),
    ('"0.66286875"', '"0E+999999999"', "number", "rates[1]"),
    ('"0.66286875"', '"1E-999999999"', "decimals", "rates[1]"),
    ('"0.66286875"', "1" * 5000, "syntax", "file"),
    ('"0.66286875"', "[" * 5000, "syntax", "file"),
    ('"0.66286875"', "1e99999999999999999999", "syntax", "file"),
    ('source = "s"', 'source = "hearsay"', "source", "hearsay"),
    ('source = "s"', 'source = "s"\ntou_perod = "flat"', "unknown-key", "tou_perod"),
    (VALLEY_RATE, "", "missing-rate", "valley"),
    (VALLEY_RATE, VALLEY_RATE + VALLEY_RATE, "duplicate-rate", "rates[3]"),
    (VALLEY_RATE, VALLEY_RATE.replace('"valley"', '"night"'), "rate-scope", "night"),
    (VALLEY_RATE, VALLEY_RATE.replace('tou_period = "valley"', ""), "rate-scope", "energy"),
    (VALLEY_RATE, VALLEY_RATE.replace('"valley"', '"valley"\ntier = 2'), "convention", "rates[2]"),
    (TIER_3_RATE, "", "missing-rate", "tier-adder has no rate for 3"),
    (TIER_3_RATE, TIER_3_RATE.replace("tier = 3", "tier = 1"), "rate-scope", "1"),
    (TIER_3_RATE, TIER_3_RATE.replace("tier = 3", ""), "convention", "rates[4]"),
    (TIER_3_RATE, TIER_3_RATE.replace("CNY/kWh", "CNY/month"), "rate-scope", "rates[4]"),
    ('tier_convention = "uniform-adder"', "", "convention", "rates[3]"),
    ("date = 2025-05-20", "date = 5", "date", "days[1]"),
    ('day_type = "hot"', 'day_type = "cold"', "day-type", "days[1]"),
    (
        'day_type = "hot"\n',
        'day_type = "hot"\n[[days]]\ndate = 2025-05-20\nday_type = "hot"',
        "duplicate-day",
        "days[2]",
    ),
]


@pytest.mark.parametrize(("old", "new", "reason", "named"), BAD)
def test_a_bad_tariff_is_refused_by_row_and_reason(
    old: str, new: str, reason: str, named: str
) -> None:
    assert old in GOOD
    with pytest.raises(InvalidTariffError) as caught:
        parse_tariff(GOOD.replace(old, new, 1))
    assert caught.value.reason == f"tariff.{reason}"
    assert named in caught.value.message


def test_windows_without_prices_per_period_are_refused() -> None:
    windows = '[[windows]]\nfrom = "00:00"\nto = "24:00"\ntou_period = "flat"\n'
    with pytest.raises(InvalidTariffError, match="per TOU period"):
        parse_tariff(PLAIN + windows)


def test_tiers_that_no_rate_uses_are_refused() -> None:
    with pytest.raises(InvalidTariffError, match="depends on the tiers"):
        parse_tariff(PLAIN + TIERS)


def test_a_single_open_tier_changes_nothing() -> None:
    assert parse_tariff(PLAIN + "[[tiers]]\ntier = 1\n").tiers[0].upper_limit is None


def test_a_tariff_without_an_energy_price_is_refused() -> None:
    with pytest.raises(InvalidTariffError, match="energy has no rate per kWh"):
        parse_tariff(PLAIN.replace("CNY/kWh", "CNY/month").replace('"energy"', '"line-rental"'))


def test_pricing_tiers_twice_is_refused() -> None:
    head, _, _ = PLAIN.partition("[[rates]]")
    head = head.replace("day_types", 'tier_convention = "uniform-adder"\nday_types')
    adder = TIER_3_RATE.replace("tier = 3", "tier = 2")
    parse_tariff(head + TIERS + TIER_RATES)
    with pytest.raises(InvalidTariffError, match="both price a tier"):
        parse_tariff(head + TIERS + TIER_RATES + adder)


def test_an_unreadable_file_is_the_senders_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tariff\.unreadable"):
        load_tariff(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"tariff\.unreadable"):
        load_tariff(binary)


def test_the_commercial_tariff_takes_a_hot_day_table() -> None:
    text = catalogue_text("shenzhen-commercial-four-period")
    tariff = parse_tariff(text + '\n[[days]]\ndate = 2025-06-20\nday_type = "hot"\n')
    assert tariff.days[0].day == date(2025, 6, 20)


@pytest.mark.parametrize("text", ["a{} = 1", "'\"'{}.'\"' = 1", 'x = ["""a"""", {{a{} = 1}}]'])
def test_a_key_of_thousands_of_parts_is_refused_before_it_is_read(text: str) -> None:
    """The time to read one rises with the square of its parts: of 32 KiB, some 13 seconds."""
    with pytest.raises(InvalidTariffError, match="more than 64 dots"):
        parse_tariff(text.format(".a" * 16_000))


def test_an_array_of_many_decimals_is_no_key_of_many_parts() -> None:
    text = f"x = [{', '.join(['0.5'] * 500)}]"
    found = read_document(text, name="tariff", refuse=InputError)
    assert found == {"x": [0.5] * 500}
