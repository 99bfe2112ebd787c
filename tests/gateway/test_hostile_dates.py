"""Hostile dates in the files that are read: readings, contracts, tariffs, rates."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.settlements import settle
from gridsecure.errors import InputError, InvalidReadingsError, InvalidTariffError
from gridsecure.gateway.formats import read_offsets, read_readings
from gridsecure.month_texts import (
    FIRST_YEAR,
    LAST_YEAR,
    MONTH_PATTERN,
    read_moment,
    read_month,
)
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import catalogue_tariffs, parse_tariff
from tests.hostile_dates import HOSTILE

ZONES = ("Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "Etc/GMT+12")
MOMENTS = (
    *HOSTILE,
    "1969-12-31 23:00",
    "2200-01-01 00:00",
    "0026-07-01 00:00",
    "0001-01-01 00:00",
    "9999-12-31 23:00",
    "9999-12-31 24:00",
    "9999-12-31 24:00-23:59",
    "0001-01-01 00:00+23:59",
    "2262-04-11 23:48",
    "1677-09-21 00:00",
    "2026/7/1 24:00",
    "２０２６-07-01 00:00",
)
WIDE = "meter_point_id,date," + ",".join(f"p{n}" for n in range(1, 25)) + "\n"


def ended(call: Callable[[], object], *, text: str) -> str:
    """The reason of a refusal, or "" where nothing is refused; anything else fails the test."""
    refused = None
    try:
        call()
    except InputError as error:
        refused = error
    assert refused is None or refused.remedy, text
    return "" if refused is None else refused.reason


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("kind", ["kwh", "register_kwh"])
def test_no_time_of_a_reading_fails(timezone, kind):
    refused = set()
    for text in MOMENTS:
        data = f'meter_point_id,start,{kind}\nA,"{text}",1\nA,2026-07-01 00:00,2\n'.encode()
        for read in (
            lambda d=data: read_readings(d, timezone=timezone),
            lambda d=data: read_offsets(d),
        ):
            refused.add(ended(read, text=text))
    assert "readings.timestamp" in refused


@pytest.mark.parametrize("timezone", ZONES)
def test_no_day_of_a_wide_line_fails(timezone):
    for text in MOMENTS:
        data = f'{WIDE}A,"{text}",{",".join("1" * 24)}\n'.encode()
        reason = ended(lambda d=data: read_readings(d, timezone=timezone), text=text)
        # The midnight of a date is how spreadsheets write the date.
        assert reason or text in ("2026-07-01T00:00:00", "２０２６-07-01 00:00"), text


@pytest.mark.parametrize("text", ["0026-07-01", "9999-12-31", "1969-12-31", "2200-01-01"])
def test_a_year_without_bills_is_named_as_such(text):
    for data in (f"meter_point_id,start,kwh\nA,{text} 00:00,1\n", f"{WIDE}A,{text}" + ",1" * 24):
        with pytest.raises(InvalidReadingsError) as refused:
            read_readings(f"{data}\n".encode())
        assert refused.value.reason == "readings.timestamp"
        assert f"between {FIRST_YEAR} and {LAST_YEAR}" in refused.value.message
        assert "line 2" in refused.value.message


@pytest.mark.parametrize("year", [FIRST_YEAR, LAST_YEAR])
def test_the_first_and_the_last_year_are_billed_to_their_ends(year):
    tariff = parse_tariff(
        re.sub(
            r"(?m)^valid_(from|to) = .*$",
            lambda found: f"valid_from = {FIRST_YEAR}-01-01" if found[1] == "from" else "",
            catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8"),
        )
    )
    for day in (f"{year}-01-01", f"{year}-12-31"):
        rows = "".join(f"A,{day} {hour:02d}:00,1\n" for hour in range(24))
        readings = read_readings(f"meter_point_id,start,kwh\n{rows}".encode()).readings
        settled = settle(readings, tariff=tariff, interval=timedelta(hours=1))
        assert len(settled) == 1


def test_no_first_month_of_a_contract_fails(tmp_path):
    path = tmp_path / "contracts.csv"
    for text in HOSTILE:
        path.write_text(f'meter_point_id,service_from\nA,"{text}"\n')
        reason = ended(lambda: load_contracts(path), text=text)
        assert reason == ("" if not text.strip() or text == "2026-07\n" else "contract.month"), text


@pytest.mark.parametrize("tariff", sorted(catalogue_tariffs()))
def test_no_date_of_a_tariff_fails(tariff):
    """Each date and time of a tariff file in turn, bare and as a text."""
    file = catalogue_tariffs()[tariff].read_text(encoding="utf-8")
    places = list(re.finditer(r"\d{4}-\d{2}-\d{2}(T[\d:]+)?", file))[:6]
    assert places
    for place in places:
        for text in ("0001-01-01", "0026-07-01", "9999-12-31", "9999-12-31T23:59:59", '""'):
            changed = file[: place.start()] + text + file[place.end() :]
            ended(lambda t=changed: parse_tariff(t), text=text)


@pytest.mark.parametrize("key", ["valid_from", "valid_to"])
@pytest.mark.parametrize("value", ["0026-07-01", "1969-12-31", "2200-01-01", "9999-12-31"])
def test_a_tariff_of_a_year_without_bills_is_refused(key, value):
    file = catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8")
    lines = [line for line in file.splitlines() if not line.startswith(key)]
    with pytest.raises(InvalidTariffError, match=r"tariff\.year"):
        parse_tariff("\n".join([f"{key} = {value}", *lines]))


def dynamic(*, start: str, minutes: int = 60, prices: int = 24) -> str:
    file = catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8")
    header = file[: file.index("[[")]
    (source,) = re.findall(r'(?s)\[\[sources\]\].*?id = "([^"]+)"', file)[:1]
    table = re.search(r"(?s)\[\[sources\]\].*?(?=\[\[)", file)
    assert table is not None
    rates = ", ".join(['"0.1"'] * prices)
    return (
        f'{header}\n{table[0]}\n[dynamic]\nsource = "{source}"\nstart = {start}\n'
        f"interval_minutes = {minutes}\nrates = [{rates}]\n"
    )


@pytest.mark.parametrize(
    ("start", "minutes", "prices"),
    [
        ("9999-12-31T23:00:00", 60, 24),
        ("0001-01-01T00:00:00", 60, 24),
        ('"9999-12-31T23:00:00"', 60, 24),
        ("2199-12-31T12:00:00", 60, 24),
        ("2026-01-01T00:00:00", 1440, 70_000),
    ],
)
def test_prices_beyond_the_calendar_are_refused(start, minutes, prices):
    with pytest.raises(InvalidTariffError, match=r"tariff\.year"):
        parse_tariff(dynamic(start=start, minutes=minutes, prices=prices))


# --- the one place where months and moments are read ----------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_no_month_and_no_moment(text):
    with pytest.raises(InputError, match=r"month\.(format|year)"):
        read_month(text)
    moment = read_moment(text)
    # Later Pythons read 24:00; both are moments of an ordinary day.
    assert moment is None or text in {"2026-07-01T24:00:00+08:00", "20260701T000000Z"}


def test_the_years_have_ends():
    assert read_month(f"{FIRST_YEAR}-01") == (FIRST_YEAR, 1)
    assert read_month(f"{LAST_YEAR}-12") == (LAST_YEAR, 12)
    for year in (FIRST_YEAR - 1, LAST_YEAR + 1, 0, -1, 10**6):
        with pytest.raises(InputError, match=r"month\.year"):
            billing_month(year, 7, timezone="Asia/Shanghai")
    pattern = re.compile(MONTH_PATTERN)
    for year in (FIRST_YEAR - 1, FIRST_YEAR, LAST_YEAR, LAST_YEAR + 1, 26, 9999):
        assert bool(pattern.fullmatch(f"{year:04d}-07")) == (FIRST_YEAR <= year <= LAST_YEAR)
    assert read_moment(datetime(LAST_YEAR, 12, 31).astimezone().isoformat()) is not None
