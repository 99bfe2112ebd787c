"""Batches as they are kept: of several readings of an interval one counts, and order is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.billing.readings import QUALITIES, make_readings
from gridsecure.errors import StorageError
from gridsecure.gateway.ingestion.stored_readings import (
    RULE,
    ReadingsWriter,
    best_readings,
    read_batches,
)
from gridsecure.periods import billing_month

ZONE = "Asia/Shanghai"
JULY = billing_month(2026, 7, timezone=ZONE)
STARTS = pd.date_range("2026-07-01", periods=5, freq="h", tz=ZONE)

row = st.tuples(st.sampled_from(["B", "A", "户"]), st.integers(0, 4), st.sampled_from(QUALITIES))
batches = st.lists(st.lists(row, min_size=1, max_size=12), min_size=1, max_size=4)


def frames(batches) -> list[pd.DataFrame]:
    """Readings frames whose energies number the readings in the order in which they came."""
    found, number = [], 0
    for rows in batches:
        meters, hours, qualities = zip(*rows, strict=True)
        numbers = range(number, number + len(rows))
        found.append(
            make_readings(
                pd.Series(meters, dtype="str"),
                start=STARTS[list(hours)],
                energy_wh=list(numbers),
                quality=pd.Series(qualities, dtype="str"),
            )
        )
        number += len(rows)
    return found


@given(batches=batches)
@settings(max_examples=100, deadline=None)
def test_the_best_and_of_equals_the_last_counts_where_it_stood(batches):
    best: dict[tuple[str, int], tuple[int, int]] = {}
    for number, (meter, hour, quality) in enumerate(row for rows in batches for row in rows):
        rank = (-QUALITIES.index(quality), number)
        best[meter, hour] = max(best.get((meter, hour), rank), rank)
    kept = best_readings(frames(batches))
    assert kept["energy_wh"].tolist() == sorted(number for _, number in best.values())
    assert kept.index.equals(pd.RangeIndex(len(best)))
    assert (kept["meter_point_id"].dtype, kept["quality"].dtype) == ("str", "str")


def test_a_month_is_what_no_rule_rejects_between_its_ends(tmp_path):
    starts = pd.DatetimeIndex(
        [
            JULY.start - pd.Timedelta("5min"),
            JULY.start,
            JULY.start + pd.Timedelta("5min"),
            JULY.end - pd.Timedelta("5min"),
            JULY.end,
        ]
    )
    readings = make_readings("MP-1", start=starts, energy_wh=[1, 2, 3, 4, 5])
    with ReadingsWriter(tmp_path) as writer:
        writer.add(readings.assign(**{RULE: ["", "", "future", "", ""]}))
        path = tmp_path / f"{writer.keep()}.parquet"
    found = read_batches([path], period=JULY)
    assert found["energy_wh"].tolist() == [2, 4]
    assert str(found["start"].dt.tz) == ZONE
    assert found["start"].iloc[0].to_pydatetime().astimezone(UTC) == datetime(
        2026, 6, 30, 16, tzinfo=UTC
    )


def test_a_batch_that_is_no_table_is_not_the_one_taken_in(tmp_path):
    path = tmp_path / "0.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(StorageError) as refused:
        read_batches([path], period=JULY)
    assert refused.value.reason == "storage.read"
