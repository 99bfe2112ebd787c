"""What meters count beside energy taken: reactive energy and energy fed in.

A reading may lack a register that its meter point has, because another source sent it, and a value
below zero is none. Such a value does not count: it is estimated like that of a missing interval,
where the rule book has the register estimated, and is nothing otherwise. The energy beside it is as
good as before. A meter point of which no value is usable has no such register.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.estimation import Span, find_missing
from gridsecure.billing.estimation_methods import Gaps
from gridsecure.billing.readings import (
    MINUTE_US,
    NO_REGISTER,
    REGISTER_COLUMNS,
    register_columns,
)
from gridsecure.billing.rule_books import REGISTERS, Estimation
from gridsecure.billing.validation_rules import Finding

_DETAIL = "the reading has no usable value of a register that the meter point has"


@dataclass(frozen=True, slots=True, eq=False)
class RegisterValues:
    """A register after it was looked through.

    Attributes:
        column: Of `REGISTER_COLUMNS`.
        values: By row of the batch [varh, Wh]; `NO_REGISTER` where the meter point has none.
        filled: By missing interval, likewise.
        finding: The rows whose own value does not count.
    """

    column: str
    values: NDArray[np.int64]
    filled: NDArray[np.int64]
    finding: Finding


def complete_registers(
    readings: pd.DataFrame, gaps: Gaps, *, span: Span, rules: Estimation
) -> Iterator[RegisterValues]:
    """Look through the registers of a batch, one after the other.

    Args:
        readings: The rows of the batch.
        gaps: What counts of them, and which intervals are missing.
        span: The intervals that each meter point should have.
    """
    batch, counts = gaps.batch, gaps.accepted
    for column in register_columns(readings):
        name = REGISTERS[REGISTER_COLUMNS.index(column)]
        values = readings[column].to_numpy(np.int64).copy()
        metered = np.zeros(len(batch.names), dtype=bool)
        metered[batch.meters[counts & (values >= 0)]] = True
        unusable = counts & (values < 0)
        finding = Finding(
            f"{name}-missing",
            unusable & (metered[batch.meters] | (values != NO_REGISTER)),
            _DETAIL,
        )
        values[unusable] = np.where(metered, 0, NO_REGISTER)[batch.meters[unusable]]
        filled = np.where(metered, 0, NO_REGISTER)[gaps.missing.meters]
        if name in rules.registers and (metered[gaps.missing.meters].any() or finding.rows.any()):
            good = counts & ~unusable
            rows = np.flatnonzero(good)
            missing = find_missing(span, span.cells(batch, rows), within=metered)
            # Profiles of other months hold energy alone.
            own = replace(gaps, accepted=good, missing=missing, past={})
            told = np.maximum(own.fill(values, rules).values, 0)
            key = _keys(missing.meters, missing.starts_us)
            again = np.flatnonzero(unusable & metered[batch.meters])
            values[again] = told[
                key.get_indexer(_keys(batch.meters[again], batch.starts_us[again]))
            ]
            in_gaps = np.flatnonzero(metered[gaps.missing.meters])
            wanted = _keys(gaps.missing.meters[in_gaps], gaps.missing.starts_us[in_gaps])
            filled[in_gaps] = told[key.get_indexer(wanted)]
        yield RegisterValues(column, values, filled, finding)


def _keys(meters: NDArray[np.int64], starts_us: NDArray[np.int64]) -> pd.Index:
    """Meter point and minute as one number: 2^32 minutes are 8,000 years."""
    keys: pd.Index = pd.Index((meters << 32) + starts_us // MINUTE_US)
    return keys
