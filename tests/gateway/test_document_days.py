"""Daily values in Green Button and MeterReadings documents: days of the local clock, or refused."""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.meanings import Meaning, Stamps
from tests.gateway.test_green_button import ROOT, entry, feed, reading_type
from tests.gateway.test_green_button import block as quarter_hours
from tests.gateway.test_meter_readings import SPACE, TAKEN

ZONE = "America/New_York"
SECRET = "7731"
DAILY = "11.0.0.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
STAMPED_START, STAMPED_END = Meaning(stamps=Stamps.START), Meaning(stamps=Stamps.END)


def green_button(*days: tuple[str, str], kind="T1", seconds=None, point="M1", beside=()) -> bytes:
    """A feed with one energy for each day [Wh], of the day's own length or so many seconds."""
    rows = []
    for day, value in days:
        begin = pd.Timestamp(day, tz=ZONE)
        end = pd.Timestamp(day[:10], tz=ZONE) + pd.DateOffset(days=1)
        length = seconds or int((end - begin).total_seconds())
        rows.append(
            f"<IntervalReading><timePeriod><duration>{length}</duration>"
            f"<start>{int(begin.timestamp())}</start></timePeriod><value>{value}</value>"
            "</IntervalReading>"
        )
    meter = f"{point}/MeterReading/7"
    body = f'<IntervalBlock xmlns="http://naesb.org/espi">{"".join(rows)}</IntervalBlock>'
    reading = '<MeterReading xmlns="http://naesb.org/espi"/>'
    return feed(
        reading_type(intervalLength="86400"),
        *beside,
        entry(meter, reading, related=f"types/{kind}"),
        entry(f"{meter}/IntervalBlock/1", body, up=f"{meter}/IntervalBlock"),
    )


def meter_readings(*days: tuple[str, str], code=DAILY, more="") -> bytes:
    rows = "".join(
        f"<IntervalReadings><timeStamp>{pd.Timestamp(day, tz=ZONE).isoformat()}</timeStamp>"
        f"<value>{value}</value></IntervalReadings>"
        for day, value in days
    )
    block = f'<IntervalBlocks>{rows}<ReadingType ref="{code}"/></IntervalBlocks>{more}'
    point = "<UsagePoint><mRID>M1</mRID></UsagePoint>"
    return (
        f'<MeterReadings xmlns="{SPACE}"><MeterReading>{block}{point}</MeterReading>'
        "</MeterReadings>"
    ).encode()


def told(data: bytes, **how):
    found = read_readings(data, timezone=ZONE, **how)
    rows = found.readings[["start", "energy_wh", "minutes", "quality"]].to_numpy().tolist()
    return [(f"{start:%m-%d %H}", *rest) for start, *rest in rows], found


def refusal(data: bytes, **how) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data, **{"timezone": ZONE, **how})
    assert refused.value.remedy
    assert SECRET not in f"{refused.value}{refused.value.problems}"
    return refused.value


def test_days_of_green_button_are_daily_values_of_the_local_clock():
    rows, file = told(green_button(("2025-03-07", "8420"), ("2025-03-08", "9100")))
    assert rows == [("03-07 00", 8420, 1440, "actual"), ("03-08 00", 9100, 1440, "actual")]
    assert (file.layout, file.interval) == ("green-button", pd.Timedelta(days=1))


@pytest.mark.parametrize("seconds", [None, 86_400])
@pytest.mark.parametrize(("day", "hours"), [("2025-03-09", 23), ("2025-11-02", 25)])
def test_a_day_on_which_the_clock_is_changed_is_divided_over_its_hours(day, hours, seconds):
    rows, file = told(green_button((day, "1000"), seconds=seconds))
    assert len(rows) == hours
    assert sum(row[1] for row in rows) == 1000
    assert {row[2:] for row in rows} == {(60, "estimated")}
    (problem,) = file.problems
    assert (problem.rule, f"{hours} hours" in problem.detail) == ("clock-change", True)


def test_days_that_are_no_local_days_are_refused():
    assert refusal(green_button(("2025-03-07", SECRET)), timezone="UTC").reason == "readings.daily"
    noon = green_button(("2025-03-07 12:00", SECRET), seconds=86_400)
    assert refusal(noon).reason == "readings.daily"
    long = green_button(("2025-03-07", SECRET), seconds=90_000)
    assert refusal(long).reason == "readings.interval"
    longer = green_button(("2025-03-07", SECRET), seconds=30 * 86_400)
    assert refusal(longer).reason == "readings.daily"


def test_days_beside_intervals_of_one_usage_point_are_counted_and_those_of_another_read():
    own = (
        reading_type("Q", intervalLength="900"),
        quarter_hours("250", "260", kind="Q"),
    )
    rows, file = told(green_button(("2025-03-07", "8420"), beside=own))
    assert [row[1:3] for row in rows] == [(250, 15), (260, 15)]
    assert file.passed_over == {"daily-values": 1}
    rows, file = told(green_button(("2025-03-07", "8420"), beside=own, point="M2"))
    assert sorted(row[1:3] for row in rows) == [(250, 15), (260, 15), (8420, 1440)]
    assert (dict(file.passed_over), ROOT[:5]) == ({}, "https")


@pytest.mark.parametrize("code", [DAILY, "0.0.4.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0"])
def test_days_of_meter_readings_are_read_once_their_stamps_are_said(code):
    data = meter_readings(("2025-03-07", "8.42"), ("2025-03-08", "9.1"), code=code)
    rows, _ = told(data, meaning=STAMPED_START)
    assert rows == [("03-07 00", 8420, 1440, "actual"), ("03-08 00", 9100, 1440, "actual")]
    rows, _ = told(data, meaning=STAMPED_END)
    assert [row[0] for row in rows] == ["03-06 00", "03-07 00"]
    assert refusal(data).reason == "readings.stamps"


def test_the_days_end_of_a_changed_clock_is_the_midnight_of_the_clock():
    data = meter_readings(("2025-03-10", "23"), ("2025-03-11", "24"))
    rows, file = told(data, meaning=STAMPED_END)
    assert [row[1] for row in rows] == [1000] * 23 + [24_000]
    assert [row[0] for row in rows[::23]] == ["03-09 00", "03-10 00"]
    assert [one.rule for one in file.problems if one.rule == "clock-change"] == ["clock-change"]


def test_days_of_meter_readings_that_are_no_local_days_or_stand_beside_intervals():
    late = meter_readings(("2025-03-07 00:15", SECRET))
    assert refusal(late, meaning=STAMPED_END).reason == "readings.daily"
    interval = (
        "<IntervalBlocks><IntervalReadings><timeStamp>2025-03-07T10:15:00-05:00</timeStamp>"
        f'<value>0.25</value></IntervalReadings><ReadingType ref="{TAKEN}"/></IntervalBlocks>'
    )
    data = meter_readings(("2025-03-08", "8.42"), more=interval)
    rows, file = told(data, meaning=STAMPED_END)
    assert rows == [("03-07 10", 250, 15, "actual")]
    assert file.passed_over == {"daily-values": 1}
