"""Openings under dual control: orders, shares, and what both offices then read.

1. An order goes into the evidence log; the hash of its entry is what shares are bound to.
2. Each office checks the entry for itself and gives its share. It is verified at once; a wrong one
   is refused and logged with the opener's name.
3. When both are there, their digests go into the log, then the escrow opens to the key Y. Whose it
   is, this side cannot know: it hands out the key and keeps unread what is said of it.

Orders are in the log and outlive a restart. Shares and results live in `ShortMemory`: the shares of
an escrow that opened are dropped at once, all others and every result after a quarter of an hour.
Reading a result later takes both offices again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Final, Generic, TypeVar

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from gridsecure.credentials.log_details import ACTOR, WARRANT, check_warrant, warrant_detail
from gridsecure.credentials.opening import (
    OPENERS,
    Opener,
    open_escrow,
    opener_public_key,
    share_digest,
    verify_share,
)
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.suites import Suite
from gridsecure.errors import AuthenticityError, InputError, NotFoundError
from gridsecure.identity.registrations.leaves import find_leaves_with
from gridsecure.identity.registrations.short_memory import LIMIT, ShortMemory
from gridsecure.identity.registrations.tables import OpeningRow, RegistrationRow
from gridsecure.identity_messages import WarrantDocument
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, EvidenceEntry, append, find_entry, list_entries_of
from gridsecure.store.rows import load_row

OPENED: Final = "identity.opened"
SHARED: Final = "identity.share"
SHARE_REFUSED: Final = "identity.share-refused"

_PORTION: Final = 500  # orders in one query, as in `store.rows`


PersonT = TypeVar("PersonT")
"""What is said of whose an opened key is."""


@dataclass(frozen=True, slots=True)
class Warrant:
    """An order and where it stands.

    Args:
        document: What an office needs for its share.
        entry: The log entry that holds the order.
        waiting_for: Openers whose share is not here; nobody while the result can be read.
        opened: How often it was opened, by the log.
    """

    document: WarrantDocument
    entry: EvidenceEntry
    waiting_for: tuple[Opener, ...]
    opened: int


@dataclass(frozen=True, slots=True)
class Opening(Generic[PersonT]):
    """Who a pseudonym is. For both offices, in this process only, until it ends.

    Args:
        subject: The pseudonym.
        expires_at: When this is forgotten.
    """

    subject: str
    person: PersonT = field(repr=False)
    expires_at: datetime


class WarrantDesk(Generic[PersonT]):
    """Where both offices bring orders and shares.

    Args:
        registrations: The database of registrations, with the log that orders are in.
        published: What both openers published.
        whose: Says whose an opened key [33 bytes] is; asked once both shares are in the log.

    Attributes:
        public: Both openers' public halves, proofs checked.

    Raises:
        InvalidMessageError: A published key is malformed.
        SignatureError: It comes without proof of possession (`authenticity.opener-key`).
    """

    def __init__(
        self,
        registrations: Engine,
        suite: Suite,
        published: Mapping[Opener, bytes],
        *,
        whose: Callable[[bytes], PersonT],
    ) -> None:
        self._registrations = registrations
        self._suite = suite
        self._published = dict(published)
        self.public = {
            name: opener_public_key(name, published=published[name], suite=suite)
            for name in OPENERS
        }
        self._whose = whose
        self._shares = ShortMemory[bytes]()
        self._results = ShortMemory[Opening[PersonT]]()
        self._opening = Lock()

    def order(self, subject: str, *, reference: str, now: datetime, actor: str = ACTOR) -> Warrant:
        """Append the order to open one pseudonym.

        Args:
            subject: The pseudonym, revoked or not.
            reference: The order's number in both offices' files.
            now: The present, aware.

        Raises:
            NotFoundError: Nobody is registered so (`not-found.registration`).
            StorageError: The log takes no entry.
        """
        detail = warrant_detail(
            subject, escrow=self._escrow(subject), reference=reference, suite=self._suite
        )
        entry = self._note(WARRANT, detail, now=now, actor=actor)
        return self._with_leaves(self._warrant(entry, opened=0, now=now))

    def warrants(self, *, now: datetime) -> list[Warrant]:
        """Every order in the log, in order; without the leaves that an office needs for its share.

        Args:
            now: The present, aware.
        """
        with Session(self._registrations) as session:
            entries = list_entries_of(session, WARRANT)
            opened = _count_openings(session, [entry.hash for entry in entries])
        return [
            self._warrant(entry, opened=opened.get(entry.hash, 0), now=now) for entry in entries
        ]

    def warrant(self, name: str, *, now: datetime) -> Warrant:
        """One order.

        Args:
            name: Hash of its log entry.
            now: The present, aware.

        Raises:
            NotFoundError: The log holds no such order (`not-found.warrant`).
        """
        with Session(self._registrations) as session:
            entry = find_entry(session, name)
            opened = _count_openings(session, [name]).get(name, 0)
        if entry is None or entry.action != WARRANT:
            raise NotFoundError(
                "The log holds no such order.",
                reason="not-found.warrant",
                remedy="Order the opening first.",
            )
        return self._with_leaves(self._warrant(entry, opened=opened, now=now))

    def give_share(
        self, name: str, *, opener: Opener, share: bytes, now: datetime, actor: str = ACTOR
    ) -> Warrant:
        """Take one opener's share; the second one opens the escrow.

        Args:
            name: Hash of the order's log entry.
            opener: Whose share it is; the caller made sure that it is this office that asks.
            now: The present, aware.

        Raises:
            NotFoundError: There is no such order (`not-found.warrant`), or the opened key is
                nobody's (`not-found.enrolment`).
            InvalidMessageError: A malformed share.
            SignatureError: Of another order, escrow or key (`authenticity.share`).
        """
        document = self.warrant(name, now=now).document
        escrow = self._escrow(document.subject)
        try:
            verify_share(
                share,
                opener=opener,
                public=self.public[opener],
                point=escrow.e1,
                head=name,
                suite=self._suite,
            )
        except (AuthenticityError, InputError) as refused:
            said = {"warrant": name, "opener": opener, "reason": refused.reason}
            self._note(SHARE_REFUSED, said, now=now, actor=actor)
            raise
        said = {"warrant": name, "opener": opener, "share": share_digest(share)}
        self._note(SHARED, said, now=now, actor=actor)
        self._shares.keep(_of(name, opener), share, now=now)
        self._try_opening(document, escrow, now=now, actor=actor)
        return self.warrant(name, now=now)

    def result(self, name: str, *, now: datetime) -> Opening[PersonT]:
        """Who the pseudonym of an order is.

        Args:
            name: Hash of the order's log entry.
            now: The present, aware.

        Raises:
            NotFoundError: There is no such order (`not-found.warrant`), or no result: not both
                shares are here, or it was forgotten since (`not-found.opening`).
        """
        found = self._results.find(name, now=now)
        if found is None:
            self.warrant(name, now=now)
            raise NotFoundError(
                "This order has no result here.",
                reason="not-found.opening",
                remedy="Both offices must give their shares. Read the result within a quarter of an"
                " hour.",
            )
        return found

    def _try_opening(
        self, document: WarrantDocument, escrow: Escrow, *, now: datetime, actor: str
    ) -> None:
        name = document.entry
        with self._opening:  # the shares of two requests at once open it once
            found = {opener: self._shares.find(_of(name, opener), now=now) for opener in OPENERS}
            shares = {opener: share for opener, share in found.items() if share is not None}
            if len(shares) < len(OPENERS):
                return
            for opener in OPENERS:
                self._shares.forget(_of(name, opener))
        # An opening that the log could not take does not happen.
        digests = {str(opener): share_digest(share) for opener, share in sorted(shares.items())}
        with write_session(self._registrations) as session:
            detail: dict[str, JSON] = {"warrant": name, "shares": digests}
            append(session, at=now, actor=actor, action=OPENED, detail=detail)
            session.add(OpeningRow(warrant=name))
        key = open_escrow(
            escrow, shares=shares, published=self._published, head=name, suite=self._suite
        )
        person = self._whose(self._suite.group.encode(key))
        self._results.keep(name, Opening(document.subject, person, now + LIMIT), now=now)

    def _warrant(self, entry: EvidenceEntry, *, opened: int, now: datetime) -> Warrant:
        said = json.loads(entry.detail)
        escrow = self._escrow(said["subject"])
        ordered = warrant_detail(
            said["subject"], escrow=escrow, reference=said["reference"], suite=self._suite
        )
        check_warrant(entry.action, entry.detail, ordered=ordered)
        document = WarrantDocument(
            entry=entry.hash,
            subject=said["subject"],
            escrow=escrow.to_bytes(self._suite).hex(),
            reference=said["reference"],
        )
        is_open = self._results.find(entry.hash, now=now) is not None
        waiting = (
            name
            for name in OPENERS
            if not is_open and self._shares.find(_of(entry.hash, name), now=now) is None
        )
        return Warrant(document, entry, tuple(waiting), opened)

    def _escrow(self, subject: str) -> Escrow:
        with Session(self._registrations) as session:
            escrow = load_row(session, RegistrationRow, subject=subject).escrow
        return Escrow.from_bytes(escrow, suite=self._suite)

    def _with_leaves(self, warrant: Warrant) -> Warrant:
        said = warrant.document
        escrow = bytes.fromhex(said.escrow)
        leaves = find_leaves_with(self._registrations, subject=said.subject, escrow=escrow)
        return replace(warrant, document=said.model_copy(update={"leaves": leaves}))

    def _note(
        self, action: str, detail: Mapping[str, JSON], *, now: datetime, actor: str
    ) -> EvidenceEntry:
        with write_session(self._registrations) as session:
            return append(session, at=now, actor=actor, action=action, detail=detail)


def _count_openings(session: Session, warrants: Sequence[str]) -> dict[str, int]:
    """How often each of some orders was opened."""
    found: dict[str, int] = {}
    for start in range(0, len(warrants), _PORTION):
        portion = col(OpeningRow.warrant).in_(warrants[start : start + _PORTION])
        counted = select(OpeningRow.warrant, func.count()).where(portion)
        found |= dict(session.exec(counted.group_by(col(OpeningRow.warrant))).all())
    return found


def _of(name: str, opener: Opener) -> str:
    return f"{name}/{opener}"
