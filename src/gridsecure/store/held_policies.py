"""The release policies that a service took in: the one in force, and those that wait for their day.

A policy that is put in force is compared with what holds (`policy.succession`) and kept for good,
with the officers' signatures, in the transaction that enters it in the evidence log. Its successors
are compared with it, whatever the service's settings say later. The policy in force is the newest
of those whose day has come. That it came is kept as well, and entered: a clock that is set back
brings no earlier policy back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Final

from sqlalchemy import Engine
from sqlmodel import AutoString, Field, Session, col, func, or_, select

from gridsecure.approvals import Approvers
from gridsecure.errors import ConflictError
from gridsecure.messages import Signed
from gridsecure.policy.decisions import Change
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.levels import Level, find_policy_shortfalls, refuse_shortfalls
from gridsecure.policy.packs import STRICT
from gridsecure.policy.signed_policies import SignedPolicy, open_policy, read_document
from gridsecure.policy.succession import Predecessors, begins_at, check_successor
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import Kept, Moment, advance

WAITING: Final = "waiting"
BEGUN: Final = "begun"


class HeldPolicyRow(Kept):
    """Marks a zone's table of the policies that it took in, in their order.

    Attributes:
        text: As it was written.
        signatures: The officers', as a JSON list.
        state: "waiting" until its day, then "begun"; the newest that has begun is in force.
        at: When it was taken in.
    """

    SAME: ClassVar = ("digest",)

    id: int | None = Field(default=None, primary_key=True)
    digest: str
    name: str
    version: int
    text: str
    signatures: str = Field(sa_column_kwargs={"server_default": "[]"})
    state: str = Field(sa_type=AutoString, sa_column_kwargs={"server_default": BEGUN})
    at: datetime = Field(sa_type=Moment)


@dataclass(frozen=True, slots=True)
class HeldPolicy:
    """A policy that was taken in.

    Args:
        begins_at: When it takes over, or took over.
        signatures: The officers', as they signed it.
    """

    policy: Policy
    begins_at: datetime
    signatures: tuple[Signed, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How policies stand in a zone.

    Args:
        in_force: None where the only one's day has not come.
        waiting: Those that take over later, in the order in which they were taken in.
    """

    in_force: HeldPolicy | None
    waiting: tuple[HeldPolicy, ...]

    @property
    def policy(self) -> Policy | None:
        """What holds; before the first one's day that one, under which nothing is released."""
        found = self.in_force or (self.waiting[0] if self.waiting else None)
        return None if found is None else found.policy


