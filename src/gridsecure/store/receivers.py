"""Receivers of events: who is told that something happened in a zone, and of what.

An event is an entry of the zone's evidence log, by its action. A receiver subscribes to some; from
then on each such entry becomes a notice, once, whatever ends the service in between: the notice and
how far the log was looked through are written in one transaction. The log says what happened in
digests, ids and counts, so no notice can hold a reading, an amount or a name.

How notices wait, are tried again and given up is `store.notices`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Engine, Index
from sqlmodel import Field, Session, SQLModel, col, select

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import ConflictError, InputError, NotFoundError
from gridsecure.messages import EventNotice, sign_message
from gridsecure.store import evidence, notices
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.notices import Attempt, NoticeColumns, Post
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import Moment, find

CHANGED: Final = "receiver.changed"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_AT_ONCE: Final = 1000  # entries in one transaction


class ReceiverColumns(SQLModel):
    """Marks a zone's table of receivers.

    Attributes:
        address: Where notices go; empty for a receiver that was removed.
        events: Names of those that it is told of, one a line.
        after: Index of the log's last entry that it was told of, or that was there when it came.
        at: Since when it is told, without having been removed in between.
    """

    name: str = Field(primary_key=True)
    address: str
    events: str
    after: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=Moment)


class EventNoticeColumns(NoticeColumns):
    """Marks a zone's table of notices of events.

    Attributes:
        entry: Index of the log's entry.
        happened_at: When it was entered, ISO 8601.
    """

    receiver: str
    event: str
    subject: str
    count: int
    entry: int = Field(sa_type=BigInteger)
    happened_at: str


def event_indexes() -> tuple[Index, ...]:
    """The indexes that a zone's table of notices of events has."""
    return (
        Index("ix_event_notice_due", "state", "due_at"),
        Index("ix_event_notice_page", "receiver", "id"),
        Index("ix_event_notice_state", "receiver", "state", "id"),
    )


