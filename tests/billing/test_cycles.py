"""Billing cycles: periods that begin on any day, and whose prices a period in two months has."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.interval_periods import assign_periods
from gridsecure.billing.rules import line_rules
from gridsecure.billing.settlements import settle
from gridsecure.errors import InputError, InvalidTariffError
from gridsecure.periods import BillingPeriod, billing_month, month_around
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from tests.billing.bill_inputs import HOUR, SHANGHAI, catalogue_text, readings_frame
from tests.plans.element_tariffs import BUSINESSES

SEASONS = catalogue_text("shenzhen-residential-tiers")
PEAK_VALLEY = catalogue_text("shenzhen-residential-peak-valley")
SHARP = catalogue_text("shenzhen-commercial-four-period")
FIRST_HALF, SECOND_HALF = [*range(1, 7)], [*range(7, 13)]
SHANGHAI_TIERS = catalogue_text("shanghai-residential-tiers")
DAYS = st.integers(1, 28)


def of_last_day(text: str) -> Tariff:
    """The same tariff, which says whose prices a period in two months has."""
    return parse_tariff(text.replace("valid_from", 'cycle_month = "last-day"\nvalid_from', 1))


def period(month: str, cycle_day: int) -> BillingPeriod:
    year, number = map(int, month.split("-"))
    return billing_month(year, number, timezone=SHANGHAI, cycle_day=cycle_day)


# --- periods -------------------------------------------------------------------------------------


@given(day=st.dates(date(1971, 1, 1), date(2198, 12, 31)), cycle_day=DAYS)
def test_every_moment_is_in_one_period_whose_last_day_names_it(day, cycle_day):
    moment = pd.Timestamp(day, tz=SHANGHAI).to_pydatetime()
    found = month_around(moment, timezone=SHANGHAI, cycle_day=cycle_day)
    assert found.start <= moment < found.end
    assert (found.start.day, found.end.day) == (cycle_day, cycle_day)
    last = found.end.date() - timedelta(days=1)
    assert found.name == f"{last:%Y-%m}"
    assert found == billing_month(*found.month, timezone=SHANGHAI, cycle_day=cycle_day)
    following = month_around(found.end, timezone=SHANGHAI, cycle_day=cycle_day)
    assert following.start == found.end


@pytest.mark.parametrize("zone", [SHANGHAI, "Europe/London", "America/New_York"])
@pytest.mark.parametrize("cycle_day", [1, 16, 28])
def test_intervals_are_assigned_as_moments_are(zone, cycle_day):
    starts = pd.Series(pd.date_range("2026-01-01", "2027-02-01", freq="6h", tz=zone))
    codes, periods = assign_periods(starts, interval=HOUR, timezone=zone, cycle_day=cycle_day)
    for start, code in zip(starts[::37], codes[::37], strict=True):
        own = month_around(start.to_pydatetime(), timezone=zone, cycle_day=cycle_day)
        assert periods[code] == own


@pytest.mark.parametrize("cycle_day", [0, -1, 29, 31])
def test_a_day_that_not_every_month_has_begins_no_cycle(cycle_day):
    with pytest.raises(InputError) as refused:
        billing_month(2026, 7, timezone=SHANGHAI, cycle_day=cycle_day)
    assert refused.value.reason == "cycle.day"


# --- whose prices --------------------------------------------------------------------------------


def test_a_period_in_two_months_alike_needs_no_rule():
    tariff = parse_tariff(SEASONS)  # summer is May to October
    assert line_rules(tariff, period("2026-08", 16)) == line_rules(tariff, period("2026-08", 1))
    assert line_rules(tariff, period("2026-01", 16)) == line_rules(tariff, period("2026-01", 1))


@pytest.mark.parametrize(("text", "month"), [
    (SEASONS, "2026-05"), (SEASONS, "2026-11"), (SHARP, "2026-07"), (SHARP, "2026-10"),
])  # fmt: skip
def test_a_period_in_two_months_priced_apart_is_not_billed_by_guess(text, month):
    with pytest.raises(InputError) as refused:
        line_rules(parse_tariff(text), period(month, 16))
    assert refused.value.reason == "tariff.cycle-month"


def test_energy_of_december_counts_in_no_years_tiers_by_guess():
    tariff = parse_tariff(SHANGHAI_TIERS)
    assert line_rules(tariff, period("2026-02", 16))
    with pytest.raises(InputError) as refused:
        line_rules(tariff, period("2026-01", 16))
    assert refused.value.reason == "tariff.cycle-month"


@pytest.mark.parametrize(("month", "is_billed"), [
    ("2026-06", False), ("2026-07", True), ("2026-09", False), ("2026-10", True),
])  # fmt: skip
def test_demand_of_two_months_counts_for_a_ratchet_only_where_both_do(month, is_billed):
    months = 'percent = "0.80"\nmonths = [6, 7, 8]'
    tariff = parse_tariff(BUSINESSES["ratchet"].replace('percent = "0.80"', months))
    if is_billed:
        assert line_rules(tariff, period(month, 16))
        return
    with pytest.raises(InputError) as refused:
        line_rules(tariff, period(month, 16))
    assert refused.value.reason == "tariff.cycle-month"


@pytest.mark.parametrize("month", [f"2026-{n:02d}" for n in range(1, 13)])
def test_a_tariff_may_say_that_the_last_day_counts(month):
    tariff = of_last_day(SEASONS)
    assert line_rules(tariff, period(month, 16)) == line_rules(tariff, period(month, 1))


def test_windows_alone_can_price_two_months_apart():
    """The same prices at other hours are other prices."""
    hours = '[[windows]]\nfrom = "{}"\nto = "{}"\ntou_period = "{}"\nmonths = {}\n'
    parts = [
        ("00:00", "08:00", "valley", FIRST_HALF), ("08:00", "24:00", "peak", FIRST_HALF),
        ("00:00", "07:00", "valley", SECOND_HALF), ("07:00", "24:00", "peak", SECOND_HALF),
    ]  # fmt: skip
    head = PEAK_VALLEY.split("[[windows]]", 1)[0]
    rates = "".join(
        f'[[rates]]\ncharge = "energy"\ntou_period = "{name}"\nrate = "{rate}"\nunit = "CNY/kWh"\n'
        'source = "shenzhen-peak-valley"\n'
        for name, rate in (("peak", "1"), ("valley", "0.5"))
    )
    head = head.replace('tier_convention = "uniform-adder"\n', "", 1)
    head = head.replace('tiers = "guangdong-tiers"\n', "").replace(
        'tier_convention = "guangdong-order"\n', ""
    )
    text = head + "".join(hours.format(*part) for part in parts) + rates
    assert line_rules(parse_tariff(text), period("2026-06", 2))
    with pytest.raises(InputError) as refused:
        line_rules(parse_tariff(text), period("2026-07", 2))
    assert refused.value.reason == "tariff.cycle-month"


def test_the_edition_of_the_last_days_month_is_in_force():
    """自7月抄见电量起: whatever is read in July has the prices of July, and June's are over."""
    begun = of_last_day(SEASONS.replace("valid_from = 20", "valid_from = 2026-07-01 # 20", 1))
    assert line_rules(begun, period("2026-07", 16))
    with pytest.raises(InputError) as refused:
        line_rules(begun, period("2026-06", 16))
    assert refused.value.reason == "tariff.not-valid"
    silent = parse_tariff(SEASONS.replace("valid_from = 20", "valid_from = 2026-07-01 # 20", 1))
    with pytest.raises(InputError) as refused:
        line_rules(silent, period("2026-07", 16))
    assert refused.value.reason == "tariff.not-valid"


