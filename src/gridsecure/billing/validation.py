"""Validation, estimation and editing of readings before they may be billed.

Invariants:

- Nothing is dropped silently: every input row is in `accepted` or in `quarantined` with a reason.
- `accepted` holds at most one reading per meter point and interval, all on the interval grid,
  none negative, none missing; what was filled in says `estimated` and is counted.
- A meter point with readings below zero has none in `accepted`, and is named in `left_out`: energy
  fed in is neither a lost reading nor consumption.
- After a run with a billing period, every meter point in `accepted` has every interval of it.
- The result does not depend on the order of the input rows except to choose which of several
  identical rows is kept, and it is the same on every machine: integers only, no clock.

What the rules do, and their limits by class, is data (`rule_books`). Gaps are filled by estimation,
so that the bill is complete and says so; a meter point that lacks more than its class may is left
out of the period. Nothing here reads the clock: `now` is an argument. Cumulative registers are
differenced in `registers`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing import clock_drift
from gridsecure.billing import estimation as est
from gridsecure.billing import estimation_methods as methods
from gridsecure.billing import validation_rules as rules
from gridsecure.billing.readings import (
    COLUMNS,
    MINUTE_US,
    MINUTES_COLUMN,
    ReadingProblem,
    check_readings,
    neighbour_steps,
    register_columns,
    start_us,
    take_rows,
)
from gridsecure.billing.register_values import RegisterValues, complete_registers
from gridsecure.billing.rule_books import HOLD, RuleBook
from gridsecure.billing.rule_policies import MeterRules, ValidationPolicy
from gridsecure.billing.validation_rules import CheckedReadings, Finding, Mask

Period = tuple[dt.datetime, dt.datetime]

# Rows under these rules say nothing about when their meter point was read.
_NO_SPAN = {
    *("unknown-meter-point", "quality-flag", "future", "outside-period", "misaligned"),
    *("interval-size", rules.TWO_INTERVALS, rules.COMPARED),
}

METHOD_COLUMN = "method"
"""In estimates, the name of the method that told the energy."""

LEFT_OUT = (rules.TWO_INTERVALS, rules.NET_METERED)
"""Rules that take a whole meter point out, whatever else its readings are like."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What became of a batch.

    Attributes:
        accepted: A readings frame sorted by meter point and start, estimates included.
        quarantined: Input rows not used: the readings columns, registers too, `row` and
            `reason` (rule names joined by ";").
        problems: What was found, per meter point and rule, and one per gap. No values.
        input_rows: Rows that came in.
        estimates: Rows in `accepted` that were filled in here and were not in the input, each with
            the `method` that told its energy.
        left_out: Meter points that a rule of `LEFT_OUT` took out, and which.
        held: Meter points whose readings are accepted and whose bill a rule holds, and which.
    """

    accepted: pd.DataFrame
    quarantined: pd.DataFrame
    problems: tuple[ReadingProblem, ...]
    input_rows: int
    estimates: pd.DataFrame
    left_out: Mapping[str, str]
    held: Mapping[str, str]

    @property
    def estimated_rows(self) -> int:
        """Rows that were filled in here."""
        return len(self.estimates)

    def counts(self) -> dict[str, int]:
        """Number of problems by rule, sorted by rule."""
        return dict(sorted(Counter(problem.rule for problem in self.problems).items()))


def validate_readings(
    readings: pd.DataFrame,
    *,
    now: dt.datetime,
    policy: ValidationPolicy | None = None,
    period: Period | None = None,
    known_meters: Collection[str] | None = None,
) -> ValidationResult:
    """Sort readings into accepted and quarantined, report problems, and fill gaps.

    Length: the order of the rules is the meaning, so they stand together.

    Args:
        readings: A readings frame, in any row order.
        now: Aware time of validation; intervals that end later are quarantined.
        policy: The rules; the packaged ones when None.
        period: Half-open billing period, aware. Given, every meter point must cover it and other
            rows are quarantined; None, each meter point must cover its own first to last row.
        known_meters: Enrolled meter points; None accepts every meter point in the frame.

    Returns:
        The accepted and the quarantined rows and the problems.

    Raises:
        InvalidReadingsError: `readings.schema` or `readings.interval` when the frame as a whole
            cannot be validated. Single bad rows never raise.
    """
    policy = policy or ValidationPolicy()
    check_readings(readings)
    readings, drifted = clock_drift.move_starts(readings, policy)
    readings, row = _sorted(readings)
    batch = rules.make_batch(readings)
    own = policy.judge(batch.names)
    # 1. Rules on single rows and whole meter points, then rules that compare the survivors.
    findings = _row_findings(batch, now=now, period=period, known=known_meters)
    findings.append(rules.day_totals(batch, ~_union(batch, findings)))
    findings.append(rules.two_intervals(batch, ~_union(batch, findings)))
    findings += rules.duplicates(batch, ~_union(batch, findings))
    whole = own.holds("negative")
    findings += rules.negative_energy(batch, ~_union(batch, findings), whole=whole)
    alive = ~_union(batch, findings)
    told = [Finding("time-drift", drifted[row], clock_drift.DETAIL)] if drifted.any() else []
    vouched = alive & policy.find_vouched(batch)
    alive &= ~vouched
    _judge_plausible(batch, own, alive=alive, findings=findings, told=told)
    alive |= vouched
    # 2. The grid every meter point should cover, and which meter points cover too little of it.
    span = _span(batch, findings, period)
    cells = np.full(len(alive), -1, dtype=np.int64)
    cells[alive] = span.cells(batch, np.flatnonzero(alive))
    # Off the grid is what is none of the intervals expected where a meter point changes length.
    off = Finding("misaligned", alive & (cells < 0), "the start is not on the interval grid")
    findings.append(off)
    alive &= ~off.rows
    findings.append(_incomplete(batch, alive, span=span, own=own))
    # 3. Gaps of the others, reported and filled.
    problems = [
        problem for finding in findings + told for problem in rules.report_problems(batch, finding)
    ]
    alive &= ~findings[-1].rows
    billed = np.bincount(batch.meters[alive], minlength=len(batch.names)) > 0
    missing = est.find_missing(span, cells[alive], within=billed)
    problems += est.gap_problems(batch, missing)
    gaping = est.find_long_gaps(missing, own.limits("gap", "longest_hours") * 60)
    if "gap" in own.waived:
        gaping &= ~own.waived["gap"]
    problems += rules.report_problems(batch, rules.zero_consumption(batch, alive))
    problems += _absent(batch, alive, known_meters)
    gaps = methods.Gaps(batch, alive, missing, policy.past)
    registers = list(complete_registers(readings, gaps, span=span, rules=policy.book.estimation))
    for one in registers:
        problems += rules.report_problems(batch, one.finding)
    estimates = _estimates(readings, gaps, registers=registers, book=policy.book)
    # 4. Every input row goes to exactly one side.
    return ValidationResult(
        accepted=_accepted(_with_registers(readings, registers), gaps, estimates),
        quarantined=_quarantined(readings, findings, row=row, alive=alive),
        problems=tuple(problems),
        input_rows=len(readings),
        estimates=estimates,
        left_out=_left_out(batch, findings, whole=whole),
        held=_held(batch, findings + told, own=own) | dict.fromkeys(batch.names[gaping], "gap"),
    )


def _judge_plausible(
    batch: CheckedReadings,
    own: MeterRules,
    *,
    alive: Mask,
    findings: list[Finding],
    told: list[Finding],
) -> None:
    """Apply the rules on what energies are like; take what does not count out of `alive`.

    A rule looks only at what those before it left.

    Args:
        findings: What does not count is added.
        told: What counts all the same is added.
    """
    for rule in ("spike", "height", "zero-run"):
        if not own.book.is_applied(rule):
            continue
        looked_at = alive & own.applies(rule)[batch.meters]
        if rule == "spike":
            factor, floor_w = own.limits(rule, "factor"), own.limits(rule, "floor_w")
            found = rules.spike(batch, looked_at, factor=factor, floor_w=floor_w)
        elif rule == "height":
            percent = own.limits(rule, "percent")
            found = rules.height(batch, looked_at, capacity_va=own.capacities_va, percent=percent)
        else:
            minutes = own.limits(rule, "hours") * 60
            found = rules.zero_run(batch, looked_at, minutes=minutes)
        out, kept = own.divide(found, batch.meters)
        findings.append(out)
        told.append(kept)
        alive &= ~out.rows


def _held(batch: CheckedReadings, findings: list[Finding], *, own: MeterRules) -> dict[str, str]:
    """Meter points whose bill a rule holds -> the first such rule."""
    held: dict[str, str] = {}
    for finding in findings:
        rule = "duplicate" if finding.rule == "duplicate-conflict" else finding.rule
        if rule not in own.book.rules or rule == rules.NEGATIVE:
            continue
        if any(setting.action == HOLD for setting in own.book.rules[rule].values()):
            meters = np.unique(batch.meters[finding.rows])
            for name in batch.names[meters[own.holds(rule)[meters]]]:
                held.setdefault(str(name), rule)
    return held


def _left_out(batch: CheckedReadings, findings: list[Finding], *, whole: Mask) -> dict[str, str]:
    found: dict[str, str] = {}
    for finding in findings:
        is_negative = finding.rule == rules.NEGATIVE
        rule = rules.NET_METERED if is_negative else finding.rule
        if rule in LEFT_OUT:
            meters = np.unique(batch.meters[finding.rows])
            names = batch.names[meters[whole[meters]] if is_negative else meters]
            found.update({str(name): rule for name in names})
    return found


def _sorted(readings: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Sort once, so that every rule finds neighbours side by side; keep the input positions."""
    meters, _ = pd.factorize(readings["meter_point_id"], sort=True)
    order, _ = neighbour_steps(meters, start_us(readings))
    if (order[1:] > order[:-1]).all():
        return readings, order
    return take_rows([readings], order), order