@dataclass(frozen=True, slots=True)
class Event:
    """What receivers may be told of.

    Args:
        action: As the log names it.
        subject: What the entry's detail calls the thing that it is about.
        count: What its detail calls how many there are; empty where it is one.
        unless: A member of the detail, and the value with which nobody is told.
    """

    name: str
    action: str
    subject: str
    count: str = ""
    unless: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told of events.

    Args:
        address: Where notices go.
        events: Names of those that it is told of.
    """

    name: str
    address: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receivers:
    """The receivers of one zone.

    Args:
        receivers: The zone's table of them.
        notices: The zone's table of notices to them.
        events: What they may be told of.
        zone: Which zone it is.
        key: The zone's, which signs notices.
        actor: Who the zone is in its log.
    """

    engine: Engine
    receivers: type[Any]
    notices: type[Any]
    events: tuple[Event, ...]
    zone: Literal["gateway", "authority"]
    key: Sm2PrivateKey = field(repr=False)
    actor: str

    def register(
        self, name: str, *, address: str, events: Sequence[str], person: str, at: datetime
    ) -> Receiver:
        """Register a receiver, or replace what the one of that name is told, and where.

        What happened before it came it is not told; a receiver that is registered again misses
        nothing. One that takes the name of a removed one gets nothing that was for that one.

        Raises:
            InputError: A name (`receiver.name`), an address (`receiver.address`) or an event
                (`receiver.event`) that cannot be.
        """
        wanted = Receiver(name, address, self._checked(name, address, events))
        with write_session(self.engine) as session:
            known = find(session, self.receivers, name=name)
            while known is not None and known.address and self._bring_up(session, known, at=at):
                """What happened until now it is told as it was registered before."""
            is_told = known is not None and bool(known.address)
            if not is_told:
                notices.give_up(session, self.notices, whose=self.notices.receiver == name)
            head = evidence.find_head(session)
            row = self.receivers(
                name=name,
                address=address,
                events="\n".join(wanted.events),
                after=-1 if head is None else head.index,
                at=known.at if known is not None and is_told else at,
            )
            session.merge(row)
            self._log(session, wanted, change="registered", person=person, at=at)
        return wanted

    def remove(self, name: str, *, person: str, at: datetime) -> Receiver:
        """Tell a receiver nothing more; what waits for it is given up.

        Raises:
            NotFoundError: There is none of that name (`not-found.receiver`).
        """
        with write_session(self.engine) as session:
            row = self._find(session, name)
            removed = Receiver(name, "", tuple(row.events.split("\n")))
            row.address = ""
            session.add(row)
            notices.give_up(session, self.notices, whose=self.notices.receiver == name)
            self._log(session, removed, change="removed", person=person, at=at)
        return removed

    def list_all(self) -> list[Receiver]:
        """All receivers that are told something, by name."""
        every = select(self.receivers).where(self.receivers.address != "")
        with read_session(self.engine) as session:
            return [
                Receiver(row.name, row.address, tuple(row.events.split("\n")))
                for row in session.exec(every.order_by(self.receivers.name))
            ]

    def list_notices(
        self, session: Session, asked: PageAsked, *, receiver: str, state: str = ""
    ) -> tuple[Sequence[Any], int | None]:
        """What a receiver was or will be told, oldest first, page by page.

        Args:
            state: Only notices in this state; empty for all.

        Raises:
            NotFoundError: There is no receiver of that name (`not-found.receiver`).
        """
        self._find(session, receiver)
        found = select(self.notices).where(self.notices.receiver == receiver)
        if state:
            found = found.where(self.notices.state == state)
        page = read_page(session, found, key=self.notices.id, asked=asked)
        return page.rows, page.after

    def revision(self, session: Session) -> tuple[object, ...]:
        """Differs whenever a notice is made, sent, tried or given up."""
        return notices.notices_revision(session, self.notices)

    def send_again(self, name: str, *, person: str, at: datetime) -> int:
        """Send a receiver again what was given up since it came; how many notices that are.

        Raises:
            NotFoundError: There is no receiver of that name (`not-found.receiver`).
            ConflictError: It was removed (`conflict.no-address`).
        """
        with write_session(self.engine) as session:
            row = self._find(session, name)
            if not row.address:
                raise ConflictError(
                    "The receiver was removed: it is told nothing.",
                    reason="conflict.no-address",
                    remedy="Register it again first.",
                )
            whose = (self.notices.receiver == name) & (self.notices.at >= row.at)
            count = notices.send_again(session, self.notices, whose=whose, at=at)
            if count:
                one = Receiver(name, row.address, tuple(row.events.split("\n")))
                self._log(session, one, change="notices-again", person=person, at=at)
            return count

    def announce(self, *, at: datetime) -> None:
        """Make a notice of each event that receivers were not told of."""
        with read_session(self.engine) as session:
            told = session.exec(select(self.receivers).where(self.receivers.address != "")).all()
            waiting = {row.name for row in told if self._next(session, row, limit=1)}
        for name in waiting:
            while self._announce(name, at=at):
                """As long as there is more."""

    def deliver(self, *, post: Post, now: datetime) -> datetime | None:
        """Send every notice that is due, as `notices.deliver_due` says."""
        return notices.deliver_due(
            self.engine, self.notices, prepare=partial(self._attempts, now=now), post=post, now=now
        )

    def _announce(self, name: str, *, at: datetime) -> bool:
        """Make the next notices to a receiver; whether there may be more."""
        with write_session(self.engine) as session:
            row = self._find(session, name)
            return bool(row.address) and self._bring_up(session, row, at=at)

    def _bring_up(self, session: Session, row: Any, *, at: datetime) -> bool:
        """Make the next notices to a receiver in a transaction; whether there may be more."""
        named = {event.action: event for event in self.events}
        entries = self._next(session, row, limit=_AT_ONCE)
        for entry in entries:
            row.after = entry.index
            event, detail = named[entry.action], json.loads(entry.detail)
            member, value = event.unless
            if member and detail[member] == value:
                continue
            session.add(
                self.notices(
                    receiver=row.name, event=event.name, subject=str(detail[event.subject]),
                    count=detail[event.count] if event.count else 1, entry=entry.index,
                    happened_at=entry.at, state="waiting", attempts=0, due_at=at, at=at,
                )
            )  # fmt: skip
        session.add(row)
        return len(entries) == _AT_ONCE

    def _next(self, session: Session, row: Any, *, limit: int) -> Sequence[EvidenceRow]:
        """The next entries of the log that a receiver is to be told of."""
        wanted = row.events.split("\n")
        actions = [event.action for event in self.events if event.name in wanted]
        found = select(EvidenceRow).where(
            col(EvidenceRow.action).in_(actions), col(EvidenceRow.index) > row.after
        )
        return session.exec(found.order_by(col(EvidenceRow.index)).limit(limit)).all()

    def _attempts(self, rows: Sequence[Any], *, now: datetime) -> Mapping[str, Sequence[Attempt]]:
        addresses = {one.name: one.address for one in self.list_all()}
        by_receiver: dict[str, list[Attempt]] = {}
        for row in rows:
            attempt = partial(self._attempt, row, addresses.get(row.receiver, ""), now)
            by_receiver.setdefault(row.receiver, []).append(attempt)
        return by_receiver

    def _attempt(self, row: Any, address: str, now: datetime, post: Post) -> bool:
        """Send a notice, and note whether it was taken."""
        is_taken = bool(address) and post(address, *self._write(row, now))
        fields: dict[str, object] = {"state": "told"}
        if not is_taken:
            fields = notices.put_off(row.attempts, address=address, now=now)
        notices.note(self.engine, self.notices, row.id, fields)
        return is_taken

    def _write(self, row: Any, now: datetime) -> tuple[bytes, dict[str, str]]:
        """The signed notice, and CloudEvents' headers for it (binary mode of version 1.0)."""
        notice = EventNotice(
            zone=self.zone,
            receiver=row.receiver,
            event=row.event,
            subject=row.subject,
            count=row.count,
            entry=row.entry,
            happened_at=row.happened_at,
            at=now.isoformat(),
        )
        headers = {
            "Content-Type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": str(row.entry),
            "ce-source": f"/{self.zone}/{self.key.public_key.thumbprint}",
            "ce-type": f"gridsecure.{row.event}",
            "ce-subject": row.subject,
        }
        return sign_message(notice, key=self.key).model_dump_json().encode(), headers

    def _checked(self, name: str, address: str, events: Sequence[str]) -> tuple[str, ...]:
        if not _NAME.fullmatch(name):
            raise InputError(
                "A receiver's name has up to 64 small letters, digits and hyphens.",
                reason="receiver.name",
                remedy="Choose another name, such as settlement-desk.",
            )
        if not notices.may_be_told(address):
            raise InputError(
                "This is no address that notices can go to.",
                reason="receiver.address",
                remedy="Give an https:// address without a name, password or fragment.",
            )
        known = tuple(dict.fromkeys(event.name for event in self.events))
        if not events or not set(events) <= set(known):
            raise InputError(
                "An event is none that happens at this service.",
                reason="receiver.event",
                remedy=f"Give some of {', '.join(known)}.",
            )
        return tuple(name for name in known if name in events)

    def _find(self, session: Session, name: str) -> Any:
        row = find(session, self.receivers, name=name)
        if row is None:
            raise NotFoundError(
                "There is no receiver of that name here.", reason="not-found.receiver"
            )
        return row

    def _log(
        self, session: Session, one: Receiver, *, change: str, person: str, at: datetime
    ) -> None:
        detail: dict[str, evidence.JSON] = {
            "receiver": one.name,
            "events": list(one.events),
            "change": change,
            "person": person,
        }
        evidence.append(session, at=at, actor=self.actor, action=CHANGED, detail=detail)
