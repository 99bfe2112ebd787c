"""Readings of batches as they are kept: one Parquet file a batch, and a month of many put together.

Lengths of intervals are not kept. A batch may be too short to show them; all batches together do.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import interval_minutes
from gridsecure.billing.readings import COLUMNS, QUALITIES, join_readings, register_columns
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidReadingsError, StorageError
from gridsecure.periods import BillingPeriod

RULE: Final = "rule"
"""The column with the rule that rejects a reading; empty where none does."""


def write_readings(readings: pd.DataFrame) -> bytes:
    """A batch's readings as a file.

    Args:
        readings: A readings frame with `RULE`.
    """
    out = io.BytesIO()
    columns = [*COLUMNS, *register_columns(readings), RULE]
    readings[columns].to_parquet(out, compression="zstd", index=False)
    return out.getvalue()


def read_batches(paths: Sequence[Path], *, period: BillingPeriod) -> pd.DataFrame:
    """The readings of a period that batches hold, one an interval, with `minutes`.

    Args:
        paths: At least one, in the order in which the batches came; named by their digests.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
    """
    joined = join_readings([_load(path, period) for path in paths])
    quality = joined["quality"].map({name: rank for rank, name in enumerate(QUALITIES[::-1])})
    order = np.argsort(quality.to_numpy(np.int64), kind="stable")
    kept = joined.iloc[order].drop_duplicates(["meter_point_id", "start"], keep="last")
    kept = kept.sort_index().reset_index(drop=True)
    return kept.assign(minutes=_minutes(kept))


def read_edit(path: Path, *, period: BillingPeriod) -> pd.DataFrame:
    """The readings of an edit.

    Args:
        path: Named by its digest.

    Raises:
        StorageError: It is gone or was altered (`storage.read`).
    """
    return _load(path, period)


def _minutes(readings: pd.DataFrame) -> NDArray[np.int64]:
    """Lengths as all readings together tell them; unknown where not one does."""
    try:
        return interval_minutes(readings)
    except InvalidReadingsError:
        return np.zeros(len(readings), dtype=np.int64)


def count_rows(paths: Sequence[Path]) -> int:
    """How many readings batches hold, of whatever month, before any is read."""
    return sum(map(_rows, paths))


def _load(path: Path, period: BillingPeriod) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable() from error
    if sm3_hex(content) != path.stem:
        raise _unreadable()
    stored: pd.DataFrame = pq.read_table(io.BytesIO(content)).to_pandas()
    starts = stored["start"]
    counts = (stored[RULE] == "") & (starts >= period.start) & (starts < period.end)
    return stored.loc[counts].drop(columns=RULE).astype({"meter_point_id": "str"})


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, ValueError) as error:
        raise _unreadable() from error


def _unreadable() -> StorageError:
    return StorageError(
        "A batch of readings is gone, or is not the one that was taken in.",
        reason="storage.read",
        remedy="Restore the gateway's folder from its backup.",
    )
