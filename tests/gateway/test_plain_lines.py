"""Plain bodies are read as every other body is, or left to the reader of those."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.readings import start_us
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion.plain_lines import read_plain_lines
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.meanings import Stamps
from gridsecure.gateway.value_kinds import WrittenTimes

ZONE = "Asia/Shanghai"
HEADER = b"meter_point_id,start,kwh\n"
START = Source("headend", "t", ("",), "start", ZONE, "")


def read_plainly(data: bytes, source: Source) -> pd.DataFrame | None:
    found = read_plain_lines(data, source)
    if found is None:
        return None
    columns = found.columns
    starts = pd.DatetimeIndex(columns.starts.astype("datetime64[us]"), tz="UTC")
    return pd.DataFrame(
        {
            "meter_point_id": [columns.names[place] for place in columns.meters],
            "start": starts.tz_convert(source.timezone),
            "energy_wh": found.energy_wh,
            "quality": [columns.flags[place] for place in columns.qualities],
            "minutes": columns.minutes,
        }
    )


def read_generally(data: bytes, source: Source) -> pd.DataFrame:
    readings = read_readings(
        data, timezone=source.timezone, interval=source.interval, meaning=source.meaning
    ).readings
    times = WrittenTimes(Stamps.START, source.timezone)
    times.add(start_us(readings), readings["minutes"].to_numpy())
    times.check()
    return readings


line = st.tuples(
    st.sampled_from(["MP-1", "MP-2", "a.b:c_9", "total", "0", "x" * 64]),
    st.sampled_from(["2026-07-01", "2026-02-28", "2024-02-29", "2026-12-31"]),
    st.sampled_from(["T", " "]),
    st.sampled_from(["00:00", "00:15", "00:30", "23:59:59", "12:00:00", "01:00"]),
    st.sampled_from(["Z", "+08:00", "-03:30", "+00:00"]),
    st.sampled_from(["0", "0.4", "12.345", "007", "999999999.999", "1.50"]),
).map(lambda one: f"{one[0]},{one[1]}{one[2]}{one[3]}{one[4]},{one[5]}\n")


@given(st.lists(line, min_size=1, max_size=40), st.sampled_from([0, 15, 60]))
def test_what_is_plain_is_read_as_it_would_be_otherwise(lines, minutes):
    source = Source("headend", "t", ("",), "start", ZONE, "", minutes)
    data = HEADER + "".join(lines).encode()
    assert outcome(read_plainly, data, source) == outcome(read_generally, data, source)


def outcome(read, data, source):
    """What is read, column by column, or why it is refused."""
    try:
        found = read(data, source)
    except InvalidReadingsError as refused:
        return refused.reason, refused.problems
    zone = str(found["start"].dt.tz)
    return zone, [(name, found[name].tolist()) for name in found.columns]


def test_values_that_only_rise_are_refused_alike():
    lines = "".join(f"MP-1,2026-07-{day + 1:02}T00:00+08:00,{day + 100}\n" for day in range(28))
    for read in (read_plainly, read_generally):
        with pytest.raises(InvalidReadingsError) as refused:
            read(HEADER + lines.encode(), START)
        assert refused.value.reason == "readings.cumulative"


@pytest.mark.parametrize(
    "data",
    [
        b"meter_point_id;start;kwh\nM;2026-07-01T00:00Z;1\n",
        b"meter_point_id,start,kwh,quality\nM,2026-07-01T00:00Z,1,estimated\n",
        HEADER + b"M,2026-07-01T00:00,1\n",
        HEADER + b"M,2026-07-01T00:00Z,1",
        HEADER + b"M,2026-07-01T00:00Z,1,2\n",
        HEADER + b"M,2026-07-01T24:00Z,1\n",
        HEADER + b"M,2026-02-30T00:00Z,1\n",
        HEADER + b"M,0001-01-01T00:00Z,1\n",
        HEADER + b"M,2026-07-01T00:00+25:00,1\n",
        HEADER + b"M,2026-07-01T00:00Z,1.2345\n",
        HEADER + b"M,2026-07-01T00:00Z,-1\n",
        HEADER + b"M,2026-07-01T00:00Z,\n",
        HEADER + b",2026-07-01T00:00Z,1\n",
        HEADER + "表,2026-07-01T00:00Z,1\n".encode(),
        HEADER + b"M,2026-07-01T00:00Z,1\r\n",
        HEADER,
        HEADER + b"M,2026-07-01T00:00Z,1\n" * 4000,
    ],
)
def test_anything_else_is_left_to_the_reader_of_all_forms(data):
    assert read_plain_lines(data, START) is None


@pytest.mark.parametrize(
    "declared", [{"stamps": ""}, {"stamps": "end"}, {"declares_zone": True}, {"formats": ("wide",)}]
)
def test_nothing_is_read_of_a_source_that_declared_what_is_to_be_held_against_it(declared):
    data = HEADER + b"M,2026-07-01T00:00Z,1\n"
    assert read_plain_lines(data, replace(START, interval_minutes=15)) is not None
    assert read_plain_lines(data, replace(START, interval_minutes=15, **declared)) is None
