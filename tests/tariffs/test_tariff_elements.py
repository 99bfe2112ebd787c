"""Elements beyond prices, windows and tiers: each bad one is refused, by row and reason.

The tariffs are those that the plans are tested with; here one thing at a time is made wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from gridsecure.billing.charges import line_quantities
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import line_rules
from gridsecure.errors import InputError, InvalidTariffError
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import parse_tariff
from tests.billing.bill_inputs import settlement_frame
from tests.plans.element_tariffs import (
    BUSINESSES,
    DEMAND,
    DEMAND_WINDOWS,
    DISCOUNT,
    DYNAMIC,
    HOUSEHOLDS,
    LADDER_RATES,
    PEAK_VALLEY,
    POWER_FACTOR,
    ladder,
    rate,
    tariff,
)

JULY = billing_month(2026, 7, timezone="Asia/Shanghai")
FLAT = tariff("flat", rate("energy", "0.5"), "[figure_sources]\n")
RATCHET = BUSINESSES["ratchet"]
DEMAND_PERIODS = BUSINESSES["demand-periods"]
FACTOR = BUSINESSES["power-factor"]
PER_PERIOD = HOUSEHOLDS["per-period"]
PRO_RATA = HOUSEHOLDS["pro-rata"]
ANNUAL = HOUSEHOLDS["annual"]
DAILY = HOUSEHOLDS["daily-limits"]
KVA = BUSINESSES["kva-tier"]
DISCOUNTED = BUSINESSES["demand"]
SEASONS = tariff("seasons", rate("energy", "0.5", more="months = [1, 2, 3]")) + rate(
    "energy", "0.6", more="months = [4, 5, 6, 7, 8, 9, 10, 11, 12]"
)

BAD = [
    # (tariff, what is changed, what it becomes, reason, what the message names)
    # dynamic prices
    (DYNAMIC, "interval_minutes = 60", "interval_minutes = 7", "dynamic", "dynamic"),
    (DYNAMIC, "interval_minutes = 60", "interval_minutes = true", "dynamic", "divide a day"),
    (DYNAMIC, "interval_minutes = 60", "", "missing-key", "dynamic"),
    (DYNAMIC, 'rates = ["0.0500"', 'rates = ["cheap"', "number", "dynamic.rates[1]"),
    (DYNAMIC, '"0.0870"', '"0.123456789"', "decimals", "dynamic.rates[2]"),
    (DYNAMIC, "rates = [", 'rates = "0.5" # [', "dynamic", "list of prices"),
    (DYNAMIC, '"2026-07-01T00:00"', '"July"', "date", "dynamic"),
    (DYNAMIC, '"2026-07-01T00:00"', '"2026-07-01T00:00+08:00"', "date", "without an offset"),
    (DYNAMIC, '"2026-07-01T00:00"', "2026-07-01", "date", "dynamic"),
    (DYNAMIC, "[dynamic]", "[[dynamic]]", "rows", "[dynamic]"),
    (DYNAMIC, 'source = "made-up"\nstart', 'source = "rumour"\nstart', "source", "dynamic"),
    (DYNAMIC, "[dynamic]", rate("energy", "0.5") + "[dynamic]", "dynamic", "other energy rates"),
    (DYNAMIC, "[dynamic]", PEAK_VALLEY + "[dynamic]", "dynamic", "other energy rates"),
    # the power factor
    (FACTOR, 'standard = "0.90"', 'standard = "0.95"', "power-factor", "0.90, 0.85, 0.80"),
    (FACTOR, 'standard = "0.90"', "standard = 0.90", "text", "power_factor"),
    (FACTOR, 'standard = "0.90"', 'standard = "0.90"\nexcludes = ["taxes"]',
        "power-factor", "taxes"),
    (FACTOR, 'standard = "0.90"', 'standard = "0.90"\nexcludes = "taxes"', "text", "excludes"),
    (FACTOR, 'standard = "0.90"', 'standard = "0.90"\ncap = "0.05"', "unknown-key", "cap"),
    (FACTOR, '"0.90"\nsource = "made-up"', '"0.90"\nsource = "rumour"', "source", "power_factor"),
    (FACTOR, "[power_factor]", "[[power_factor]]", "rows", "[power_factor]"),
    (PRO_RATA, PEAK_VALLEY, PEAK_VALLEY + POWER_FACTOR + "excludes = []\n", "power-factor", "tier"),
    # the ratchet
    (RATCHET, 'percent = "0.80"', 'percent = "80"', "ratchet", "demand_ratchet"),
    (RATCHET, 'percent = "0.80"', 'percent = "0"', "ratchet", "between 0 and 1"),
    (RATCHET, 'percent = "0.80"', 'percent = "-0.8"', "ratchet", "demand_ratchet"),
    (RATCHET, 'percent = "0.80"', 'percent = "0.80001"', "decimals", "demand_ratchet"),
    (RATCHET, "range_months = 11", "range_months = 0", "ratchet", "between 1 and 24"),
    (RATCHET, "range_months = 11", "range_months = 25", "ratchet", "between 1 and 24"),
    (RATCHET, "range_months = 11", 'range_months = "11"', "ratchet", "demand_ratchet"),
    (RATCHET, "range_months = 11", "range_months = 11\nmonths = [13]", "months", "demand_ratchet"),
    (RATCHET, '11\nsource = "made-up"', '11\nsource = "rumour"', "source", "demand_ratchet"),
    (RATCHET, DEMAND, "", "missing-rate", "demand_ratchet"),
    (RATCHET, DEMAND, DEMAND + DISCOUNT, "ratchet", "demand-discount"),
    # demand windows
    (DEMAND_PERIODS, 'to = "20:00"', 'to = "19:00"', "window-gap", "month 1"),
    (DEMAND_PERIODS, 'to = "20:00"', 'to = "21:00"', "window-overlap", "windows[3]"),
    (DEMAND_PERIODS, 'tou_period = "day"\n[[', 'tou_period = "noon"\n[[', "rate-scope", "'day'"),
    (DISCOUNTED, DEMAND, DEMAND + DEMAND_WINDOWS, "missing-rate", "demand_windows"),
    # months of rates
    (SEASONS, "months = [1, 2, 3]", "months = [1, 2]", "missing-rate", "energy"),
    (SEASONS, "months = [1, 2, 3]", "months = [1, 2, 3, 4]", "duplicate-rate", "rates[2]"),
    (SEASONS, "months = [1, 2, 3]", "months = [0]", "months", "rates[1]"),
    (SEASONS, "months = [1, 2, 3]", 'months = "spring"', "months", "rates[1]"),
    # tiers of a year, and other units of limits
    (ANNUAL, '"year"', '"quarter"', "tier-reset", "month, year"),
    (ANNUAL, '"year"', "5", "text", "tier_reset"),
    (ANNUAL, "tier = 1\nupper", "tier = 1\nmonths = [1]\nupper", "tier-reset", "all year"),
    (ANNUAL, 'unit = "kWh"\n', 'unit = "kWh/day"\n', "tier-reset", "tiers[1]"),
    (ANNUAL, "upper_limit = 4800", "upper_limit_kwh = 4800", "unit", "tiers[2]"),
    (ANNUAL, 'upper_limit = 4800\nunit = "kWh"', "upper_limit = 4800", "unit", "needs a unit"),
    (ANNUAL, 'upper_limit = 4800\nunit = "kWh"', 'upper_limit = 4800\nunit = "MWh"', "unit", "MWh"),
    (ANNUAL, "upper_limit = 4800", "upper_limit = -4800", "tier-limit", "tiers[2]"),
    (KVA, 'unit = "kWh/kVA"', 'unit = "kVA"', "unit", "kVA"),
    (KVA, "upper_limit = 250", "upper_limit = 250.5", "decimals", "tiers[1]"),
    (KVA, "upper_limit = 250", "upper_limit = -250", "tier-limit", "tiers[1]"),
    (DAILY, '15\nunit = "kWh/day"', '15\nunit = "kWh"', "unit", "tiers[2]"),
    # units of rates that say what they count
    (KVA, 'unit = "CNY/kVA-month"', 'unit = "CNY/kWh"', "rate-scope", "capacity counts kVA-month"),
    (KVA, 'unit = "CNY/kVA-month"', 'unit = "CNY/kW-month"', "rate-scope", "not kW-month"),
    (KVA, 'unit = "CNY/kVA-month"', 'unit = "USD/kVA-month"', "unit", "USD/kVA-month"),
    (KVA, 'currency = "CNY"', 'currency = "EUR"', "unit", "rates[1]"),
    (DISCOUNTED, DEMAND, DEMAND.replace("kW-month", "kVA-month"), "rate-scope", "demand counts"),
    # charges that are priced in one way, and elements that change something
    (HOUSEHOLDS["feed-in"], rate("feed-in", "-0.453"), rate("feed-in", "-0.453", period="peak"),
        "rate-scope", "no periods or tiers"),
    (DISCOUNTED, DISCOUNT, rate("fee", "3", unit="kW-month") + rate("fee", "0.1", period="peak"),
        "rate-scope", "in two ways"),
    (PER_PERIOD, PER_PERIOD[PER_PERIOD.index("[[rates]]") :], LADDER_RATES,
        "rate-scope", "need a rate per period"),
    (FLAT, "valid_from", 'tier_convention = "pro-rata"\nvalid_from', "convention", "to combine"),
    # conventions
    (PRO_RATA, 'convention = "pro-rata"', 'convention = "first-come"', "convention", "first-come"),
    (PRO_RATA, 'convention = "pro-rata"', 'convention = "uniform-adder"', "convention", "rates[1]"),
    (PER_PERIOD, 'convention = "per-period"', 'convention = "pro-rata"', "convention", "tiers[1]"),
    (PRO_RATA, 'convention = "pro-rata"', 'convention = "per-period"', "convention", "tiers[1]"),
    (PER_PERIOD, 'convention = "per-period"', 'convention = "per-period"\ntier_reset = "year"',
        "tier-reset", "by month"),
    (PER_PERIOD, ladder("60", "120", period="valley"), "", "rate-scope", "valley"),
    (PER_PERIOD, 'unit = "kWh"\ntou_period = "valley"', 'unit = "kWh"', "unit", "tiers["),
    # the discount for use hours
    (DISCOUNTED, "min_kwh_per_kva = 260", "", "rate-scope", "min_kwh_per_kva"),
    (DISCOUNTED, "min_kwh_per_kva = 260", "min_kwh_per_kva = 0", "tier-limit", "above zero"),
    (DISCOUNTED, "min_kwh_per_kva = 260", "min_kwh_per_kva = -260", "tier-limit", "rates["),
    (DISCOUNTED, "min_kwh_per_kva = 260", "min_kwh_per_kva = 260.5", "decimals", "rates["),
    (DISCOUNTED, DEMAND, rate("demand", "42", unit="kW-month", more="min_kwh_per_kva = 260"),
        "rate-scope", "go together"),
    (DISCOUNTED, DEMAND, "", "missing-rate", "no demand rate to discount"),
    (DISCOUNTED, DEMAND, rate("demand", "42", unit="kW-month", more="months = [1, 2]"),
        "missing-rate", "no demand rate to discount"),
    # tax
    (FACTOR, 'vat_rate = "0.13"', 'vat_rate = "13"', "vat", "0.13"),
    (FACTOR, 'vat_rate = "0.13"', 'vat_rate = "-0.13"', "vat", "header"),
    (FACTOR, 'vat_rate = "0.13"', 'vat_rate = "0.13001"', "decimals", "header"),
    (FACTOR, 'vat_rate = "0.13"', "vat_rate = true", "number", "header"),
    # sources of other figures
    (KVA, "valid_from", 'figure_sources = "made-up"\nvalid_from', "rows", "[figure_sources]"),
    (FLAT, "[figure_sources]", '[figure_sources]\nprices = "made-up"', "unknown-key", "prices"),
    (FLAT, "[figure_sources]", '[figure_sources]\ntiers = "made-up"', "source", "has no tiers"),
    (KVA, "\n[[rates]]", '\n[figure_sources]\ntiers = "rumour"\n[[rates]]',
        "source", "figure_sources.tiers"),
    (KVA, "\n[[rates]]", "\n[figure_sources]\ntiers = 5\n[[rates]]", "text", "figure_sources"),
    (FLAT, "[[sources]]", '[[sources]]\nid = "made-up"\ntitle = "Again"\nconfidence = "secondary"\n'
        "[[sources]]", "source", "two sources"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "old", "new", "reason", "named"), BAD)
def test_a_bad_element_is_refused_by_row_and_reason(
    good: str, old: str, new: str, reason: str, named: str
) -> None:
    parse_tariff(good)
    assert old in good
    with pytest.raises(InvalidTariffError) as caught:
        parse_tariff(good.replace(old, new, 1))
    assert caught.value.reason == f"tariff.{reason}"
    assert named in caught.value.message


def test_figures_that_are_no_rates_name_their_sources() -> None:
    named = '[figure_sources]\ntiers = "made-up"\ntier_convention = "made-up"\n'
    parsed = parse_tariff(KVA + named)
    assert [(f.figure, f.source) for f in parsed.figure_sources] == [
        ("tiers", "made-up"),
        ("tier_convention", "made-up"),
    ]
    assert ("figure_sources.tiers", "made-up") in parsed.named_sources


def test_elements_are_read_exactly() -> None:
    dynamic, ratchet = parse_tariff(DYNAMIC).dynamic, parse_tariff(RATCHET).ratchet
    assert dynamic is not None
    assert ratchet is not None
    first = datetime.fromisoformat("2026-07-01")
    assert (dynamic.start, dynamic.interval) == (first, timedelta(hours=1))
    assert dynamic.rates[1] == Decimal("0.0870")
    assert (ratchet.share, ratchet.range_months) == (Decimal("0.80"), 11)
    assert ratchet.months == tuple(range(1, 13))
    factor = parse_tariff(FACTOR)
    assert factor.vat_rate == Decimal("0.13")
    assert factor.power_factor is not None
    assert factor.power_factor.excludes == ("government-funds",)


def test_a_series_must_cover_every_interval_of_the_month() -> None:
    june = billing_month(2026, 6, timezone="Asia/Shanghai")
    august = billing_month(2026, 8, timezone="Asia/Shanghai")
    for month in (june, august):
        with pytest.raises(InputError, match=r"tariff\.dynamic-range"):
            line_rules(parse_tariff(DYNAMIC), month)
    last = DYNAMIC[DYNAMIC.rindex(', "') : DYNAMIC.rindex('"]') + 1]
    short = DYNAMIC.replace(last + "]", "]")
    assert short != DYNAMIC
    with pytest.raises(InputError, match=r"tariff\.dynamic-range"):
        line_rules(parse_tariff(short), JULY)


def test_a_discount_needs_a_capacity_to_count_use_hours_of() -> None:
    rules = line_rules(parse_tariff(DISCOUNTED), JULY)
    columns = {
        "meter_point_id": ["a"], "total_wh": [1000], "peak_wh": [500], "valley_wh": [500],
        "demand_w": np.array([900]),
    }  # fmt: skip
    frame = settlement_frame(columns, period_start=JULY.start)
    contracts = default_contracts(["a"])
    with pytest.raises(InputError, match=r"contract\.no-capacity"):
        line_quantities(rules, settlements=frame, contracts=contracts, period=JULY)
    contracts["contracted_va"] = 1000
    quantities = line_quantities(rules, settlements=frame, contracts=contracts, period=JULY)
    assert quantities[-1].tolist() == [0]
