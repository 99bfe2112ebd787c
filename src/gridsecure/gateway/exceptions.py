"""The work list: what somebody has to look at before, or after, a month is billed.

An exception is a meter point of a month and a rule that found something. It is `open`, then
`assigned` to an owner, then `resolved` or `waived`; each change is kept with who made it. The list
is brought up to what was found whenever a month is validated, for its bills or for a correction:

- what is found for the first time is opened;
- what is found no more, and nobody closed, is resolved by the gateway;
- what was resolved and is found again of other intervals is opened again;
- what was waived stays waived. A waiver says that a rule shall not hold the meter point's bill.

So a waiver is refused where it would do nothing: readings that were set aside count once they are
confirmed (`edits`), and what no rule of readings holds is not let go by it.

So validating the same month again changes nothing. Neither table holds a reading. How many were
opened is in the evidence log, which receivers of events are told from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from sqlmodel import Session, col, select

from gridsecure.billing.rule_books import FLAG, HOLD, KINDS, QUARANTINE, parse_kept_book
from gridsecure.billing.validation_rules import INCOMPLETE, TWO_INTERVALS
from gridsecure.errors import ConflictError, InputError, NotFoundError
from gridsecure.gateway.books.facts import point_of
from gridsecure.gateway.findings import Found
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import rules_of
from gridsecure.gateway.tables import CURRENT, ContractRow, ExceptionNoteRow, ExceptionRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, narrow, newest, read_page

State = Literal["open", "assigned", "resolved", "waived"]
OPEN, ASSIGNED, RESOLVED, WAIVED = "open", "assigned", "resolved", "waived"
CLOSED: Final = (RESOLVED, WAIVED)
EXCEPTIONS_OPENED: Final = "exceptions.opened"
"""In the evidence log: how many a validation opened, or opened again."""
GATEWAY: Final = "gateway"
"""Who changes what validation itself settles."""

LONGEST_TEXT: Final = 2000
LONGEST_NAME: Final = 200
_ACTIONS: Final = dict.fromkeys(
    ("quality-flag", "misaligned", "interval-size", TWO_INTERVALS), QUARANTINE
) | {"gap": HOLD, INCOMPLETE: HOLD}
"""What rules that are in no book do with readings."""
_OF_IDENTITY: Final = ("identity.", "books.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which exceptions are asked for; what is empty does not matter.

    Args:
        month: YYYY-MM.
        state: One of `State`.
    """

    month: str = ""
    state: str = ""
    owner: str = ""
    meter_point_id: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a person does to an exception; None leaves a thing as it is.

    Args:
        state: Its new state.
        owner: Whose work it is; empty takes it from whoever has it.
        due: By when it is to be done, as 2026-08-05; empty for no day.
        note: What there is to say.
        revision: The revision that the person saw; None for whichever it is.
    """

    state: State | None = None
    owner: str | None = None
    due: str | None = None
    note: str = ""
    revision: int | None = None

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: `exception.change`, `exception.note`, `exception.due`.
        """
        if self.state is None and self.owner is None and self.due is None and not self.note:
            raise _refusal("Nothing is to be changed", "change", "State what is to be changed.")
        if self.state == ASSIGNED and not self.owner:
            raise _refusal("Nobody is named as its owner", "change", "Name the owner.")
        if self.state in CLOSED and not self.note:
            raise _refusal(
                "An exception is closed with a note that says why", "note", "Write the note."
            )
        if len(self.note) > LONGEST_TEXT or len(self.owner or "") > LONGEST_NAME:
            raise _refusal(
                f"A note has up to {LONGEST_TEXT:,} characters, a name {LONGEST_NAME}",
                "note",
                "Shorten it.",
            )
        if self.due:
            try:
                date.fromisoformat(self.due)
            except ValueError as error:
                raise _refusal("That is no day", "due", "Write the day as 2026-08-05.") from error


