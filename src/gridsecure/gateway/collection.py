"""Collecting a month: its files are read and validated together.

How long an interval is belongs to the meter point and the day, so files of several lengths are
validated as one: a meter point may go over to another length, in one file or from one to the next.
A value of a whole day beside shorter readings is their total, to compare with. One that has other
readings of two lengths for one time has two answers and is set aside, and so is one with readings
below zero; both by name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import UNKNOWN, find_length_changes, usual_interval
from gridsecure.billing.meter_serials import UNDECLARED
from gridsecure.billing.reading_versions import UNFIT, find_uncovered, overlay_readings
from gridsecure.billing.readings import ReadingProblem, as_categories, join_readings
from gridsecure.billing.register_hours import PlacedRegisters, put_back
from gridsecure.billing.rule_books import default_text
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation import ValidationResult, validate_readings
from gridsecure.errors import InputError, InvalidReadingsError, StorageError
from gridsecure.gateway.batch_readings import (
    LEFT_OUT,
    Laid,
    LateBatches,
    meter_books,
    overlay_batches,
    read_month_batches,
)
from gridsecure.gateway.books.months import MonthContracts, Window, no_contracts
from gridsecure.gateway.formats import ReadingsFile, read_readings
from gridsecure.gateway.ingestion.stored_readings import count_rows, read_edit
from gridsecure.gateway.reading_traces import ReadingTrace
from gridsecure.periods import BillingPeriod

_DAY: Final = pd.Timedelta(days=1)
_LONGEST_DAY: Final = pd.Timedelta(hours=26)

MAX_READINGS: Final = 64_000_000
"""Readings of a month, unless a gateway is told otherwise: 21,505 meter points, quarter-hours."""

_NONE: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class LaterReadings:
    """Readings that one correction brought; files are laid over batches.

    Args:
        files: Files of late and corrected readings, in the order handed in.
        batches: Files of the batches that came since the version before, in that order.
        without: Meter points, as their holders are named, of which none of it counts.
    """

    files: tuple[Path, ...] = ()
    batches: tuple[Path, ...] = ()
    without: frozenset[str] = frozenset()

    def left_out(self, books: MonthContracts) -> frozenset[str]:
        """Meter points of which none of it counts, as files name them."""
        held = {one.holder: one.meter_point_id for one in books.moved}
        return frozenset(held.get(name, name) for name in self.without)


@dataclass(frozen=True, slots=True)
class MonthFiles:
    """What the operator handed in for a month.

    Args:
        month: YYYY-MM, local.
        folder: The month's folder, for what is written about it.
        tariffs: Tariff id -> text.
        contracts: Reads what the books say of the month.
        books_revision: The revision of the books that it reads.
        later: What each correction brought, oldest first; each lies over those before.
        months: The folder of all months, where `folder` is not one of them.
        max_readings: Readings of all files that are held at once.
        batches: Files of the batches that sources sent, in the order in which they came.
        until_batch: The number of the last batch that could be among them.
        rules: Text of the rule book that its readings are validated by; empty where they are not.
        edits: Files of what persons put in place of readings, each over those before.
        checks: Files of faces of registers and of totals of days, to compare readings with.
        waived: Meter points and rules of that book whose hold of a bill somebody waived.
        trace: Told where each reading comes from; None where nobody asks.
        digests: Of each of `readings` as it came [SHA-256, hex]; none of files that are nobody
            else's, and of those that came before they were taken.
    """

    month: str
    folder: Path
    readings: tuple[Path, ...]
    tariffs: Mapping[str, str]
    contracts: Callable[[], MonthContracts] = no_contracts
    books_revision: int = 0
    later: tuple[LaterReadings, ...] = ()
    months: Path | None = None
    max_readings: int = MAX_READINGS
    batches: tuple[Path, ...] = ()
    until_batch: int = 0
    rules: str = field(default_factory=default_text)
    waived: frozenset[tuple[str, str]] = frozenset()
    edits: tuple[Path, ...] = ()
    checks: tuple[Path, ...] = ()
    trace: ReadingTrace | None = None
    digests: tuple[str, ...] = ()

    def mark(self, readings: pd.DataFrame, *, aside: Mapping[str, int] = _NONE) -> pd.DataFrame:
        """Readings of one file, batch or edit, told where they come from if somebody asks.

        Args:
            aside: How many more it had that do not go on with them, by reason.
        """
        return readings if self.trace is None else self.trace.add(readings, aside=aside)


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """What came of the files.

    Args:
        readings: Accepted readings, complete by meter point, each with its `minutes`.
        quarantined: Input rows not used, with reasons; `row` counts over all files.
        interval: The most frequent interval length.
        seen: Every meter point the files name.
        left_out: Meter points set aside whole -> the rule, of `validation.LEFT_OUT`.
        held: Meter points whose bill a rule holds -> the rule.
        estimates: Readings filled in by estimation, each with the method that told it.
        input_rows: Readings in the files.
        accepted_rows: Readings accepted, with estimates.
        problems: Problems by rule, those of reading the files among them.
        found: What validation found.
        placed: Meter points of which energies of registers stand evenly over their hours.
    """

    readings: pd.DataFrame
    quarantined: pd.DataFrame
    estimates: pd.DataFrame
    interval: pd.Timedelta
    seen: frozenset[str]
    left_out: Mapping[str, str]
    held: Mapping[str, str]
    input_rows: int
    accepted_rows: int
    problems: Mapping[str, int]
    found: tuple[ReadingProblem, ...]
    placed: frozenset[str] = frozenset()

    @property
    def estimated_rows(self) -> int:
        """Readings filled in by estimation."""
        return len(self.estimates)


def read_files(files: MonthFiles, *, timezone: str, period: BillingPeriod) -> list[ReadingsFile]:
    """Read the meter data files and batches, later files laid over them.

    Raises:
        InvalidReadingsError: A file is unusable as a whole; the message says which, by its place
            in the list. Or a later file has other intervals than what it corrects
            (`correction.interval`), or all files hold too many readings (`month.too-many`).
            Late batches with other intervals are left out by meter point (`late-interval`).
        StorageError: A file is gone, or is not the one that came (`storage.read`).
    """
    for number, (path, digest) in enumerate(zip(files.readings, files.digests, strict=False), 1):
        check_as_it_came(path, digest, what=f"Readings file {number} of {len(files.readings)}")
    found = _read(files, files.readings, timezone=timezone)
    if files.batches:
        above = [one.readings for one in found]
        found.append(_read_batches(files, above, timezone=timezone, period=period))
    found = _beside_others(found)
    if not files.later and not files.edits:
        return found
    below = reduce(_joined_files, found)
    for edit in _read_edits(files, timezone=timezone, period=period):
        below = replace(below, readings=_edited(below.readings, edit))
    earlier, unfit = files.batches, below.readings.iloc[:0]
    for later in files.later:
        below, unfit = _overlaid(
            (below, unfit), later, files, earlier=earlier, timezone=timezone, period=period
        )
        earlier += later.batches
    return [replace(below, problems=(*below.problems, *_tell_unfit(unfit)))]


def _tell_unfit(unfit: pd.DataFrame) -> Iterator[ReadingProblem]:
    """What is said of late readings that fit no interval, once for each meter point."""
    for name, own in unfit.groupby(unfit["meter_point_id"].astype("str"), sort=True):
        detail = "late readings between the intervals of those before"
        yield ReadingProblem(str(name), own["start"].min(), UNFIT, detail, len(own))


def read_later_files(
    files: MonthFiles, paths: Sequence[Path], *, timezone: str
) -> list[ReadingsFile]:
    """Read files of late and corrected readings by themselves, before they are laid over a month.

    Raises:
        InvalidReadingsError: As `read_files`.
    """
    return _read(files, paths, timezone=timezone, interval=UNKNOWN)


def check_as_it_came(path: Path, digest: str, *, what: str) -> None:
    """Require that a file is what came.

    SHA-256, because it finds damage only: who may write the file may write its digest, and the
    large files of a month are digested by the processor ten times as fast as by SM3.

    Args:
        digest: Of the file as it came [SHA-256, hex].
        what: Which file that is, for the message.

    Raises:
        StorageError: It is not, or is gone (`storage.read`).
    """
    try:
        with path.open("rb") as file:
            is_same = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        is_same = False
    if not is_same:
        raise StorageError(
            f"{what} is gone, or is not the one that was handed in.",
            reason="storage.read",
            remedy="Restore the gateway's folder from its backup, or hand the month's files in"
            " again while its rosters are not fixed.",
        )


def _overlaid(
    version: tuple[ReadingsFile, pd.DataFrame],
    later: LaterReadings,
    files: MonthFiles,
    *,
    earlier: Sequence[Path],
    timezone: str,
    period: BillingPeriod,
) -> tuple[ReadingsFile, pd.DataFrame]:
    """A version of the month's readings with what one correction brought.

    Args:
        version: The readings, and those of batches that did not fit.
        earlier: Batches that count in it already.
    """
    below, unfit = version
    held, books = len(below.readings), files.contracts()
    without = later.left_out(books)
    if later.batches:
        _check_held(
            held + count_rows(later.batches, period=period),
            files,
            what="Batches and the readings before them hold",
        )
        laid, placed = overlay_batches(
            Laid(below.readings, unfit),
            late=LateBatches(later.batches, tuple(earlier), without),
            period=period,
            books=meter_books(books, timezone=timezone),
            placed=below.placed,
            mark=files.mark,
        )
        problems = laid.tell(below.problems)
        below = replace(below, readings=laid.readings, placed=placed, problems=problems)
        unfit = laid.unfit
    own = replace(files, trace=None)
    for file in _read(own, later.files, timezone=timezone, interval=UNKNOWN, held=held):
        waits = file.readings["meter_point_id"].isin(without).to_numpy(bool)
        counting = replace(file, readings=file.readings[~waits], placed=file.placed - without)
        above = _marked(counting, files, aside={LEFT_OUT: int(waits.sum())})
        told = _beside(below, above[~above["meter_point_id"].isin(counting.placed)])
        readings = overlay_readings(told.readings, later=above)
        unfit = find_uncovered(unfit, laid=readings, above=above)
        problems, placed = (*below.problems, *file.problems), told.placed | counting.placed
        below = replace(below, readings=readings, problems=problems, placed=placed)
    return below, unfit


def _read_edits(
    files: MonthFiles, *, timezone: str, period: BillingPeriod
) -> Iterator[pd.DataFrame]:
    """The readings of each edit, under the ids of meter points.

    Who names a holder that moved in or out means that holder's days, and no others.
    """
    if not files.edits:
        return
    books = files.contracts()
    held = {one.holder: one.meter_point_id for one in books.moved}
    for path in files.edits:
        edit = read_edit(path, period=period)
        count = len(edit)
        name = str(edit["meter_point_id"].iloc[0]) if count else ""  # of a day, most have nothing
        if held.get(name, name) != name:
            edit = edit.assign(meter_point_id=held[name])
            own = books.name_holders(edit, timezone=timezone)["meter_point_id"].astype(str) == name
            edit = edit.loc[own.to_numpy(bool)]
        edit = files.mark(edit, aside={"not-held": count - len(edit)})
        if len(edit):
            yield edit


def _edited(readings: pd.DataFrame, edit: pd.DataFrame) -> pd.DataFrame:
    """Lay an edit over the readings of its meter point alone, which are few."""
    own = readings["meter_point_id"].isin(edit["meter_point_id"].unique()).to_numpy(bool)
    laid = overlay_readings(readings.loc[own], later=edit)
    return join_readings([readings.loc[~own], laid])


def find_vouched(
    files: MonthFiles,
    sources: Sequence[ReadingsFile],
    *,
    timezone: str,
    period: BillingPeriod,
) -> pd.DataFrame | None:
    """`meter_point_id` and `start` of every reading that is an edit's; None without edits.

    What came later over an edit is nobody's word: it is judged like any other.

    Args:
        sources: The readings of the month, named by holder.

    Raises:
        StorageError: An edit is gone or was altered (`storage.read`).
    """
    untold = replace(files, trace=None)  # they were told as the month was read
    edits = list(_read_edits(untold, timezone=timezone, period=period))
    if not edits:
        return None
    key = ["meter_point_id", "start"]
    books = files.contracts()
    named = [_as_key(books.name_holders(edit, timezone=timezone)) for edit in edits]
    laid = pd.concat(named).drop_duplicates(key, keep="last")
    names = set(laid["meter_point_id"])
    found = [one.readings[one.readings["meter_point_id"].isin(names)] for one in sources]
    own = pd.concat([_as_key(readings) for readings in found])
    return own.merge(laid, on=[*key, "energy_wh"])[key]


def _as_key(readings: pd.DataFrame) -> pd.DataFrame:
    """Readings by name, moment and energy."""
    kept = readings[["meter_point_id", "start", "energy_wh"]]
    return kept.assign(
        meter_point_id=kept["meter_point_id"].astype(str), start=kept["start"].dt.tz_convert("UTC")
    )


def _joined_files(first: ReadingsFile, second: ReadingsFile) -> ReadingsFile:
    """Two files as one."""
    readings = join_readings([first.readings, second.readings])
    return replace(
        first,
        readings=readings,
        problems=(*first.problems, *second.problems),
        placed=first.placed | second.placed,
    )


def _read(
    files: MonthFiles,
    paths: Sequence[Path],
    *,
    timezone: str,
    interval: pd.Timedelta | None = None,
    held: int = 0,
) -> list[ReadingsFile]:
    found = []
    for number, path in enumerate(paths, start=1):
        try:
            file = _read_file(path, files, timezone=timezone, interval=interval)
        except InvalidReadingsError as error:
            raise InvalidReadingsError(
                f"Readings file {number} of {len(paths)}: {error.message}",
                reason=error.reason,
                remedy=error.remedy,
                problems=error.problems,
                faults=error.faults,
            ) from error
        found.append(replace(file, readings=_marked(file, files)))
        held += len(file.readings)
        _check_held(held, files, what=f"Readings files 1 to {number} of {len(paths)} hold")
    return found


def _marked(
    file: ReadingsFile, files: MonthFiles, *, aside: Mapping[str, int] = _NONE
) -> pd.DataFrame:
    """A file's readings, told where they come from; of parts of days as many as it had readings.

    A day of which registers tell more had one reading, the total's, or one an hour if the clock is
    changed.
    """
    told = PlacedRegisters(file.readings, (), file.placed)
    are_parts = told.parts_of_days()
    if files.trace is None or not are_parts.any():
        return files.mark(file.readings, aside=aside)
    starts = file.readings["start"]
    midnight = starts.dt.normalize()
    is_long = ((midnight + _LONGEST_DAY).dt.normalize() - midnight) != _DAY
    hours = (starts - midnight) % pd.Timedelta(hours=1) == pd.Timedelta(0)
    sent = ~are_parts | np.where(is_long, hours, starts == midnight)
    marked = files.mark(file.readings[sent], aside=aside)
    return join_readings([marked, file.readings[~sent]])


def _beside(file: ReadingsFile, *others: pd.DataFrame) -> ReadingsFile:
    """A file, with days for what registers tell of a day that others tell in part."""
    told = put_back(PlacedRegisters(file.readings, (), file.placed), others)
    return replace(file, readings=told.readings, placed=told.placed)


def _beside_others(found: list[ReadingsFile]) -> list[ReadingsFile]:
    """Files, with days for what registers tell of a day that others tell in part."""
    beside = []
    for one in found:
        others = [
            other.readings[~other.readings["meter_point_id"].isin(other.placed)]
            for other in found
            if other is not one and one.placed
        ]
        beside.append(_beside(one, *others))
    return beside


def _read_file(
    path: Path, files: MonthFiles, *, timezone: str, interval: pd.Timedelta | None
) -> ReadingsFile:
    """A file's energies, what its registers counted times the multipliers of the books."""
    books = meter_books(files.contracts(), timezone=timezone)
    file = read_readings(path, timezone=timezone, interval=interval, books=books)
    if not file.is_counted:
        return file
    return replace(file, readings=books.multiply(file.readings))


