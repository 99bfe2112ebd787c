"""What a URDB rate becomes, element by element."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.tariffs.urdb.conversion import import_rate
from gridsecure.tariffs.urdb.elements import parse_urdb
from tests.tariffs.urdb_rates import (
    HOURS,
    NIGHT_AND_DAY,
    chosen,
    every_day,
    import_text,
    imported,
    ladder,
    notes,
    plain_rate,
    rates_of,
    two_periods,
)

WINTER = [1, 2, 3, 4, 11, 12]
SUMMER = [5, 6, 7, 8, 9, 10]
SEASONS = [[0] * HOURS if month in WINTER else [1] * HOURS for month in range(1, 13)]


def seconds(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())


# --- the file ----------------------------------------------------------------------------------


def test_smallest_rate() -> None:
    assert imported(plain_rate()) == {
        "tariff_id": "L",
        "version": "2018-01-01",
        "name_en": "L",
        "name_zh": "L",
        "city": "URDB",
        "currency": "USD",
        "timezone": "Asia/Shanghai",
        "valid_from": date(2018, 1, 1),
        "sources": [{"id": "urdb", "title": "OpenEI URDB, L", "confidence": "secondary"}],
        "rates": [{"charge": "energy", "rate": "0.1", "unit": "USD/kWh", "source": "urdb"}],
    }


def test_header_tells_whose_rate_it_is() -> None:
    rate = plain_rate(
        name='Rate "A" \\ \n 居民',
        utility="City\x7fof Light",
        source="https://example.org/rates.pdf",
        timezone="America/Denver",
        eiaid=1,
        uri="https://example.org",
        approved=True,
        sector="Residential",
        description="Any text.",
        energycomments="Any text.",
        phasewiring=None,
    )
    tariff = imported(rate, timezone=None)
    assert tariff["name_en"] == tariff["name_zh"] == 'Rate "A" \\ 居民'
    assert tariff["city"] == "City\x7fof Light"
    assert tariff["timezone"] == "America/Denver"
    assert "https://example.org/rates.pdf" in tariff["sources"][0]["title"]


def test_options_overrule_the_file() -> None:
    rate = plain_rate(timezone="America/Denver", startdate=seconds(2015, 6, 1))
    options = {"tariff_id": "T", "version": "7", "currency": "EUR", "timezone": "Europe/Berlin"}
    tariff = imported(rate, **options)
    assert {key: tariff[key] for key in options} == options
    assert tariff["valid_from"] == date(2015, 6, 1)
    assert tariff["rates"][0]["unit"] == "EUR/kWh"


@pytest.mark.parametrize("hour", [0, 4, 8])
def test_dates_are_those_of_american_midnights(hour: int) -> None:
    rate = plain_rate(startdate=seconds(2013, 6, 1, hour), enddate=seconds(2014, 5, 31, hour))
    tariff = imported(rate)
    assert (tariff["valid_from"], tariff["valid_to"]) == (date(2013, 6, 1), date(2014, 6, 1))
    assert tariff["version"] == "2013-06-01"


def test_envelope_with_one_rate() -> None:
    text = json.dumps({"items": [{"label": "L", "energyratestructure": [[{"rate": 0.25}]]}]})
    assert imported(dict(parse_urdb(text)))["rates"][0]["rate"] == "0.25"


def test_prices_are_kept_as_written() -> None:
    rate = parse_urdb('{"label": "L", "energyratestructure": [[{"rate": 0.10000000}]]}')
    assert "0.1\n" not in import_text(dict(rate))
    assert 'rate = "0.1"' in import_text(dict(rate))


def test_names_of_elements_in_any_case() -> None:
    rate = {"Label": "L", "energyRateStructure": [[{"rate": Decimal("0.1")}]]}
    assert imported(rate) == imported(plain_rate())


def test_text_is_read_by_the_tariff_reader() -> None:
    rate = plain_rate()
    options = chosen()
    result = import_rate(rate, options=options)
    assert parse_tariff(result.text) == result.tariff
    assert import_rate(rate, options=options).text == result.text


def test_applicability_is_noted() -> None:
    (note,) = notes(plain_rate(peakkwcapacitymax=50, voltageminimum=240))
    assert "peakkwcapacitymax, voltageminimum" in note
    assert f"# {note}" in import_text(plain_rate(peakkwcapacitymax=50, voltageminimum=240))


@pytest.mark.parametrize(
    "element",
    [
        {"demandreactivepowercharge": 0},
        {"coincidentratestructure": []},
        {"coincidentratestructure": [[]]},
        {"coincidentrateschedule": every_day(0)},
        {"demandratchetpercentage": [0] * 12},
        {"usenetmetering": False},
        {"fixedchargeeaaddl": Decimal("0.0")},
        {"energyattrs": []},
        {"dgrules": None},
        {"annualmincharge": 0},
    ],
)
def test_nothing_in_an_unpriced_element_is_nothing(element: dict[str, Any]) -> None:
    assert imported(plain_rate(**element)) == imported(plain_rate())


# --- energy ------------------------------------------------------------------------------------


def test_adjustment_is_part_of_the_price() -> None:
    rate = plain_rate(
        energyratestructure=[[{"rate": Decimal("0.123"), "adj": Decimal("-0.00004")}]]
    )
    assert rates_of(imported(rate), "energy") == [{"rate": "0.12296", "unit": "USD/kWh"}]


def test_adjustment_alone_is_a_price() -> None:
    rate = plain_rate(energyratestructure=[[{"adj": Decimal("0.02")}]])
    assert rates_of(imported(rate), "energy")[0]["rate"] == "0.02"


def test_time_of_use() -> None:
    tariff = imported(two_periods(ladder("0.1", limits=()), ladder("0.2", limits=())))
    assert tariff["windows"] == [
        {"from": "00:00", "to": "08:00", "tou_period": "period-0"},
        {"from": "08:00", "to": "24:00", "tou_period": "period-1"},
    ]
    assert rates_of(tariff, "energy") == [
        {"tou_period": "period-0", "rate": "0.1", "unit": "USD/kWh"},
        {"tou_period": "period-1", "rate": "0.2", "unit": "USD/kWh"},
    ]


def test_windows_share_rows_over_months_and_days() -> None:
    """Weekends are all night; in July the weekday's day begins later."""
    weekday = [list(hours) for hours in NIGHT_AND_DAY]
    weekday[6] = [0] * 12 + [1] * 12
    rate = two_periods(ladder("0.1", limits=()), ladder("0.2", limits=()))
    rate |= {"energyweekdayschedule": weekday, "energyweekendschedule": every_day(0)}
    others = [month for month in range(1, 13) if month != 7]
    night, day = "period-0", "period-1"
    assert imported(rate)["windows"] == [
        {"from": "00:00", "to": "08:00", "tou_period": night, "day_types": ["weekday"],
         "months": others},
        {"from": "00:00", "to": "12:00", "tou_period": night, "day_types": ["weekday"],
         "months": [7]},
        {"from": "00:00", "to": "24:00", "tou_period": night, "day_types": ["weekend"]},
        {"from": "08:00", "to": "24:00", "tou_period": day, "day_types": ["weekday"],
         "months": others},
        {"from": "12:00", "to": "24:00", "tou_period": day, "day_types": ["weekday"],
         "months": [7]},
    ]  # fmt: skip