def record_found(
    zone: GatewayZone,
    month: str,
    found: Iterable[Found],
    *,
    at: datetime,
    is_final: bool,
    occasion: str = "Validated again",
) -> None:
    """Bring the list up to what was found of a month; the same again changes nothing.

    Args:
        month: YYYY-MM.
        found: One for each meter point and rule.
        is_final: Whether the identity authority was asked too; else what it said before stays.
        occasion: Why it was validated, as the notes say it.

    Raises:
        StorageError: The database could not take it.
    """
    wanted = {(one.meter_point_id, one.rule): one for one in found}
    with write_session(zone.engine) as session:
        revision, opened = read_revision(session), 0
        rows = session.exec(select(ExceptionRow).where(ExceptionRow.month == month)).all()
        for row in rows:
            one = wanted.pop((row.meter_point_id, row.rule), None)
            if one is None and not is_final and row.rule.startswith(_OF_IDENTITY):
                continue
            was_closed = row.state in CLOSED
            said = _brought_up(row, one, occasion)
            opened += was_closed and row.state == OPEN
            if said:
                revision += 1
                row.revision, row.changed_at = revision, at
                session.add(row)
                session.add(_note(row, said, person=GATEWAY, at=at))
        for one in wanted.values():
            revision += 1
            session.add(_opened(month, one, revision=revision, at=at))
        opened += len(wanted)
        if opened:
            detail: dict[str, evidence.JSON] = {"month": month, "opened": opened}
            evidence.append(
                session, at=at, actor=zone.service_id, action=EXCEPTIONS_OPENED, detail=detail
            )


def _brought_up(row: ExceptionRow, found: Found | None, occasion: str) -> str:
    """Change a row to what is found of it now; what is to be said of that."""
    if found is None:
        if row.state in CLOSED:
            return ""
        row.state = RESOLVED
        return f"{occasion}: it is found no more."
    before = (row.intervals, row.is_unbilled)
    row.first_at = found.first_at
    row.intervals, row.is_unbilled = found.intervals, found.is_unbilled
    if before[0] != found.intervals and row.state == RESOLVED:
        row.state, row.owner = OPEN, ""
        return f"{occasion}: found again, of {found.intervals} intervals."
    if before != (found.intervals, found.is_unbilled):
        return f"{occasion}: {found.intervals} intervals, {before[0]} before."
    return ""


def _opened(month: str, found: Found, *, revision: int, at: datetime) -> ExceptionRow:
    return ExceptionRow(
        month=month,
        meter_point_id=found.meter_point_id,
        rule=found.rule,
        intervals=found.intervals,
        first_at=found.first_at,
        is_unbilled=found.is_unbilled,
        state=OPEN,
        owner="",
        due="",
        opened_at=at,
        changed_at=at,
        revision=revision,
    )


def find_waived(zone: GatewayZone, month: str) -> frozenset[tuple[str, str]]:
    """Meter points and rules of a month that somebody waived."""
    waived = select(ExceptionRow.meter_point_id, ExceptionRow.rule).where(
        ExceptionRow.month == month, ExceptionRow.state == WAIVED
    )
    with read_session(zone.engine) as session:
        return frozenset((name, rule) for name, rule in session.exec(waived))


def read_revision(session: Session) -> int:
    """Rises with every change of the list."""
    return newest(session, ExceptionRow.revision)


def list_exceptions(
    session: Session, asked: PageAsked, *, wanted: Wanted
) -> tuple[list[ExceptionRow], int | None]:
    """Exceptions in the order in which they were opened, page by page."""
    columns = (
        (ExceptionRow.month, wanted.month),
        (ExceptionRow.state, wanted.state),
        (ExceptionRow.owner, wanted.owner),
        (ExceptionRow.meter_point_id, wanted.meter_point_id),
    )
    found = narrow(select(ExceptionRow), columns)
    page = read_page(session, found, key=ExceptionRow.id, asked=asked)
    return list(page.rows), page.after


def load_exception(zone: GatewayZone, number: int) -> tuple[ExceptionRow, list[ExceptionNoteRow]]:
    """An exception and all that was said of it, in order.

    Raises:
        NotFoundError: There is none of that number (`not-found.exception`).
    """
    said = select(ExceptionNoteRow).where(ExceptionNoteRow.exception_id == number)
    with read_session(zone.engine) as session:
        row = _load(session, number)
        notes = session.exec(said.order_by(col(ExceptionNoteRow.id))).all()
        session.expunge_all()
        return row, list(notes)


