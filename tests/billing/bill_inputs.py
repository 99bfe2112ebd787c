"""Readings frames for the billing tests, built without the code under test."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from gridsecure.tariffs.tariff import catalogue_tariffs

HOUR = pd.Timedelta(hours=1)
SHANGHAI = "Asia/Shanghai"
Row = tuple[str, str, int]


def readings_frame(
    rows: Iterable[Row], *, timezone: str = SHANGHAI, quality: str = "actual"
) -> pd.DataFrame:
    """Rows of (meter point, local start, Wh)."""
    ids, starts, energy = zip(*rows, strict=True)
    local = pd.DatetimeIndex([pd.Timestamp(start) for start in starts]).tz_localize(timezone)
    return pd.DataFrame(
        {
            "meter_point_id": pd.Series(ids, dtype=str),
            "start": local.tz_convert("UTC"),
            "energy_wh": pd.Series(energy, dtype="int64"),
            "quality": quality,
        }
    )


def read_case_readings(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (row["meter_point_id"], row["start"], int(Decimal(row["kwh"]) * 1000))
            for row in csv.DictReader(file)
        ]
    return readings_frame(rows)


def catalogue_text(tariff_id: str) -> str:
    return catalogue_tariffs()[tariff_id].read_text(encoding="utf-8")


def settlement_frame(columns: dict[str, Any], *, period_start: pd.Timestamp) -> pd.DataFrame:
    """A settlement frame as if read from registers."""
    return pd.DataFrame(columns).assign(period_start=period_start)


STABLE = ("charge", "tou_period", "tier", "quantity", "rate", "amount_exact", "amount")


def contract_part(document: dict[str, Any]) -> dict[str, Any]:
    """A bill document with the names that are kept stable for scripts, and no others."""
    return {
        "meters": {
            meter: {
                "periods": [
                    {
                        "start": period["start"],
                        "end": period["end"],
                        "lines": [
                            {name: line[name] for name in STABLE} for line in period["lines"]
                        ],
                        "total_exact": period["total_exact"],
                        "total": period["total"],
                    }
                    for period in bill["periods"]
                ]
            }
            for meter, bill in document["meters"].items()
        }
    }
