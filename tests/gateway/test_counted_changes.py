"""What a change of readings counts for, interval by interval."""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.billing.readings import DAY_MINUTES, make_readings
from gridsecure.gateway.approvals import Change, energies_by_interval, measure_change

START = pd.Timestamp("2026-07-01", tz="Asia/Shanghai")
HOUR = pd.Timedelta(hours=1)

Row = tuple[int, int, str]


def energies(*rows: Row, minutes: int = 60) -> pd.DataFrame:
    """Of rows of hour, energy [Wh] and quality."""
    return energies_by_interval(readings(*rows, minutes=minutes))


def readings(*rows: Row, minutes: int = 60) -> pd.DataFrame:
    hours, energy, quality = zip(*rows, strict=True)
    starts = [START + hour * HOUR for hour in hours]
    return make_readings(
        "A",
        start=starts,
        energy_wh=list(energy),
        quality=list(quality),
        minutes=[minutes] * len(rows),
    )


def change(before: pd.DataFrame, after: pd.DataFrame) -> tuple[int, int]:
    found = measure_change(before, after)
    assert isinstance(found, Change)
    return found.intervals, found.energy_wh


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 500, "actual")], (0, 0)),
        ([(0, 500, "estimated")], (0, 0)),
        ([(0, 500, "actual"), (0, 500, "actual")], (0, 0)),
        ([(0, 9, "estimated"), (0, 500, "actual")], (0, 0)),
        ([(0, 500, "actual"), (0, 9, "estimated")], (0, 0)),
        ([(0, 9, "missing"), (0, 500, "actual"), (0, 9, "foo")], (0, 0)),
        ([(0, 501, "actual")], (1, 1)),
        # None of these counts, so all of the energy is gone.
        ([(0, 500, "missing")], (1, 500)),
        ([(0, 500, "foo")], (1, 500)),
        ([(0, 9, "actual"), (0, 500, "actual")], (1, 500)),
        ([(0, 500, "actual"), (0, 9, "actual")], (1, 500)),
        ([(0, 9, "actual"), (0, 500, "actual"), (0, 500, "actual")], (1, 500)),
    ],
)
def test_a_reading_counts_as_it_is_billed(rows, expected):
    assert change(energies((0, 500, "actual")), energies(*rows)) == expected


def test_a_reading_of_nothing_counts_where_an_estimate_stood():
    stands = energies((0, 500, "actual"), (2, 77, "missing"))
    filled = energies((1, 0, "actual"), (2, 0, "actual"), (3, 700, "actual"))
    # No estimate is known: what stood is the mean. More than that counts whole.
    assert change(stands, filled) == (3, 500 + 500 + 700)
    known = pd.Series([80, 900], index=filled.index[[0, 2]])
    found = measure_change(stands, filled, estimates=known)
    assert found == Change(3, 80 + 500 + 700)
    # Nothing is known of whoever has no reading at all.
    assert change(stands.iloc[:0], filled) == (3, 700)


def test_registers_that_contradict_each_other_count_as_energy_does():
    fed_in = readings((0, 500, "actual"), (0, 500, "actual"))
    stands, twice = (fed_in.assign(export_wh=given) for given in ([90, 90], [90, 91]))
    own = energies_by_interval(stands)
    assert change(own, energies_by_interval(twice)) == (1, 590)
    assert change(own, energies((0, 500, "actual"))) == (1, 90)


def test_the_total_of_a_day_beside_its_hours_counts_for_nothing():
    hours = readings(*((hour, 100, "actual") for hour in range(24)))
    total = readings((0, 2400, "actual"), minutes=DAY_MINUTES)
    own = energies_by_interval(hours)
    for parts in ([hours, total], [total, hours]):
        both = energies_by_interval(pd.concat(parts, ignore_index=True))
        assert change(own, both) == (0, 0)
    above = readings((0, 9000, "actual"), *((hour, 100, "actual") for hour in range(1, 24)))
    laid = energies_by_interval(pd.concat([above, total], ignore_index=True))
    assert change(own, laid) == (1, 8900)
    alone = energies_by_interval(total)
    assert change(alone, energies_by_interval(total.assign(energy_wh=2000))) == (1, 400)
