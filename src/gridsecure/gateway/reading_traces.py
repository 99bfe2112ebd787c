"""Where each reading of a month came from, told while the month is read as it always is.

Every file, batch and edit is a piece. A piece notes the intervals that it has readings of, and its
readings carry its number through overlaying and naming. So afterwards it can be told of each piece
which of its readings were validated and which gave way to another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.gateway.formats import ReadingsFile

ORIGIN: Final = "origin"
"""The column with the number of the piece that a reading came in."""
CONCLUDED: Final = -1
"""The number of an energy that nobody sent: it lies between faces of registers."""

_KEY: Final = ["meter_point_id", "start"]


@dataclass(slots=True, eq=False)
class Piece:
    """What one file, batch or edit held.

    Args:
        keys: `meter_point_id` and `start` of its readings.
        aside: How many more it had that were not laid over others, by reason.
    """

    keys: pd.DataFrame
    aside: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class ReadingTrace:
    """The pieces of a month in the order in which they are read, and what came of them.

    Args:
        validated: `meter_point_id`, `start`, `quality` and `ORIGIN` of every reading that is
            validated, in the order in which it is; None before.
    """

    pieces: list[Piece] = field(default_factory=list)
    validated: pd.DataFrame | None = None

    def add(self, readings: pd.DataFrame, *, aside: Mapping[str, int]) -> pd.DataFrame:
        """Note a piece; its readings with its number."""
        self.pieces.append(Piece(readings[_KEY], aside))
        return readings.assign(**{ORIGIN: np.int32(len(self.pieces) - 1)})

    def finish(self, sources: Sequence[ReadingsFile]) -> list[ReadingsFile]:
        """Note what is validated, named by holder; the same without numbers."""
        columns = [*_KEY, "quality", ORIGIN]
        found = [one.readings.reindex(columns=columns) for one in sources]
        validated = pd.concat(found, ignore_index=True)
        origins = validated[ORIGIN].fillna(CONCLUDED).astype(np.int32)
        self.validated = validated.assign(**{ORIGIN: origins})
        bare = (one.readings.drop(columns=ORIGIN, errors="ignore") for one in sources)
        return [replace(one, readings=own) for one, own in zip(sources, bare, strict=True)]


@dataclass(frozen=True, slots=True)
class GivenWay:
    """What became of the readings of a piece that were not validated, or not once.

    Args:
        superseded: Another reading of the interval counts in their place.
        edited: The same, by an edit.
        lost: No reading of their interval is validated.
        twice: Readings that are validated more often than the piece holds them.
    """

    superseded: int
    edited: int
    lost: int
    twice: int


def compare_pieces(
    validated: pd.DataFrame, pieces: Sequence[pd.DataFrame], *, edits: Sequence[bool]
) -> list[GivenWay]:
    """Compare what each piece held with what is validated.

    Args:
        validated: As `ReadingTrace.validated`.
        pieces: `meter_point_id` and `start` of each, under the names of `validated`.
        edits: Whether each is an edit.
    """
    keys = _keys([validated, *pieces])
    origins = validated[ORIGIN].to_numpy()
    there = np.unique(keys[0])
    edited = np.unique(keys[0][np.isin(origins, np.flatnonzero(edits))])
    order = np.argsort(origins, kind="stable")
    bounds = np.searchsorted(origins[order], np.arange(len(pieces) + 1))
    return [
        _compare(own, keys[0][order[bounds[n] : bounds[n + 1]]], there=there, edited=edited)
        for n, own in enumerate(keys[1:])
    ]


def _compare(
    held: NDArray[np.int64],
    counted: NDArray[np.int64],
    *,
    there: NDArray[np.int64],
    edited: NDArray[np.int64],
) -> GivenWay:
    """What a piece held beside what is validated of it, interval by interval."""
    own, left = np.unique(held, return_counts=True)
    found, times = np.unique(counted, return_counts=True)
    known = np.isin(found, own)
    twice = int(times[~known].sum())
    left[np.searchsorted(own, found[known])] -= times[known]
    twice -= int(left[left < 0].sum())
    left = np.maximum(left, 0)
    is_there, by_edit = np.isin(own, there), np.isin(own, edited)
    return GivenWay(
        superseded=int(left[is_there & ~by_edit].sum()),
        edited=int(left[by_edit].sum()),
        lost=int(left[~is_there].sum()),
        twice=twice,
    )


def _keys(frames: Sequence[pd.DataFrame]) -> list[NDArray[np.int64]]:
    """One number for each meter point and moment, the same in all frames."""
    names = pd.concat([one["meter_point_id"].astype("str") for one in frames])
    starts = np.concatenate([pd.DatetimeIndex(one["start"]).as_unit("us").asi8 for one in frames])
    meters, _ = pd.factorize(names)
    moments, known = pd.factorize(starts)
    keys = meters.astype(np.int64) * len(known) + moments
    return np.split(keys, np.cumsum([len(one) for one in frames])[:-1])