def test_months_alike_on_all_days_share_a_row_without_a_day_type() -> None:
    """One month differs on weekends: a row for all days but for it, and one for its weekdays."""
    weekend = [list(hours) for hours in NIGHT_AND_DAY]
    weekend[0] = [0] * 24
    rate = two_periods(ladder("0.1", limits=()), ladder("0.2", limits=()))
    rate["energyweekendschedule"] = weekend
    day = [row for row in imported(rate)["windows"] if row["tou_period"] == "period-1"]
    rest = list(range(2, 13))
    assert day == [
        {"from": "08:00", "to": "24:00", "tou_period": "period-1", "months": rest},
        {"from": "08:00", "to": "24:00", "tou_period": "period-1", "day_types": ["weekday"],
         "months": [1]},
    ]  # fmt: skip


def test_seasons_of_tiers_need_no_windows() -> None:
    rate = plain_rate(
        energyratestructure=[
            ladder("0.1", "0.2", limits=(200,)),
            ladder("0.1", "0.3", limits=(260,)),
        ],
        energyweekdayschedule=SEASONS,
        energyweekendschedule=SEASONS,
    )
    tariff = imported(rate)
    assert "windows" not in tariff
    assert "tier_convention" not in tariff
    assert tariff["tiers"] == [
        {"tier": 1, "months": WINTER, "upper_limit_kwh": 200},
        {"tier": 2, "months": WINTER},
        {"tier": 1, "months": SUMMER, "upper_limit_kwh": 260},
        {"tier": 2, "months": SUMMER},
    ]
    assert rates_of(tariff, "energy") == [
        {"tier": 1, "rate": "0.1", "unit": "USD/kWh"},
        {"tier": 2, "months": WINTER, "rate": "0.2", "unit": "USD/kWh"},
        {"tier": 2, "months": SUMMER, "rate": "0.3", "unit": "USD/kWh"},
    ]


