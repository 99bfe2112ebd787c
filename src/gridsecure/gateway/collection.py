"""Collecting a month: its files are read and validated together.

How long an interval is belongs to the meter point and the day, so files of several lengths are
validated as one: a meter point may go over to another length, in one file or from one to the next.
One that has readings of two lengths for one time has two answers and is set aside, and so is one
with readings below zero; both by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Final

import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN, find_length_changes, usual_interval
from gridsecure.billing.reading_versions import outranking_readings, overlay_readings
from gridsecure.billing.readings import ReadingProblem, as_categories, join_readings
from gridsecure.billing.rule_books import default_text
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation import validate_readings
from gridsecure.errors import InputError, InvalidReadingsError
from gridsecure.gateway.formats import ReadingsFile, read_readings
from gridsecure.gateway.ingestion.stored_readings import count_rows, read_batches
from gridsecure.periods import BillingPeriod

MAX_READINGS: Final = 64_000_000
"""Readings of a month, unless a gateway is told otherwise: 21,505 meter points, quarter-hours."""


@dataclass(frozen=True, slots=True)
class LaterReadings:
    """Readings that one correction brought; files are laid over batches.

    Args:
        files: Files of late and corrected readings, in the order handed in.
        batches: Files of the batches that came since the version before, in that order.
    """

    files: tuple[Path, ...] = ()
    batches: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class MonthFiles:
    """What the operator handed in for a month.

    Args:
        month: YYYY-MM, local.
        folder: The month's folder, for what is written about it.
        tariffs: Tariff id -> text.
        later: What each correction brought, oldest first; each lies over those before.
        months: The folder of all months, where `folder` is not one of them.
        max_readings: Readings of all files that are held at once.
        batches: Files of the batches that sources sent, in the order in which they came.
        until_batch: The number of the last batch that could be among them.
        rules: Text of the rule book that its readings are validated by; empty where they are not.
        waived: Meter points and rules of that book whose hold of a bill somebody waived.
    """

    month: str
    folder: Path
    readings: tuple[Path, ...]
    contracts: Path
    tariffs: Mapping[str, str]
    later: tuple[LaterReadings, ...] = ()
    months: Path | None = None
    max_readings: int = MAX_READINGS
    batches: tuple[Path, ...] = ()
    until_batch: int = 0
    rules: str = field(default_factory=default_text)
    waived: frozenset[tuple[str, str]] = frozenset()


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
    """
    found = _read(files, files.readings, timezone=timezone)
    if files.batches:
        found.append(_read_batches(files, period, held=sum(len(one.readings) for one in found)))
    if not files.later:
        return found
    below = reduce(_joined_files, found)
    for later in files.later:
        below = _overlaid(below, later, files, timezone=timezone, period=period)
    return [below]


def _overlaid(
    below: ReadingsFile,
    later: LaterReadings,
    files: MonthFiles,
    *,
    timezone: str,
    period: BillingPeriod,
) -> ReadingsFile:
    """A version of the month's readings with what one correction brought."""
    held = len(below.readings)
    if later.batches:
        _check_held(
            held + count_rows(later.batches),
            files,
            what="Batches and the readings before them hold",
        )
        read = read_batches(later.batches, period=period)
        batches = outranking_readings(below.readings, later=read)
        below = replace(below, readings=overlay_readings(below.readings, later=batches))
    for file in _read(files, later.files, timezone=timezone, interval=UNKNOWN, held=held):
        readings = overlay_readings(below.readings, later=file.readings)
        below = replace(below, readings=readings, problems=(*below.problems, *file.problems))
    return below


def _joined_files(first: ReadingsFile, second: ReadingsFile) -> ReadingsFile:
    """Two files as one."""
    readings = join_readings([first.readings, second.readings])
    return replace(first, readings=readings, problems=(*first.problems, *second.problems))


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
            found.append(read_readings(path, timezone=timezone, interval=interval))
        except InvalidReadingsError as error:
            raise InvalidReadingsError(
                f"Readings file {number} of {len(paths)}: {error.message}",
                reason=error.reason,
                remedy=error.remedy,
                problems=error.problems,
            ) from error
        held += len(found[-1].readings)
        _check_held(held, files, what=f"Readings files 1 to {number} of {len(paths)} hold")
    return found


def _read_batches(files: MonthFiles, period: BillingPeriod, *, held: int) -> ReadingsFile:
    """What batches hold of the period, as one file."""
    held += count_rows(files.batches)
    _check_held(held, files, what="Readings files and batches hold")
    readings = read_batches(files.batches, period=period)
    interval = usual_interval(readings["minutes"].to_numpy())
    return ReadingsFile(readings, "batches", interval, "utf-8", find_length_changes(readings))


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
) -> Collected:
    """Validate readings.

    Args:
        sources: The files as read; emptied here, so that memory is not held twice.
        policy: Has the contracts; readings of meter points without one are quarantined.
    """
    if policy.contracts is None:
        raise ValueError("a month is validated with its contracts")
    problems = Counter(problem.rule for source in sources for problem in source.problems)
    readings = as_categories(join_readings([source.readings for source in sources]))
    sources.clear()
    names = frozenset(readings["meter_point_id"].cat.categories)
    # Meter points without any reading are found by admission.
    result = validate_readings(
        readings,
        now=now,
        policy=policy,
        period=(period.start, period.end),
        known_meters=sorted(names.intersection(policy.contracts["meter_point_id"])),
    )
    problems.update(result.counts())
    return Collected(
        readings=result.accepted,
        quarantined=result.quarantined,
        estimates=result.estimates,
        interval=usual_interval(readings["minutes"].to_numpy()),
        seen=names,
        left_out=result.left_out,
        held=result.held,
        input_rows=result.input_rows,
        accepted_rows=len(result.accepted),
        problems=dict(sorted(problems.items())),
        found=result.problems,
    )