def _row_findings(
    batch: CheckedReadings,
    *,
    now: dt.datetime,
    period: Period | None,
    known: Collection[str] | None,
) -> list[Finding]:
    return [
        rules.unknown_meter_point(batch, known),
        rules.unknown_quality(batch),
        rules.missing_reading(batch),
        rules.future_reading(batch, now),
        rules.outside_period(batch, period),
        rules.misaligned(batch),
        rules.unknown_length(batch),
    ]


def _union(batch: CheckedReadings, findings: list[Finding]) -> Mask:
    union = np.zeros(len(batch.meters), dtype=bool)
    for finding in findings:
        union |= finding.rows
    return union


def _span(batch: CheckedReadings, findings: list[Finding], period: Period | None) -> est.Span:
    unusable = [finding for finding in findings if finding.rule in _NO_SPAN]
    return est.make_span(batch, ~_union(batch, unusable), period=period)


def _incomplete(batch: CheckedReadings, alive: Mask, *, span: est.Span, own: MeterRules) -> Finding:
    """Live rows of meter points that lack more of their grid than their class may."""
    size = len(batch.names)
    present = np.zeros(size, dtype=np.int64)
    np.add.at(present, batch.meters[alive], batch.length_us[alive] // MINUTE_US)
    actual = np.bincount(batch.meters[alive & (batch.rank == 0)], minlength=size)
    expected = span.minutes
    missing = expected - present
    too_few = missing * 100 > expected * own.limits("gap", "max_percent")
    if rules.INCOMPLETE in own.waived:
        too_few &= ~own.waived[rules.INCOMPLETE]
    too_few |= (missing > 0) & (actual == 0)
    return Finding(
        rules.INCOMPLETE,
        alive & too_few[batch.meters],
        "more of the meter point's intervals lack an actual reading than may be estimated",
    )


def _absent(
    batch: CheckedReadings, alive: Mask, known_meters: Collection[str] | None
) -> list[ReadingProblem]:
    """Meter points that should be billed and have no accepted reading at all."""
    counts = np.bincount(batch.meters[alive], minlength=len(batch.names))
    present = {str(name) for name in batch.names[counts > 0]}
    expected = {str(name) for name in batch.names} if known_meters is None else set(known_meters)
    return [
        ReadingProblem(name, None, "no-readings", "no reading of the meter point was accepted")
        for name in sorted(expected - present)
    ]


def _with_registers(readings: pd.DataFrame, registers: list[RegisterValues]) -> pd.DataFrame:
    changed = {one.column: one.values for one in registers if one.finding.rows.any()}
    return readings.assign(**changed) if changed else readings


def _estimates(
    readings: pd.DataFrame, gaps: methods.Gaps, *, registers: list[RegisterValues], book: RuleBook
) -> pd.DataFrame:
    """What fills the gaps, as rows of readings with the method of each."""
    batch, missing, rules_of_it = gaps.batch, gaps.missing, book.estimation
    energy = gaps.fill(batch.energy_wh, rules_of_it)
    columns: dict[str, object] = {one.column: one.filled for one in registers}
    if MINUTES_COLUMN in readings:
        columns[MINUTES_COLUMN] = missing.step_us // MINUTE_US
    return pd.DataFrame(
        {
            "meter_point_id": batch.names[missing.meters],
            "start": est.local_starts(batch, missing.starts_us),
            "energy_wh": energy.values,
            "quality": "estimated",
            **columns,
            METHOD_COLUMN: np.array(rules_of_it.order, dtype=object)[energy.methods],
        }
    )


def _accepted(readings: pd.DataFrame, gaps: methods.Gaps, estimates: pd.DataFrame) -> pd.DataFrame:
    registers = register_columns(readings)
    stated = [MINUTES_COLUMN] if MINUTES_COLUMN in readings else []
    columns = [*COLUMNS, *registers, *stated]
    batch, alive, missing = gaps.batch, gaps.accepted, gaps.missing
    kept, rows = readings.loc[:, columns], np.flatnonzero(alive)
    parts = [kept]
    if len(estimates):
        parts.append(estimates.loc[:, columns].astype(kept.dtypes.to_dict()))
        # Readings are in order; estimates go between them.
        rows = np.append(rows, len(kept) + np.arange(len(estimates)))
        order, _ = neighbour_steps(
            np.append(batch.meters[alive], missing.meters),
            np.append(batch.starts_us[alive], missing.starts_us),
        )
        rows = rows[order]
    if len(rows) == len(kept) and len(parts) == 1:
        return kept.reset_index(drop=True)
    return take_rows(parts, rows).reset_index(drop=True)


def _quarantined(
    readings: pd.DataFrame, findings: list[Finding], *, row: NDArray[np.int64], alive: Mask
) -> pd.DataFrame:
    rows = np.flatnonzero(~alive)
    reasons = np.full(len(rows), "", dtype=object)
    for finding in findings:
        hit = finding.rows[rows]
        joined = np.where(reasons[hit] == "", "", ";")
        reasons[hit] = reasons[hit] + joined + finding.rule
    columns = [*COLUMNS, *register_columns(readings)]
    quarantined = readings.loc[:, columns].iloc[rows].reset_index(drop=True)
    return quarantined.assign(row=row[rows], reason=pd.Series(reasons, dtype="str"))
