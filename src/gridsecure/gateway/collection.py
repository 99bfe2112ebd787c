"""Collecting a month: its files are read, validated and brought to one interval length.

Files of different interval lengths are validated apart, because a rule that compares neighbours
needs one length, and then added up to the longest, because an interval column must mean the same
interval in every roster. A meter point that came in two lengths has two answers and is set aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from gridsecure.billing.periods import BillingPeriod
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
    """

    month: str
    folder: Path
    readings: tuple[Path, ...]
    contracts: Path
    tariffs: Mapping[str, str]


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
    """Read the meter data files.

    Raises:
        InvalidReadingsError: A file is unusable as a whole; the message says which, by its place
            in the list.
    """
    found = []
    for number, path in enumerate(files.readings, start=1):
        try:
            found.append(read_readings(path, timezone=timezone))
        except InvalidReadingsError as error:
            raise InvalidReadingsError(
                f"Readings file {number} of {len(files.readings)}: {error.message}",
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
