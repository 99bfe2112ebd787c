"""Wide lines on the days of a clock change: what the file says arrives at its own time."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from gridsecure.gateway.formats import ReadingsFile, read_readings

BERLIN, LORD_HOWE, SYDNEY = "Europe/Berlin", "Australia/Lord_Howe", "Australia/Sydney"
SPRING, AUTUMN = "2026-03-29", "2026-10-25"
"""Berlin's: 02:00 becomes 03:00, and 03:00 becomes 02:00."""


def day_starts(day: str, minutes: int, *, zone: str = BERLIN) -> pd.DatetimeIndex:
    """Every interval of a local day, as time passes."""
    begin = pd.Timestamp(day, tz=zone)
    end = (pd.Timestamp(day) + pd.Timedelta(days=1)).tz_localize(zone)
    return pd.date_range(begin, end, freq=f"{minutes}min", inclusive="left")


def wide(lines: dict[str, Sequence[int | None]], *, columns: int, zone: str = BERLIN):
    """Read a wide file of one meter point; energies in Wh, None for an empty cell."""
    header = ",".join(("meter_point_id", "date", *(f"p{n + 1}" for n in range(columns))))
    rows = []
    for day, values in lines.items():
        cells = ["" if wh is None else f"{wh / 1000:.3f}" for wh in values]
        rows.append(",".join(("M1", day, *cells, *[""] * (columns - len(cells)))))
    return read_readings("\n".join((header, *rows, "")).encode(), timezone=zone)


def by_start(file: ReadingsFile) -> dict[pd.Timestamp, tuple[int, str]]:
    found = file.readings
    assert found["start"].is_unique
    rows = zip(found["start"], found["energy_wh"], found["quality"], strict=True)
    return {start: (int(wh), str(quality)) for start, wh, quality in rows}


def notes(file: ReadingsFile) -> list[str]:
    return [problem.detail for problem in file.problems if problem.rule == "clock-change"]


@pytest.mark.parametrize("minutes", [60, 30, 15])
@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_the_days_own_number_of_columns_follow_one_after_the_other(day, hours, minutes):
    """23, 46 and 92 columns in spring; 25, 50 and 100 in autumn; in a file of that day alone."""
    starts = day_starts(day, minutes)
    count = hours * 60 // minutes
    assert len(starts) == count
    values = [400 - n for n in range(count)]
    read = wide({day: values}, columns=count)
    expected = dict(zip(starts, ((wh, "actual") for wh in values), strict=True))
    assert by_start(read) == expected
    assert notes(read) == [
        f"line 2: a day of {hours} hours: its first {count} columns are taken one after the other"
    ]


def test_other_days_of_a_file_with_fifty_columns_are_as_ever():
    usual, long = [400 - n for n in range(48)], [500 - n for n in range(50)]
    read = wide({"2026-10-24": usual, AUTUMN: long, "2026-10-26": usual}, columns=50)
    expected = {
        start: (wh, "actual")
        for day, values in (("2026-10-24", usual), (AUTUMN, long), ("2026-10-26", usual))
        for start, wh in zip(day_starts(day, 30), values, strict=True)
    }
    assert by_start(read) == expected
    assert len(notes(read)) == 1


def test_a_usual_day_that_fills_the_columns_of_a_long_one_is_left_out_whole():
    read = wide({"2026-10-24": [200] * 50, AUTUMN: [300] * 50}, columns=50)
    missing = {start for start, (_, quality) in by_start(read).items() if quality == "missing"}
    assert missing == set(day_starts("2026-10-24", 30))
    assert any("this day has 48 intervals, and the line has not" in note for note in notes(read))


@pytest.mark.parametrize("empty", [None, 0])
@pytest.mark.parametrize("minutes", [60, 30, 15])
def test_the_clocks_layout_leaves_the_skipped_hour_out(minutes, empty):
    per_hour, count = 60 // minutes, 1440 // minutes
    values: list[int | None] = [400 - n for n in range(count)]
    values[2 * per_hour : 3 * per_hour] = [empty] * per_hour
    read = wide({SPRING: values}, columns=count)
    shown = [n for n in range(count) if not 2 * per_hour <= n < 3 * per_hour]
    expected = {
        start: (400 - column, "actual")
        for start, column in zip(day_starts(SPRING, minutes), shown, strict=True)
    }
    assert by_start(read) == expected
    assert "the one that the clock skips" in notes(read)[0]


@pytest.mark.parametrize("minutes", [60, 30, 15])
def test_the_doubled_hour_of_the_clocks_layout_is_divided_to_the_wh(minutes):
    per_hour, count = 60 // minutes, 1440 // minutes
    values = [401 - n for n in range(count)]
    read = wide({AUTUMN: values}, columns=count)
    found = by_start(read)
    starts = day_starts(AUTUMN, minutes)
    assert list(found) == list(starts)
    assert sum(wh for wh, _ in found.values()) == sum(values)
    first = starts[2 * per_hour : 3 * per_hour]
    again = starts[3 * per_hour : 4 * per_hour]
    for column, one, other in zip(range(2 * per_hour, 3 * per_hour), first, again, strict=True):
        assert found[one] == (values[column] - values[column] // 2, "estimated")
        assert found[other] == (values[column] // 2, "estimated")
    others = [quality for start, (_, quality) in found.items() if start not in {*first, *again}]
    assert set(others) == {"actual"}


def test_a_line_that_fits_neither_layout_is_missing_and_says_what_to_do():
    read = wide({SPRING: [100] * 48}, columns=48)
    assert {quality for _, quality in by_start(read).values()} == {"missing"}
    assert len(by_start(read)) == 46
    assert "hand the day in as start and kwh with offsets" in notes(read)[0]


def test_a_clock_that_moves_by_half_an_hour():
    """Lord Howe Island: half-hours fit, hours do not and are left out for that day."""
    day = "2026-04-05"
    starts = day_starts(day, 30, zone=LORD_HOWE)
    assert len(starts) == 49
    read = wide({day: [100] * 48}, columns=48, zone=LORD_HOWE)
    found = by_start(read)
    assert list(found) == list(starts)
    assert sum(wh for wh, _ in found.values()) == 4800
    assert sorted(wh for wh, _ in found.values())[:2] == [50, 50]
    hourly = wide({day: [100] * 24}, columns=24, zone=LORD_HOWE)
    assert {quality for _, quality in by_start(hourly).values()} == {"missing"}


def test_the_southern_summer_begins_in_october():
    read = wide({"2026-10-04": [100] * 46}, columns=48, zone=SYDNEY)
    assert list(by_start(read)) == list(day_starts("2026-10-04", 30, zone=SYDNEY))
    assert {quality for _, quality in by_start(read).values()} == {"actual"}