def _read_batches(
    files: MonthFiles, of_files: Sequence[pd.DataFrame], *, timezone: str, period: BillingPeriod
) -> ReadingsFile:
    """What batches hold of the period, as one file.

    Args:
        of_files: Readings of the files before them.
    """
    held = sum(map(len, of_files)) + count_rows(files.batches, period=period)
    _check_held(held, files, what="Readings files and batches hold")
    books = meter_books(files.contracts(), timezone=timezone)
    told = read_month_batches(
        files.batches, period=period, books=books, mark=files.mark, files=of_files
    )
    problems = (*told.problems, *find_length_changes(told.readings))
    interval = usual_interval(told.readings["minutes"].to_numpy())
    return ReadingsFile(told.readings, "batches", interval, "utf-8", problems, placed=told.placed)


def _check_held(held: int, files: MonthFiles, *, what: str) -> None:
    if held > files.max_readings:
        raise InputError(
            f"{what} {held:,} readings; this gateway holds at most {files.max_readings:,} at once.",
            reason="month.too-many",
            remedy="Divide the meter points among several gateways, or give this one more"
            " memory and raise its setting max_readings.",
        )


def collect(
    sources: list[ReadingsFile],
    *,
    policy: ValidationPolicy,
    period: BillingPeriod,
    now: datetime,
    parts: Mapping[str, Window] | None = None,
) -> Collected:
    """Validate readings.

    Args:
        sources: The files as read; emptied here, so that memory is not held twice.
        policy: Has the contracts; readings of meter points without one are quarantined.
        parts: The time that some of them have of the period; the others have all of it.
    """
    problems = Counter(problem.rule for source in sources for problem in source.problems)
    for source in sources:
        problems.update({f"passed-over-{name}": n for name, n in source.passed_over.items()})
    placed = frozenset(name for source in sources for name in source.placed)
    # Of what reading concludes, that is work for somebody; the report counts the rest.
    work = (UNFIT, UNDECLARED)
    told = tuple(one for source in sources for one in source.problems if one.rule in work)
    readings = as_categories(join_readings([source.readings for source in sources]))
    sources.clear()
    whole = (period.start, period.end)
    results = [
        _validated(part, rows, policy=policy, now=now, window=window)
        for window, rows, part in _by_window(readings, parts or {}, whole)
    ]
    for result in results:
        problems.update(result.counts())
    result = results[0] if len(results) == 1 else _joined_results(results)
    return Collected(
        readings=result.accepted,
        quarantined=result.quarantined,
        estimates=result.estimates,
        interval=usual_interval(readings["minutes"].to_numpy()),
        seen=frozenset(readings["meter_point_id"].cat.categories),
        left_out=result.left_out,
        held=result.held,
        input_rows=result.input_rows,
        accepted_rows=len(result.accepted),
        problems=dict(sorted(problems.items())),
        found=(*result.problems, *told),
        placed=placed,
    )


