"""Whether the readings of a large body rise like the faces of a register, asked of all at once.

A few numbers are kept of each meter point: how its values went so far, and where they ended. Pieces
that follow each other in time, or come latest first, are told as one table would be. Of pieces that
lie across each other in time, the steps within each are counted.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import neighbour_steps, register_columns, start_us
from gridsecure.gateway.value_kinds import RUN, refuse_rising_runs, runs_of

_NOTHING: Final = np.zeros(1, dtype=RUN)
_NOTHING["low"] = _NOTHING["first"] = np.iinfo(np.int64).max
_NOTHING["high"] = _NOTHING["last"] = np.iinfo(np.int64).min


class RisenValues:
    """What is kept of a body's readings until all of them came."""

    def __init__(self) -> None:
        """Begin with none."""
        self._codes: dict[str, int] = {}
        self._runs: dict[str, NDArray[np.void]] = {}

    def add(self, readings: pd.DataFrame) -> None:
        """Keep what the question needs of a readings frame."""
        own, names = pd.factorize(readings["meter_point_id"])
        known = [self._codes.setdefault(str(name), len(self._codes)) for name in names]
        codes = np.array(known, dtype=np.int64)
        order, _ = neighbour_steps(own.astype(np.int64), start_us(readings))
        starts, there = start_us(readings)[order], (readings["quality"] != "missing").to_numpy(bool)
        for name in ("energy_wh", *register_columns(readings)):
            energy = np.where(there, readings[name].to_numpy(np.int64), 0)[order]
            meters, runs = runs_of(own[order], starts, energy)
            kept = self._runs.get(name, _NOTHING[:0])
            kept = np.concatenate([kept, np.repeat(_NOTHING, len(self._codes) - len(kept))])
            kept[codes[meters]] = _joined(kept[codes[meters]], runs)
            self._runs[name] = kept

    def check(self) -> None:
        """Refuse energies that look like faces of a register.

        Raises:
            InvalidReadingsError: `readings.cumulative`, naming meter points.
        """
        for runs in self._runs.values():
            refuse_rising_runs(np.arange(len(runs)), runs, names=list(self._codes))


def _joined(kept: NDArray[np.void], more: NDArray[np.void]) -> NDArray[np.void]:
    """Runs of the same meter points as one each."""
    both = np.zeros(len(kept), dtype=RUN)
    begins, ends = more["first"] < kept["first"], more["last"] >= kept["last"]
    follows, precedes = more["first"] >= kept["last"], more["last"] < kept["first"]
    before = np.where(precedes, more["closing"], kept["closing"])
    after = np.where(precedes, kept["opening"], more["opening"])
    is_step = (follows | precedes) & (kept["first"] <= kept["last"])
    step = is_step * np.sign(after - before)
    both["rises"] = kept["rises"] + more["rises"] + (step > 0)
    both["falls"] = kept["falls"] + more["falls"] + (step < 0)
    both["low"] = np.minimum(kept["low"], more["low"])
    both["high"] = np.maximum(kept["high"], more["high"])
    both["first"] = np.minimum(kept["first"], more["first"])
    both["last"] = np.maximum(kept["last"], more["last"])
    both["opening"] = np.where(begins, more["opening"], kept["opening"])
    both["closing"] = np.where(ends, more["closing"], kept["closing"])
    return both
