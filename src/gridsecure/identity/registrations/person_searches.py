"""Revoking a person without opening everyone: which registrations hold this enrolled key.

1. The order goes into the log, as digests of the person's keys and of all escrows, in batches; the
   identity gets no new credential from then on.
2. Each batch goes through the three steps of `offices`. The desk verifies every blinding and share
   before it hands anything on, and logs who sent a wrong one.
3. Of a batch that both shared, one bit a registration comes out. Those that match are revoked, with
   what was registered along with them. Nothing is learned of the others.

A person has more than one key after a re-key; all of them are searched for. `replaced` searches for
the earlier ones only and blocks nobody: for a holder whose device was lost.

After a re-key what was registered under the old key stays active until this search, `replaced` or
not, has run to its end.

A search covers what is registered when it is ordered. A credential of this period that was issued
before and not yet shown can still register; search again before the period ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.curves import Point
from gridsecure.credentials.log_details import (
    ACTOR,
    SEARCH,
    STEP_OF,
    batch_digest,
    search_detail,
)
from gridsecure.credentials.opening import OPENERS, Opener
from gridsecure.credentials.suites import Suite
from gridsecure.errors import AuthenticityError, ConflictError, InputError, NotFoundError
from gridsecure.identity.registrations.revoking import revoke_in
from gridsecure.identity.registrations.search_batches import (
    SearchBatch,
    check_answer,
    cut_batches,
    find_matches,
)
from gridsecure.identity.registrations.short_memory import ShortMemory
from gridsecure.identity_messages import MAX_BATCH, SearchAnswer, SearchDocument, SearchWork
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, EvidenceEntry, append

BATCH: Final = "identity.search-batch"
REFUSED: Final = "identity.search-refused"
SEARCHED: Final = "identity.searched"


@dataclass(slots=True)
class Search:
    """A search in work.

    Args:
        entry: The log entry that holds the order.
        found: Pseudonyms that matched so far.
    """

    document: SearchDocument
    entry: EvidenceEntry
    batches: list[SearchBatch]
    found: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SearchState:
    """Where a search stands.

    Args:
        entry: The log entry that holds the order.
        total: Of how many.
        found: Pseudonyms that matched and were revoked.
        waiting_for: Openers that have a step to do now.
    """

    document: SearchDocument
    entry: EvidenceEntry
    tested: int
    total: int
    found: tuple[str, ...]
    waiting_for: tuple[Opener, ...]


def state_of(search: Search) -> SearchState:
    """Where a search stands."""
    waiting = {STEP_OF[batch.step] for batch in search.batches if batch.step != "done"}
    return SearchState(
        search.document,
        search.entry,
        sum(len(batch.subjects) for batch in search.batches if batch.step == "done"),
        sum(len(batch.subjects) for batch in search.batches),
        tuple(search.found),
        tuple(name for name in OPENERS if name in waiting),
    )


class SearchDesk:
    """Where both offices fetch batches and bring answers.

    Args:
        registrations: The database of registrations, with the log that orders are in.
        public: Both openers' public halves, proofs checked.
        size: Registrations in a batch, at most `MAX_BATCH`.
    """

    def __init__(
        self,
        registrations: Engine,
        suite: Suite,
        public: Mapping[Opener, Point],
        *,
        size: int = MAX_BATCH,
    ) -> None:
        self._registrations = registrations
        self._suite = suite
        self._public = public
        self.size = size
        self._searches = ShortMemory[Search]()
        self._moving = Lock()

    def order(
        self, keys: Sequence[str], *, reference: str, now: datetime, actor: str = ACTOR
    ) -> SearchState:
        """Order a search.

        Args:
            keys: A person's enrolled keys, in hexadecimal; whose, is not for this side to know.
            reference: The order's number in both offices' files.
            now: The present, aware.
        """
        with Session(self._registrations) as session:
            batches = cut_batches(session, keys, size=self.size)
        digests = [batch_digest(batch.key, batch.escrows) for batch in batches]
        detail = search_detail(keys, batches=digests, reference=reference)
        entry = self._note(SEARCH, detail, now=now, actor=actor)
        document = SearchDocument(
            entry=entry.hash, reference=reference, keys=list(keys), batches=digests
        )
        search = Search(document, entry, batches)
        self._searches.keep(entry.hash, search, now=now)
        self._finish(search, now=now, actor=actor)
        return state_of(search)

    def states(self, *, now: datetime) -> list[SearchState]:
        """Every search that is in work or ended within a quarter of an hour, the oldest first.

        Args:
            now: The present, aware.
        """
        searches = self._searches.values(now=now)
        return [state_of(one) for one in sorted(searches, key=lambda one: one.entry.index)]

    def state(self, name: str, *, now: datetime) -> SearchState:
        """Where a search stands.

        Args:
            name: Hash of the order's log entry.
            now: The present, aware.

        Raises:
            NotFoundError: There is none here: a search that nobody worked at for a quarter of an
                hour, or before a restart, is ordered again (`not-found.search`).
        """
        return state_of(self._search(name, now=now))

    def work(self, name: str, *, opener: Opener, now: datetime) -> SearchWork | None:
        """The next batch that waits for an opener, None while there is none.

        Args:
            name: Hash of the order's log entry.
            now: The present, aware.

        Raises:
            NotFoundError: As for `state`.
        """
        search = self._search(name, now=now)
        for batch in search.batches:
            if batch.step != "done" and STEP_OF[batch.step] == opener:
                return batch.work(name, batch.step)
        return None

    def take(
        self,
        name: str,
        *,
        opener: Opener,
        answer: SearchAnswer,
        now: datetime,
        actor: str = ACTOR,
    ) -> SearchState:
        """Take what an opener did with a batch.

        Args:
            name: Hash of the order's log entry.
            opener: Who did; the caller made sure of it.
            answer: From `offices.search_answer`.
            now: The present, aware.

        Raises:
            NotFoundError: As for `state`.
            ConflictError: No batch waits for this step of this opener (`conflict.search-step`).
            InvalidMessageError: Malformed points.
            SignatureError: A wrong blinding (`authenticity.blinding`) or share
                (`authenticity.share`); it was logged, and the batch waits for a right one.
        """
        search = self._search(name, now=now)
        if answer.batch >= len(search.batches):
            raise _not_its_turn()
        batch = search.batches[answer.batch]
        if batch.step != answer.step or STEP_OF[answer.step] != opener:
            raise _not_its_turn()
        try:
            checked = check_answer(
                batch, answer, head=name, public=self._public[opener], suite=self._suite
            )
        except (AuthenticityError, InputError) as refused:
            detail: dict[str, JSON] = {
                "search": name,
                "opener": opener,
                "batch": batch.number,
                "reason": refused.reason,
            }
            self._note(REFUSED, detail, now=now, actor=actor)
            raise
        with self._moving:
            if batch.step != answer.step:
                raise _not_its_turn()
            if answer.step != "share":
                batch.move(answer, checked, actor=actor)
            else:
                batch.officers[answer.step] = actor
                found = find_matches(batch, answer, checked, suite=self._suite)
                self._decide(search, batch, found, now=now, actor=actor)
                self._finish(search, now=now, actor=actor)
        self._searches.keep(name, search, now=now)
        return state_of(search)

    def _decide(
        self,
        search: Search,
        batch: SearchBatch,
        decided: tuple[list[str], dict[str, str]],
        *,
        now: datetime,
        actor: str,
    ) -> None:
        found, digests = decided
        detail: dict[str, JSON] = {
            "search": search.document.entry,
            "batch": batch.number,
            "answers": digests,
            "officers": dict(batch.officers),
        }
        reference = search.document.reference
        with write_session(self._registrations) as session:
            append(session, at=now, actor=actor, action=BATCH, detail=detail)
            revoke_in(session, found, reference=reference, now=now, actor=actor)
        search.found.extend(found)
        batch.drop()

    def _finish(self, search: Search, *, now: datetime, actor: str) -> None:
        state = state_of(search)
        if state.tested == state.total:
            said = {"tested": state.total, "found": len(state.found)}
            self._note(SEARCHED, {"search": search.document.entry, **said}, now=now, actor=actor)

    def _search(self, name: str, *, now: datetime) -> Search:
        found = self._searches.find(name, now=now)
        if found is None:
            raise NotFoundError(
                "There is no such search here.",
                reason="not-found.search",
                remedy="Order it again. It expired, or the service was restarted.",
            )
        return found

    def _note(
        self, action: str, detail: Mapping[str, JSON], *, now: datetime, actor: str
    ) -> EvidenceEntry:
        with write_session(self._registrations) as session:
            return append(session, at=now, actor=actor, action=action, detail=detail)


def _not_its_turn() -> ConflictError:
    return ConflictError(
        "No batch waits for this step of this office.",
        reason="conflict.search-step",
        remedy="Fetch the next batch.",
    )
