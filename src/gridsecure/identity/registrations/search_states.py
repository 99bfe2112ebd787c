"""A search by person as the desk remembers it, and as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridsecure.credentials.opening import OPENERS, Opener
from gridsecure.identity.registrations.search_batches import Batch
from gridsecure.identity_messages import SearchDocument
from gridsecure.offices.shares import STEP_OF
from gridsecure.store.evidence import EvidenceEntry


@dataclass(slots=True)
class Search:
    """A search in work.

    Args:
        document: What it is about.
        entry: The log entry that holds the order.
        batches: What it is cut into.
        found: Pseudonyms that matched so far.
    """

    document: SearchDocument
    entry: EvidenceEntry
    batches: list[Batch]
    found: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SearchState:
    """Where a search stands.

    Args:
        document: What it is about.
        entry: The log entry that holds the order.
        tested: Differences decided.
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
    """Where a search stands.

    Args:
        search: The search.
    """
    waiting = {STEP_OF[batch.step] for batch in search.batches if batch.step != "done"}
    return SearchState(
        search.document,
        search.entry,
        sum(len(batch.subjects) for batch in search.batches if batch.step == "done"),
        sum(len(batch.subjects) for batch in search.batches),
        tuple(search.found),
        tuple(name for name in OPENERS if name in waiting),
    )
