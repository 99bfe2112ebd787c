"""NEM12 files to readings: channels, qualities, market time, and the refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings

# The layout is that of the examples in AEMO's specification; the numbers are invented.
HEAD = "100,NEM12,202503010000,MDP1,RET1"


def channel(suffix="E1", *, unit="kWh", minutes=30, nmi="NMI0000001"):
    return f"200,{nmi},E1B1,1,{suffix},N1,METER1,{unit},{minutes},"


def day(date="20250301", *, value="0.25", quality="A", updated="20250401000000", count=48):
    return f"300,{date}{f',{value}' * count},{quality},,,{updated},"


def read(*records, zone="Australia/Sydney"):
    return read_readings("\n".join([HEAD, *records, "900", ""]).encode(), timezone=zone)


def test_a_day_is_one_of_market_time_whatever_the_local_clock_does():
    file = read(channel(), day())
    assert (file.layout, len(file.readings)) == ("nem12", 48)
    # Sydney is eleven hours ahead of UTC in March, the market ten.
    first = file.readings["start"].iloc[0]
    assert first == pd.Timestamp("2025-03-01 01:00", tz="Australia/Sydney")
    assert file.readings["energy_wh"].tolist() == [250] * 48
    assert set(file.readings["minutes"]) == {30}
    assert set(file.lines) == {3}


def test_channels_of_one_kind_are_added_and_feed_in_stands_beside():
    readings = read(
        *(channel("E1"), day(value="0.100")),
        *(channel("E2", unit="Wh"), day(value="50")),
        *(channel("E3", unit="MWh"), day(value="0.00002")),
        *(channel("B1"), day(value="0.030")),
        *(channel("Q1", unit="kvarh"), day(value="0.007")),
        *(channel("K1", unit="kvarh"), day(value="9")),
    ).readings
    assert len(readings) == 48
    columns = readings[["energy_wh", "export_wh", "reactive_varh"]]
    assert columns.drop_duplicates().to_numpy().tolist() == [[170, 30, 7]]


@pytest.mark.parametrize(
    ("quality", "word"),
    [("A", "actual"), ("S14", "estimated"), ("E52", "estimated"), ("F11", "estimated"),
     ("N", "missing"), ("X", "x")],
)  # fmt: skip
def test_qualities_are_those_of_our_own_files(quality, word):
    assert set(read(channel(), day(quality=quality)).readings["quality"]) == {word}


def test_parts_of_a_day_have_qualities_of_their_own_and_the_worst_channel_counts():
    records = [day(quality="V"), "400,1,20,A,,", "400,21,40,S14,32,", "400,41,47,N,,"]
    quality = read(channel(), *records, channel("B1"), day()).readings["quality"].tolist()
    assert quality[:47] == ["actual"] * 20 + ["estimated"] * 20 + ["missing"] * 7
    # What no record speaks of is of no known quality.
    assert quality[47] == "v"


def test_of_a_day_that_came_twice_the_later_update_counts():
    older, later = day(value="1", quality="S14"), day(value="2", updated="20250501000000")
    for records in ((older, later), (later, older), (later, later)):
        assert set(read(channel(), *records).readings["energy_wh"]) == {2_000}
    with pytest.raises(InvalidReadingsError, match="Lines 3 and 4") as refused:
        read(channel(), day(value="1"), day(value="2"))
    assert refused.value.reason == "readings.conflict"


def test_a_day_without_one_of_its_channels_is_missing():
    dates = ["20250301", "20250302", "20250303"]
    readings = read(
        channel("E1"), *(day(date) for date in dates),
        channel("E2"), day(dates[0]), day(dates[2]),
        channel("B1"), day(dates[2]),
    ).readings  # fmt: skip
    missing = (readings["quality"] == "missing").to_numpy().reshape(3, 48)
    assert np.array_equal(missing.all(axis=1), [False, True, False])
    assert not missing[[0, 2]].any()


def test_lengths_of_intervals_and_blank_values():
    readings = read(channel(minutes=5), day(count=288).replace("0.25,", ",", 1)).readings
    assert readings["quality"].tolist() == ["missing"] + ["actual"] * 287
    assert set(readings["minutes"]) == {5}


SECRET = "77.31"


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ((day(value=SECRET),), "malformed"),
        ((channel(minutes=20), day(value=SECRET)), "malformed"),
        ((channel(), day(value=SECRET, count=40)), "malformed"),
        ((channel(), day("20250230", value=SECRET)), "malformed"),
        ((channel(), day(quality="V"), "400,5,60,A,,"), "malformed"),
        ((channel(), day(quality="V"), "400,a,6,A,,"), "malformed"),
        ((channel(), f"301,20250301,{SECRET}"), "malformed"),
        ((channel(unit="GWh"), day(value=SECRET)), "unit"),
        ((channel(unit="kVArh"), day(value=SECRET)), "unit"),  # reactive, by its unit alone
        ((channel("Q1", unit="kWh"), day(value=SECRET)), "unit"),
        ((channel("K1", unit="kWh"), day(value=SECRET)), "unit"),
        ((channel(unit="MWh"), day(value="0.0773101")), "energy"),
        ((channel(unit="MWh"), day(value="7e-5")), "energy"),
        ((channel("N1"), day(value=SECRET)), "format"),
        ((channel(), day(value=f"{SECRET}45")), "energy"),
        ((channel(unit="Wh"), day(value=SECRET)), "energy"),
        ((channel(),), "empty"),
        ((channel("K1", unit="kvarh"), day()), "empty"),
    ],
)
def test_a_file_that_is_not_as_defined_is_refused_without_its_values(records, reason):
    with pytest.raises(InvalidReadingsError) as refused:
        read(*records)
    assert refused.value.reason == f"readings.{reason}"
    assert refused.value.remedy
    assert SECRET not in f"{refused.value!s}{refused.value.problems!r}"


def test_accumulated_reads_are_refused_by_name():
    with pytest.raises(InvalidReadingsError, match="NEM13"):
        read_readings(b"100,NEM13,202503010000,MDP1,RET1\n250,NMI1\n900\n")
