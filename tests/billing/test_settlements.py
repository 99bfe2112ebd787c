from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from gridsecure.billing.settlements import check_settlements, settle
from gridsecure.errors import InputError, InvalidReadingsError
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.billing.bill_inputs import HOUR, SHANGHAI, readings_frame

FLAT = load_tariff(catalogue_tariffs()["flat"])
PEAK_VALLEY = load_tariff(catalogue_tariffs()["shenzhen-residential-peak-valley"])


def test_one_row_per_meter_point_and_month_in_that_order() -> None:
    readings = readings_frame(
        [
            ("B", "2025-02-01T00:00", 5),
            ("A", "2025-02-01T10:00", 4),
            ("B", "2025-01-01T10:00", 3),
            ("B", "2025-01-01T12:00", 2),
        ]
    )
    settlements = settle(readings, tariff=PEAK_VALLEY, interval=HOUR)
    assert settlements["meter_point_id"].tolist() == ["B", "A", "B"]
    assert settlements["period_start"].tolist() == [
        pd.Timestamp("2025-01-01", tz=SHANGHAI),
        *[pd.Timestamp("2025-02-01", tz=SHANGHAI)] * 2,
    ]
    assert settlements["period_end"].iloc[0] == pd.Timestamp("2025-02-01", tz=SHANGHAI)
    energy = settlements[["total_wh", "peak_wh", "flat_wh", "valley_wh"]]
    assert energy.to_numpy().tolist() == [[5, 3, 2, 0], [4, 4, 0, 0], [5, 0, 0, 5]]
    assert (energy.dtypes == "int64").all()


def test_categorical_meter_points_settle_like_text() -> None:
    readings = readings_frame([("B", "2025-02-01T00:00", 5), ("A", "2025-02-01T10:00", 4)])
    categories = pd.CategoricalDtype(["B", "A", "unused"])
    categorical = readings.assign(meter_point_id=readings["meter_point_id"].astype(categories))
    pd.testing.assert_frame_equal(
        settle(categorical, tariff=FLAT, interval=HOUR),
        settle(readings, tariff=FLAT, interval=HOUR),
    )


def test_energy_beyond_a_doubles_53_bits_stays_exact() -> None:
    large = 2**60 + 1
    readings = readings_frame([("A", "2025-02-01T00:00", large), ("A", "2025-02-01T01:00", 2)])
    settlements = settle(readings, tariff=PEAK_VALLEY, interval=HOUR)
    assert settlements["total_wh"].tolist() == [large + 2]


def test_no_readings_settle_to_nothing() -> None:
    readings = readings_frame([("A", "2025-02-01T00:00", 1)]).iloc[:0]
    settlements = settle(readings, tariff=PEAK_VALLEY, interval=HOUR)
    assert len(settlements) == 0
    assert settlements["valley_wh"].dtype == "int64"


def test_estimated_readings_settle_like_actual_ones() -> None:
    rows = [("A", "2025-02-01T00:00", 1)]
    estimated = settle(readings_frame(rows, quality="estimated"), tariff=FLAT, interval=HOUR)
    assert estimated.equals(settle(readings_frame(rows), tariff=FLAT, interval=HOUR))


ROW = ("A", "2025-02-01T00:00", 1)


@pytest.mark.parametrize(
    ("rows", "quality", "reason"),
    [
        ([ROW], "missing", "missing-reading"),
        ([ROW], "guessed", "missing-reading"),
        ([("A", "2025-02-01T00:00", -1)], "actual", "negative-energy"),
        ([ROW, ("B", "2025-02-01T00:00", 1), ROW], "actual", "duplicate-reading"),
        ([ROW, ("A", "2025-02-01T01:00", 2**62)], "actual", "too-large"),
    ],
)
def test_readings_that_cannot_be_settled_are_refused(
    rows: list[tuple[str, str, int]], quality: str, reason: str
) -> None:
    with pytest.raises(InvalidReadingsError) as caught:
        settle(readings_frame(rows, quality=quality), tariff=FLAT, interval=HOUR)
    assert caught.value.reason == f"settlement.{reason}"


def settled(**changes: Any) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "meter_point_id": ["A", "B"],
        "period_start": pd.Timestamp("2025-02-01", tz=SHANGHAI),
        "total_wh": [6, 0],
        "peak_wh": [1, 0],
        "valley_wh": [5, 0],
    }
    return pd.DataFrame(columns | changes)


@pytest.mark.parametrize(
    ("settlements", "reason"),
    [
        (settled().drop(columns="total_wh"), "missing-column"),
        (settled().drop(columns="valley_wh"), "missing-column"),
        (settled(meter_point_id=["A", "A"]), "duplicate-settlement"),
        (settled(total_wh=[-6, 0]), "negative-energy"),
        (settled(peak_wh=[-1, 0], total_wh=[4, 0]), "negative-energy"),
        (settled(peak_wh=[2, 0]), "register-sum"),
        (settled(peak_wh=[2**62, 0]), "too-large"),
    ],
)
def test_settlements_that_break_the_invariants_are_refused(
    settlements: pd.DataFrame, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_settlements(settlements, tou_periods=("peak", "valley"))
    assert caught.value.reason == f"settlement.{reason}"


def test_sound_settlements_pass_with_and_without_registers() -> None:
    check_settlements(settled(), tou_periods=("peak", "valley"))
    check_settlements(settled(), tou_periods=())