def test_one_season_may_have_no_tiers() -> None:
    rate = plain_rate(
        energyratestructure=[ladder("0.1", limits=()), ladder("0.1", "0.3", limits=(260,))],
        energyweekdayschedule=SEASONS,
    )
    assert rates_of(imported(rate), "energy") == [
        {"tier": 1, "rate": "0.1", "unit": "USD/kWh"},
        {"tier": 2, "months": SUMMER, "rate": "0.3", "unit": "USD/kWh"},
    ]


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("kWh/kW", "kWh/kW"),
        ("KWH DAILY", "kWh/day"),
        ("kWh/kW daily", "kWh/kW-day"),
    ],
)
def test_units_of_limits(written: str, ours: str) -> None:
    rate = plain_rate(energyratestructure=[ladder("0.1", "0.2", limits=(20,), unit=written)])
    assert imported(rate)["tiers"] == [
        {"tier": 1, "upper_limit": 20, "unit": ours},
        {"tier": 2},
    ]


def test_unit_of_an_open_tier_limits_nothing() -> None:
    tiers = ladder("0.1", "0.2", limits=(20,), unit="kWh daily")
    tiers[1]["unit"] = "kWh"
    tiers[1]["max"] = Decimal("1e38")
    assert imported(plain_rate(energyratestructure=[tiers]))["tiers"][1] == {"tier": 2}


def test_limits_of_a_year() -> None:
    rate = plain_rate(
        energyratestructure=[ladder("0.1", "0.2", limits=(3120,))], tier_reset="annual"
    )
    assert imported(rate)["tier_reset"] == "year"
    rate["tier_reset"] = "month"
    assert "tier_reset" not in imported(rate)


def test_periods_that_no_hour_belongs_to_are_noted() -> None:
    rate = two_periods(*[ladder("0.1", limits=())] * 4)
    assert len(rates_of(imported(rate), "energy")) == 2
    assert notes(rate) == ("energyratestructure: no hour belongs to period 2, 3; not imported.",)


def test_weekends_like_weekdays_are_noted() -> None:
    rate = two_periods(ladder("0.1", limits=()), ladder("0.2", limits=()))
    both = imported(rate)
    del rate["energyweekendschedule"]
    assert imported(rate) == both
    assert notes(rate) == ("energyweekendschedule: not given; weekends are billed like weekdays.",)


def test_fuel_adjustments_are_a_charge_of_their_own() -> None:
    monthly = [Decimal("0.01")] * 6 + [Decimal("0.0")] * 6
    tariff = imported(plain_rate(fueladjustmentsmonthly=monthly))
    assert rates_of(tariff, "fuel-adjustment") == [
        {"months": [1, 2, 3, 4, 5, 6], "rate": "0.01", "unit": "USD/kWh"},
        {"months": [7, 8, 9, 10, 11, 12], "rate": "0", "unit": "USD/kWh"},
    ]
    assert rates_of(imported(plain_rate(fueladjustmentsmonthly=[0] * 12)), "fuel-adjustment") == []


def test_prices_by_interval() -> None:
    prices = [Decimal("0.1") + Decimal(hour % 24) / 1000 for hour in range(8760)]
    tariff = imported(plain_rate(energyratestructure=[[{"rate": 0}]], ts_buy_rate=prices))
    assert tariff["dynamic"] == {
        "source": "urdb",
        "start": "2018-01-01T00:00",
        "interval_minutes": 60,
        "rates": [format(price.normalize(), "f") for price in prices],
    }
    assert "rates" not in tariff or rates_of(tariff, "energy") == []


# --- tiers and time of use in one month --------------------------------------------------------

UNEQUAL = (ladder("0.1", "0.2", limits=(100,)), ladder("0.3", "0.5", limits=(100,)))
EQUAL_STEPS = (ladder("0.1", "0.2", limits=(100,)), ladder("0.3", "0.4", limits=(100,)))


