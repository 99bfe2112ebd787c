"""What a gateway keeps about a month: the plan once it is fixed, and the report once it is done.

Both are records that never change. Until a plan is recorded, no reading of the month left the
gateway and its files may be replaced; afterwards a run can only complete it. One thing alone makes
another plan of a month: a meter point is revoked before its roster is committed, so that the
platform does not take that roster in. The plan that takes its place leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam
from sqlmodel import col, func, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, NotFoundError
from gridsecure.gateway.outbox import upload_name
from gridsecure.gateway.tables import (
    CorrectionPlanRow,
    DocumentRow,
    MonthPlanRow,
    MonthReportRow,
)
from gridsecure.gateway.zone import GatewayZone, IntakeZone
from gridsecure.messages import FIRST_REVISION
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, keep
from gridsecure.wire.gateway import MonthReport

MONTH_DONE: Final = "month.done"
"""In the evidence log: a month's bills are fixed and its uploads committed."""


@dataclass(frozen=True, slots=True)
class MonthPlan:
    """What is fixed before the first column is encrypted.

    Args:
        start: Start of the period, ISO 8601.
        end: Its end, exclusive.
        validated_at: When the readings were validated; another run validates as of then.
        tariffs: Digests of the tariffs in use.
        counts: The report as far as it is known.
        refused: Meter points that the identity authority refused, with the reason; another run
            leaves out the same ones.
        until_batch: The number of the last batch of readings that counts; later ones are late.
        books_revision: The revision of the books that its contracts are of.
        rules: Digest of the rule book that they are validated by, which is among the objects; empty
            where they were not validated by one.
        edits: Digests of the edits of readings that count.
        waived: Meter points and rules of that book whose hold of a bill somebody had waived.
    """

    start: str
    end: str
    validated_at: str
    rosters: tuple[str, ...]
    tariffs: tuple[str, ...]
    counts: Mapping[str, Any]
    refused: Mapping[str, str]
    until_batch: int = 0
    books_revision: int = 0
    rules: str = ""
    waived: tuple[tuple[str, str], ...] = ()
    edits: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the outbox of what goes out first."""
        return tuple(upload_name(name, self.start, FIRST_REVISION) for name in self.rosters)


def find_plan(zone: IntakeZone, month: str) -> MonthPlan | None:
    """The plan of a month that is in force, or None while it is not fixed."""
    row = _plan_in_force(zone, month)
    if row is None:
        return None
    fields: dict[str, Any] = json.loads(row.document)
    rosters, tariffs = tuple(fields.pop("rosters")), tuple(fields.pop("tariffs"))
    waived = tuple((name, rule) for name, rule in fields.pop("waived", ()))
    edits = tuple(fields.pop("edits", ()))
    return MonthPlan(rosters=rosters, tariffs=tariffs, waived=waived, edits=edits, **fields)


def find_report(zone: GatewayZone, month: str) -> MonthReport | None:
    """The report of a finished month, or None."""
    with read_session(zone.engine) as session:
        row = find(session, MonthReportRow, month=month)
    return None if row is None else MonthReport(**json.loads(row.document))


def is_done(zone: GatewayZone, month: str) -> bool:
    """Whether a month is finished; its report is not read."""
    with read_session(zone.engine) as session:
        found = select(MonthReportRow.month).where(MonthReportRow.month == month)
        return session.exec(found).first() is not None


def corrected_until(zone: IntakeZone, month: str) -> int:
    """The number of the last batch that counts in a correction of a month; 0 where none does."""
    last = select(func.max(CorrectionPlanRow.until_batch)).where(CorrectionPlanRow.month == month)
    with read_session(zone.engine) as session:
        return session.exec(last).one() or 0


def fix_plan(zone: GatewayZone, month: str, *, plan: MonthPlan, at: datetime) -> None:
    """Record a month's plan; the same plan again changes nothing.

    Raises:
        ConflictError: Another plan is recorded (`conflict.month-plan`): the files were changed.
        StorageError: The database could not take it.
    """
    known = find_plan(zone, month)
    if known is None:
        _keep(zone, MonthPlanRow(month=month, number=1, **_document(asdict(plan), at=at)))
    elif (known.rosters, known.tariffs) != (plan.rosters, plan.tariffs):
        raise _other_files()


def replace_plan(
    zone: GatewayZone, month: str, *, plan: MonthPlan, settled: frozenset[str], at: datetime
) -> None:
    """Put a plan in place of the one in force, which has a revoked member.

    Args:
        month: YYYY-MM.
        plan: The plan without that member.

    Raises:
        ConflictError: It lacks a roster that is committed (`conflict.month-plan`).
        StorageError: The database could not take it.
    """
    if not settled <= set(plan.rosters):
        raise _other_files()
    earlier = _plan_in_force(zone, month)
    number = 1 if earlier is None else earlier.number + 1
    _keep(zone, MonthPlanRow(month=month, number=number, **_document(asdict(plan), at=at)))


def keep_report(zone: GatewayZone, month: str, *, report: MonthReport, at: datetime) -> None:
    """Record the report of a finished month, and in the evidence log that it is done."""
    row = MonthReportRow(month=month, **_document(report.model_dump(), at=at))
    with write_session(zone.engine) as session:
        if keep(session, row):
            detail: dict[str, evidence.JSON] = {"month": month, "report": row.digest}
            evidence.append(session, at=at, actor=zone.service_id, action=MONTH_DONE, detail=detail)


def load_plan(zone: GatewayZone, month: str) -> MonthPlan:
    """The plan of a month that must have one.

    Raises:
        NotFoundError: It has none (`month.not-processed`).
    """
    plan = find_plan(zone, month)
    if plan is None:
        raise NotFoundError(
            "This month was not processed here.",
            reason="month.not-processed",
            remedy="Send its files and process it first.",
        )
    return plan


def _plan_in_force(zone: IntakeZone, month: str) -> MonthPlanRow | None:
    with read_session(zone.engine) as session:
        return session.exec(_IN_FORCE, params={"month": month}).first()


_IN_FORCE: Final = (
    select(MonthPlanRow)
    .where(col(MonthPlanRow.month) == bindparam("month"))
    .order_by(col(MonthPlanRow.number).desc())
    .limit(1)
)


def _keep(zone: GatewayZone, row: DocumentRow) -> None:
    with write_session(zone.engine) as session:
        keep(session, row)


def _document(fields: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
    text = json.dumps(fields, sort_keys=True)
    return {"digest": sm3_hex(text.encode()), "document": text, "at": at}


def _other_files() -> ConflictError:
    return ConflictError(
        "The month's files give different rosters from those already fixed.",
        reason="conflict.month-plan",
        remedy="Put the files back as they were when the month was first processed.",
    )
