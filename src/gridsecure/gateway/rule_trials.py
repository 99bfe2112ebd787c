"""Trials of rules: a month that is not fixed, validated by the rules in force and by others.

The work list and the files of the month are brought up to what the rules in force find. What the
other rules would find is counted and kept beside it, and nothing else of it is: an operator who
likes the difference hands the rules in (`rule_sets`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.billing.rule_books import parse_book
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, NotFoundError
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.exceptions import record_found
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.months import Progress
from gridsecure.gateway.preparation import Admitted, admit_month
from gridsecure.gateway.private_files import private_folder
from gridsecure.gateway.tables import RuleTrialCountRow, RuleTrialRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.database import read_session, write_session

_FOLDER: Final = "trial"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, and by whom.

    Args:
        rules: Text of the other rule book; empty to validate by the rules in force alone.
        person: Who asked for it.
    """

    rules: str
    person: str


def require_tryable(zone: GatewayZone, month: str, trial: Trial) -> None:
    """Refuse what cannot be tried, before anything is read.

    Raises:
        InputError: It is no rule book (`rules.*`).
        ConflictError: The month is fixed (`conflict.month-rules`).
    """
    if trial.rules:
        parse_book(trial.rules)
    if find_plan(zone, month) is not None:
        raise ConflictError(
            f"The rosters of {month} are fixed, and with them the rules of its readings.",
            reason="conflict.month-rules",
            remedy="Try other rules on a month that is not processed yet.",
        )


def try_rules(
    zone: GatewayZone,
    files: MonthFiles,
    trial: Trial,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
) -> None:
    """Validate a month by the rules in force and by others, and keep the difference in counts.

    Args:
        files: What the operator handed in, with the rules in force.
        progress: Told of each stage.

    Raises:
        InputError: The month is not over, or a file cannot be used.
        StorageError: The disk or the database could not take it; no trial is kept.
    """
    at = clock()
    before = _admitted(zone, files, at=at, progress=progress)
    found = before.list_found()
    record_found(zone, files.month, found, at=clock(), is_final=False)
    after, rules = before, trial.rules or files.rules
    if rules != files.rules:
        folder = private_folder(files.folder / _FOLDER)
        try:
            other = replace(files, rules=rules, folder=folder, months=files.folder.parent)
            after = _admitted(zone, other, at=at, progress=progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    _keep(zone, _row(files, rules, before, after, person=trial.person, at=at), before, after)


def _row(
    files: MonthFiles,
    rules: str,
    before: Admitted,
    after: Admitted,
    *,
    person: str,
    at: datetime,
) -> RuleTrialRow:
    return RuleTrialRow(
        month=files.month,
        rules_before=sm3_hex(files.rules.encode()),
        rules_after=sm3_hex(rules.encode()),
        person=person,
        at=at,
        billed_before=len(before.admission.billed),
        billed_after=len(after.admission.billed),
        estimated_before=before.collected.estimated_rows,
        estimated_after=after.collected.estimated_rows,
        quarantined_before=len(before.collected.quarantined),
        quarantined_after=len(after.collected.quarantined),
    )


def _keep(zone: GatewayZone, row: RuleTrialRow, before: Admitted, after: Admitted) -> None:
    counts = [one.collected.problems for one in (before, after)]
    with write_session(zone.engine) as session:
        session.add(row)
        session.flush()
        for rule in sorted({*counts[0], *counts[1]}):
            found, other = (one.get(rule, 0) for one in counts)
            session.add(RuleTrialCountRow(trial=row.id or 0, rule=rule, before=found, after=other))


def find_trial(zone: GatewayZone, month: str) -> tuple[RuleTrialRow, list[RuleTrialCountRow]]:
    """The newest trial of a month, with its counts by rule.

    Raises:
        NotFoundError: There was none (`not-found.rule-trial`).
    """
    own = select(RuleTrialRow).where(RuleTrialRow.month == month)
    with read_session(zone.engine) as session:
        row = session.exec(own.order_by(col(RuleTrialRow.id).desc()).limit(1)).first()
        if row is None:
            raise NotFoundError("No rules were tried on this month.", reason="not-found.rule-trial")
        counts = _counts(session, row)
        session.expunge_all()
        return row, counts


def _counts(session: Session, row: RuleTrialRow) -> list[RuleTrialCountRow]:
    own = select(RuleTrialCountRow).where(RuleTrialCountRow.trial == row.id)
    return list(session.exec(own.order_by(col(RuleTrialCountRow.rule))))


def _admitted(
    zone: GatewayZone, files: MonthFiles, *, at: datetime, progress: Progress
) -> Admitted:
    return admit_month(
        files,
        period=zone.period(files.month),
        timezone=zone.timezone,
        at=at,
        begin=lambda stage: progress(stage, 0, 0),
    )
