"""Notices that a service sends to addresses: rows until somebody took them, tried ever less often.

A notice is a row from the moment something happened: a service that is ended in between sends it
after its next start, and an address that does not answer is tried again for five days. Then the
notice is given up and stays, until somebody has it sent again.

Receivers are told side by side, so that one whose address is slow keeps no other waiting. Once it
does not take a notice, its others of that round are put off with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlmodel import Field, Session, SQLModel, col, func, select, update

from gridsecure.loopback import is_loopback
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import newest
from gridsecure.store.rows import Moment

State = Literal["waiting", "told", "given-up"]

PAUSES: Final = tuple(
    timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360, 720, 1440, 1440, 1440, 1440)
)
"""From each failed attempt to the next; after the last one the notice is given up."""

MOST_AGAIN: Final = 1000
"""Notices that are put back at once."""

LONGEST_ADDRESS: Final = 2000
_AT_ONCE: Final = 100  # notices in one round
_SIDE_BY_SIDE: Final = 32  # receivers

Post = Callable[[str, bytes, Mapping[str, str]], bool]
"""Sends a body with headers to an address; whether it was taken."""

Attempt = Callable[[Post], bool]
"""Sends a notice; whether it was taken. It notes that in the notice's row."""


class NoticeColumns(SQLModel):
    """Marks a zone's table of notices.

    Attributes:
        state: waiting, told or given-up.
        due_at: When it is sent, or sent again.
        at: When it was made.
    """

    id: int | None = Field(default=None, primary_key=True)
    state: str
    attempts: int
    due_at: datetime = Field(sa_type=Moment)
    at: datetime = Field(sa_type=Moment)


def may_be_told(address: str) -> bool:
    """Whether notices may go to an address: protected, and with no password in it."""
    try:
        parts = urlsplit(address)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
        is_plain = not (parts.username or parts.password or parts.fragment)
        is_whole = bool(parts.hostname) and parts.port != 0 and address.isascii()
        (parts.hostname or "").encode("idna")
    except ValueError:  # a port that is no number, or a name with a part that is empty or too long
        return False
    return is_safe and is_plain and is_whole and len(address) <= LONGEST_ADDRESS


def deliver_due(
    engine: Engine,
    table: type[Any],
    *,
    prepare: Callable[[Sequence[Any]], Mapping[str, Sequence[Attempt]]],
    post: Post,
    now: datetime,
) -> datetime | None:
    """Send every notice that is due, the longest waiting first.

    Args:
        table: The zone's notices.
        prepare: The attempts at some of them, by receiver, in their order.
        post: Called from several threads, one a receiver.

    Returns:
        When to come again; None while no notice waits.
    """
    waiting = select(table).where(table.state == "waiting")
    ordered = waiting.order_by(table.due_at, table.id).limit(_AT_ONCE)
    with read_session(engine) as session:
        rows = [row for row in session.exec(ordered) if row.due_at <= now]
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="notice") as pool:
        for _ in pool.map(lambda own: _deliver(own, post), prepare(rows).values()):
            pass
    with read_session(engine) as session:
        due = select(table.due_at).where(table.state == "waiting").order_by(table.due_at)
        found: datetime | None = session.exec(due).first()
        return found


def _deliver(own: Sequence[Attempt], post: Post) -> None:
    """Send the notices of one receiver, until it does not take one."""
    for attempt in own:
        if not attempt(post):
            post = _put_off


def _put_off(_address: str, _body: bytes, _headers: Mapping[str, str]) -> bool:
    return False


def put_off(attempts: int, *, address: str, now: datetime) -> dict[str, object]:
    """What changes in the row of a notice that was not taken: it is tried later, or given up.

    Args:
        attempts: How often it was tried before.
        address: Where it goes; empty for a receiver that is told nothing any more.
    """
    tried = attempts + 1
    if tried > len(PAUSES) or not address:
        return {"attempts": tried, "state": "given-up"}
    return {"attempts": tried, "due_at": now + PAUSES[attempts]}


def note(engine: Engine, table: type[Any], number: int | None, fields: dict[str, object]) -> None:
    """Change a notice's row."""
    with write_session(engine) as session:
        session.exec(update(table).where(table.id == number).values(**fields))


def give_up(session: Session, table: type[Any], *, whose: Any) -> None:
    """Give up what waits, as for a receiver that is told nothing any more.

    Args:
        session: From `write_session`.
        whose: The condition that finds a receiver's notices.
    """
    waiting = update(table).where(table.state == "waiting", whose)
    session.exec(waiting.values(state="given-up", attempts=table.attempts + 1))


def send_again(session: Session, table: type[Any], *, whose: Any, at: datetime) -> int:
    """Put back what was given up, with all attempts anew; how many notices that are.

    Args:
        session: From `write_session`.
        whose: The condition that finds a receiver's notices.
    """
    given_up = (
        select(table.id)
        .where(table.state == "given-up", whose)
        .order_by(table.due_at)
        .limit(MOST_AGAIN)
    )
    numbers = session.exec(given_up).all()
    again = {"state": "waiting", "attempts": 0, "due_at": at}
    session.exec(update(table).where(table.id.in_(numbers)).values(**again))
    return len(numbers)


def notices_revision(session: Session, table: type[Any]) -> tuple[object, ...]:
    """Differs whenever a notice is made, sent, tried or given up."""
    tried = select(func.count(), func.sum(col(table.attempts))).where(table.state == "waiting")
    return newest(session, table.id), *session.execute(tried).one()