@pytest.mark.parametrize(
    ("named", "convention"),
    [
        ({"metering_option": 0}, "pro-rata"),
        ({"metering_option": 1}, "pro-rata"),
        ({"metering_option": 2}, "chronological"),
        ({"metering_option": 3}, "chronological"),
        ({"dgrules": "Net Metering"}, "pro-rata"),
        ({"dgrules": "Net Billing Instantaneous"}, "chronological"),
        ({"dgrules": "Net Billing Hourly"}, "chronological"),
        ({"dgrules": "Net Metering", "metering_option": 1}, "pro-rata"),
    ],
)
def test_file_names_the_convention(named: dict[str, Any], convention: str) -> None:
    tariff = imported(two_periods(*UNEQUAL, **named), set_aside=frozenset({"dgrules"}))
    assert tariff["tier_convention"] == convention
    assert rates_of(tariff, "energy")[3] == {
        "tou_period": "period-1", "tier": 2, "rate": "0.5", "unit": "USD/kWh"
    }  # fmt: skip


@pytest.mark.parametrize("convention", ["pro-rata", "chronological"])
def test_order_overrules_the_file(convention: str) -> None:
    rate = two_periods(*UNEQUAL, metering_option=2)
    assert imported(rate, tier_convention=convention)["tier_convention"] == convention


def test_equal_steps_are_written_as_adders() -> None:
    rate = two_periods(*EQUAL_STEPS)
    tariff = imported(rate)
    assert tariff["tier_convention"] == "uniform-adder"
    assert rates_of(tariff, "tier-adder") == [{"tier": 2, "rate": "0.1", "unit": "USD/kWh"}]
    assert "give one bill" in notes(rate)[0]
    assert imported(two_periods(*EQUAL_STEPS, metering_option=2)) == tariff
    assert imported(rate, tier_convention="uniform-adder") == tariff
    assert imported(rate, tier_convention="pro-rata")["tier_convention"] == "pro-rata"


def test_period_may_have_a_ladder_of_its_own_by_order() -> None:
    rate = two_periods(ladder("0.1", "0.2", limits=(100,)), ladder("0.3", limits=()))
    tariff = imported(rate, tier_convention="per-period")
    assert tariff["tier_convention"] == "per-period"
    assert tariff["tiers"] == [
        {"tou_period": "period-0", "tier": 1, "upper_limit_kwh": 100},
        {"tou_period": "period-0", "tier": 2},
        {"tou_period": "period-1", "tier": 1},
    ]


def test_tiers_of_one_season_with_time_of_use_all_year() -> None:
    """Winter has two periods without tiers, summer two with."""
    winter, summer = [0] * 8 + [1] * 16, [2] * 8 + [3] * 16
    days = [winter if month in WINTER else summer for month in range(1, 13)]
    rate = plain_rate(
        energyratestructure=[ladder("0.1", limits=()), ladder("0.2", limits=()), *UNEQUAL],
        energyweekdayschedule=days,
        energyweekendschedule=days,
        metering_option=0,
    )
    tariff = imported(rate)
    assert tariff["tiers"] == [
        {"tier": 1, "months": WINTER},
        {"tier": 1, "months": SUMMER, "upper_limit_kwh": 100},
        {"tier": 2, "months": SUMMER},
    ]
    assert [row["months"] for row in rates_of(tariff, "energy")] == [WINTER] * 2 + [SUMMER] * 4


# --- demand ------------------------------------------------------------------------------------


def test_demand_by_month() -> None:
    rate = plain_rate(
        flatdemandstructure=[[{"rate": 5}], [{"rate": 9, "adj": Decimal("0.5")}], [{"rate": 0}]],
        flatdemandmonths=[0] * 4 + [1] * 6 + [2] * 2,
        flatdemandunit="kW",
        demandunits="kW",
    )
    assert rates_of(imported(rate), "demand") == [
        {"months": [1, 2, 3, 4], "rate": "5", "unit": "USD/kW-month"},
        {"months": [5, 6, 7, 8, 9, 10], "rate": "9.5", "unit": "USD/kW-month"},
    ]


def test_demand_by_time_of_use_beside_that_of_the_month() -> None:
    rate = plain_rate(
        flatdemandstructure=[[{"rate": 5}]],
        demandratestructure=[[{"rate": 0}], [{"rate": 7, "unit": "kW"}]],
        demandweekdayschedule=NIGHT_AND_DAY,
        demandweekendschedule=every_day(0),
        demandrateunit="kW",
    )
    tariff = imported(rate)
    assert rates_of(tariff, "demand") == [
        {"rate": "5", "unit": "USD/kW-month"},
        {"tou_period": "demand-0", "rate": "0", "unit": "USD/kW-month"},
        {"tou_period": "demand-1", "rate": "7", "unit": "USD/kW-month"},
    ]
    assert len(tariff["demand_windows"]) == 3


