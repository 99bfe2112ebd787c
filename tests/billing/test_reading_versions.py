"""Versions of readings: the later file wins, interval by interval, and nothing else moves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.reading_versions import find_changed_settlements, overlay_readings
from gridsecure.billing.settlements import settle
from gridsecure.errors import InvalidReadingsError
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.billing.bill_inputs import HOUR, readings_frame

FLAT = load_tariff(catalogue_tariffs()["flat"])
STARTS = [f"2026-07-01T{hour:02d}:00" for hour in range(6)]
places = st.tuples(st.sampled_from("AB"), st.sampled_from(STARTS))
versions = st.dictionaries(places, st.integers(0, 10_000), min_size=1)


def frame(version: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = readings_frame([(*place, wh) for place, wh in version.items()])
    return rows.assign(minutes=np.int64(60))


def as_dict(readings: pd.DataFrame) -> dict[tuple[str, str], int]:
    local = readings["start"].dt.tz_convert("Asia/Shanghai").dt.strftime("%Y-%m-%dT%H:%M")
    keys = zip(readings["meter_point_id"], local, strict=True)
    return dict(zip(keys, readings["energy_wh"].tolist(), strict=True))


@given(st.lists(versions, min_size=1, max_size=4))
def test_overlaying_is_updating_a_dictionary(parts: list[dict[tuple[str, str], int]]) -> None:
    first, *later = map(frame, parts)
    before = first.copy()
    expected: dict[tuple[str, str], int] = {}
    for part in parts:
        expected |= part
    result = first
    for part in later:
        result = overlay_readings(result, later=part)
    assert len(result) == len(expected)
    assert as_dict(result) == expected
    pd.testing.assert_frame_equal(first, before)


@given(versions, versions)
def test_changed_are_those_whose_sums_differ(
    old: dict[tuple[str, str], int], new: dict[tuple[str, str], int]
) -> None:
    before, after = (settle(frame(part), tariff=FLAT, interval=HOUR) for part in (old, new))

    def sums(part: dict[tuple[str, str], int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for (meter, _), wh in part.items():
            found[meter] = found.get(meter, 0) + wh
        return found

    first, second = sums(old), sums(new)
    expected = {name for name in first.keys() & second if first[name] != second[name]}
    assert {name for name, _ in find_changed_settlements(before, after)} == expected


def test_contradictions_within_a_file_stay_for_validation() -> None:
    twice = pd.concat([frame({("A", STARTS[0]): 1}), frame({("A", STARTS[0]): 2})])
    assert len(overlay_readings(frame({("A", STARTS[0]): 9}), later=twice)) == 2


def test_a_reading_between_the_intervals_is_refused() -> None:
    """Half an hour beside a whole one would be billed twice."""
    below = frame({("A", STARTS[0]): 9, ("A", STARTS[1]): 9})
    half = readings_frame([("A", "2026-07-01T00:30", 4)]).assign(minutes=np.int64(30))
    with pytest.raises(InvalidReadingsError) as refused:
        overlay_readings(below, later=half)
    assert refused.value.reason == "correction.interval"
    assert refused.value.remedy


@pytest.mark.parametrize("column", ["reactive_varh", "export_wh"])
@pytest.mark.parametrize("has_it", ["earlier", "later"])
def test_a_register_in_one_version_only_is_refused(column: str, has_it: str) -> None:
    below, above = frame({("A", STARTS[0]): 9, ("B", STARTS[0]): 9}), frame({("A", STARTS[0]): 8})
    if has_it == "earlier":
        below[column] = 3
    else:
        above[column] = 3
    with pytest.raises(InvalidReadingsError) as refused:
        overlay_readings(below, later=above)
    assert refused.value.reason == "correction.register"


def test_a_register_stays_where_later_readings_have_none_of_it() -> None:
    below = frame({("A", STARTS[0]): 9, ("A", STARTS[1]): 9}).assign(export_wh=3)
    above = frame({("A", STARTS[0]): 8, ("A", STARTS[2]): 8, ("B", STARTS[0]): 8})
    laid = overlay_readings(below, later=above, keeps_registers=True)
    ordered = laid.sort_values(["meter_point_id", "start"])
    # What nobody knows is for validation to find.
    assert ordered["energy_wh"].tolist() == [8, 9, 8, 8]
    assert ordered["export_wh"].tolist() == [3, 3, -1, -1]
    first = overlay_readings(above, later=below.assign(energy_wh=7), keeps_registers=True)
    assert sorted(first["export_wh"]) == [-1, -1, 3, 3]


def test_registers_are_overlaid_with_their_readings() -> None:
    below = frame({("A", STARTS[0]): 9, ("A", STARTS[1]): 9}).assign(reactive_varh=3)
    above = frame({("A", STARTS[1]): 8}).assign(reactive_varh=4)
    result = overlay_readings(below, later=above)
    assert result["reactive_varh"].tolist() == [3, 4]
    unmetered = frame({("B", STARTS[1]): 8})
    result = overlay_readings(result, later=unmetered)
    assert result["reactive_varh"].tolist() == [3, 4, -1]