def change_exception(
    zone: GatewayZone, number: int, change: Change, *, person: str, at: datetime
) -> None:
    """Change an exception, and keep who did what.

    Args:
        number: Its number.
        person: Who does it.

    Raises:
        NotFoundError: There is none of that number (`not-found.exception`).
        ConflictError: It was changed since the person saw it (`conflict.exception`).
        InputError: As `Change.check`, or it is waived and that would do nothing
            (`exception.waive`).
    """
    change.check()
    if change.state == WAIVED:
        _require_waivable(zone, load_exception(zone, number)[0])
    with write_session(zone.engine) as session:
        row = _load(session, number)
        if change.revision not in (None, row.revision):
            raise ConflictError(
                "The exception was changed since you read it.",
                reason="conflict.exception",
                remedy="Read it again, and decide anew.",
            )
        said = []
        for name, after in _after(row, change).items():
            before = getattr(row, name)
            if after != before:
                said.append(f"{name}: {before or '–'} → {after or '–'}")
                setattr(row, name, after)
        row.revision, row.changed_at = read_revision(session) + 1, at
        text = "; ".join(said) + ("\n" if said and change.note else "") + change.note
        session.add(row)
        session.add(_note(row, text, person=person, at=at))


def _require_waivable(zone: GatewayZone, row: ExceptionRow) -> None:
    """Refuse a waiver that would change nothing of the bill."""
    plan = find_plan(zone, row.month)
    rule = "duplicate" if row.rule == "duplicate-conflict" else row.rule
    action = _ACTIONS.get(rule, FLAG)
    if rule not in _ACTIONS and rule in KINDS:
        book = parse_kept_book(rules_of(zone, row.month, plan=plan))
        action = book.setting(rule, _class_of(zone, row)).action
    if action == QUARANTINE:
        raise _refusal(
            "The readings were set aside, and a waiver does not make them count",
            "waive",
            "Are they right, confirm them: gridsecure edits confirm. Were they put right, or may"
            " the estimate stand, resolve the exception.",
        )
    if row.is_unbilled and action != HOLD:
        raise _refusal(
            "No rule of readings holds this bill, so a waiver does not let it go",
            "waive",
            "Put right what its reason names; the meter point is billed then.",
        )
    if row.is_unbilled and plan is not None:
        raise _refusal(
            f"{row.month} is fixed, with the waivers of then",
            "waive",
            "Order a correction by a rule book that does not hold it: gridsecure correction start"
            " --rules.",
        )


def _class_of(zone: GatewayZone, row: ExceptionRow) -> str:
    """The customer class that the books have for the meter point in the month; empty for none."""
    period = zone.period(row.month)
    stated = select(ContractRow.customer_class).where(
        ContractRow.meter_point_id == point_of(row.meter_point_id),
        col(ContractRow.valid_to) > period.start.date(),
        col(ContractRow.valid_from) < period.end.date(),
        col(ContractRow.until_revision) == CURRENT,
    )
    with read_session(zone.engine) as session:
        return session.exec(stated.limit(1)).first() or ""


def _after(row: ExceptionRow, change: Change) -> dict[str, str]:
    """What the change makes of each column that it is about."""
    state: str | None = change.state
    owner = "" if change.state == OPEN and change.owner is None else change.owner
    if state is None and owner is not None and row.state not in CLOSED:
        state = ASSIGNED if owner else OPEN
    columns = {"state": state, "owner": owner, "due": change.due}
    return {name: value for name, value in columns.items() if value is not None}


def _load(session: Session, number: int) -> ExceptionRow:
    row = session.get(ExceptionRow, number)
    if row is None:
        raise NotFoundError(
            "There is no exception of that number here.", reason="not-found.exception"
        )
    return row


def _note(row: ExceptionRow, text: str, *, person: str, at: datetime) -> ExceptionNoteRow:
    return ExceptionNoteRow(exception_id=row.id or 0, person=person, text=text, at=at)


def _refusal(why: str, code: str, remedy: str) -> InputError:
    return InputError(f"{why}.", reason=f"exception.{code}", remedy=remedy)
