from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.interval_periods import assign_periods
from gridsecure.errors import InvalidReadingsError
from gridsecure.periods import BillingPeriod, billing_month
from tests.billing.bill_inputs import HOUR, SHANGHAI, readings_frame


@given(year=st.integers(2000, 2100), month=st.integers(1, 12))
def test_months_join_without_gap_or_overlap(year: int, month: int) -> None:
    period = billing_month(year, month, timezone=SHANGHAI)
    following = billing_month(year + month // 12, month % 12 + 1, timezone=SHANGHAI)
    assert period.end == following.start
    assert 28 <= period.days <= 31


def test_a_month_with_a_clock_change_counts_local_days() -> None:
    march = billing_month(2025, 3, timezone="Europe/London")
    assert march.days == 31
    assert march.end.astimezone(UTC) - march.start.astimezone(UTC) == timedelta(days=31, hours=-1)


def test_a_period_is_aware_and_not_empty() -> None:
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="ends after"):
        BillingPeriod(start=moment, end=moment)
    naive = moment.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        BillingPeriod(start=naive, end=moment)
    with pytest.raises(ValueError, match="aware"):
        BillingPeriod(start=moment, end=naive)


def test_readings_split_at_local_midnight() -> None:
    readings = readings_frame(
        [("A", "2025-02-01T00:00", 3), ("A", "2025-01-31T23:00", 2), ("A", "2025-01-01T00:00", 1)]
    )
    codes, periods = assign_periods(readings["start"], interval=HOUR, timezone=SHANGHAI)
    assert [periods[code].start.month for code in codes] == [2, 1, 1]


def test_an_interval_in_two_months_is_refused() -> None:
    readings = readings_frame([("A", "2025-01-31T23:30", 1)])
    with pytest.raises(InvalidReadingsError) as caught:
        assign_periods(readings["start"], interval=HOUR, timezone=SHANGHAI)
    assert caught.value.reason == "period.straddles-month"


def test_naive_starts_and_empty_intervals_are_programming_mistakes() -> None:
    starts = pd.Series(pd.DatetimeIndex(["2025-01-01"]))
    with pytest.raises(ValueError, match="aware"):
        assign_periods(starts, interval=HOUR, timezone=SHANGHAI)
    with pytest.raises(ValueError, match="longer"):
        assign_periods(starts.dt.tz_localize(SHANGHAI), interval=pd.Timedelta(0), timezone=SHANGHAI)


def test_no_readings_lie_in_no_month() -> None:
    starts = pd.Series(pd.DatetimeIndex([], tz=SHANGHAI))
    codes, periods = assign_periods(starts, interval=HOUR, timezone=SHANGHAI)
    assert (len(codes), periods) == (0, ())
