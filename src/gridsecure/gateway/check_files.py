"""Files of what is known of the sums of readings: faces of registers, and totals of days.

Two layouts, told apart by their header:

- faces: `meter_point_id,start,register_kwh`, what a register showed at moments, however far apart;
- totals of days: `meter_point_id,date,kwh`.

No reading is made of them. They are compared with the intervals of the month (`sum_checks`), and so
are faces and values of days that sources sent beside intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from gridsecure.billing import sum_checks
from gridsecure.billing.interval_lengths import UNKNOWN, find_starts_within, interval_minutes
from gridsecure.billing.readings import (
    DAY_MINUTES,
    ReadingProblem,
    join_readings,
    make_readings,
    start_us,
)
from gridsecure.billing.registers import REGISTER as OF_REGISTER
from gridsecure.billing.registers import TAKEN, register_totals
from gridsecure.billing.rule_books import DAILY_TOTAL, REGISTER, SUM_CHECK
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation_rules import COMPARED
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import format_cells as cells
from gridsecure.gateway import format_times
from gridsecure.gateway.books.months import MonthContracts
from gridsecure.gateway.collection import Collected, MonthFiles
from gridsecure.gateway.column_names import name_columns
from gridsecure.gateway.foreign_files import cells_of, separator_of
from gridsecure.gateway.ingestion.stored_faces import read_faces
from gridsecure.gateway.ingestion.stored_readings import COUNTED, has_faces
from gridsecure.gateway.table_text import (
    check_field_counts,
    check_line_lengths,
    check_reading_count,
    decode,
    load_bytes,
    read_cells,
)
from gridsecure.gateway.written_units import to_kwh
from gridsecure.periods import BillingPeriod

_FACES: Final = {"meter_point_id", "start", "register_kwh"}
_TOTALS: Final = {"meter_point_id", "date", "kwh"}
_UNKNOWN: Final = "unknown-meter-point"
_MOMENT: Final = pd.Timedelta(microseconds=1)
_LONGEST_DAY: Final = pd.Timedelta(hours=26)
_NOTHING: Final = pd.DataFrame(
    {
        "meter_point_id": pd.Series(dtype="str"),
        "start": pd.Series(dtype="datetime64[us, UTC]"),
        "end": pd.Series(dtype="datetime64[us, UTC]"),
        "energy_wh": pd.Series(dtype="int64"),
        "rule": pd.Series(dtype="str"),
    }
)


def read_checks(path: Path, *, timezone: str) -> pd.DataFrame:
    """Read a file.

    Args:
        path: The file; gzip is recognised by its first bytes.
        timezone: Zone of times without an offset, and of days.

    Returns:
        A readings frame: of faces, with their moments in `start`; or of days, with `end` too.

    Raises:
        InvalidReadingsError: It is neither of the two layouts (`readings.columns`), or as
            `read_readings`.
    """
    data, packed = load_bytes(path)
    text = decode(data)
    header = text.header()
    separator, columns = separator_of(header), name_columns(cells_of(header))
    names = columns.names
    if sorted(names) not in (sorted(_FACES), sorted(_TOTALS)):
        raise InvalidReadingsError(
            "The header is not one of the layouts of check files.",
            reason="readings.columns",
            remedy="Name the columns meter_point_id,start,register_kwh for faces of registers, or"
            " meter_point_id,date,kwh for totals of days.",
        )
    check_line_lengths(text)
    lines = check_field_counts(text, separator=separator)
    check_reading_count(lines - 1, packed=packed)
    table = read_cells(text, separator=separator, columns=names)
    are_faces = "register_kwh" in names
    energy = "register_kwh" if are_faces else "kwh"
    table = to_kwh(table, {energy: columns.units.get(energy, "")})
    energy_wh, missing = cells.read_energy(table, [energy])
    read = format_times.read_starts if are_faces else format_times.read_days
    checks = make_readings(
        table["meter_point_id"].astype("str").str.strip().reset_index(drop=True),
        start=read(table, timezone),
        energy_wh=energy_wh,
    )
    if not are_faces:
        checks["end"] = (checks["start"].dt.normalize() + _LONGEST_DAY).dt.normalize()
    return checks.loc[~missing].reset_index(drop=True)


def check_sums(
    collected: Collected,
    *,
    files: MonthFiles,
    policy: ValidationPolicy,
    period: BillingPeriod,
    timezone: str,
) -> Collected:
    """Compare what was collected of a month with what is known of its sums.

    Args:
        collected: What validation made of the readings.
        files: Their check files among them.
        policy: The rules, with the contracts of the month.

    Returns:
        The same with what was found, and with the meter points whose bill a rule holds.

    Raises:
        InvalidReadingsError: As `read_checks`.
        StorageError: A file is gone.
    """
    book, books = policy.book, files.contracts()
    is_related = bool(book.children) and book.is_applied(SUM_CHECK)
    meter_points = {one.holder: one.meter_point_id for one in books.moved}
    totals, told = tell_totals(files.checks, books, period=period, timezone=timezone)
    problems = Counter(collected.problems) + Counter(one.rule for one in told)
    collected = replace(collected, problems=dict(sorted(problems.items())))
    counted = tell_faces(files, books, period=period, timezone=timezone)
    beside = _days_beside(collected.quarantined, meter_points)
    every = [one for one in (totals, counted, beside) if len(one)]
    named = {name for one in every for name in one["meter_point_id"].unique()}
    if not every and not is_related:
        return collected
    wanted = {*named, *book.children, *sum(book.children.values(), ())}
    own = _of_points(collected, wanted, meter_points)
    totals = pd.concat([totals, beside, _of_others(counted, own, meter_points)], ignore_index=True)
    totals = totals[totals["rule"].map(book.is_applied).astype(bool)]
    counting = sum_checks.lay_side_by_side(own, meter_points=meter_points, zone=ZoneInfo(timezone))
    found = sum_checks.compare_totals(counting, totals, policy=policy)
    if is_related:
        found += sum_checks.compare_sums(counting, policy=policy)
    return _with_found(collected, found, policy=policy)


def _of_points(
    collected: Collected, wanted: set[str], meter_points: dict[str, str]
) -> pd.DataFrame:
    """Readings of some meter points that count; of those without a contract, whatever was sent."""
    columns = ["meter_point_id", "start", "energy_wh", "quality", "minutes"]
    ids = collected.readings["meter_point_id"].astype("str")
    own = {name for name in ids.unique() if meter_points.get(name, name) in wanted}
    counting = collected.readings.loc[ids.isin(own).to_numpy(bool), columns]
    out = collected.quarantined
    strange = out[(out["reason"] == _UNKNOWN) & out["meter_point_id"].isin(wanted)]
    strange = strange.drop_duplicates(["meter_point_id", "start"])
    strange = strange.assign(minutes=interval_minutes(strange, known=UNKNOWN))
    return join_readings([counting, strange[columns]])


def tell_totals(
    paths: Sequence[Path], books: MonthContracts, *, period: BillingPeriod, timezone: str
) -> tuple[pd.DataFrame, tuple[ReadingProblem, ...]]:
    """What check files say of a period.

    Args:
        books: What they say of registers.

    Returns:
        Totals as `sum_checks.compare_totals` takes them, and what was concluded from faces.

    Raises:
        InvalidReadingsError: As `read_checks`; the message says which file.
    """
    parts = [_NOTHING]
    problems: list[ReadingProblem] = []
    for number, path in enumerate(paths, start=1):
        try:
            totals, rule = read_checks(path, timezone=timezone), DAILY_TOTAL
        except InvalidReadingsError as error:
            raise InvalidReadingsError(
                f"Check file {number} of {len(paths)}: {error.message}",
                reason=error.reason,
                remedy=error.remedy,
                problems=error.problems,
                faults=error.faults,
            ) from error
        if "end" not in totals:
            counted = register_totals(books.join_meters(totals, timezone=timezone))
            totals, rule = _multiplied(counted.readings, books, timezone=timezone), REGISTER
            problems += counted.problems
        parts.append(_as_totals(totals, rule))
    return _within(pd.concat(parts), period), tuple(problems)


def _as_totals(totals: pd.DataFrame, rule: str) -> pd.DataFrame:
    moments = {name: totals[name].dt.tz_convert("UTC") for name in ("start", "end")}
    return totals.assign(**moments, rule=rule)[list(_NOTHING)]


def _within(totals: pd.DataFrame, period: BillingPeriod) -> pd.DataFrame:
    inside = (totals["start"] >= period.start) & (totals["end"] <= period.end)
    found: pd.DataFrame = totals[inside].reset_index(drop=True)
    return found


def tell_faces(
    files: MonthFiles, books: MonthContracts, *, period: BillingPeriod, timezone: str
) -> pd.DataFrame:
    """What registers counted whose faces came in batches, where others sent energies.

    Returns:
        As `tell_totals` has them. What is concluded from faces was told as they were read.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
    """
    every = [*files.batches, *(path for one in files.later for path in one.batches)]
    paths = [path for path in every if has_faces(path)]
    has_energies = bool(files.readings) or any(one.files for one in files.later)
    if not paths or not (has_energies or len(paths) < len(every)):
        return _NOTHING
    faces = read_faces(paths, period=period)
    waiting = frozenset[str]().union(*(one.left_out(books) for one in files.later))
    faces = faces[~faces["meter_point_id"].isin(waiting)]
    faces = faces[faces[OF_REGISTER] == TAKEN].drop(columns=OF_REGISTER)
    as_shown = faces.pop(COUNTED).to_numpy(bool)
    counted = register_totals(books.join_meters(faces[as_shown], timezone=timezone)).readings
    parts = [
        _multiplied(counted, books, timezone=timezone),
        register_totals(faces[~as_shown]).readings,
    ]
    return _within(pd.concat([_as_totals(one, REGISTER) for one in parts]), period)


def _of_others(
    totals: pd.DataFrame, readings: pd.DataFrame, meter_points: Mapping[str, str]
) -> pd.DataFrame:
    """Totals of faces without those that are the readings: of a meter point that sends faces alone.

    Args:
        readings: Those that count, under the names of holders.
    """
    if totals.empty or readings.empty:
        return totals.iloc[:0]
    points = readings["meter_point_id"].astype("str").replace(dict(meter_points))
    names = pd.concat([totals["meter_point_id"].astype("str"), points])
    meters, others = np.split(pd.factorize(names)[0].astype(np.int64), [len(totals)])
    ends_us = start_us(totals.assign(start=totals["end"]))
    order, low, high = find_starts_within(
        (meters, start_us(totals), ends_us), of=(others, start_us(readings))
    )
    energies = readings["energy_wh"].to_numpy(np.int64)[order]
    is_reading = energies[np.minimum(low, len(order) - 1)] == totals["energy_wh"].to_numpy()
    found: pd.DataFrame = totals[(high > low + 1) | ((high == low + 1) & ~is_reading)]
    return found


def _days_beside(quarantined: pd.DataFrame, meter_points: Mapping[str, str]) -> pd.DataFrame:
    """Values of days that stood beside shorter readings."""
    days = quarantined[quarantined["reason"] == COMPARED]
    names = days["meter_point_id"].astype("str").replace(dict(meter_points))
    length = pd.Timedelta(minutes=DAY_MINUTES)
    return _as_totals(days.assign(meter_point_id=names, end=days["start"] + length), DAILY_TOTAL)


def _multiplied(totals: pd.DataFrame, books: MonthContracts, *, timezone: str) -> pd.DataFrame:
    """Energies of what registers counted, where one multiplier holds all the time."""
    first = books.multiply(totals, timezone=timezone)
    last = books.multiply(totals.assign(start=totals["end"] - _MOMENT), timezone=timezone)
    return first[(first["energy_wh"] == last["energy_wh"]).to_numpy(bool)]


def _with_found(
    collected: Collected, found: Sequence[ReadingProblem], *, policy: ValidationPolicy
) -> Collected:
    """What was collected, with what was found; bills are held where a rule says so."""
    names = np.array(sorted({one.meter_point_id for one in found}), dtype=object)
    rules = policy.judge(names)
    holds = {rule: set(names[rules.holds(rule)]) for rule in (REGISTER, DAILY_TOTAL, SUM_CHECK)}
    # Who has no contract has no bill either.
    billed = set() if policy.contracts is None else set(policy.contracts["meter_point_id"])
    held = {
        one.meter_point_id: one.rule
        for one in found
        if one.meter_point_id in holds.get(one.rule, set()) & billed
    }
    counts = Counter(collected.problems) + Counter(one.rule for one in found)
    return replace(
        collected,
        held=held | dict(collected.held),
        problems=dict(sorted(counts.items())),
        found=(*collected.found, *found),
    )
