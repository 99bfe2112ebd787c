"""Rule books of a gateway: which one holds for a month.

An operator hands one in for all months, or for one. It holds for what is validated from then on; a
month that is fixed keeps the one that its plan names. Texts lie among the objects by their digests,
so that the book of every month can be read for as long as its bills can.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from gridsecure.billing.rule_books import RuleBook, default_text, parse_book
from gridsecure.errors import ConflictError
from gridsecure.gateway.month_plan import MonthPlan, find_plan
from gridsecure.gateway.tables import RuleSetRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.database import read_session, write_session

ALL_MONTHS = ""
"""In place of a month: whatever month has no book of its own."""


def keep_rules(
    zone: GatewayZone, text: str, *, month: str = ALL_MONTHS, person: str, at: datetime
) -> RuleBook:
    """Let a rule book hold from now on; the same again changes nothing.

    Args:
        text: The book, as `parse_book` reads it.
        month: YYYY-MM, or `ALL_MONTHS`.
        person: Who handed it in.

    Raises:
        InputError: It is no rule book (`rules.*`), or not a month.
        ConflictError: The month is fixed (`conflict.month-rules`).
        StorageError: The disk or the database could not take it; the book before holds on.
    """
    book = parse_book(text)
    if month:
        zone.period(month)
        if find_plan(zone, month) is not None:
            raise ConflictError(
                f"The rosters of {month} are fixed, and with them the rules of its readings.",
                reason="conflict.month-rules",
                remedy="Order a correction by the other book: gridsecure correction start --rules.",
            )
    digest = zone.objects.put(text.encode())
    with write_session(zone.engine) as session:
        held = session.exec(_newest(month)).first()
        if held is None or held.digest != digest:
            row = RuleSetRow(month=month, digest=digest, version=book.version, person=person, at=at)
            session.add(row)
    return book


def rules_of(zone: GatewayZone, month: str, *, plan: MonthPlan | None = None) -> str:
    """The text of the book that a month is validated by.

    Args:
        month: YYYY-MM, or `ALL_MONTHS` for what holds where a month has none of its own.
        plan: The month's plan, if it is fixed.

    Raises:
        StorageError: The book is gone, or was altered.
    """
    if plan is not None:
        return zone.objects.get(plan.rules).decode() if plan.rules else default_text()
    with read_session(zone.engine) as session:
        row = session.exec(_newest(month)).first() or session.exec(_newest(ALL_MONTHS)).first()
    return default_text() if row is None else zone.objects.get(row.digest).decode()


def _newest(month: str) -> SelectOfScalar[RuleSetRow]:
    own = select(RuleSetRow).where(RuleSetRow.month == month)
    return own.order_by(col(RuleSetRow.id).desc()).limit(1)