@dataclass(frozen=True, slots=True)
class PolicyShelf:
    """A zone's policies.

    Args:
        table: The zone's own.
        actor: Who keeps them, in the evidence log.
        first: What was in force before policies were kept, if something was.
        level: The security level below which no policy is taken in.
    """

    engine: Engine
    table: type[HeldPolicyRow]
    actor: str
    first: Callable[[Session], Policy | None] = lambda _session: None
    level: Level | None = None

    def open(self, named: str, *, approvers: Approvers, now: datetime) -> Policy:
        """The policy that a service starts with.

        Args:
            named: The setting: a policy that ships, or a file. One that was taken in before
                changes nothing, and so does an empty one, but at the first start: then the strict
                policy is taken in.

        Raises:
            GridSecureError: As `hold`, or as `read_document`; or one that holds, or waits, falls
                below the level (`level.below`).
        """
        if not named and self._is_empty():
            named = STRICT
        if named:
            document = read_document(named)
            if not self._has(named, document):
                self.hold(document, approvers=approvers, now=now, by=self.actor)
        standing = self.stand(now=now)
        policy = standing.policy
        if policy is None:
            raise AssertionError("a policy was taken in")
        for one in (policy, *(waiting.policy for waiting in standing.waiting)):
            self._hold_to_level(one)
        return policy

    def hold(
        self, document: SignedPolicy, *, approvers: Approvers, now: datetime, by: str
    ) -> list[Change]:
        """Take a policy in; the one that was taken in last stays as it is.

        Args:
            approvers: Officers whose keys were not revoked.
            by: Who puts it in force.

        Returns:
            The cases that it decides looser than what it takes the place of.

        Raises:
            InputError, AuthenticityError, ReleaseRefusedError: As `open_policy` and
                `check_successor`; or it falls below the level (`level.below`).
            ConflictError: Another policy was taken in at the same time (`policy.meanwhile`).
            StorageError: It cannot be kept.
        """
        policy, last, looser = self._compare(document, approvers=approvers, now=now)
        if last is not None and last.digest == policy.digest:
            return []
        begins = begins_at(policy, taken_in=now)
        row = self.table(
            digest=policy.digest,
            name=policy.name,
            version=policy.version,
            text=policy.text,
            signatures=json.dumps([one.model_dump() for one in document.signatures]),
            state=WAITING if begins > now else BEGUN,
            at=now,
        )
        detail: dict[str, evidence.JSON] = {
            "policy": policy.digest,
            "name": policy.name,
            "version": policy.version,
            "replaces": last.digest if last else None,
            "looser": len(looser),
            "begins_at": begins.isoformat(),
            "signatures": [one.digest for one in document.signatures],
            "by": by,
        }
        with write_session(self.engine) as session:
            # It was compared outside of this transaction, which keeps others from writing.
            found = self._last(session)
            if found is not None and found.digest == policy.digest:
                return looser  # another process took the same in
            if (found and found.id) != (last and last.id):
                raise _meanwhile()
            session.add(row)
            evidence.append(session, at=now, actor=self.actor, action="policy.held", detail=detail)
        return looser

    def check(self, document: SignedPolicy, *, approvers: Approvers, now: datetime) -> None:
        """Refuse what `hold` would refuse.

        Raises:
            GridSecureError: As `hold`.
        """
        self._compare(document, approvers=approvers, now=now)

    def stand(self, *, now: datetime) -> Standing:
        """What holds at a moment, and what waits; a policy whose day has come takes over.

        Raises:
            StorageError: That it took over cannot be kept.
        """
        with read_session(self.engine) as session:
            begun, waiting = self._read(session)
        if any(_begins(row) <= now for row in waiting):
            with write_session(self.engine) as session:
                self._take_over(session, now)
                begun, waiting = self._read(session)
        return Standing(None if begun is None else _held(begun), tuple(map(_held, waiting)))

    def _is_empty(self) -> bool:
        with read_session(self.engine) as session:
            return session.exec(select(self.table.id).limit(1)).first() is None

    def _compare(
        self, document: SignedPolicy, *, approvers: Approvers, now: datetime
    ) -> tuple[Policy, HeldPolicyRow | None, list[Change]]:
        """The policy, what was taken in last, and what the former decides looser."""
        opened = open_policy(document, approvers=approvers, now=now)
        self._hold_to_level(opened.policy)
        self.stand(now=now)  # what it is compared with is what holds now
        with read_session(self.engine) as session:
            last, before = self._last(session), self._before(session, opened.policy)
        is_last = last is not None and last.digest == opened.policy.digest
        return opened.policy, last, [] if is_last else check_successor(opened, before)

    def _hold_to_level(self, policy: Policy) -> None:
        if self.level is not None:
            found = find_policy_shortfalls(self.level, policy)
            refuse_shortfalls(self.level, found, whose=f"the {self.actor}")

    def _last(self, session: Session) -> HeldPolicyRow | None:
        table = self.table
        return session.exec(select(table).order_by(col(table.id).desc()).limit(1)).first()

    def _has(self, named: str, document: SignedPolicy) -> bool:
        # One that ships is known by its name: a new release may have changed its text.
        is_it = or_(col(self.table.digest) == document.digest, col(self.table.name) == named)
        with read_session(self.engine) as session:
            return session.exec(select(self.table.id).where(is_it).limit(1)).first() is not None

    def _read(self, session: Session) -> tuple[HeldPolicyRow | None, Sequence[HeldPolicyRow]]:
        table = self.table
        in_force = select(table).where(table.state == BEGUN).order_by(col(table.id).desc()).limit(1)
        begun = session.exec(in_force).first()
        # What was taken in before the one in force never holds again.
        since = 0 if begun is None else begun.id or 0
        later = select(table).where(table.state == WAITING, col(table.id) > since)
        return begun, session.exec(later.order_by(col(table.id))).all()

    def _take_over(self, session: Session, now: datetime) -> None:
        """Let each policy that waits begin whose day has come, in the order of their days."""
        begun, waiting = self._read(session)
        newest = 0 if begun is None else begun.id or 0
        due = [row for row in waiting if _begins(row) <= now]
        for row in sorted(due, key=lambda one: (_begins(one), one.id or 0)):
            if (row.id or 0) < newest:
                continue  # one that was taken in later began before it
            newest = row.id or 0
            advance(session, self.table, source=WAITING, target=BEGUN, id=row.id)
            detail: dict[str, evidence.JSON] = {
                "policy": row.digest,
                "name": row.name,
                "version": row.version,
                "began_at": _begins(row).isoformat(),
            }
            evidence.append(session, at=now, actor=self.actor, action="policy.begun", detail=detail)
        session.expire_all()

    def _before(self, session: Session, policy: Policy) -> Predecessors:
        table = self.table
        begun, waiting = self._read(session)
        kept = [row for row in (begun, *waiting) if row is not None]
        first = None if kept else self.first(session)
        is_other = table.digest != policy.digest
        alike = select(table.id).where(
            is_other, table.name == policy.name, table.version == policy.version
        )
        known = select(table.id).where(table.digest == policy.digest)
        others = select(func.max(col(table.version))).where(is_other)
        return Predecessors(
            replaced=tuple(_parse(row.text) for row in kept) if first is None else (first,),
            altered=session.exec(alike.limit(1)).first() is not None,
            is_known=session.exec(known.limit(1)).first() is not None,
            newest=session.exec(others).one() or 0,
        )


def _begins(row: HeldPolicyRow) -> datetime:
    return begins_at(_parse(row.text), taken_in=row.at)


def _held(row: HeldPolicyRow) -> HeldPolicy:
    signatures = tuple(Signed.model_validate(one) for one in json.loads(row.signatures))
    return HeldPolicy(_parse(row.text), _begins(row), signatures)


def _meanwhile() -> ConflictError:
    return ConflictError(
        "Another policy was put in force at the same time.",
        reason="policy.meanwhile",
        remedy="Look at what is in force (gridsecure policy show), and put yours again if wanted.",
    )


@lru_cache(maxsize=16)
def _parse(text: str) -> Policy:
    """A text that was read before; services ask for the one in force all the time."""
    return parse_policy(text)
