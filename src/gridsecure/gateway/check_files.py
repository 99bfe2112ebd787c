"""Files of what is known of the sums of readings: faces of registers, and totals of days.

Two layouts, told apart by their header:

- faces: `meter_point_id,start,register_kwh`, what a register showed at moments, however far apart;
- totals of days: `meter_point_id,date,kwh`.

No reading is made of them. They are compared with the intervals of the month (`sum_checks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from gridsecure.billing import sum_checks
from gridsecure.billing.interval_lengths import UNKNOWN, interval_minutes
from gridsecure.billing.readings import ReadingProblem, join_readings, make_readings
from gridsecure.billing.registers import register_totals
from gridsecure.billing.rule_books import DAILY_TOTAL, REGISTER, SUM_CHECK
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import format_cells as cells
from gridsecure.gateway import format_times
from gridsecure.gateway.books.months import MonthContracts
from gridsecure.gateway.collection import Collected, MonthFiles
from gridsecure.gateway.column_names import name_columns
from gridsecure.gateway.foreign_files import cells_of, separator_of
from gridsecure.gateway.table_text import (
    check_field_counts,
    check_line_lengths,
    check_reading_count,
    decode,
    load_bytes,
    read_cells,
)
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
    separator, names = separator_of(header), name_columns(cells_of(header)).names
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
    energy_wh, missing = cells.read_energy(table, ["register_kwh" if are_faces else "kwh"])
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
    totals, told = tell_totals(files.checks, books, period=period, timezone=timezone)
    problems = Counter(collected.problems) + Counter(one.rule for one in told)
    collected = replace(collected, problems=dict(sorted(problems.items())))
    totals = totals[totals["rule"].map(book.is_applied).astype(bool)]
    if totals.empty and not is_related:
        return collected
    meter_points = {one.holder: one.meter_point_id for one in books.moved}
    wanted = {*totals["meter_point_id"], *book.children, *sum(book.children.values(), ())}
    counting = sum_checks.lay_side_by_side(
        _of_points(collected, wanted, meter_points),
        meter_points=meter_points,
        zone=ZoneInfo(timezone),
    )
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
            ) from error
        if "end" not in totals:
            counted = register_totals(books.join_meters(totals, timezone=timezone))
            totals, rule = _multiplied(counted.readings, books, timezone=timezone), REGISTER
            problems += counted.problems
        moments = {name: totals[name].dt.tz_convert("UTC") for name in ("start", "end")}
        parts.append(totals.assign(**moments, rule=rule)[list(_NOTHING)])
    every = pd.concat(parts, ignore_index=True)
    inside = (every["start"] >= period.start) & (every["end"] <= period.end)
    return every[inside].reset_index(drop=True), tuple(problems)


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
