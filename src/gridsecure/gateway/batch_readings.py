"""Readings of a month's batches: energies as they were sent, and energies between faces.

Where both tell of one interval, the better quality counts, and of equals the energy that was sent:
it is what the sender says, and the difference is what we conclude. Faces whose times are others
than those of the intervals are compared with them (`check_files`), and conclude nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import UNKNOWN_MINUTES, find_starts_within
from gridsecure.billing.meter_serials import UNDECLARED
from gridsecure.billing.reading_versions import (
    UNFIT,
    find_misfits,
    find_uncovered,
    outranking_readings,
    overlay_readings,
)
from gridsecure.billing.readings import (
    DAY_MINUTES,
    MINUTE_US,
    MINUTES_COLUMN,
    QUALITIES,
    REGISTER_COLUMNS,
    ReadingProblem,
    join_readings,
    start_us,
)
from gridsecure.billing.register_hours import PlacedRegisters, put_back
from gridsecure.gateway.books.months import MonthContracts
from gridsecure.gateway.face_energies import MeterBooks
from gridsecure.gateway.ingestion.stored_faces import face_energies, read_faces
from gridsecure.gateway.ingestion.stored_readings import (
    Mark,
    best_readings,
    combine_batches,
    has_faces,
    load_parts,
    read_batches,
    unmarked,
)
from gridsecure.periods import BillingPeriod

LEFT_OUT: Final = "left-out"
"""The reason of late readings of a meter point whose bill stands as it was, because of others."""

_RANK: Final = {name: number for number, name in enumerate(QUALITIES[::-1])}


def meter_books(contracts: MonthContracts, *, timezone: str) -> MeterBooks:
    """What the books of a month say of registers."""
    return MeterBooks(
        partial(contracts.join_meters, timezone=timezone),
        partial(contracts.multiply, timezone=timezone),
        contracts.hours_of if any(one.register_hours for one in contracts.meters) else None,
    )


def read_month_batches(
    paths: Sequence[Path],
    *,
    period: BillingPeriod,
    books: MeterBooks,
    mark: Mark = unmarked,
    files: Sequence[pd.DataFrame] = (),
) -> PlacedRegisters:
    """The readings of a period that batches tell, one an interval, with `minutes`.

    Args:
        paths: At least one, in the order in which the batches came.
        files: Readings of files, beside which the batches count.

    Returns:
        The readings, and what was concluded from faces.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
        InvalidReadingsError: As `face_energies`.
    """
    sent, of_faces = _divided(paths)
    if not of_faces:
        return PlacedRegisters(read_batches(sent, period=period, mark=mark), (), frozenset())
    readings = read_batches(sent, period=period, mark=mark) if sent else None
    beside = [*files, *([] if readings is None else [readings])]
    told = _told(read_faces(of_faces, period=period), beside, period=period, books=books)
    if readings is None:
        return told
    return replace(told, readings=best_readings([told.readings, readings]))


@dataclass(frozen=True, slots=True)
class LateBatches:
    """Batches that came late.

    Args:
        paths: Batches that no version counts yet, in the order in which they came.
        earlier: Those that one does, likewise.
        without: Meter points of which none of `paths` counts.
    """

    paths: tuple[Path, ...]
    earlier: tuple[Path, ...] = ()
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A version of a month's readings.

    Args:
        readings: A readings frame.
        unfit: Late readings that do not fit the intervals of the others, and in whose time nothing
            came since that does.
        undeclared: Meter points whose faces were told again -> exchanges that nobody declared.
    """

    readings: pd.DataFrame
    unfit: pd.DataFrame
    undeclared: Mapping[str, tuple[ReadingProblem, ...]] = field(default_factory=dict)

    def tell(self, problems: Iterable[ReadingProblem]) -> tuple[ReadingProblem, ...]:
        """What was concluded before, with exchanges as they were told again."""
        stands = (
            one
            for one in problems
            if one.rule != UNDECLARED or one.meter_point_id not in self.undeclared
        )
        return (*stands, *chain.from_iterable(self.undeclared.values()))

    def lay(self, above: pd.DataFrame) -> Laid:
        """The version with later readings, which fit."""
        laid = overlay_readings(self.readings, later=above, keeps_registers=True)
        return Laid(laid, find_uncovered(self.unfit, laid=laid, above=above))


