"""Faces of registers that came in batches, as energies of a period.

A face means nothing by itself: it is differenced against the one before it, in whichever batch and
order the two came, and the period's first and last faces may lie beyond its edges. So the faces of
all batches are put together when a period is asked for: those near it, and for a meter point
without any there, the nearest one that lies further out.

Of several faces of one moment the one of the best quality counts, and of equals the one that came
last, as for energies; but a face of another meter, by its serial number, takes no other's place.
Faces that a ratio was applied to are a series of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN
from gridsecure.billing.meter_serials import number_serials, split_moments
from gridsecure.billing.readings import QUALITIES, ReadingProblem, join_readings
from gridsecure.billing.register_hours import PlacedRegisters
from gridsecure.billing.registers import REGISTER
from gridsecure.gateway.face_energies import MeterBooks, tell_energies
from gridsecure.gateway.ingestion.stored_readings import COUNTED, read_stored_faces
from gridsecure.periods import BillingPeriod

REACH: Final = timedelta(days=31)
"""How far beyond a period the face lies at most that its first or last energy begins or ends at."""

_NEAR: Final = timedelta(days=2)
_SERIES: Final = ["meter_point_id", REGISTER, COUNTED]


def read_faces(paths: Sequence[Path], *, period: BillingPeriod) -> pd.DataFrame:
    """The faces that tell of a period, one a moment unless one batch has several.

    Args:
        paths: Of batches that hold faces, in the order in which they came; at least one.

    Returns:
        Faces with `REGISTER` and `COUNTED`, and with `SERIAL` where a batch has it.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
    """
    around = BillingPeriod(period.start - REACH, period.end + REACH)
    parts = []
    for number, path in enumerate(paths):
        faces = read_stored_faces(path, period=around)
        faces = faces[faces["quality"] != "missing"]
        parts.append(_nearest(faces, period).assign(came=number))
    return _nearest(latest_faces(pd.concat(parts, ignore_index=True)), period).drop(columns="came")


def _nearest(faces: pd.DataFrame, period: BillingPeriod) -> pd.DataFrame:
    """Faces near a period, and of a series without any at an edge the nearest one beyond it."""
    starts = faces["start"]
    before, after = starts < period.start - _NEAR, starts > period.end + _NEAR
    parts = [
        faces[~(before | after)],
        _ends(faces[before], faces[~before & (starts <= period.start)], "max"),
        _ends(faces[after], faces[~after & (starts >= period.end)], "min"),
    ]
    return pd.concat(parts, ignore_index=True)


def _ends(
    beyond: pd.DataFrame, at_edge: pd.DataFrame, which: Literal["min", "max"]
) -> pd.DataFrame:
    """The last or the first faces beyond an edge, of series that have none at it."""
    known = pd.MultiIndex.from_frame(at_edge[_SERIES])
    lone = beyond[~pd.MultiIndex.from_frame(beyond[_SERIES]).isin(known)]
    return lone[lone["start"] == lone.groupby(_SERIES)["start"].transform(which)]


def latest_faces(faces: pd.DataFrame) -> pd.DataFrame:
    """Faces without those that a better or a later one of their moment replaces.

    Args:
        faces: With `REGISTER`, `COUNTED` and `came`, the order of the batches that they came in.
    """
    key = [*_SERIES, "start"]
    if not faces.duplicated(key).any():
        return faces
    own = [faces[name] for name in key]
    numbers = pd.DataFrame(
        {
            "meter": faces.groupby(_SERIES).ngroup(),
            "start": faces["start"],
            "serial": number_serials(faces),
        }
    )
    own.append(split_moments(numbers))
    rank = faces["quality"].map({name: number for number, name in enumerate(QUALITIES[::-1])})
    counts = rank * (faces["came"].max() + 1) + faces["came"]
    kept: pd.DataFrame = faces[counts == counts.groupby(own).transform("max")]
    return kept


def face_energies(
    faces: pd.DataFrame, *, period: BillingPeriod, books: MeterBooks
) -> PlacedRegisters:
    """Energies of a period, with what was concluded on the way.

    Args:
        faces: As `read_faces` gives them.

    Returns:
        A readings frame with `minutes`; problems of the period.
    """
    parts: list[pd.DataFrame] = []
    problems: list[ReadingProblem] = []
    placed: frozenset[str] = frozenset()
    for is_counted in (True, False):
        own = faces[faces[COUNTED] == is_counted].drop(columns=COUNTED)
        told = tell_energies(own, books=books, known=UNKNOWN)
        parts.append(books.multiply(told.readings) if is_counted else told.readings)
        problems += told.problems
        placed |= told.placed
    energies = join_readings([one for one in parts if len(one)] or parts[:1])
    inside = (energies["start"] >= period.start) & (energies["start"] < period.end)
    of_period = tuple(
        one for one in problems if one.start is not None and period.start <= one.start < period.end
    )
    return PlacedRegisters(energies[inside].reset_index(drop=True), of_period, placed)