def test_demand_on_weekends_like_on_weekdays_is_noted() -> None:
    rate = plain_rate(
        demandratestructure=[[{"rate": 5}], [{"rate": 7}]], demandweekdayschedule=NIGHT_AND_DAY
    )
    assert notes(rate) == ("demandweekendschedule: not given; weekends are billed like weekdays.",)
    assert imported(rate) == imported(rate | {"demandweekendschedule": NIGHT_AND_DAY})


def test_free_demand_is_no_charge() -> None:
    rate = plain_rate(
        flatdemandstructure=[[{"rate": 0}]],
        flatdemandmonths=[0] * 12,
        demandratestructure=[],
        demandweekdayschedule=every_day(0),
    )
    assert imported(rate) == imported(plain_rate())


def test_ratchet() -> None:
    flat = {"flatdemandstructure": [[{"rate": 5}]], "flatdemandmonths": [0] * 12}
    summer = [0] * 5 + [1] * 4 + [0] * 3
    rate = plain_rate(
        **flat, lookbackPercent=Decimal("0.80"), lookbackMonths=summer, lookbackRange=11
    )
    assert imported(rate)["demand_ratchet"] == {
        "percent": "0.8", "months": [6, 7, 8, 9], "range_months": 11, "source": "urdb"
    }  # fmt: skip


def test_ratchet_over_a_range_looks_at_every_month() -> None:
    """The API leaves every month unmarked where it names a range."""
    flat = {"flatdemandstructure": [[{"rate": 5}]], "lookbackpercent": Decimal("0.8")}
    rate = plain_rate(**flat, lookbackmonths=[False] * 12, lookbackrange=3)
    ratchet = imported(rate)["demand_ratchet"]
    assert ratchet == {"percent": "0.8", "range_months": 3, "source": "urdb"}


def test_ratchet_over_months_takes_its_range_from_the_order() -> None:
    flat = {"flatdemandstructure": [[{"rate": 5}]], "lookbackpercent": Decimal("0.8")}
    rate = plain_rate(**flat, lookbackmonths=[True] + [False] * 11, lookbackrange=0)
    assert imported(rate, lookback_range=11)["demand_ratchet"]["range_months"] == 11


def test_ratchet_without_a_demand_charge_is_noted() -> None:
    rate = plain_rate(lookbackpercent=Decimal("0.8"), lookbackrange=3)
    assert "demand_ratchet" not in imported(rate)
    assert notes(rate) == ("lookbackpercent: the rate charges no demand; not imported.",)


# --- fixed and minimum charges -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "charge", "rate", "unit"),
    [
        ({"fixedmonthlycharge": 7}, "standing", "7", "USD/month"),
        ({"fixedchargefirstmeter": 7, "fixedchargeunits": "$/month"}, "standing", "7", "USD/month"),
        ({"fixedchargefirstmeter": 7, "fixedchargeunits": "$/day"}, "standing", "7", "USD/day"),
        ({"fixedchargefirstmeter": 90, "fixedchargeunits": "$/year"}, "standing", "7.5",
         "USD/month"),
        ({"mincharge": 20, "minchargeunits": "$/month"}, "minimum", "20", "USD/month"),
        ({"mincharge": 2, "minchargeunits": "$/day"}, "minimum", "2", "USD/day"),
        ({"minmonthlycharge": 20}, "minimum", "20", "USD/month"),
    ],
)  # fmt: skip
def test_charges_without_energy(element: dict[str, Any], charge: str, rate: str, unit: str) -> None:
    assert rates_of(imported(plain_rate(**element)), charge) == [{"rate": rate, "unit": unit}]


def test_charge_of_zero_is_no_line() -> None:
    rate = plain_rate(fixedchargefirstmeter=0, mincharge=Decimal("0.0"), fixedmonthlycharge=3)
    assert imported(rate)["rates"][1:] == [
        {"charge": "standing", "rate": "3", "unit": "USD/month", "source": "urdb"}
    ]


def test_what_is_set_aside_is_noted_in_the_file() -> None:
    rate = plain_rate(
        energyratestructure=[[{"rate": Decimal("0.1"), "sell": Decimal("0.03")}]],
        dgrules="Buy All Sell All",
    )
    text = import_text(rate, set_aside=frozenset({"sell", "dgrules"}))
    assert text.startswith(
        "# dgrules: set aside as not mattering.\n# sell: set aside as not mattering.\n"
    )
