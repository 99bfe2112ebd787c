"""Alarms and forecasts: by hand, of what was told alone, and by the command."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from gridsecure.analyst.outlook_alarms import AlarmRules, Watched, watch
from gridsecure.analyst.outlook_forecasts import OutlookForecast, forecast
from gridsecure.analyst.outlook_series import OutlookSeries, read_series
from gridsecure.analyst.releases import PinnedAuthority, Release, verify_release
from gridsecure.cli.main import app
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import InputError
from gridsecure.messages import CellTotal, ReleaseCertificate, sign_message
from gridsecure_dashboard.load_outlook import compute_outlook
from tests.analyst.logged_certificates import write_certificate
from tests.queries.published_months import PLACES, bill_release, curve_release, hours_of

KEY = generate_private_key()
PARTS = (("futian", "household"),)
MONDAY = date(2026, 6, 1)
DAYS = [MONDAY + timedelta(days=index) for index in range(30)]
WORKDAYS = [day for day in DAYS if day.weekday() < 5]


def days_of(numbers: list[int | None], *, first: date = MONDAY) -> OutlookSeries:
    told = {first + timedelta(days=index): number for index, number in enumerate(numbers)}
    return OutlookSeries(PARTS, "energy_wh", "day", told)


def months_of(numbers: list[int | None], *, year: int = 2025, measure: str = "energy_wh"):
    told = {date(year + at // 12, at % 12 + 1, 1): number for at, number in enumerate(numbers)}
    return OutlookSeries(PARTS, measure, "month", told)


def found_in(series: OutlookSeries, **rules: Fraction) -> list[tuple[str, str, int, Fraction]]:
    alarms = watch([series], AlarmRules(**rules)).alarms
    return [(str(one.at), one.rule, one.number, one.expected) for one in alarms]


def release_of(item: ReleaseCertificate) -> Release:
    content = sign_message(item, key=KEY).model_dump_json().encode()
    return verify_release(content, authority=PinnedAuthority(KEY.public_key))


def test_a_day_unlike_its_kind_is_named_and_weekends_are_another_kind() -> None:
    numbers = [1000 if day.weekday() < 5 else 600 for day in DAYS]
    assert found_in(days_of(numbers)) == []
    numbers[16] = 1071  # a Wednesday; 3.5 · 2 % of 1000 is 70
    assert found_in(days_of(numbers)) == [("2026-06-17", "change", 1071, Fraction(1000))]
    numbers[16] = 1070
    assert found_in(days_of(numbers)) == []


def test_the_spread_is_the_median_of_deviations() -> None:
    week = [980, 1020, 960, 1040, 1000]
    days = dict(zip(WORKDAYS[:5], week, strict=True))
    spread = Fraction(14826, 10_000) * 20  # deviations 0, 20, 20, 40, 40: more than 2 % of 1000
    for number, is_found in ((1000 + 103, False), (1000 + 104, True)):
        series = OutlookSeries(PARTS, "energy_wh", "day", days | {WORKDAYS[5]: number})
        assert (Fraction(7, 2) * spread < number - 1000) == is_found
        assert bool(found_in(series)) == is_found


def test_limits_are_of_days_and_hold_without_any_before() -> None:
    series = days_of([5_000, None, 20_000])
    rules = {"above": Fraction(10), "below": Fraction(6)}
    assert found_in(series, **rules) == [
        ("2026-06-01", "below", 5_000, Fraction(6_000)),
        ("2026-06-03", "above", 20_000, Fraction(10_000)),
    ]
    assert watch([series], AlarmRules()) == Watched((), compared=0, alone=2, withheld=1)
    assert found_in(months_of([5_000]), **rules) == []


def test_a_month_is_compared_with_the_year_before() -> None:
    same = [100 + index for index in range(12)]
    assert found_in(months_of([*same, 121, 101])) == [("2026-01-01", "year", 121, Fraction(100))]
    assert found_in(months_of([None, *same[1:], 121, 101])) == []


@pytest.mark.parametrize("rules", [{"level": -1}, {"above": 1, "below": 2}])
def test_rules_that_mean_nothing_are_refused(rules: dict[str, int]) -> None:
    with pytest.raises(InputError) as refused:
        AlarmRules(**{name: Fraction(number) for name, number in rules.items()})
    assert refused.value.reason == "outlook.rules"


def test_a_forecast_of_a_day_and_its_error_by_hand() -> None:
    (found,) = forecast([days_of([100, 200, 300, 400, 500])])  # Monday to Friday
    assert (found.at, found.number) == (date(2026, 6, 6), None)  # of Saturdays nothing is known
    (found,) = forecast([days_of([100, 200, 300, 400, 500, 7, 7])])
    assert (str(found.at), found.number) == ("2026-06-08", Fraction(200 + 300 + 400 + 500, 4))
    error = found.error  # Friday alone has four of its kind before it: 250 for 500
    assert (error.numbers, error.missed, error.naive, error.total) == (1, 250, 100, 500)
    assert error.percent == 50


def test_a_forecast_of_a_month_is_of_the_season_and_its_level() -> None:
    first = [100, 90, 80, 70, 60, 50, 50, 60, 70, 80, 90, 100]
    doubled = [2 * number for number in first]
    found = _month([*first, *doubled[:3]])
    assert (str(found.at), found.method, found.number) == ("2026-04-01", "season-and-level", 140)
    assert (found.error.numbers, found.error.mean_error) == (0, None)
    found = _month([*first, *doubled])
    assert (found.number, found.error.numbers, found.error.missed) == (400, 9, 0)
    assert found.error.naive > 0


def test_without_a_year_the_last_month_is_taken_by_its_length() -> None:
    found = _month([3100, 2800])
    assert (found.method, found.number) == ("last-month", 3100)  # 2800 · 31 / 28
    assert (found.error.numbers, found.error.missed) == (1, 0)
    found = _month([3100, None])
    assert (str(found.at), found.number) == ("2025-02-01", 2800)


def _month(numbers: list[int | None]) -> OutlookForecast:
    (found,) = forecast([months_of(numbers)])
    return found


def test_series_are_sums_of_released_cells_and_withheld_days_are_none() -> None:
    dark = release_of(curve_release("2026-07", withheld=("luohu", "shop")))
    series = {one.parts[0]: one for one in read_series([dark, release_of(bill_release("2026-07"))])
              if one.grain == "day"}  # fmt: skip
    assert set(series) == {place[:2] for place in PLACES}
    hours = hours_of("2026-07")
    own = hours[(hours["zone"] == "futian") & (hours["customer_class"] == "shop")]
    expected = {date.fromisoformat(day): wh for day, wh in own.groupby("day")["wh"].sum().items()}
    assert dict(series["futian", "shop"].numbers) == expected
    withheld = series["luohu", "shop"]
    assert set(withheld.numbers.values()) == {None}
    assert forecast([withheld]) == []
    assert watch([withheld], AlarmRules(above=Fraction(0))).alarms == ()


def test_a_day_that_is_not_told_as_a_whole_is_none() -> None:
    item = curve_release("2026-07")
    cells = [one for one in item.cells if one.start != "2026-07-02T05:00:00+08:00"]
    told = read_series([release_of(item.model_copy(update={"cells": cells}))])
    assert {at.day for one in told for at, n in one.numbers.items() if n is None} == {2}


def test_releases_that_tell_one_day_twice_agree_or_are_refused() -> None:
    item = bill_release("2026-07")
    assert read_series([release_of(item)] * 2) == read_series([release_of(item)])
    cells = [one.model_copy(update={"value": "1"}) for one in item.cells]
    other = release_of(item.model_copy(update={"cells": cells}))
    with pytest.raises(InputError) as refused:
        read_series([release_of(item), other])
    assert refused.value.reason == "outlook.two-releases"


def _daily(item: ReleaseCertificate) -> ReleaseCertificate:
    """June in a cell a day, with one workday of ten times as much."""
    cells = []
    for day in DAYS:
        start = datetime.fromisoformat(f"{day}T00:00:00+08:00")
        number = 1_000_000 if day == date(2026, 6, 25) else 100_000
        cells.append(
            CellTotal(
                zone="futian", customer_class="household", start=start.isoformat(),
                end=(start + timedelta(days=1)).isoformat(), measure="energy_wh", members=120,
                value=str(number), parts=[0],
            )
        )  # fmt: skip
    return item.model_copy(update={"cells": cells, "places": item.places[:1]})


def _show(shown: object) -> None:
    from gridsecure_dashboard.load_outlook import show_outlook  # noqa: PLC0415 - a page of its own

    show_outlook(shown)  # type: ignore[arg-type] # as it is given


def test_the_console_shows_the_same() -> None:
    shown = compute_outlook(release_of(_daily(curve_release("2026-06"))))
    (alarm,) = shown.alarms
    assert (alarm["split_day"], alarm["energy_kwh"], alarm["outlook_off"]) == (
        "2026-06-25",
        1000,
        9,
    )
    (expected,) = shown.forecasts
    assert (expected["split_day"], expected["outlook_expected"]) == ("2026-07-01", 325)
    app = AppTest.from_function(_show, args=(shown,)).run(timeout=60)
    assert not app.exception
    alarms, forecasts = (table.value for table in app.dataframe)
    assert alarms["energy_kwh"].tolist() == ["1,000.000"]
    assert forecasts["outlook_expected"].tolist() == ["325.000"]


def test_the_commands_read_certificates_that_verify(tmp_path: Path) -> None:
    path = write_certificate(_daily(curve_release("2026-06")), key=KEY, folder=tmp_path)
    authority = f"--authority-key={KEY.public_key.point.hex()}"
    wide = CliRunner(env={"COLUMNS": "200"})
    told = wide.invoke(app, ["outlook", "alarms", str(path), authority, "--format", "json"])
    (alarm,) = json.loads(told.stdout)["alarms"]
    assert (alarm["at"], alarm["value"], alarm["expected"], alarm["percent"]) == (
        *("2026-06-25", "1000", "100", "900.0"),
    )
    told = wide.invoke(app, ["outlook", "forecast", str(path), authority])
    assert told.exit_code == 0, told.stderr
    assert "325" in told.stdout  # (3 · 100 + 1000) / 4 kWh on the first of July
    assert "同类日" in told.stdout
    forged = path.read_text().replace("1000000", "1000001")
    path.write_text(forged)
    refused = wide.invoke(app, ["outlook", "alarms", str(path), authority])
    assert (refused.exit_code, "release.values" in refused.stderr) == (1, True)
    refused = wide.invoke(app, ["outlook", "alarms", str(path), authority, "--level=x"])
    assert "outlook.number" in refused.stderr
