"""Cumulative register faces to energy per interval.

Between two good faces of one register the energy is known, whatever is missing between them: it is
their difference, and a meter point's energy over a file is its last face minus its first. Where
faces in between are missing, the difference is spread over their intervals in the ratio of the
meter point's own mean for each time of day; the parts add up to it exactly and are `estimated`,
because only their place is.

A face that does not fit is passed over and named, never differenced: a zero, or a face far out of
line, between two faces that fit each other; two faces of one moment that disagree; a face beside
the meter's own grid of times. A register starts again at zero when its digits are used up: a fall
from the last to the first hundredth of a power of ten is a rollover if the energy it implies is
ordinary for the meter point. Any other fall that cannot be energy is another meter, and so is an
absurd rise: what was used between its two faces is unknown and left missing. A fall that could be
energy fed in stays negative, so that the meter point is named and not billed.

Where faces say which meter showed them, those of two meters are never differenced
(`meter_serials`): each meter's faces are gone through by themselves.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import UNKNOWN_MINUTES, interval_minutes
from gridsecure.billing.meter_serials import (
    SERIAL,
    UNDECLARED,
    UNDECLARED_DETAIL,
    find_exchanges,
    number_serials,
    order_exchanges,
    split_moments,
)
from gridsecure.billing.readings import (
    DAY_MINUTES,
    INTERVAL_MINUTES,
    MINUTE_US,
    ReadingProblem,
    check_readings,
    make_readings,
    neighbour_steps,
    start_us,
)

REGISTER: Final = "register"
"""The column of faces that says which register shows them: `TAKEN`, `FED_IN` or `REACTIVE`."""

TAKEN: Final = "import"
FED_IN: Final = "export"
REACTIVE: Final = "reactive"

GAP: Final = "register-gap"
"""The rule that says that faces are missing between two."""

EXCHANGE: Final = "register-exchange"
"""The rule that says that another register goes on."""

_SMALLEST_REGISTER_WH: Final = 10**6  # three digits before the point
_PLAUSIBLE_PART: Final = 100
_HOUR_US: Final = 60 * MINUTE_US
_DAY_US: Final = 24 * _HOUR_US
_LONGEST_GAP_US: Final = 366 * _DAY_US

# Ordinary is up to 10 times what 95 of 100 differences stay below, or 10 kW; absurd is above
# 1,000 times and 100 kW. Between the two nothing is concluded from size.
_ORDINARY_FACTOR, _ORDINARY_W = 10, 10_000
_ABSURD_FACTOR, _ABSURD_W = 1_000, 100_000
_FIRST_ZERO_FACTOR: Final = 30


@dataclass(frozen=True, slots=True)
class RegisterResult:
    """Energies from register faces.

    Attributes:
        readings: A readings frame with `minutes`; an interval starts at its earlier face.
        problems: What was passed over, spread or concluded, each with meter point and time.
    """

    readings: pd.DataFrame
    problems: tuple[ReadingProblem, ...]


def registers_to_readings(
    faces: pd.DataFrame, *, known: pd.Timedelta | None = None
) -> RegisterResult:
    """Difference neighbouring register faces of each meter point.

    Args:
        faces: A readings frame whose `start` is the moment of reading and whose `energy_wh` is the
            register's face [Wh]. Missing faces are passed over. `SERIAL` says which meter showed
            each, where that is known.
        known: Interval length of meter points that have too few faces to tell it.

    Returns:
        The intervals from each good face to the next; `actual` when both faces are and no face
        between them is missing. Nothing stands where the energy is unknown.

    Raises:
        InvalidReadingsError: `readings.interval` when no interval length can be told.
    """
    frame, found = _numbered(faces)
    frame["minutes"] = _lengths(faces, known)[frame.pop("row")]
    zone = pd.DatetimeIndex(faces["start"]).tz
    frame = _on_their_grid(_one_a_moment(frame, found), found)
    table = _spread(_fitting(frame, found), found)
    starts = pd.DatetimeIndex(table["start"].to_numpy().view("datetime64[us]")).tz_localize("UTC")
    readings = make_readings(
        pd.Series(found.names.take(table["meter"].to_numpy()), dtype="str"),
        start=starts.tz_convert(zone),
        energy_wh=table["energy_wh"].to_numpy(np.int64),
        quality=np.where(table["rank"] == 0, "actual", "estimated"),
        minutes=table["minutes"].to_numpy(np.int64),
    )
    return RegisterResult(readings, found.told(zone))


def register_totals(faces: pd.DataFrame) -> RegisterResult:
    """Energy from each good face to the next, however far apart they are.

    Args:
        faces: As for `registers_to_readings`.

    Returns:
        Readings without `minutes` and with `end`, the moment of the later face. Nothing stands
        where the energy is unknown.
    """
    frame, found = _numbered(faces)
    frame = _fitting(_one_a_moment(frame.drop(columns="row"), found), found)
    zone = pd.DatetimeIndex(faces["start"]).tz
    moments = pd.DatetimeIndex(frame["start"].to_numpy().view("datetime64[us]")).tz_localize("UTC")
    (rows,) = np.nonzero(~frame["unknown"].to_numpy())
    readings = make_readings(
        pd.Series(found.names.take(frame["meter"].to_numpy()[rows]), dtype="str"),
        start=moments[rows - 1].tz_convert(zone),
        energy_wh=frame["gain_wh"].to_numpy(np.int64)[rows],
    )
    return RegisterResult(readings.assign(end=moments[rows].tz_convert(zone)), found.told(zone))


def _numbered(faces: pd.DataFrame) -> tuple[pd.DataFrame, _Found]:
    """The faces that are given, with numbers for meter points, and where each stood."""
    check_readings(faces.drop(columns=SERIAL, errors="ignore"))
    (row,) = np.nonzero(faces["quality"].to_numpy() != "missing")
    codes, names = pd.factorize(faces["meter_point_id"], sort=True)
    starts = pd.DatetimeIndex(faces["start"])
    frame = pd.DataFrame(
        {
            "meter": codes[row],
            "start": start_us(faces)[row],
            "face_wh": faces["energy_wh"].to_numpy(np.int64)[row],
            "rank": np.where(faces["quality"].to_numpy() == "actual", 0, 1)[row],
            "local": starts.tz_localize(None).as_unit("us").asi8[row],
            "serial": number_serials(faces)[row],
            "row": row,
        }
    )
    return frame, _Found(names=np.asarray(names, dtype=object))


def read_at_midnights(faces: pd.DataFrame) -> frozenset[str]:
    """Meter points whose faces all stand at midnights.

    Args:
        faces: As `registers_to_readings` takes them.
    """
    lengths = _lengths(faces, None)
    is_daily = pd.Series(lengths == DAY_MINUTES).groupby(
        faces["meter_point_id"].astype("str").to_numpy()
    )
    every = is_daily.all()
    return frozenset(every.index[every.to_numpy(bool)])


def _lengths(faces: pd.DataFrame, known: pd.Timedelta | None) -> NDArray[np.int64]:
    """The length of each face's interval [minutes].

    A meter point whose faces all stand at midnights is read daily, unless it was said how long its
    intervals are. Whatever else was lost in between, the energy of each day is known.
    """
    midnight = pd.DatetimeIndex(faces["start"]).tz_localize(None).as_unit("us").asi8 % _DAY_US == 0
    given = (faces["quality"] != "missing").to_numpy(bool)
    daily = pd.Series(midnight | ~given).groupby(faces["meter_point_id"].to_numpy(object))
    is_daily = daily.transform("all").to_numpy(bool)
    if not is_daily.any() or (known is not None and known):
        return interval_minutes(faces, known=known)
    minutes = np.full(len(faces), DAY_MINUTES, dtype=np.int64)
    if not is_daily.all():
        minutes[~is_daily] = interval_minutes(faces[~is_daily], known=known)
    return minutes


@dataclass(frozen=True, slots=True)
class _Found:
    """Problems as (meter number, start, rule, detail) while the faces are gone through."""

    names: NDArray[np.object_]
    problems: list[tuple[int, int, str, str]] = field(default_factory=list)

    def add(self, rows: pd.DataFrame, rule: str, detail: str) -> None:
        """One problem for each row."""
        self.problems.extend(
            (int(meter), int(start), rule, detail)
            for meter, start in zip(rows["meter"], rows["start"], strict=True)
        )

    def told(self, zone: dt.tzinfo | None) -> tuple[ReadingProblem, ...]:
        """The problems by meter point and time, in local time."""
        ordered = sorted(self.problems, key=lambda one: (self.names[one[0]], one[1], one[2]))
        return tuple(
            ReadingProblem(
                str(self.names[meter]),
                pd.Timestamp(start * 1000, tz="UTC").tz_convert(zone),
                rule,
                detail,
            )
            for meter, start, rule, detail in ordered
        )


def _one_a_moment(frame: pd.DataFrame, found: _Found) -> pd.DataFrame:
    """One face a moment, sorted; faces of equal quality that disagree are none.

    At the moment of an exchange stand the face of the old meter and then that of the new one.
    """
    order, steps = neighbour_steps(frame["meter"].to_numpy(), frame["start"].to_numpy())
    frame = frame.iloc[order].reset_index(drop=True)
    if not (steps == 0).any():
        return frame
    frame = frame.assign(part=split_moments(frame))
    moment, key = ["meter", "start"], ["meter", "start", "part"]
    # Where two meters have a face of a moment, one without a serial may be of either.
    known = frame.groupby(moment)["part"].transform("max") == 0
    frame = frame[known | (frame["part"] != 0)]
    frame = frame[frame["rank"] == frame.groupby(key)["rank"].transform("min")]
    clash = frame.groupby(key)["face_wh"].transform("nunique") > 1
    kept, contradicting = order_exchanges(frame[~clash].drop_duplicates(key).drop(columns="part"))
    detail = "faces of one moment disagree; none of them is used"
    clashing = pd.concat([frame[clash], contradicting]).drop_duplicates(moment)
    found.add(clashing, "face-conflict", detail)
    return kept.reset_index(drop=True)


def _on_their_grid(frame: pd.DataFrame, found: _Found) -> pd.DataFrame:
    """Without faces between the times at which the meter is usually read."""
    length_us = np.maximum(frame["minutes"].to_numpy() * MINUTE_US, 1)
    phase = frame["local"].to_numpy() % length_us
    grid = [frame["meter"], frame["minutes"]]
    if not phase.any():
        return frame
    usual = pd.Series(phase).groupby(grid).transform(lambda own: own.mode().iloc[0])
    off = (phase != usual.to_numpy()) & (frame["minutes"] != UNKNOWN_MINUTES).to_numpy()
    found.add(frame[off], "face-off-grid", "a face beside the meter's usual times is passed over")
    on_grid: pd.DataFrame = frame[~off].reset_index(drop=True)
    return on_grid


def _fitting(frame: pd.DataFrame, found: _Found) -> pd.DataFrame:
    """Keep the faces that fit, with `gain_wh`: energy from the face before, below zero as it is.

    `unknown` is true where the energy since the face before is not known: at the first face of a
    meter point, and at the first of another meter.
    """
    faces = frame["face_wh"].to_numpy()
    meters = frame["meter"].to_numpy()
    gains = np.diff(faces, prepend=0)
    exchanged = find_exchanges(meters, frame["serial"].to_numpy(np.int64))
    unknown = np.append(True, meters[1:] != meters[:-1])[: len(frame)] | exchanged
    runs = np.cumsum(unknown)
    hours = np.diff(frame["start"].to_numpy(), prepend=0) / _HOUR_US
    odd = ~unknown & ((gains < 0) | (gains > _ABSURD_W * hours))
    odd |= faces == 0
    keep = np.ones(len(frame), dtype=bool)
    for run in np.unique(runs[odd]):
        first, end = np.searchsorted(runs, [run, run + 1])
        starts, own = frame["start"].to_numpy()[first:end], faces[first:end]
        walked = _OneRegister(int(meters[first]), starts, own, _usual_w(starts, own)).walk(found)
        keep[first:end] = False
        for row, (gain, is_unknown) in walked.items():
            keep[first + row] = True
            gains[first + row], unknown[first + row] = gain, is_unknown
    _tell_exchanges(frame, np.flatnonzero(exchanged), found)
    return frame.assign(gain_wh=gains, unknown=unknown)[keep].reset_index(drop=True)


def _tell_exchanges(frame: pd.DataFrame, rows: NDArray[np.intp], found: _Found) -> None:
    """Name the times between faces of two meters whose exchange nobody declared."""
    begun, ended = (frame.iloc[row] for row in (rows - 1, rows))
    length = ended["start"].to_numpy() - begun["start"].to_numpy()
    # Both meters' faces of one moment are the declaration.
    found.add(begun[length > 0], UNDECLARED, UNDECLARED_DETAIL)
    # Its end too, so that a month which it reaches into from the one before is told of it.
    late = ended[length > _DAY_US]
    found.add(late.assign(start=late["start"] - MINUTE_US), UNDECLARED, UNDECLARED_DETAIL)


@dataclass(frozen=True, slots=True, eq=False)
class _OneRegister:
    """The faces of one register in order of time, gone through one by one."""

    meter: int
    starts: NDArray[np.int64]
    faces: NDArray[np.int64]
    usual_w: int

    def walk(self, found: _Found) -> dict[int, tuple[int, bool]]:
        """Row -> energy since the row kept before, and whether that is unknown; kept rows only."""
        faces = self.faces.tolist()
        first = self._first(faces, found)
        kept: dict[int, tuple[int, bool]] = {first: (0, True)}
        rows, row = [first], first + 1
        while row < len(faces):
            last = rows[-1]
            after = self._after_dip(faces, last, row)
            if faces[row] < faces[last] and after is not None:
                for passed in range(row, after):
                    self._pass_over(faces, passed, found)
                row = after
                continue
            if self._is_peak(faces, rows, row):
                # An absurd rise to it was taken for another register; now it is known not to be.
                found.problems[:] = [p for p in found.problems if p[1] != self.starts[last]]
                self._pass_over(faces, last, found)
                rows.pop()
                kept.pop(last)
                continue
            kept[row] = self._gain(faces, last, row, found)
            rows.append(row)
            row += 1
        return kept

    def _first(self, faces: list[int], found: _Found) -> int:
        """The first good row: zeros that stand before a register well under way are none."""
        begin = next((row for row, face in enumerate(faces) if face), 0)
        if begin == 0:
            return 0
        rise = faces[begin] * _HOUR_US
        hours_us = int(self.starts[begin] - self.starts[begin - 1])
        if rise <= max(_FIRST_ZERO_FACTOR * self.usual_w, _ORDINARY_W) * hours_us:
            return 0
        for row in range(begin):
            self._pass_over(faces, row, found)
        return begin

    def _after_dip(self, faces: list[int], last: int, row: int) -> int | None:
        """Where the register is back in line after zeros, or after one face far below."""
        end = row + 1
        if faces[row] == 0:
            end = next((later for later in range(row, len(faces)) if faces[later]), len(faces))
        elif self._ordinary(faces[last] - faces[row], last, row):
            return None  # it may have run backwards
        if end < len(faces) and faces[end] >= faces[last]:
            return end if self._ordinary(faces[end] - faces[last], last, end) else None
        return None

    def _is_peak(self, faces: list[int], rows: list[int], row: int) -> bool:
        """Whether the last kept face stood far above the faces before and after it."""
        if len(rows) < 2 or faces[row] >= faces[rows[-1]]:
            return False
        before, last = rows[-2], rows[-1]
        return (
            faces[row] >= faces[before]
            and self._ordinary(faces[row] - faces[before], before, row)
            and not self._ordinary(faces[last] - faces[before], before, last)
        )

    def _gain(self, faces: list[int], last: int, row: int, found: _Found) -> tuple[int, bool]:
        gain = faces[row] - faces[last]
        start = int(self.starts[row])
        if gain >= 0 and not self._absurd(gain, last, row):
            return gain, False
        if gain < 0:
            modulus = _SMALLEST_REGISTER_WH
            while modulus <= faces[last]:
                modulus *= 10
            edge = modulus // _PLAUSIBLE_PART
            at_edges = faces[last] >= modulus - edge and faces[row] < edge
            if at_edges and self._ordinary(gain + modulus, last, row):
                digits = len(str(modulus)) - 4
                detail = f"the register of {digits} digits started again from zero"
                found.problems.append((self.meter, start, "rollover", detail))
                return gain + modulus, False
            if faces[row] and self._ordinary(-gain, last, row):
                return gain, False
        detail = "another register goes on here; the energy since the face before is not known"
        found.problems.append((self.meter, start, EXCHANGE, detail))
        return 0, True

    def _pass_over(self, faces: list[int], row: int, found: _Found) -> None:
        rule = "face-out-of-line" if faces[row] else "zero-face"
        what = "a face far out of line" if faces[row] else "a face of zero"
        detail = f"{what} is passed over; the energy between the faces around it is known"
        found.problems.append((self.meter, int(self.starts[row]), rule, detail))

    def _ordinary(self, energy_wh: int, last: int, row: int) -> bool:
        return self._within(energy_wh, last, row, max(_ORDINARY_FACTOR * self.usual_w, _ORDINARY_W))

    def _absurd(self, energy_wh: int, last: int, row: int) -> bool:
        limit_w = max(_ABSURD_FACTOR * self.usual_w, _ABSURD_W)
        return not self._within(energy_wh, last, row, limit_w)

    def _within(self, energy_wh: int, last: int, row: int, limit_w: int) -> bool:
        return energy_wh * _HOUR_US <= limit_w * int(self.starts[row] - self.starts[last])


def _usual_w(starts: NDArray[np.int64], faces: NDArray[np.int64]) -> int:
    """What 95 of 100 differences stay below [W]; falls, and what surrounds them, left out."""
    gains = np.diff(faces)
    odd = (gains < 0) | (faces[:-1] == 0)
    odd[1:] |= gains[:-1] < 0
    odd[:-1] |= gains[1:] < 0
    if odd.all():
        return 0
    rates = gains[~odd] * (_HOUR_US // MINUTE_US) // (np.diff(starts)[~odd] // MINUTE_US)
    return int(np.sort(rates)[(len(rates) - 1) * 95 // 100])


def _spread(frame: pd.DataFrame, found: _Found) -> pd.DataFrame:
    """One row an interval: `meter`, `start`, `energy_wh`, `rank`, `minutes`."""
    steps = frame["start"].diff().fillna(0).to_numpy(np.int64)
    own = frame["minutes"].shift(fill_value=0).to_numpy(np.int64)
    known = ~frame["unknown"].to_numpy()
    whole = known & (steps == own * MINUTE_US)
    begun = frame["start"].shift(fill_value=0).to_numpy(np.int64)
    rank = np.maximum(frame["rank"].to_numpy(), frame["rank"].shift(fill_value=0).to_numpy())
    singles = pd.DataFrame(
        {
            "meter": frame["meter"].to_numpy(),
            "start": begun,
            "energy_wh": frame["gain_wh"].to_numpy(np.int64),
            "rank": rank,
            "minutes": own,
            "local": frame["local"].shift(fill_value=0).to_numpy(np.int64),
        }
    )[whole]
    parts = [singles.drop(columns="local")]
    weights = _weights(singles)
    for row in np.flatnonzero(known & ~whole):
        end = frame.iloc[row]
        before = frame.iloc[row - 1]
        parts.append(_gap(before, end, weights=weights, found=found))
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table.sort_values(by=["meter", "start"], ignore_index=True)


def _weights(singles: pd.DataFrame) -> dict[tuple[int, int, int], int]:
    """Mean energy by meter point, interval length and local time of day."""
    read = singles[singles["energy_wh"] >= 0]
    keys = [read["meter"], read["minutes"], read["local"] % _DAY_US // MINUTE_US]
    sums = read["energy_wh"].groupby(keys).agg(["sum", "size"])
    means: dict[Any, int] = (sums["sum"] // sums["size"]).to_dict()
    return means


def _gap(
    before: pd.Series[int],
    end: pd.Series[int],
    *,
    weights: dict[tuple[int, int, int], int],
    found: _Found,
) -> pd.DataFrame:
    """The intervals between two faces that are several intervals apart.

    Length: two outcomes, each with its frame written out.
    """
    meter, begun = int(before["meter"]), int(before["start"])
    length = int(end["start"]) - begun
    minutes = _dividing(int(before["minutes"]), int(end["minutes"]), length // MINUTE_US)
    if length > _LONGEST_GAP_US or minutes == UNKNOWN_MINUTES:
        detail = "the faces around it are too far apart, or not on one grid, to say when"
        found.problems.append((meter, begun, GAP, detail))
        return pd.DataFrame(
            {
                "meter": [meter],
                "start": [begun],
                "energy_wh": [int(end["gain_wh"])],
                "rank": [1],
                "minutes": [UNKNOWN_MINUTES],
            }
        )
    count = length // (minutes * MINUTE_US)
    offsets = np.arange(count, dtype=np.int64) * minutes
    of_day = (int(before["local"]) // MINUTE_US + offsets) % (_DAY_US // MINUTE_US)
    own = [weights.get((meter, minutes, int(minute)), 0) for minute in of_day]
    shares = own if sum(own) else [1] * int(count)
    energies = split_exactly(int(end["gain_wh"]), shares=shares)
    detail = (
        f"{count} intervals between two faces; their energy together is known, its place estimated"
    )
    found.problems.append((meter, begun, GAP, detail))
    return pd.DataFrame(
        {
            "meter": meter,
            "start": begun + offsets * MINUTE_US,
            "energy_wh": energies,
            "rank": 1,
            "minutes": minutes,
        }
    )


def _dividing(own: int, following: int, length: int) -> int:
    """The meter's interval length there, or what divides both of two; 0 when nothing does."""
    if own == UNKNOWN_MINUTES or length % own == 0:
        return own
    common = int(np.gcd.reduce([own, following, length]))
    return max((n for n in INTERVAL_MINUTES if common and common % n == 0), default=0)


def split_exactly(total: int, *, shares: list[int]) -> list[int]:
    """Divide an integer in the ratio of shares into integers that add up to it.

    >>> split_exactly(10, shares=[1, 1, 1])
    [3, 3, 4]
    """
    whole, edges, running = sum(shares), [0], 0
    for share in shares:
        running += share
        edges.append(total * running // whole)
    return [end - begin for begin, end in pairwise(edges)]