Rows = NDArray[np.intp]


def _by_window(
    readings: pd.DataFrame, parts: Mapping[str, Window], whole: Window
) -> Iterator[tuple[Window, Rows | None, pd.DataFrame]]:
    """Readings by the time that their meter points should cover, and where they stood."""
    by_window: dict[Window, list[str]] = {}
    for name, window in parts.items():
        by_window.setdefault(window, []).append(name)
    ids = readings["meter_point_id"].cat
    group = np.zeros(len(ids.categories), dtype=np.int64)
    for number, names in enumerate(by_window.values(), start=1):
        group[ids.categories.isin(names)] = number
    if not group.any():
        yield whole, None, readings
        return
    of_row = group[ids.codes]
    for number, window in enumerate((whole, *by_window)):
        (rows,) = np.nonzero(of_row == number)
        if len(rows):
            part = readings.iloc[rows].reset_index(drop=True)
            own = part["meter_point_id"].cat.remove_unused_categories()
            yield window, rows, part.assign(meter_point_id=own)


def _validated(
    readings: pd.DataFrame,
    rows: Rows | None,
    *,
    policy: ValidationPolicy,
    now: datetime,
    window: Window,
) -> ValidationResult:
    """Readings of meter points that should cover a window, validated."""
    if policy.contracts is None:
        raise ValueError("a month is validated with its contracts")
    names = set(readings["meter_point_id"].cat.categories)
    # Meter points without any reading are found by admission.
    known = sorted(names.intersection(policy.contracts["meter_point_id"]))
    result = validate_readings(readings, now=now, policy=policy, period=window, known_meters=known)
    if rows is None:
        return result
    there = result.quarantined.assign(row=rows[result.quarantined["row"].to_numpy(np.intp)])
    return replace(result, quarantined=there)


def _joined_results(results: Sequence[ValidationResult]) -> ValidationResult:
    """Results of different meter points as one."""
    quarantined = join_readings([result.quarantined for result in results])
    return ValidationResult(
        accepted=as_categories(join_readings([result.accepted for result in results])),
        quarantined=quarantined.sort_values("row", ignore_index=True),
        problems=tuple(problem for result in results for problem in result.problems),
        input_rows=sum(result.input_rows for result in results),
        estimates=join_readings([result.estimates for result in results]),
        left_out={name: rule for one in results for name, rule in one.left_out.items()},
        held={name: rule for one in results for name, rule in one.held.items()},
    )
