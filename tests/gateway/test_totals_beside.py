"""Faces and values of days beside intervals: compared, and never counted twice."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.gateway.books.months import MeterDays, MonthContracts
from gridsecure.gateway.collection import LaterReadings, MonthFiles
from gridsecure.gateway.month_validation import ValidatedMonth, validate_month
from gridsecure.gateway.reading_traces import ReadingTrace
from gridsecure.periods import month_period
from tests.gateway.stored_batches import ZONE, batch

JULY = month_period("2026-07", timezone=ZONE)
NOW = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)
HOURS = pd.date_range(JULY.start, JULY.end, freq="h", inclusive="left")
USED = np.random.default_rng(5).integers(100, 1500, len(HOURS))
FACES = 12_345_000 + np.concatenate([[0], np.cumsum(USED)])


def kwh(wh: int) -> str:
    return f"{wh // 1000}.{wh % 1000:03d}"


def hours(folder: Path, rows=range(744), *, quality: str = "actual") -> Path:
    lines = [f"m,{HOURS[row]:%Y-%m-%d %H:%M},{kwh(USED[row])},{quality}" for row in rows]
    return batch(folder, table("start,kwh,quality", lines), has_faces=False)


def table(columns: str, lines: list[str]) -> str:
    return "\n".join([f"meter_point_id,{columns}", *lines, ""])


def days(folder: Path, numbers=range(1, 32), *, wrong: int = 0) -> Path:
    """Values of days, one of which may be 5 kWh too much."""
    sums = USED.reshape(31, 24).sum(axis=1)
    lines = [f"m,2026-07-{day:02d},{kwh(sums[day - 1] + 5000 * (day == wrong))}" for day in numbers]
    return batch(folder, table("date,kwh", lines), has_faces=False)


def faces(folder: Path, every: int = 24, *, wrong: int = -1, scale: int = 1) -> Path:
    """Faces every so many hours; one row may show 5 kWh too much."""
    moments = [*HOURS, JULY.end]
    lines = [
        f"m,{moments[row]:%Y-%m-%d %H:%M},{kwh((FACES[row] + 5000 * (row == wrong)) // scale)}"
        for row in range(0, len(moments), every)
    ]
    return batch(folder, table("start,register_kwh", lines))


def validated(folder: Path, *batches: Path, later=(), meters=(), trace=None) -> ValidatedMonth:
    books = MonthContracts(default_contracts(["m"]), meters=tuple(meters))
    files = MonthFiles(
        "2026-07",
        folder,
        readings=(),
        tariffs={},
        contracts=lambda: books,
        batches=batches,
        later=tuple(LaterReadings(batches=(path,)) for path in later),
        trace=trace,
    )
    return validate_month(files, period=JULY, timezone=ZONE, at=NOW, begin=lambda _stage: None)


def energies(month: ValidatedMonth) -> list[int]:
    return month.collected.readings["energy_wh"].tolist()


def found(month: ValidatedMonth, rule: str) -> list[tuple[int, int]]:
    """First day and count of intervals of what a rule found."""
    own = (one for one in month.collected.found if one.rule == rule)
    return [(one.start.day, one.intervals) for one in own]


@pytest.mark.parametrize("every", [24, 6, 1])
@pytest.mark.parametrize("is_first", [True, False])
def test_faces_beside_hours_are_compared_and_the_hours_count(tmp_path, every, is_first):
    both = [faces(tmp_path, every), hours(tmp_path)]
    month = validated(tmp_path, *(both if is_first else both[::-1]))
    assert energies(month) == USED.tolist()
    assert found(month, "register") == []
    assert set(month.collected.problems) <= {"register-gap"}
    wrong = [faces(tmp_path, every, wrong=240), hours(tmp_path)]
    month = validated(tmp_path, *(wrong if is_first else wrong[::-1]))
    assert energies(month) == USED.tolist()
    # The face too high makes what was counted before it too much, and after it too little.
    assert found(month, "register") == [((240 - every) // 24 + 1, 2 * every)]


def test_faces_tell_of_a_day_whose_hours_never_came(tmp_path):
    rows = [row for row in range(len(HOURS)) if row // 24 != 9]
    month = validated(tmp_path, hours(tmp_path, rows), faces(tmp_path))
    readings = month.collected.readings
    assert readings["energy_wh"].sum() == USED.sum()
    assert (readings["minutes"] == 1440).sum() == 1
    assert set(readings["quality"]) == {"actual"}
    assert found(month, "register") == []


def test_multipliers_and_ratios_are_applied_before_faces_are_compared(tmp_path):
    meter = MeterDays("m", (dt.date(2020, 1, 1), dt.date(9999, 12, 31)), 1, -1, -1)
    forty = MeterDays("m", meter.days, 40, -1, -1)
    counted = validated(tmp_path, faces(tmp_path), hours(tmp_path), meters=[meter])
    assert found(counted, "register") == []
    counted = validated(tmp_path, faces(tmp_path), hours(tmp_path), meters=[forty])
    assert found(counted, "register") == [(1, 744)]
    assert energies(counted) == USED.tolist()


@pytest.mark.parametrize("is_first", [True, False])
def test_values_of_days_beside_hours_are_compared_and_the_hours_count(tmp_path, is_first):
    both = [days(tmp_path), hours(tmp_path)]
    month = validated(tmp_path, *(both if is_first else both[::-1]))
    assert energies(month) == USED.tolist()
    assert found(month, "daily-total") == []
    assert month.collected.quarantined["reason"].tolist() == ["compared"] * 31
    wrong = [days(tmp_path, wrong=17), hours(tmp_path)]
    month = validated(tmp_path, *(wrong if is_first else wrong[::-1]))
    assert energies(month) == USED.tolist()
    assert found(month, "daily-total") == [(17, 24)]


def test_a_day_of_which_no_hour_came_counts_whole(tmp_path):
    rows = [row for row in range(len(HOURS)) if row // 24 != 9]
    month = validated(tmp_path, hours(tmp_path, rows), days(tmp_path))
    readings = month.collected.readings
    assert readings["energy_wh"].sum() == USED.sum()
    assert readings.loc[readings["minutes"] == 1440, "start"].dt.day.tolist() == [10]


def test_a_late_day_changes_nothing_and_late_hours_replace_a_day(tmp_path):
    month = validated(tmp_path, hours(tmp_path), later=[days(tmp_path, [3, 4], wrong=4)])
    assert energies(month) == USED.tolist()
    assert found(month, "daily-total") == [(4, 24)]
    month = validated(tmp_path, days(tmp_path), later=[hours(tmp_path, range(48, 72))])
    readings = month.collected.readings
    assert (len(readings), readings["energy_wh"].sum()) == (30 + 24, USED.sum())
    month = validated(tmp_path, hours(tmp_path), later=[faces(tmp_path, wrong=240)])
    assert energies(month) == USED.tolist()
    assert found(month, "register") == [(10, 48)]


def test_every_reading_is_accounted_for(tmp_path):
    """What is compared is set aside under its own name, once."""
    trace = ReadingTrace()
    month = validated(tmp_path, days(tmp_path), hours(tmp_path), trace=trace)
    assert [len(one.keys) for one in trace.pieces] == [31, 744]
    assert len(trace.validated) == month.collected.input_rows == 775
    assert month.collected.accepted_rows + len(month.collected.quarantined) == 775


def test_faces_alone_are_compared_with_nothing(tmp_path):
    month = validated(tmp_path, faces(tmp_path, 1))
    assert energies(month) == USED.tolist()
    assert month.collected.problems == {}
