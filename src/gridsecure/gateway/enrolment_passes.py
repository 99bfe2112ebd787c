"""Enrolling and registering in two passes, so that order does not link a name to a pseudonym.

The identity authority sees names as holders enrol and pseudonyms as they register. A batch that
registered as it enrolled would say by place who is who. So:

1. all holders of a run enrol, batch by batch;
2. those who have a credential are shuffled at random, cut into new batches, and register.

Batches are on their way side by side: while the authority computes for one, the gateway does for
another. The arithmetic lets go of Python's lock, so threads suffice. After a kill, whoever is not
registered yet enrols again in the next run.

What a shuffle does not cure. A holder is hidden among those that register after the same first
pass: a run for one meter point, as the gateway's own, says whose pseudonym it is, and a run for a
few says little less. Timing tells the same: what registers soon after a pass is of that pass. Have
a year's meter points enrol in one run. Holders with and without earlier pseudonyms go apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from gridsecure.credentials.issuance import Credential
from gridsecure.gateway.agent_records import (
    Given,
    Member,
    keep_credentials,
    load_credentials,
    remember,
)
from gridsecure.gateway.enrolment_batches import EnrolmentBatch, register, request_credentials
from gridsecure.gateway.identity_peer import IdentityService
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import MAX_BATCH

IN_FLIGHT: Final = 3
"""Batches on their way at once."""
SMALLEST_BATCH: Final = 24
"""Fewer are not worth a session of their own."""

Shuffle = Callable[[list[Any]], None]
"""Puts a list into a random order, in place."""

RANDOM: Final[Shuffle] = secrets.SystemRandom().shuffle
"""By the system's randomness, which nobody else can repeat."""

Outcomes = dict[str, Member | str]
"""Identity -> how it is registered, or the authority's reason for its not being."""

Counted = Callable[[int, int], None]
"""Told how much is done, and of how much; having enrolled is half of it."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Passes:
    """How a gateway's holders enrol and register.

    Args:
        clock: Gives the time, aware.
    """

    zone: GatewayZone
    peer: IdentityService
    clock: Callable[[], datetime]
    shuffle: Shuffle

    def through(self, batches: Sequence[EnrolmentBatch], *, counted: Counted) -> Outcomes:
        """Take everybody through both passes, and remember who is registered.

        Args:
            batches: Who enrols, at least one, all in one role for one year.
            counted: Told how many are done.

        Raises:
            GridSecureError: As `request_credentials` and `register`; whoever was registered before
                that is remembered.
        """
        of, halves = sum(len(batch.agents) for batch in batches), 0
        outcomes: Outcomes = {}
        waiting: dict[str | None, list[Given]] = {}
        # 1. everybody
        for batch, given, refused in run_side_by_side(self._enrol, batches):
            waiting.setdefault(batch.carry, []).extend(given)
            outcomes |= refused
            halves += len(given) + 2 * len(refused)
            counted(halves // 2, of)
        # 2. in another order
        for found in run_side_by_side(self._register, list(self._cut_anew(waiting, batches[0]))):
            outcomes |= found
            halves += len(found)
            counted(halves // 2, of)
        return outcomes

    def repeat(self, batches: Sequence[EnrolmentBatch]) -> Outcomes:
        """Register once more, without a word about names, who has a credential already.

        Enrolling for it would tell the authority, which says whom it misses, whose pseudonyms those
        are. So whoever has no credential here any more is not among the outcomes.

        Args:
            batches: Who, all in one role for one year.

        Raises:
            GridSecureError: As `register`.
        """
        outcomes: Outcomes = {}
        for batch in batches:
            given = load_credentials(self.zone, batch.agents, context=batch.context)
            for part in self._cut_anew({batch.carry: given}, batch):
                outcomes |= self._register(part)
        return outcomes

    def _enrol(self, batch: EnrolmentBatch) -> tuple[EnrolmentBatch, list[Given], dict[str, str]]:
        answers = request_credentials(batch, zone=self.zone, peer=self.peer, now=self.clock())
        pairs = list(zip(batch.agents, answers, strict=True))
        given = [(agent, one) for agent, one in pairs if isinstance(one, Credential)]
        if batch.role == "meter-point":
            keep_credentials(self.zone, batch.period, given, at=self.clock())
        return batch, given, {agent.identity: one for agent, one in pairs if isinstance(one, str)}

    def _cut_anew(
        self, waiting: dict[str | None, list[Given]], like: EnrolmentBatch
    ) -> Iterator[tuple[EnrolmentBatch, list[Credential]]]:
        for carry, given in waiting.items():
            self.shuffle(given)
            size = batch_size(len(given))
            for at in range(0, len(given), size):
                part = given[at : at + size]
                batch = replace(like, carry=carry, agents=tuple(agent for agent, _ in part))
                yield batch, [credential for _, credential in part]

    def _register(self, part: tuple[EnrolmentBatch, list[Credential]]) -> Outcomes:
        batch, credentials = part
        found = register(batch, credentials, peer=self.peer)
        outcomes: Outcomes = {
            agent.identity: one if isinstance(one, str) else Member(one, credential.context.facts)
            for agent, credential, one in zip(batch.agents, credentials, found, strict=True)
        }
        if batch.role == "meter-point":
            names = {name: one for name, one in outcomes.items() if not isinstance(one, str)}
            remember(self.zone, batch.period, names, at=self.clock())
        return outcomes


def batch_size(holders: int) -> int:
    """How many of so many holders go together: a small run, too, has batches side by side."""
    share = -(-holders // (2 * IN_FLIGHT))
    return min(MAX_BATCH, max(SMALLEST_BATCH, share))


def run_side_by_side(step: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Take items through a step, several at a time; the results, as they come."""
    if len(items) <= 1:
        yield from map(step, items)
        return
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        futures = [pool.submit(step, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
