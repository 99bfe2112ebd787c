"""Frames of readings as bodies, and what became of a batch as a frame."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from gridsecure.analyst.queries import QueryProgress
from gridsecure.client import analysts
from gridsecure.client.reading_frames import became_frame, frame_body
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.head_end.sender import Became
from gridsecure.messages import BatchReceipt, ReadingCounts


@pytest.mark.parametrize("zone", ["Asia/Shanghai", None])
def test_numbers_and_times_go_as_they_stand(zone):
    """Also a column of midnights, which is written with its hour."""
    readings = pd.DataFrame(
        {
            "meter_point_id": ["007", "MP-2", "MP-3"],
            "start": pd.to_datetime(["2026-07-01", "2026-07-02", None]).tz_localize(zone),
            "kwh": [0.1, None, 12.345],
            "kvarh": [Decimal("1E+2"), None, Decimal("0.10")],
        },
        index=[9, 8, 7],
    )
    offset = "+08:00" if zone else ""
    assert frame_body(readings).decode().splitlines() == [
        "meter_point_id,start,kwh,kvarh",
        f"007,2026-07-01T00:00:00{offset},0.1,100",
        f"MP-2,2026-07-02T00:00:00{offset},,",
        "MP-3,,12.345,0.10",
    ]
    assert frame_body(readings) == frame_body(readings.copy())


def test_no_number_goes_with_an_exponent_whatever_holds_it():
    small = pd.DataFrame({"kwh": [1e-05, 1e16, -2.5e-7, 0.1, 0.0, None]})
    digits = ["0.00001", "10000000000000000", "-0.00000025", "0.1", "0.0", '""']
    assert frame_body(small).decode().splitlines() == ["kwh", *digits]
    for kind in ("object", "Float64"):
        assert "e" not in frame_body(small.astype(kind)).decode()
    narrow = pd.DataFrame({"kwh": np.array([1e-05, 0.1], dtype="float32")})
    assert frame_body(narrow) == b"kwh\n0.00001\n0.1\n"
    mixed = pd.DataFrame({"kwh": pd.Series([np.float64(0.1), np.float32(1e-05), 7], dtype=object)})
    assert frame_body(mixed) == b"kwh\n0.1\n0.00001\n7\n"
    named = pd.DataFrame({"meter_point_id": pd.Categorical(["a", None]), "kwh": 1})
    assert frame_body(named) == b"meter_point_id,kwh\na,1\n,1\n"
    exact = pd.DataFrame({"kwh": pd.Categorical([Decimal("1E+1")])})
    assert frame_body(exact) == b"kwh\n10\n"


def test_what_became_of_a_batch_is_a_month_a_row():
    counts = ReadingCounts(came_in=3, billed=2, estimated=1, quarantined=0, waiting=0, reasons={})
    receipt = BatchReceipt(
        source="h",
        batch_id="b",
        sequence=1,
        body_digest=sm3_hex(b"body"),
        readings_digest=sm3_hex(b"file"),
        readings=4,
        rejected={},
        first="2026-06-30T00:00:00+08:00",
        last="2026-07-01T00:00:00+08:00",
        months={"2026-06": "waiting", "2026-07": "waiting"},
        taken_in_at="2026-07-02T00:00:00+08:00",
    )
    months = {"2026-06": "done", "2026-07": "waiting"}
    frame = became_frame(Became(receipt, months, {"2026-06": counts})).set_index("month")
    assert frame.loc["2026-06", ["state", "billed"]].tolist() == ["done", 2]
    assert frame.loc["2026-07", "state"] == "waiting"
    assert pd.isna(frame.loc["2026-07", "billed"])


def test_an_analysts_patience_ends_and_says_that_the_grant_is_kept():
    seen: list[QueryProgress] = []
    progress = QueryProgress("running", 1, 2, "", "", "")
    with pytest.raises(GridSecureError) as ended:
        analysts.patience(0, tell=seen.append)(progress)
    assert (ended.value.reason, seen) == ("query.waiting", [progress])