def overlay_batches(
    below: Laid,
    *,
    late: LateBatches,
    period: BillingPeriod,
    books: MeterBooks,
    placed: frozenset[str] = frozenset(),
    mark: Mark = unmarked,
) -> tuple[Laid, frozenset[str]]:
    """Lay what late batches tell over the readings of a version.

    What a batch says of a meter point in other intervals is left out, so that one sender cannot
    stop the corrections of all. A later face changes the energies on both of its sides. Only those
    that it changes are laid over the others, so that what a file or a person corrected stays where
    no face says otherwise.

    Args:
        placed: Meter points of which energies of registers are among the readings.

    Returns:
        The readings, and the meter points of which such energies are among them now.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
        InvalidReadingsError: As `face_energies`.
    """
    sent, of_faces = _divided(late.paths)
    sent_before, faces_before = _divided(late.earlier)
    sent_parts = load_parts(sent, period=period)
    changed = below.readings.iloc[:0]
    undeclared: dict[str, tuple[ReadingProblem, ...]] = {}
    if of_faces or (faces_before and books.hours_of is not None):
        parts = [read_faces(of_faces, period=period)] if of_faces else []
        if books.hours_of is not None:
            parts += sent_parts
        named = pd.concat([one["meter_point_id"].astype("str") for one in parts])
        names = named[~named.isin(late.without)].unique()
        after = _tell_again([*late.earlier, *late.paths], names, period=period, books=books)
        undeclared = _undeclared(after, names)
        before = PlacedRegisters(after.readings.iloc[:0], (), frozenset())
        if faces_before:
            before = _tell_again(late.earlier, names, period=period, books=books)
        below = replace(below, readings=_with_days(below.readings, before, after))
        placed = (placed - before.placed) | after.placed
        if of_faces:
            changed = _changed(*_of_totals_alone(before, after))
    if sent:
        if placed:
            own = read_batches(sent, period=period)
            below, placed = _beside(below, own[~own["meter_point_id"].isin(late.without)], placed)
        below = _lay_sent(below, sent_parts, without=late.without, mark=mark)
    if changed.empty:
        return replace(below, undeclared=undeclared), placed
    if all_sent := [*sent_before, *sent]:
        energies = read_batches(all_sent, period=period)
        changed = _without_sent(_without_intervals(changed, [energies]), energies)
    return replace(_lay_changed(below, changed), undeclared=undeclared), placed


def _undeclared(
    told: PlacedRegisters, names: NDArray[np.object_]
) -> dict[str, tuple[ReadingProblem, ...]]:
    """Exchanges of meters that nobody declared, of meter points whose faces were told again."""
    found: dict[str, tuple[ReadingProblem, ...]] = {str(name): () for name in names}
    for one in told.problems:
        if one.rule == UNDECLARED:
            found[one.meter_point_id] = (*found[one.meter_point_id], one)
    return found


def _beside(below: Laid, sent: pd.DataFrame, placed: frozenset[str]) -> tuple[Laid, frozenset[str]]:
    """A version with days for what registers tell of a day of which intervals were sent."""
    told = put_back(PlacedRegisters(below.readings, (), placed), [sent])
    return replace(below, readings=told.readings), told.placed


def _lay_changed(below: Laid, changed: pd.DataFrame) -> Laid:
    """Lay energies between faces over a version, where they fit."""
    told_again = outranking_readings(below.readings, later=changed[changed["quality"] != "missing"])
    unsaid = changed[changed["quality"] == "missing"]
    above = join_readings([told_again, unsaid])
    is_unfit = above["meter_point_id"].isin(find_misfits(below.readings, later=above))
    below = below.lay(above[~is_unfit].reset_index(drop=True))
    return replace(below, unfit=_joined(below.unfit, above[is_unfit]))


def _told(
    faces: pd.DataFrame,
    sent: Sequence[pd.DataFrame],
    *,
    period: BillingPeriod,
    books: MeterBooks,
) -> PlacedRegisters:
    """What faces tell beside energies that were sent."""
    told = put_back(face_energies(faces, period=period, books=books), sent)
    return replace(told, readings=_without_intervals(told.readings, sent))


def _tell_again(
    paths: Sequence[Path], names: NDArray[np.object_], *, period: BillingPeriod, books: MeterBooks
) -> PlacedRegisters:
    """What the faces of some meter points in batches tell."""
    sent, of_faces = _divided(paths)
    faces = read_faces(of_faces, period=period)
    # Beside other faces, what was sent is looked at afterwards, and once.
    is_asked = bool(sent) and books.hours_of is not None
    beside = [read_batches(sent, period=period)] if is_asked else []
    own = faces[faces["meter_point_id"].isin(names)]
    return _told(own, beside, period=period, books=books)