def test_nothing_but_the_last_day_can_be_said():
    with pytest.raises(InvalidTariffError) as refused:
        parse_tariff(SEASONS.replace("valid_from", 'cycle_month = "both"\nvalid_from', 1))
    assert refused.value.reason == "tariff.cycle-month"


@pytest.mark.parametrize(("start", "end"), [
    ("2026-07-16", "2026-08-15"), ("2026-07-16", "2026-09-16"), ("2026-07-29", "2026-08-29"),
    ("2026-07-16T00:15", "2026-08-16T00:15"),
])  # fmt: skip
def test_what_is_no_month_of_a_cycle_has_no_lines(start, end):
    moments = (pd.Timestamp(text, tz=SHANGHAI).to_pydatetime() for text in (start, end))
    with pytest.raises(InputError) as refused:
        line_rules(of_last_day(SEASONS), BillingPeriod(*moments))
    assert refused.value.reason == "period.not-a-month"


# --- bills ---------------------------------------------------------------------------------------


def hourly(first: str, days: int, *, seed: int) -> pd.DataFrame:
    numbers = np.random.default_rng(seed).integers(0, 3_000, days * 24)
    starts = pd.date_range(first, periods=days * 24, freq="h")
    return readings_frame(
        ("A", start.isoformat(), int(wh)) for start, wh in zip(starts, numbers, strict=True)
    )


