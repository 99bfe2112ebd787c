"""Which meter showed a face, where readings say its serial number.

Faces of two meters have nothing to do with each other: their difference is no energy, whether it is
a fall or looks like an ordinary rise. So what lies between the last face of one and the first of
the other is unknown, unless somebody declared the exchange: the books with both faces
(`join_meters`, which gives both meters one serial), or readings that have a face of each for one
moment, from where the second goes on.

A face without a serial may be any meter's. Between faces of one meter it is that meter's; between
those of two nobody knows whose it is, and nothing is differenced there. Where no face has a serial,
nothing here concludes anything.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SERIAL: Final = "meter_serial"
"""The column of faces that says which meter showed them; empty where nothing does."""

UNDECLARED: Final = "undeclared-exchange"
"""The rule that says that another meter's face follows, and nobody declared the exchange."""

UNDECLARED_DETAIL: Final = (
    "the face of another meter follows, and nobody declared the exchange; the energy between the"
    " two meters' faces is not known"
)


def serials_of(faces: pd.DataFrame) -> NDArray[np.object_]:
    """The serial of each face; empty where it has none."""
    if SERIAL not in faces:
        return np.full(len(faces), "", dtype=object)
    # Batches of before serials were kept have no such column.
    return faces[SERIAL].fillna("").astype("str").to_numpy(object)


def number_serials(faces: pd.DataFrame) -> NDArray[np.int64]:
    """A number for the serial of each face; 0 where it has none."""
    if SERIAL not in faces:
        return np.zeros(len(faces), dtype=np.int64)
    serials = serials_of(faces)
    codes, _ = pd.factorize(serials)
    return np.where(serials == "", 0, codes + 1).astype(np.int64)


def split_moments(frame: pd.DataFrame) -> pd.Series[int]:
    """Whose faces of one moment are to be compared with each other: those of one number.

    Args:
        frame: `meter` (point), `start` and `serial`, as numbers.

    Returns:
        The serial at moments of which several meters have a face, and 0 at all others.
    """
    if not frame["serial"].any():
        return frame["serial"]
    key = [frame["meter"], frame["start"]]
    named = frame["serial"].where(frame["serial"] != 0)
    several = named.groupby(key).transform("nunique") > 1
    return frame["serial"].where(several, 0)


def order_exchanges(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of one moment in the order of their meters: the one that was taken out first.

    Two faces of a moment are those of an exchange if the one meter has no face after it, and the
    other none before. Anything else contradicts itself.

    Args:
        frame: Sorted, one row a meter point, moment and serial.

    Returns:
        The frame without rows that contradict each other, and those.
    """
    key = ["meter", "start"]
    again = frame.duplicated(key, keep=False)
    if not again.any():
        return frame, frame.iloc[:0]
    own = [frame["meter"], frame["serial"]]
    starts = frame["start"]
    is_last = again & (starts == starts.groupby(own).transform("max"))
    is_first = again & (starts == starts.groupby(own).transform("min"))
    moment = [frame["meter"], frame["start"]]
    ends, begins = is_last & ~is_first, is_first & ~is_last
    # A meter with a face of that moment alone is whichever of the two the other is not.
    lone = is_last & is_first
    others = ends.groupby(moment).transform("any"), begins.groupby(moment).transform("any")
    begins |= lone & others[0]
    ends |= lone & others[1] & ~others[0]
    counted = [one.groupby(moment).transform("sum") for one in (again, ends, begins)]
    fits = (counted[0] == 2) & (counted[1] == 1) & (counted[2] == 1)
    kept = frame[~again | fits].assign(turn=begins[~again | fits].astype(np.int64))
    kept = kept.sort_values([*key, "turn"], kind="stable").drop(columns="turn")
    return kept.reset_index(drop=True), frame[again & ~fits]


def find_exchanges(meters: NDArray[np.int64], serials: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Faces between which and the face before another meter was built in.

    Args:
        meters: Meter point of each, those of one together, in order of time.
        serials: As `number_serials` gives them.
    """
    if not serials.any():
        return np.zeros(len(serials), dtype=bool)
    named = pd.Series(serials).where(serials != 0)
    before = named.groupby(meters).ffill().groupby(meters).shift()
    after = named.groupby(meters).bfill()
    found: NDArray[np.bool_] = (before.notna() & after.notna() & (before != after)).to_numpy(bool)
    return found
