"""States of Home Assistant: what a register showed each time that it changed, as hourly faces.

A state holds until the next one, so the face of a full hour is the last state at or before it; that
is how Home Assistant itself makes its hourly statistics. A state that is no number (`unavailable`,
`unknown`) is a face that nobody knows, until the next one.

An export of more than some ten days has such statistics for its older part, stamped by the
beginning of the hour that they end, or by its end: it depends on the release. A run of states on
full hours is taken for that, and refused until somebody says which.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.format_cells import read_energy, refuse_lines
from gridsecure.gateway.meanings import Stamps
from gridsecure.gateway.table_text import check_reading_count
from gridsecure.month_texts import FIRST_YEAR, LAST_YEAR

_TIME: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d)"
_UNKNOWN: Final = ("unavailable", "unknown", "none", "")
_HOUR_US: Final = 3_600_000_000


def faces_of_states(table: pd.DataFrame, *, stamps: Stamps | None) -> pd.DataFrame:
    """A history as faces of full hours, each indexed by the line of its state.

    Args:
        table: Cells with `meter_point_id`, `state`, `last_changed` and `unit`.
        stamps: Whether states on full hours begin the hour that they end, or end it; None where
            nobody said.

    Returns:
        Cells with `meter_point_id`, `start`, `register_kwh` and `unit`, the register's face at
        `start`, sorted by meter point and time.

    Raises:
        InvalidReadingsError: `readings.energy`, `readings.timestamp`, or `readings.stamps`.
    """
    states = table["state"].str.strip()
    table = table.assign(state=states.mask(states.str.lower().isin(_UNKNOWN), ""))
    read_energy(table, ["state"])  # also of states that are not the last of their hour
    moments = _moments(table)
    on_hour = moments % _HOUR_US == 0
    codes, names = pd.factorize(table["meter_point_id"].str.strip(), sort=True)
    order = np.lexsort((moments, codes))
    meters, moments, on_hour = codes[order], moments[order], on_hour[order]
    run = on_hour[1:] & on_hour[:-1] & (meters[1:] == meters[:-1])
    is_statistic = np.append(run, False) | np.append(False, run)
    if stamps is None and _changes(table, order, run):
        raise InvalidReadingsError(
            "States stand on full hours, as Home Assistant writes its statistics in the older part"
            " of a history: by the beginning of the hour that they end, or by its end.",
            reason="readings.stamps",
            remedy="Say which: a source declares stamps as start or end, and for a file of its own"
            " `gridsecure bill` has --stamps; or export the long-term statistics.",
        )
    if stamps is Stamps.START:
        moments = moments + np.where(is_statistic, _HOUR_US, 0)
        again = np.lexsort((moments, meters))
        order, meters, moments = order[again], meters[again], moments[again]
    return _at_hours(table.iloc[order], meters, moments, names=np.asarray(names, dtype=object))


def _changes(table: pd.DataFrame, order: NDArray[np.intp], run: NDArray[np.bool_]) -> bool:
    """Whether states of a run differ; two alike tell the same wherever they stand."""
    states = table["state"].to_numpy(dtype=object)[order]
    return bool((states[1:][run] != states[:-1][run]).any())


def _moments(table: pd.DataFrame) -> NDArray[np.int64]:
    """When each state began [µs since 1970]."""
    texts = table["last_changed"].str.strip()
    good = texts.str.fullmatch(_TIME)
    read = pd.to_datetime(texts.where(good), format="ISO8601", utc=True, errors="coerce")
    wrong = np.flatnonzero(~read.dt.year.between(FIRST_YEAR, LAST_YEAR).to_numpy(bool))
    if len(wrong):
        raise refuse_lines(
            table,
            wrong,
            reason="readings.timestamp",
            rule="timestamp",
            detail="the time is not of the form 2026-07-01T00:00:00.000Z",
            remedy="Export the history as Home Assistant writes it.",
        )
    return pd.DatetimeIndex(read).as_unit("us").asi8


def _at_hours(
    table: pd.DataFrame,
    meters: NDArray[np.intp],
    moments: NDArray[np.int64],
    *,
    names: NDArray[np.object_],
) -> pd.DataFrame:
    """The last state at or before each full hour between a register's first state and its last."""
    firsts = np.flatnonzero(np.append(True, meters[1:] != meters[:-1]))
    lasts = np.append(firsts[1:], len(meters)) - 1
    begin = -(-moments[firsts] // _HOUR_US)
    counts = np.maximum(moments[lasts] // _HOUR_US - begin + 1, 0)
    check_reading_count(int(counts.sum()), packed=None)
    register = np.repeat(np.arange(len(firsts)), counts)
    place = np.arange(len(register)) - np.repeat(np.cumsum(counts) - counts, counts)
    hours = (begin[register] + place) * _HOUR_US
    rows = np.empty(len(hours), dtype=np.int64)
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        own = slice(*np.searchsorted(register, [number, number + 1]))
        found = np.searchsorted(moments[first : last + 1], hours[own], side="right")
        rows[own] = first + found - 1
    faces = table.iloc[rows]
    texts = pd.DatetimeIndex(hours.view("M8[us]")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return pd.DataFrame(
        {
            "meter_point_id": names[meters[firsts]][register],
            "start": np.asarray(texts, dtype=object),
            "register_kwh": faces["state"].to_numpy(object),
            "unit": faces["unit"].to_numpy(object),
        },
        index=faces.index,
        dtype="str",
    )
