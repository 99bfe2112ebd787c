"""Collecting a month: its files are read, validated and brought to one interval length.

Files of different interval lengths are validated apart, because a rule that compares neighbours
needs one length, and then added up to the longest, because an interval column must mean the same
interval in every roster. A meter point that came in two lengths has two answers and is set aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from gridsecure.billing.periods import BillingPeriod
from gridsecure.billing.reading_versions import other_interval, overlaid
from gridsecure.billing.readings import joined_readings, resample_readings
from gridsecure.billing.validation import ValidationResult, validate_readings
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import ReadingsFile, read_readings


@dataclass(frozen=True, slots=True)
class MonthFiles:
    """What the operator handed in for a month.

    Args:
        month: YYYY-MM, local.
        folder: The month's folder, for what is written about it.
        readings: Meter data files.
        contracts: The contract file.
        tariffs: Tariff id -> text.
        later: Files of late and corrected readings, oldest first; each lies over those before.
        months: The folder of all months, where `folder` is not one of them.
    """

    month: str
    folder: Path
    readings: tuple[Path, ...]
    contracts: Path
    tariffs: Mapping[str, str]
    later: tuple[Path, ...] = ()
    months: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """What came of the files.

    Args:
        readings: Accepted readings of one interval length, complete by meter point.
        quarantined: Input rows not used, with reasons; `row` counts within files of one length.
        interval: Interval length of `readings`.
        seen: Every meter point the files name.
        two_intervals: Meter points set aside because they came in two lengths.
        input_rows: Readings in the files.
        accepted_rows: Readings accepted, with estimates, before any were added up.
        estimated_rows: Readings filled in by estimation.
        problems: Problems by rule.
    """

    readings: pd.DataFrame
    quarantined: pd.DataFrame
    interval: pd.Timedelta
    seen: frozenset[str]
    two_intervals: frozenset[str]
    input_rows: int
    accepted_rows: int
    estimated_rows: int
    problems: Mapping[str, int]


def read_files(files: MonthFiles, *, timezone: str) -> list[ReadingsFile]:
    """Read the meter data files, later ones laid over the first.

    Raises:
        InvalidReadingsError: A file is unusable as a whole; the message says which, by its place
            in the list. Or a later file has other intervals than what it corrects
            (`correction.interval`).
    """
    found = _read(files.readings, timezone=timezone)
    if not files.later:
        return found
    by_interval: dict[pd.Timedelta, ReadingsFile] = {}
    for source in found:
        under = by_interval.get(source.interval)
        by_interval[source.interval] = source if under is None else _joined_files(under, source)
    for source in _read(files.later, timezone=timezone, interval=min(by_interval)):
        _lay_over(by_interval, source)
    return list(by_interval.values())


def _lay_over(by_interval: dict[pd.Timedelta, ReadingsFile], later: ReadingsFile) -> None:
    """Lay a later file over the files of the meter points that it names."""
    strangers = later.readings
    for interval, below in list(by_interval.items()):
        own = strangers["meter_point_id"].isin(below.readings["meter_point_id"].unique())
        if not own.any():
            continue
        if later.interval != interval:
            raise other_interval()
        readings = overlaid(below.readings, later=strangers[own], interval=interval)
        problems = (*below.problems, *later.problems)
        by_interval[interval] = replace(below, readings=readings, problems=problems)
        strangers = strangers[~own]
    if len(strangers):
        # Readings of meter points that had none: they were not billed, and admission counts them.
        new = replace(later, readings=strangers.reset_index(drop=True), problems=())
        under = by_interval.get(later.interval)
        by_interval[later.interval] = new if under is None else _joined_files(under, new)


def _joined_files(first: ReadingsFile, second: ReadingsFile) -> ReadingsFile:
    """Two files of one interval length as one."""
    readings = joined_readings([first.readings, second.readings])
    return replace(first, readings=readings, problems=(*first.problems, *second.problems))


def _read(
    paths: Sequence[Path], *, timezone: str, interval: pd.Timedelta | None = None
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
    return found


def collect(
    sources: list[ReadingsFile],
    *,
    contracted: frozenset[str],
    period: BillingPeriod,
    now: datetime,
) -> Collected:
    """Validate readings and bring them to one interval length.

    Args:
        sources: The files as read; emptied here, so that memory is not held twice.
        contracted: Meter points with a contract; readings of others are quarantined.
        period: The month.
        now: Time of validation.

    Raises:
        InvalidReadingsError: Interval lengths that do not divide each other.
    """
    problems = Counter(problem.rule for source in sources for problem in source.problems)
    frames: dict[pd.Timedelta, list[pd.DataFrame]] = {}
    for source in sources:
        frames.setdefault(source.interval, []).append(source.readings)
    sources.clear()
    results: dict[pd.Timedelta, ValidationResult] = {}
    named: Counter[str] = Counter()
    for interval in sorted(frames):
        parts = frames.pop(interval)
        readings = joined_readings(parts)
        del parts
        names = set(readings["meter_point_id"].unique())
        named.update(names)
        # Meter points without any reading are found by admission, over all files.
        known = sorted(names & contracted)
        results[interval] = validate_readings(
            readings, now=now, period=(period.start, period.end), known_meters=known
        )
        problems.update(results[interval].counts())
    two_intervals = frozenset(name for name, times in named.items() if times > 1)
    interval = max(results)
    return Collected(
        readings=_joined(results, interval=interval, without=two_intervals),
        quarantined=pd.concat([r.quarantined for r in results.values()], ignore_index=True),
        interval=interval,
        seen=frozenset(named),
        two_intervals=two_intervals,
        input_rows=sum(result.input_rows for result in results.values()),
        accepted_rows=sum(len(result.accepted) for result in results.values()),
        estimated_rows=sum(result.estimated_rows for result in results.values()),
        problems=dict(sorted(problems.items())),
    )


def _joined(
    results: Mapping[pd.Timedelta, ValidationResult],
    *,
    interval: pd.Timedelta,
    without: frozenset[str],
) -> pd.DataFrame:
    parts = []
    for own_interval, result in results.items():
        accepted = result.accepted
        if without:
            accepted = accepted[~accepted["meter_point_id"].isin(list(without))]
        if own_interval != interval and len(accepted):
            accepted = resample_readings(accepted, interval=interval)
        parts.append(accepted)
    return joined_readings(parts)
