"""What the books say of a month: who is billed, for which days, under which contract.

A reading belongs to whoever holds the meter point on its day. So readings are named by holder
before anything else looks at them: who moves in on the 15th has the readings from then on, and who
moved out has those before. What nobody held stays under the meter point's own id and is nobody's.

What a register counted becomes energy by the multiplier of its day. Where the books have both
faces of an exchange, the new meter's faces go on from the old one's last, so that what was used
before and after it is the difference of each meter's own faces. Where readings say which meter a
face is of, that has to fit: books declare the exchange of the meters that change on its day, and of
no others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.meter_serials import SERIAL, serials_of
from gridsecure.billing.readings import NO_REGISTER, register_columns
from gridsecure.billing.register_hours import Span
from gridsecure.periods import BillingPeriod

Days = tuple[date, date]
"""The first day, and the day after the last one."""

Window = tuple[datetime, datetime]
"""Two moments, the later one exclusive."""


@dataclass(frozen=True, slots=True)
class HeldDays:
    """The days of a period that its holders are billed for.

    Args:
        parts: Those who have some of it -> their time; all others have the whole.
    """

    period: BillingPeriod
    parts: Mapping[str, Window]

    def within(self, holder: str, days: tuple[str, str]) -> bool:
        """Whether a holder's days are among others.

        Args:
            days: First day and day after the last one, ISO 8601; empty where there is none.
        """
        start, end = self.parts.get(holder, (self.period.start, self.period.end))
        first, after = days
        begins = start.date().isoformat() >= first
        return begins and (not after or end.date().isoformat() <= after)


CHANGED: Final = "books.changed"
TWICE: Final = "books.twice"


@dataclass(frozen=True, slots=True)
class Holding:
    """Days of a month that a holder has a meter point."""

    holder: str
    meter_point_id: str
    days: Days


@dataclass(frozen=True, slots=True)
class MeterDays:
    """A meter at a meter point.

    Args:
        days: The days that it is there.
        multiplier: Energy is what its register counts, times this.
        first_face_wh: What it showed as it was built in [Wh]; below zero if nobody stated it.
        final_face_wh: What it showed as it was taken out, likewise.
        register_hours: Which hours its registers count; empty if nobody stated it.
    """

    meter_point_id: str
    days: Days
    multiplier: int
    first_face_wh: int
    final_face_wh: int
    register_hours: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class MonthContracts:
    """The books of a month.

    Args:
        contracts: A contract frame, by holder.
        moved: Who holds a meter point for a part of the month, or under another name than its own.
        meters: Meters with a multiplier or register hours, and those before and after an exchange
            in the month; by meter point and day.
        objections: Holder -> why the books let no bill be, of `admission.REASONS`.
        withdrawn: Contract rows of those who have a bill of the month and hold nothing in it by
            corrected books, by holder; they are billed for nothing.
    """

    contracts: pd.DataFrame
    moved: tuple[Holding, ...] = ()
    meters: tuple[MeterDays, ...] = ()
    objections: Mapping[str, str] = field(default_factory=dict)
    withdrawn: pd.DataFrame = field(default_factory=lambda: default_contracts([]))

    def parts(self, period: BillingPeriod) -> dict[str, Window]:
        """The time of each holder that has some of the month, or of a day in it, and not all."""
        zone, whole = period.start.tzinfo, (period.start, period.end)
        found = {}
        for one in self.moved:
            start, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in one.days)
            own = (max(start, period.start), min(end, period.end))
            if own != whole and own[0] < own[1] and one.holder not in self.objections:
                found[one.holder] = own
        return found

    def corrected_by(
        self,
        newer: MonthContracts,
        *,
        without: Collection[str],
        billed: Collection[str],
        first: date,
    ) -> MonthContracts:
        """The books of a billed month as newer books correct them.

        Args:
            without: Holders of whose meter points nothing is corrected.
            billed: Holders that have a bill of the month.
            first: The month's first day.
        """
        places = {one.holder: one.meter_point_id for one in (*self.moved, *newer.moved)}
        kept = {places.get(name, name) for name in without}

        def is_kept(rows: pd.DataFrame) -> pd.Series[bool]:
            points = [places.get(name, name) for name in rows["meter_point_id"]]
            return pd.Series(points, rows.index, dtype=object).isin(kept)

        contracts = pd.concat(
            [self.contracts[is_kept(self.contracts)], newer.contracts[~is_kept(newer.contracts)]]
        ).sort_values("meter_point_id", ignore_index=True)
        known = pd.concat([self.contracts, self.withdrawn], ignore_index=True)
        gone = known[
            known["meter_point_id"].isin(billed)
            & ~known["meter_point_id"].isin(contracts["meter_point_id"])
        ]
        moved = _of_either(self.moved, newer.moved, kept)
        stated = {one.holder for one in moved}
        moved += [
            Holding(name, places.get(name, name), (first, first))
            for name in gone["meter_point_id"]
            if name not in stated
        ]
        meters = _of_either(self.meters, newer.meters, kept)
        objections = {n: r for n, r in self.objections.items() if places.get(n, n) in kept}
        objections |= {n: r for n, r in newer.objections.items() if places.get(n, n) not in kept}
        return MonthContracts(
            contracts,
            tuple(sorted(moved, key=lambda one: (one.holder, one.days))),
            tuple(sorted(meters, key=lambda one: (one.meter_point_id, one.days))),
            objections,
            gone.reset_index(drop=True),
        )

    def held(self, period: BillingPeriod) -> HeldDays:
        """The days that holders are billed for, of a month or of a day in it."""
        return HeldDays(period, self.parts(period))

    def name_holders(self, readings: pd.DataFrame, *, timezone: str) -> pd.DataFrame:
        """Readings under the names of who held their meter points then.

        Args:
            readings: A readings frame, by meter point.
            timezone: Local time of days.
        """
        affected, before, local = _affected(readings, {m.meter_point_id for m in self.moved})
        if not len(affected):
            return readings
        after, local = before.copy(), local.tz_convert(timezone).tz_localize(None)
        for one in self.moved:
            after[_within(one.days, one.meter_point_id, before, local)] = one.holder
        names = readings["meter_point_id"].astype(str).to_numpy(object)
        names[affected] = after
        return readings.assign(meter_point_id=pd.Categorical(names))

    def multiply(self, readings: pd.DataFrame, *, timezone: str) -> pd.DataFrame:
        """Energies of what registers counted, by the multipliers of their days.

        Args:
            readings: A readings frame, by meter point, of what registers counted.
            timezone: Local time of days.
        """
        counted = [one for one in self.meters if one.multiplier != 1]
        affected, names, local = _affected(readings, {m.meter_point_id for m in counted})
        if not len(affected):
            return readings
        local = local.tz_convert(timezone).tz_localize(None)
        factors = np.ones(len(readings), dtype=np.int64)
        for one in counted:
            own = _within(one.days, one.meter_point_id, names, local)
            factors[affected[own]] = one.multiplier
        columns = ("energy_wh", *register_columns(readings))
        told = {name: readings[name].to_numpy(np.int64) for name in columns}
        none = dict.fromkeys(register_columns(readings), NO_REGISTER)
        return readings.assign(
            **{
                name: np.where(values == none.get(name), values, values * factors)
                for name, values in told.items()
            }
        )

    def hours_of(self, names: pd.Series[str], days: pd.DatetimeIndex) -> NDArray[np.object_]:
        """The register hours of meter points on days; empty where nobody stated them.

        Args:
            days: Local days, aware.
        """
        own, local = names.astype(str).to_numpy(object), days.tz_localize(None)
        hours = np.full(len(own), "", dtype=object)
        for one in self.meters:
            if one.register_hours:
                hours[_within(one.days, one.meter_point_id, own, local)] = one.register_hours
        return hours

    def spans_of(self, meter_points: Collection[str]) -> dict[str, tuple[Span, ...]]:
        """The register hours of meter points, by who holds them.

        Args:
            meter_points: Those of which energies of registers count.
        """
        spans: dict[str, tuple[Span, ...]] = {}
        for one in self.meters:
            if one.register_hours and one.meter_point_id in meter_points:
                own = (*one.days, one.register_hours)
                spans[one.meter_point_id] = (*spans.get(one.meter_point_id, ()), own)
        holders = {one.holder: one.meter_point_id for one in self.moved}
        known = {holder: spans[name] for holder, name in holders.items() if name in spans}
        return spans | known

    def join_meters(self, faces: pd.DataFrame, *, timezone: str) -> pd.DataFrame:
        """Faces as one register would show them that goes on where meters were exchanged.

        The exchange is at the beginning of its day. A face of that moment is the old meter's where
        it shows the final face, and one of that day where it has the old meter's serial.

        Args:
            faces: A readings frame whose `start` is the moment and `energy_wh` the face [Wh], with
                `SERIAL` where that is known.
            timezone: Local time of days.

        Returns:
            The same faces. Both meters of an exchange that was declared have one serial. Where no
            serials are read, faces of its day that may be either meter's are left out.
        """
        affected, names, local = _affected(faces, {m.meter_point_id for m in self.meters})
        if not len(affected):
            return faces
        shown = faces["energy_wh"].to_numpy(np.int64).copy()
        serials = serials_of(faces)
        own = _OwnFaces(
            names=names,
            local=local.tz_convert(timezone).tz_localize(None),
            read=shown[affected].copy(),
            given=(faces["quality"] != "missing").to_numpy(bool)[affected],
            named=serials[affected],
            joined=serials[affected].copy(),
            unclear=np.zeros(len(affected), dtype=bool),
        )
        after: NDArray[np.bool_] | None = None
        known = None
        for old, new in pairwise(self.meters):
            if (old.meter_point_id, old.days[1]) != (new.meter_point_id, new.days[0]):
                continue
            if min(old.final_face_wh, new.first_face_wh) < 0:
                continue
            after = own.divide(old, new, since=after if known is old else None)
            known = new
            shown[affected[after]] += old.final_face_wh - new.first_face_wh
        kept = faces.assign(energy_wh=shown)
        if own.joined.any():
            serials[affected] = own.joined
            kept = kept.assign(**{SERIAL: serials})
        return kept.drop(index=kept.index[affected[own.unclear]])


@dataclass(frozen=True, slots=True, eq=False)
class _OwnFaces:
    """Faces of meter points of which meters are known.

    Args:
        names: Meter points.
        local: Their local times, naive.
        read: What they show [Wh].
        given: Which of them were read.
        named: Their serials; what was read is compared, however many exchanges there are.
        joined: Their serials as one register would have them, which are changed here.
        unclear: Those that may be either meter's, likewise.
    """

    names: NDArray[np.object_]
    local: pd.DatetimeIndex
    read: NDArray[np.int64]
    given: NDArray[np.bool_]
    named: NDArray[np.object_]
    joined: NDArray[np.object_]
    unclear: NDArray[np.bool_]

    def divide(
        self, old: MeterDays, new: MeterDays, *, since: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_]:
        """Which faces are the new meter's, or those of meters after it.

        Args:
            since: The old meter's faces and those of meters after it; None for all.
        """
        own = self.names == new.meter_point_id
        at = pd.Timestamp(new.days[0])
        after: NDArray[np.bool_] = own & (self.local >= at)
        after &= ~((self.local == at) & (self.read == old.final_face_wh))
        if (own & (self.named != "")).any():
            serials = (self.named, self.joined)
            return _join_serials(serials, self.local, own=own, after=after, day=new.days)
        of_old = own if since is None else since
        rows = np.flatnonzero(of_old & self.given & ~self.unclear)
        day = _divide_day((self.read[rows], self.local[rows]), old, new)
        after &= of_old
        after[rows[day.olds]] = False
        self.unclear[rows[day.neither]] = True
        if day.contradicts:
            self.joined[own & (self.joined == "")] = f"before {new.days[0]}"
            self.joined[after] = f"from {new.days[0]}"
        return after


@dataclass(frozen=True, slots=True)
class _DividedDay:
    """Whose the faces of an exchange's day are.

    Args:
        olds: Rows of the old meter.
        neither: Rows that may be either meter's.
        contradicts: Whether no division of the day fits the faces that the books have.
    """

    olds: NDArray[np.intp]
    neither: NDArray[np.intp]
    contradicts: bool


def _divide_day(
    faces: tuple[NDArray[np.int64], pd.DatetimeIndex], old: MeterDays, new: MeterDays
) -> _DividedDay:
    """Tell apart the faces of an exchange's day of which only what they show says whose they are.

    Until its hour the faces rise from the old meter's last one to its final face, and from then on
    they rise from the new meter's first one. Energy is told between faces that every division of
    the day that fits gives to one meter; what lies between those is known as a sum.

    Args:
        faces: What the meter point's faces show [Wh], and their local times.
    """
    read, local = faces
    at, end = pd.Timestamp(new.days[0]), pd.Timestamp(new.days[0]) + pd.Timedelta(days=1)
    # The final face stands before the first one where both are of one moment.
    order = np.lexsort((read != old.final_face_wh, local.asi8))
    rows = order[(local[order] >= at) & (local[order] < end)]
    ahead = order[(local[order] < at) & (local[order] >= pd.Timestamp(old.days[0]))]
    behind = order[(local[order] >= end) & (local[order] < pd.Timestamp(new.days[1]))]
    lowest = read[ahead[-1:]].tolist() or [max(old.first_face_wh, 0)]
    following = read[behind[:1]].tolist() or [v for v in (new.final_face_wh,) if v >= 0]
    shown = read[rows].tolist()
    fits = [
        _rises([*lowest, *shown[:count], old.final_face_wh])
        and _rises([new.first_face_wh, *shown[count:], *following])
        for count in range(len(shown) + 1)
    ]
    if not any(fits):
        return _DividedDay(rows[:0], rows, contradicts=True)
    (counts,) = np.nonzero(np.array(fits))
    return _DividedDay(rows[: counts[0]], rows[counts[0] : counts[-1]], contradicts=False)


def _rises(faces: Sequence[int]) -> bool:
    return all(one <= following for one, following in pairwise(faces))


def _join_serials(
    serials: tuple[NDArray[np.object_], NDArray[np.object_]],
    local: pd.DatetimeIndex,
    *,
    own: NDArray[np.bool_],
    after: NDArray[np.bool_],
    day: Days,
) -> NDArray[np.bool_]:
    """Give the new meter of a declared exchange the old one's serial.

    Where the meter does not change with the exchange, but on another day, books and readings
    contradict each other. Then the old meter's faces have another serial from the exchange on, so
    that nothing is differenced at either time and somebody is told. Where no face of the meter
    point has another serial, nothing says that the readings are right and the books wrong.

    Args:
        serials: Of each face the one that was read, and the one of all its meters, which is changed
            here.
        own: Faces of the meter point.
        after: Those that the books say are the new meter's.
        day: The days that the new meter is there.

    Returns:
        `after`, without faces of the exchange's day that are the old meter's.
    """
    (read, joined), one_day = serials, pd.Timedelta(days=1)
    at, end = pd.Timestamp(day[0]), pd.Timestamp(day[1])
    named = own & (read != "")
    before, later = named & ~after & (local < at), named & after & (local < end)
    if not before.any():
        return after
    last = local[before].argmax()
    old, known = read[before][last], joined[before][last]
    others = later & (read != old)
    if others.any():
        still = later & (read == old) & (local <= at + one_day)
        if still.any():  # what has no serial, and one of the old meter's after it, is its, too
            still |= own & (read == "") & after & (local <= local[still].max())
        after, later = after & ~still, later & ~still
    if not later.any():
        return after
    new = read[later][local[later].argmin()]
    # Also on the day of the next exchange, of which the hour is not known.
    its = named & after & (read == new) & (local - one_day <= end)
    if new != old:
        joined[its] = known
    elif (named & (read != old)).any():
        joined[its] = f"{old} from {day[0]}"
    return after


Dated = TypeVar("Dated", Holding, MeterDays)


def _of_either(
    known: Sequence[Dated], newer: Sequence[Dated], kept: Collection[str]
) -> list[Dated]:
    """What is known of some meter points, and what is newer of all others."""
    own = [one for one in known if one.meter_point_id in kept]
    own.extend(one for one in newer if one.meter_point_id not in kept)
    return own


def _affected(
    readings: pd.DataFrame, names: Collection[str]
) -> tuple[NDArray[np.intp], NDArray[np.object_], pd.DatetimeIndex]:
    """Rows of some meter points, their names and their moments."""
    rows = np.empty(0, dtype=np.intp)
    if names:
        (rows,) = np.nonzero(readings["meter_point_id"].isin(names).to_numpy(bool))
    part = readings.iloc[rows]
    own = part["meter_point_id"].astype(str).to_numpy(object)
    return rows, own, pd.DatetimeIndex(part["start"])


def _within(
    days: Days, meter_point_id: str, names: NDArray[np.object_], local: pd.DatetimeIndex
) -> NDArray[np.bool_]:
    first, end = (pd.Timestamp(day) for day in days)
    inside: NDArray[np.bool_] = (names == meter_point_id) & (local >= first) & (local < end)
    return inside


def no_contracts() -> MonthContracts:
    """The books of a month in which nobody holds anything."""
    return MonthContracts(default_contracts([]))
