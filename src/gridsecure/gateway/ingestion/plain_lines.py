"""Small bodies of the plainest form, read without the questions that other forms raise.

Most of what a table of some lines costs is asking what it is: its separator, its numbers' style,
its times, its totals, and making a frame of it. A body of exactly the long layout, with a time and
its offset and a decimal number on every line, leaves nothing of that open. It is read here as
`formats.read_readings` reads it, in a hundredth of the time; any other body, and every body with a
fault, is left to that.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import tell_lengths
from gridsecure.billing.readings import moment_us
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion.batch_rules import ReadingColumns
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.meanings import Stamps
from gridsecure.gateway.value_kinds import WrittenTimes, refuse_rising
from gridsecure.month_texts import is_in_years

MOST_BYTES: Final = 64 << 10
"""Beyond, what a table costs is its readings, which are read many at once elsewhere."""

_HEADER: Final = b"meter_point_id,start,kwh\n"
_LINES: Final = re.compile(
    rb"(?:[A-Za-z0-9._:-]{1,64}"
    rb",[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
    rb",[0-9]{1,9}(?:\.[0-9]{1,3})?\n)+"
)
_FIELDS: Final = 3
_KNOWN: Final = 1 << 14
_ACTUAL: Final = ("actual",)


@dataclass(frozen=True, slots=True, eq=False)
class PlainReadings:
    """Readings of a plain body, all of them actual.

    Args:
        columns: What they are judged by.
        energy_wh: Of each [Wh].
    """

    columns: ReadingColumns
    energy_wh: NDArray[np.int64]


def read_plain_lines(data: bytes, source: Source) -> PlainReadings | None:
    """The readings of a body, or None if it is not of the plainest form.

    Args:
        data: The body without compression.
        source: One that declared that its stamps are starts, and neither zone nor formats; of
            others, nothing is read here.

    Raises:
        InvalidReadingsError: As `formats.read_readings` (`readings.cumulative`), or as
            `WrittenTimes`.
    """
    # What a source declared of zone and formats is held against its bodies by the other reader.
    is_open = source.stamps == "start" and not source.declares_zone and not source.formats
    is_open = is_open and source.unit in ("", "kWh")  # as the header says
    if (
        len(data) > MOST_BYTES
        or not is_open
        or not data.startswith(_HEADER)
        or not _LINES.fullmatch(data, len(_HEADER))
    ):
        return None
    cells = data[len(_HEADER) : -1].decode("ascii").replace("\n", ",").split(",")
    names, meters = _places(cells[::_FIELDS])
    times = _times(tuple(cells[1::_FIELDS]), meters, source.timezone, source.interval)
    if times is None:
        return None
    energy_wh = np.array([_wh(text) for text in cells[2::_FIELDS]], dtype=np.int64)
    refuse_rising([energy_wh], meters=times.meters, names=names, starts=times.starts)
    if times.contradicting is not None:
        times.contradicting.check()
    columns = ReadingColumns(
        names=names,
        meters=times.meters,
        flags=_ACTUAL,
        qualities=times.qualities,
        starts=times.starts,
        minutes=times.minutes,
    )
    return PlainReadings(columns, energy_wh)


def _places(ids: list[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The meter points of lines, each once, and which of them each line is of."""
    places: dict[str, int] = {}
    meters = tuple([places.setdefault(name, len(places)) for name in ids])
    return tuple(places), meters


@dataclass(frozen=True, slots=True, eq=False)
class _Times:
    """All of a body's readings that hangs on neither its energies nor its meter points' names.

    Args:
        meters: As `ReadingColumns` has them, and so the others. None of them is written to.
        contradicting: The times, where they contradict what the source declared.
    """

    meters: NDArray[np.int64]
    qualities: NDArray[np.int64]
    starts: NDArray[np.int64]
    minutes: NDArray[np.int64]
    contradicting: WrittenTimes | None


@lru_cache(maxsize=32)  # all sources write the same intervals of the same days
def _times(
    texts: tuple[str, ...], places: tuple[int, ...], timezone: str, known: pd.Timedelta
) -> _Times | None:
    """What lines say by their times, or None if one is no time.

    Args:
        places: The meter point of each line, numbered as they come.
        timezone: Of the source.
        known: Length of meter points that show none.
    """
    moments = [_moment_us(text) for text in texts]
    if None in moments:
        return None
    starts, meters = np.array(moments, dtype=np.int64), np.array(places, dtype=np.int64)

    def local() -> NDArray[np.int64]:
        zoned = pd.DatetimeIndex(starts.astype("datetime64[us]"), tz="UTC").tz_convert(timezone)
        return zoned.tz_localize(None).asi8

    minutes = tell_lengths(meters, starts, local=local, known=known)
    written = WrittenTimes(Stamps.START, timezone)
    written.add(starts, minutes)
    qualities = np.zeros(len(texts), dtype=np.int64)
    for shared in (meters, qualities, starts, minutes):
        shared.flags.writeable = False
    return _Times(meters, qualities, starts, minutes, None if _agrees(written) else written)


def _agrees(written: WrittenTimes) -> bool:
    try:
        written.check()
    except InvalidReadingsError:
        return False
    return True


@lru_cache(maxsize=_KNOWN)  # all sources write the same few times
def _moment_us(text: str) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment_us(moment) if is_in_years(moment) else None


@lru_cache(maxsize=_KNOWN)  # and few energies of an interval
def _wh(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 1000 + int(f"{part:0<3}")
