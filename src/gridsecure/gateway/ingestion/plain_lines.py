"""Small bodies of the plainest form, read without the questions that other forms raise.

Most of what a table of some lines costs is asking what it is: its separator, its numbers' style,
its times, its totals. A body of exactly the long layout, with a time and its offset and a decimal
number on every line, leaves nothing of that open. It is read here as `formats.read_readings` reads
it, in a twentieth of the time; any other body, and every body with a fault, is left to that.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.interval_lengths import interval_minutes
from gridsecure.billing.readings import MINUTES_COLUMN, moment_us
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.value_kinds import refuse_cumulative
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


def read_plain_lines(data: bytes, source: Source) -> pd.DataFrame | None:
    """The readings of a body, or None if it is not of the plainest form.

    Args:
        data: The body without compression.
        source: One that declared that its stamps are starts, and neither zone nor formats; of
            others, nothing is read here.

    Raises:
        InvalidReadingsError: As `formats.read_readings` (`readings.cumulative`,
            `readings.interval`).
    """
    # What a source declared of zone and formats is held against its bodies by the other reader.
    is_open = source.stamps == "start" and not source.declares_zone and not source.formats
    if (
        len(data) > MOST_BYTES
        or not is_open
        or not data.startswith(_HEADER)
        or not _LINES.fullmatch(data, len(_HEADER))
    ):
        return None
    cells = data[len(_HEADER) : -1].decode("ascii").replace("\n", ",").split(",")
    moments = {text: _moment_us(text) for text in cells[1::_FIELDS]}
    if None in moments.values():
        return None
    starts = np.array([moments[text] for text in cells[1::_FIELDS]], dtype="datetime64[us]")
    readings = pd.DataFrame(
        {
            "meter_point_id": cells[::_FIELDS],
            "start": pd.DatetimeIndex(starts, tz="UTC").tz_convert(source.timezone),
            "energy_wh": np.array([_wh(text) for text in cells[2::_FIELDS]], dtype=np.int64),
            "quality": "actual",
        }
    )
    refuse_cumulative(readings)
    readings[MINUTES_COLUMN] = interval_minutes(readings, known=source.interval)
    return readings


@lru_cache(maxsize=1 << 14)  # all sources write the same few times
def _moment_us(text: str) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment_us(moment) if is_in_years(moment) else None


def _wh(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 1000 + int(f"{part:0<3}")
