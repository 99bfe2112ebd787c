from __future__ import annotations

from collections import Counter
from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.calendars import label_intervals
from gridsecure.errors import InvalidReadingsError
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff, parse_tariff
from tests.billing.bill_inputs import HOUR, SHANGHAI, catalogue_text

COMMERCIAL = "shenzhen-commercial-four-period"
HOT_DAY = date(2025, 5, 20)


def commercial_with_hot_day() -> Tariff:
    day = f'\n[[days]]\ndate = {HOT_DAY}\nday_type = "hot"\n'
    return parse_tariff(catalogue_text(COMMERCIAL) + day)


def hours_of(day: date, tariff: Tariff, *, interval: pd.Timedelta = HOUR) -> list[str]:
    """Labels of one local day's intervals, in order of time."""
    start = pd.Timestamp(day)
    local = pd.date_range(
        start.tz_localize(tariff.timezone),
        (start + pd.Timedelta(days=1)).tz_localize(tariff.timezone),
        freq=interval,
        inclusive="left",
    )
    starts = pd.Series(local.tz_convert("UTC"))
    return label_intervals(starts, interval=interval, tariff=tariff).tolist()


def expected_commercial(day: date) -> list[str]:
    """The windows as the notice words them, written a second time, hour by hour."""
    has_sharp = day.month in {7, 8, 9} or day == HOT_DAY
    labels = ["valley"] * 8 + ["flat"] * 2 + ["peak"] * 2 + ["flat"] * 2 + ["peak"] * 5
    labels += ["flat"] * 5
    if has_sharp:
        for hour in (11, 15, 16):
            labels[hour] = "sharp"
    return labels


@given(day=st.dates(min_value=date(2025, 1, 1), max_value=date(2026, 12, 31)))
def test_commercial_hours_follow_the_notice_on_every_day(day: date) -> None:
    assert hours_of(day, commercial_with_hot_day()) == expected_commercial(day)


def test_the_hot_day_is_sharp_and_its_neighbours_are_not() -> None:
    tariff = commercial_with_hot_day()
    assert hours_of(HOT_DAY, tariff)[11] == "sharp"
    assert hours_of(date(2025, 5, 19), tariff)[11] == "peak"
    assert hours_of(date(2025, 5, 21), tariff)[11] == "peak"


@given(
    day=st.dates(min_value=date(2025, 1, 1), max_value=date(2026, 12, 31)),
    minutes=st.sampled_from([1, 5, 15, 30, 60]),
    tariff_id=st.sampled_from([COMMERCIAL, "shenzhen-residential-peak-valley"]),
)
def test_every_interval_of_a_day_has_exactly_one_label(
    day: date, minutes: int, tariff_id: str
) -> None:
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    labels = hours_of(day, tariff, interval=pd.Timedelta(minutes=minutes))
    assert len(labels) == 1440 // minutes
    assert set(labels) <= set(tariff.tou_periods)
    hourly = Counter(hours_of(day, tariff))
    assert Counter(labels) == {label: n * 60 // minutes for label, n in hourly.items()}


LONDON = (
    catalogue_text("shenzhen-residential-peak-valley")
    .replace('"Asia/Shanghai"', '"Europe/London"')
    .replace("2021-10-01", "2020-01-01")
)


@pytest.mark.parametrize(
    ("day", "hours", "valley"), [(date(2025, 3, 30), 23, 7), (date(2025, 10, 26), 25, 9)]
)
def test_a_clock_change_day_is_labelled_by_wall_time(day: date, hours: int, valley: int) -> None:
    """Valley is 0-8 on the wall clock: 7 hours when one is skipped, 9 when one is repeated."""
    labels = hours_of(day, parse_tariff(LONDON))
    assert len(labels) == hours
    assert labels.count("valley") == valley
    assert labels.count("peak") == 7


def test_a_worked_saturday_can_be_listed_as_a_weekday() -> None:
    text = catalogue_text(COMMERCIAL)
    tariff = parse_tariff(
        text.replace(
            """months = [1, 2, 3, 4, 5, 6, 10, 11, 12]
day_types = ["hot"]
from = "11:00\"""",
            """months = [1, 2, 3, 4, 5, 6, 10, 11, 12]
day_types = ["hot", "weekend"]
from = "11:00\"""",
        ).replace(
            """day_types = ["weekday", "weekend"]
from = "11:00\"""",
            """day_types = ["weekday"]
from = "11:00\"""",
        )
        + '\n[[days]]\ndate = 2025-05-24\nday_type = "weekday"\n'
    )
    assert hours_of(date(2025, 5, 17), tariff)[11] == "sharp"
    assert hours_of(date(2025, 5, 24), tariff)[11] == "peak"


def test_labels_keep_the_index_and_the_order_of_the_starts() -> None:
    tariff = load_tariff(catalogue_tariffs()[COMMERCIAL])
    clock = pd.DatetimeIndex(["2025-05-01 12:00", "2025-05-01 00:00", "2025-05-01 12:00"])
    starts = pd.Series(clock.tz_localize(SHANGHAI), index=[7, 3, 5])
    labels = label_intervals(starts, interval=HOUR, tariff=tariff)
    assert labels.to_dict() == {7: "flat", 3: "valley", 5: "flat"}


@pytest.mark.parametrize(
    ("start", "interval", "reason"),
    [
        ("2025-05-01 07:30", "1h", "calendar.straddles-window"),
        # Both ends are flat, but a peak lies between.
        ("2025-05-01 09:00", "4h", "calendar.straddles-window"),
        ("2025-05-01 00:00:30", "1h", "calendar.unaligned"),
        ("2025-05-01 00:00", "90s", "calendar.unaligned"),
    ],
)
def test_intervals_of_two_periods_or_off_the_minute_are_refused(
    start: str, interval: str, reason: str
) -> None:
    starts = pd.Series(pd.DatetimeIndex([start]).tz_localize(SHANGHAI))
    tariff = load_tariff(catalogue_tariffs()[COMMERCIAL])
    with pytest.raises(InvalidReadingsError) as caught:
        label_intervals(starts, interval=pd.Timedelta(interval), tariff=tariff)
    assert caught.value.reason == reason


def test_an_interval_across_midnight_inside_one_label_is_fine() -> None:
    text = catalogue_text("shenzhen-residential-peak-valley")
    text = text.replace('to = "24:00"\ntou_period = "flat"', 'to = "24:00"\ntou_period = "valley"')
    starts = pd.Series(pd.DatetimeIndex(["2025-05-01 23:30"]).tz_localize(SHANGHAI))
    labels = label_intervals(starts, interval=HOUR, tariff=parse_tariff(text))
    assert labels.tolist() == ["valley"]


def test_a_tariff_without_windows_has_nothing_to_label() -> None:
    with pytest.raises(ValueError, match="without windows"):
        label_intervals(
            pd.Series(pd.DatetimeIndex([], tz=SHANGHAI)),
            interval=HOUR,
            tariff=load_tariff(catalogue_tariffs()["flat"]),
        )