@pytest.mark.parametrize("month", ["2025-05", "2025-08", "2025-11"])
def test_tiers_count_the_period_and_not_the_calendar_month(month):
    """Each kWh by hand: the first 260 (summer) or 200 kWh, those up to 600 or 400, the rest."""
    own = period(month, 16)
    days = (own.end - own.start).days
    first = (own.start - timedelta(days=3)).date().isoformat()
    readings = hourly(first, days + 6, seed=int(month[-2:]))
    bills = {
        bill.period: bill
        for bill in bill_readings(
            readings, tariff=of_last_day(SEASONS), contracts=default_contracts(["A"]),
            interval=HOUR, cycle_day=16,
        )
    }  # fmt: skip
    starts = pd.DatetimeIndex(readings["start"])
    inside = (starts >= own.start) & (starts < own.end)
    used = Decimal(int(readings["energy_wh"].to_numpy()[inside].sum())) / 1000
    first_end, second_end = (260, 600) if month[-2:] in ("05", "08") else (200, 400)
    parts = {
        1: min(used, first_end),
        2: max(min(used, second_end) - first_end, 0),
        3: max(used - second_end, 0),
    }
    bill = bills[own]
    found: dict[int, Decimal] = {}
    for rule, quantity in zip(bill.rules, bill.quantities[:, 0], strict=True):
        if rule.tier is not None:
            found[rule.tier] = Decimal(int(quantity)) / 1000
    assert {tier: parts[tier] for tier in found} == found
    assert sum(found.values()) in (used, used - parts[1])


@pytest.mark.parametrize(("month", "is_sharp"), [("2025-07", True), ("2025-10", False)])
def test_windows_are_those_of_the_last_days_month(month, is_sharp):
    """16 to 30 June is billed in July's hours, and 16 to 30 September in October's."""
    own = period(month, 16)
    readings = hourly(own.start.date().isoformat(), (own.end - own.start).days, seed=7)
    settled = settle(readings, tariff=of_last_day(SHARP), interval=HOUR, cycle_day=16)
    (row,) = settled.to_dict("records")
    assert (row["period_start"], row["period_end"]) == (own.start, own.end)
    calendar = settle(readings, tariff=parse_tariff(SHARP), interval=HOUR)
    by_date = int(calendar["sharp_wh"].sum())
    assert (row["sharp_wh"] > by_date) == is_sharp
    assert (row["sharp_wh"] == 0) == (not is_sharp)
    assert row["total_wh"] == calendar["total_wh"].sum()


def test_a_year_of_tiers_begins_with_the_period_of_january():
    """What is read in January counts for the new year, though most of it was used in the old."""
    tariff = of_last_day(SHANGHAI_TIERS)
    assert tariff.tier_reset == "year"
    readings = readings_frame([
        ("A", "2025-12-10T00:00", 100_000), ("A", "2025-12-20T00:00", 20_000),
        ("A", "2026-01-10T00:00", 3_000), ("A", "2026-01-16T00:00", 400),
        ("A", "2026-02-16T00:00", 50),
    ])  # fmt: skip
    settled = settle(
        readings, tariff=tariff, interval=HOUR, contracts=default_contracts(["A"]), cycle_day=16
    )
    assert settled["total_wh"].tolist() == [100_000, 23_000, 400, 50]
    assert settled["year_before_wh"].tolist() == [0, 0, 23_000, 23_400]
