"""A billing period has one text: no year but its own can be read from it."""

from __future__ import annotations

import pytest

from gridsecure.credentials.seats import billing_domain, check_period
from gridsecure.errors import InvalidMessageError
from gridsecure.periods import billing_month, local_day

SHANGHAI, BERLIN, SYDNEY = "Asia/Shanghai", "Europe/Berlin", "Australia/Sydney"


@pytest.mark.parametrize("timezone", [SHANGHAI, BERLIN, SYDNEY, "UTC", "America/St_Johns"])
@pytest.mark.parametrize("month", range(1, 13))
def test_every_month_passes_and_is_of_its_year(timezone, month):
    """December to 1 January, and months in which clocks are changed, too."""
    period = billing_month(2026, month, timezone=timezone)
    start, end = period.start.isoformat(), period.end.isoformat()
    domain = check_period(start, end, timezone=timezone, cycle_day=1)
    assert domain == billing_domain(start)
    assert domain.period == "2026"


@pytest.mark.parametrize("timezone", [SHANGHAI, BERLIN, SYDNEY])
@pytest.mark.parametrize("month", range(1, 13))
def test_a_month_of_a_cycle_is_of_the_year_that_it_begins_in(timezone, month):
    """And so is each day in it: a day of January may be of the year before."""
    period = billing_month(2027, month, timezone=timezone, cycle_day=16)
    year = "2026" if month == 1 else "2027"
    last = local_day(f"2027-{month:02d}-15", timezone=timezone)
    for one in (period, last):
        start, end = one.start.isoformat(), one.end.isoformat()
        domain = check_period(start, end, timezone=timezone, cycle_day=16)
        assert domain.period == year


@pytest.mark.parametrize("cycle_day", [2, 16, 28])
def test_a_calendar_month_is_none_of_another_cycle(cycle_day):
    with pytest.raises(InvalidMessageError):
        check_period(
            "2026-07-01T00:00:00+08:00",
            "2026-08-01T00:00:00+08:00",
            timezone=SHANGHAI,
            cycle_day=cycle_day,
        )


REFUSED = {
    "next year told in UTC": ("2026-12-31T16:00:00+00:00", "2027-01-31T16:00:00+00:00", SHANGHAI),
    "this year told in UTC": ("2026-06-30T16:00:00+00:00", "2026-08-01T00:00:00+08:00", SHANGHAI),
    "end told in UTC": ("2026-12-01T00:00:00+08:00", "2026-12-31T16:00:00+00:00", SHANGHAI),
    "Z": ("2026-06-30T16:00:00Z", "2026-08-01T00:00:00+08:00", SHANGHAI),
    "winter time in summer": ("2026-07-01T00:00:00+01:00", "2026-08-01T00:00:00+02:00", BERLIN),
    "another zone": ("2026-07-01T00:00:00+02:00", "2026-08-01T00:00:00+02:00", SHANGHAI),
    "over New Year": ("2026-12-01T00:00:00+08:00", "2027-01-01T00:00:01+08:00", SHANGHAI),
    "one year": ("2026-01-01T00:00:00+08:00", "2027-01-01T00:00:00+08:00", SHANGHAI),
    "two days": ("2026-07-01T00:00:00+08:00", "2026-07-03T00:00:00+08:00", SHANGHAI),
    "a month and a day": ("2026-07-01T00:00:00+08:00", "2026-08-02T00:00:00+08:00", SHANGHAI),
    "two years": ("2026-01-01T00:00:00+08:00", "2028-01-01T00:00:00+08:00", SHANGHAI),
    "naive": ("2026-07-01T00:00:00", "2026-08-01T00:00:00", SHANGHAI),
    "naive start": ("2026-07-01T00:00:00", "2026-08-01T00:00:00+08:00", SHANGHAI),
    "naive end": ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00", SHANGHAI),
    "dates": ("2026-07-01", "2026-08-01", SHANGHAI),
    "a blank": ("2026-07-01 00:00:00+08:00", "2026-08-01T00:00:00+08:00", SHANGHAI),
    "without seconds": ("2026-07-01T00:00+08:00", "2026-08-01T00:00:00+08:00", SHANGHAI),
    "reversed": ("2026-08-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00", SHANGHAI),
    "empty": ("2026-07-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00", SHANGHAI),
    "no time": ("July", "August", SHANGHAI),
    "the first moment": ("0001-01-01T00:00:00+00:00", "2026-07-01T00:00:00+08:00", SYDNEY),
    "the last year": ("9999-12-01T00:00:00+08:00", "9999-12-31T00:00:00+08:00", SHANGHAI),
}


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_text_is_refused(name):
    start, end, timezone = REFUSED[name]
    with pytest.raises(InvalidMessageError) as refused:
        check_period(start, end, timezone=timezone, cycle_day=1)
    assert refused.value.reason == "identity.period"