def _with_days(
    readings: pd.DataFrame, before: PlacedRegisters, after: PlacedRegisters
) -> pd.DataFrame:
    """Readings with the days of registers as all faces tell them.

    A day that is not as the faces before told it was corrected by somebody and stays.
    """
    names = before.placed | after.placed
    if not names:
        return readings
    own, known, told = (
        one[one["meter_point_id"].isin(names)]
        for one in (readings, before.readings, after.readings)
    )
    stands, was, now = (_digests(one) for one in (own, known, told))
    days = was.index.union(now.index)
    was, now, stands = (one.reindex(days, fill_value=0) for one in (was, now, stands))
    changed = days[(was != now) & (stands == was)]
    kept = ~_days_of(readings).isin(changed)
    return join_readings([readings[kept], told[_days_of(told).isin(changed)]])


def _of_totals_alone(
    before: PlacedRegisters, after: PlacedRegisters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What both tell of meter points of which no register of hours counts."""
    names = before.placed | after.placed
    known, told = (one.readings for one in (before, after))
    return known[~known["meter_point_id"].isin(names)], told[~told["meter_point_id"].isin(names)]


def _days_of(readings: pd.DataFrame) -> pd.MultiIndex:
    names = readings["meter_point_id"].astype("str")
    return pd.MultiIndex.from_arrays([names, readings["start"].dt.normalize()])


def _digests(readings: pd.DataFrame) -> pd.Series[Any]:
    """A number for what is said of each meter point and day."""
    said = readings.reindex(columns=[MINUTES_COLUMN, "energy_wh", *REGISTER_COLUMNS], fill_value=0)
    said = said.clip(lower=0).astype("int64").assign(start=start_us(readings))
    numbers = pd.util.hash_pandas_object(said, index=False).to_numpy()
    found: pd.Series[Any] = pd.Series(numbers, index=_days_of(readings)).groupby(level=[0, 1]).sum()
    return found


def _lay_sent(
    below: Laid, parts: list[pd.DataFrame], *, without: frozenset[str], mark: Mark
) -> Laid:
    """Lay the energies of late batches over a version: all at once, as far as they fit."""
    waiting = [part["meter_point_id"].isin(without).to_numpy(bool) for part in parts]
    counting = [part[~own] for part, own in zip(parts, waiting, strict=True)]
    joined = outranking_readings(below.readings, later=combine_batches(counting))
    doubtful = find_misfits(below.readings, later=joined)
    alone, others = _part(below, doubtful), _part(below, doubtful, others=True)
    # Batch by batch, so that one that fits counts after one that does not.
    told, unfit = _lay_in_turn(alone, counting, names=doubtful)
    fitting = []
    for part, own, misfits in zip(counting, waiting, unfit, strict=True):
        is_unfit = part["meter_point_id"].isin(misfits).to_numpy(bool)
        aside = {LEFT_OUT: int(own.sum()), UNFIT: int(is_unfit.sum())}
        fitting.append(mark(part[~is_unfit], aside=aside))
    at_once = [part[~part["meter_point_id"].isin(doubtful)] for part in fitting]
    if any(map(len, at_once)):
        above = outranking_readings(others.readings, later=combine_batches(at_once))
        others = others.lay(above)
    if not doubtful:
        return others
    alone, _ = _lay_in_turn(alone, fitting, names=doubtful)
    readings = join_readings([others.readings, alone.readings])
    return Laid(readings, _joined(others.unfit, told.unfit))


def _lay_in_turn(
    below: Laid, parts: Sequence[pd.DataFrame], *, names: frozenset[str]
) -> tuple[Laid, list[frozenset[str]]]:
    """Lay what each batch says of some meter points over what is known, unless it does not fit.

    Returns:
        The version, and of which meter points each batch does not fit.
    """
    found = []
    for part in parts:
        own = part[part["meter_point_id"].isin(names)]
        misfits: frozenset[str] = frozenset()
        if len(own):
            above = outranking_readings(below.readings, later=combine_batches([own]))
            misfits = find_misfits(below.readings, later=above)
            below = below.lay(above[~above["meter_point_id"].isin(misfits)])
            unfit = own[own["meter_point_id"].isin(misfits)]
            below = replace(below, unfit=_joined(below.unfit, unfit))
        found.append(misfits)
    return below, found


def _part(below: Laid, names: frozenset[str], *, others: bool = False) -> Laid:
    """A version of some meter points, or of all others."""
    if not names:
        return below
    is_own = (
        one["meter_point_id"].isin(names).to_numpy(bool) != others
        for one in (below.readings, below.unfit)
    )
    readings, unfit = (
        one[own] for one, own in zip((below.readings, below.unfit), is_own, strict=True)
    )
    return Laid(readings.reset_index(drop=True), unfit)


def _joined(unfit: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Names and starts of readings that do not fit."""
    parts = [one[["meter_point_id", "start"]] for one in (unfit, more)]
    named = [one.astype({"meter_point_id": "str"}) for one in parts if len(one)]
    return pd.concat(named, ignore_index=True) if named else parts[0]


def _without_intervals(told: pd.DataFrame, sent: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Energies between faces without those in whose time energies of other intervals were sent.

    Of an energy of the very same interval the better of the two counts. Of a day of which only the
    whole was sent, the parts between faces stay.
    """
    own = _intervals_of(sent, told)
    if own.empty:
        return told
    names = pd.concat([told["meter_point_id"].astype("str"), own["meter_point_id"]])
    meters, others = np.split(pd.factorize(names)[0].astype(np.int64), [len(told)])
    lengths, own_lengths = (one[MINUTES_COLUMN].to_numpy(np.int64) for one in (told, own))
    starts_us, own_starts_us = start_us(told), start_us(own)
    ends_us = starts_us + lengths * MINUTE_US
    order, low, high = find_starts_within((meters, starts_us, ends_us), of=(others, own_starts_us))
    others, own_starts_us, own_lengths = others[order], own_starts_us[order], own_lengths[order]
    first, before = np.minimum(low, len(own) - 1), np.maximum(low, 1) - 1
    is_same = (own_starts_us[first] == starts_us) & (high == low + 1)
    is_same &= (own_lengths[first] == UNKNOWN_MINUTES) | (own_lengths[first] == lengths)
    reaches_in = (low > 0) & (others[before] == meters)
    reaches_in &= own_starts_us[before] + own_lengths[before] * MINUTE_US > starts_us
    kept: pd.DataFrame = told[~(((high > low) & ~is_same) | reaches_in)]
    return kept.reset_index(drop=True)


def _intervals_of(sent: Sequence[pd.DataFrame], told: pd.DataFrame) -> pd.DataFrame:
    """Intervals shorter than a day of which an energy was sent, of meter points with faces."""
    names, parts = told["meter_point_id"].unique(), [told.iloc[:0]]
    for one in sent:
        own = one[one["meter_point_id"].isin(names) & (one["quality"] != "missing")]
        own = own[own[MINUTES_COLUMN] != DAY_MINUTES]
        parts.append(own.astype({"meter_point_id": "str"}))
    moments = [one["start"].dt.tz_convert("UTC") for one in parts]
    key = ["meter_point_id", "start", MINUTES_COLUMN]
    found = [one.assign(start=at)[key] for one, at in zip(parts, moments, strict=True)]
    return pd.concat(found, ignore_index=True).drop_duplicates()


def _divided(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Batches of energies, and batches of faces."""
    sent = [path for path in paths if not has_faces(path)]
    return sent, [path for path in paths if has_faces(path)]


def _changed(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Readings that are not as before; those that are no more are missing."""
    columns = sorted({*before.columns, *after.columns})
    seen = pd.MultiIndex.from_frame(_comparable(before, columns))
    own = pd.MultiIndex.from_frame(_comparable(after, columns))
    gone = before[~_moments(before).isin(_moments(after))]
    gone = gone.assign(energy_wh=np.int64(0), quality="missing")
    return join_readings([after[~own.isin(seen)], gone]).reset_index(drop=True)


def _comparable(readings: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    same = readings.reindex(columns=columns, fill_value=0)
    return same.assign(start=start_us(readings), meter_point_id=same["meter_point_id"].astype(str))


def _moments(readings: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([readings["meter_point_id"].astype(str), start_us(readings)])


def _without_sent(changed: pd.DataFrame, sent: pd.DataFrame) -> pd.DataFrame:
    """Without intervals of which an energy was sent that counts as much."""
    known = pd.Series(sent["quality"].map(_RANK).to_numpy(np.int64), index=_moments(sent))
    stands = known.reindex(_moments(changed), fill_value=-1).to_numpy()
    return changed[stands < changed["quality"].map(_RANK).to_numpy(np.int64)]
