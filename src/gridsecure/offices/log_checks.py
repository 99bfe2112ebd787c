"""What an office finds in the log it fetched: a tree that holds, the order, registrations."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from gridsecure.credentials.log_details import REGISTERED, commitment
from gridsecure.errors import AccessDeniedError
from gridsecure.offices.files import SeenEntry
from gridsecure.store.evidence import EvidenceEntry, broken_log, verify_entries
from gridsecure.transparency.tree import Frontier


def find_ordered_entry(
    entries: Sequence[EvidenceEntry], *, name: str, witnessed: Frontier | None
) -> EvidenceEntry:
    """The entry of a name, in a log that holds.

    Args:
        entries: The log as fetched.
        name: Hash of the entry.
        witnessed: What this office kept of the log at an earlier time.

    Raises:
        AuditBrokenError: The log does not hold (`audit.log`).
        AccessDeniedError: It has no such entry (`authenticity.warrant`).
    """
    verify_entries(entries, witnessed=witnessed)
    found = next((entry for entry in entries if entry.hash == name), None)
    if found is None:
        raise not_ordered_error()
    return found


def find_seen_tree(entries: Sequence[EvidenceEntry], seen: SeenEntry) -> Frontier:
    """The tree up to the entry that an office saw last when the log was a hash chain.

    Entries of that time kept their names, each of which covers the entry before.

    Args:
        entries: The log as fetched.

    Raises:
        AuditBrokenError: They are not those that were seen (`audit.log`).
    """
    chain = entries[: seen.index + 1]
    if len(chain) <= seen.index or chain[-1].hash != seen.hash:
        raise broken_log(min(seen.index, len(chain)))
    for before, entry in pairwise(chain):
        if entry.previous != before.hash or not before.is_itself:
            raise broken_log(entry.index)
    return Frontier().grow(entry.leaf for entry in chain)


def not_ordered_error() -> AccessDeniedError:
    """The refusal of what no entry of the log orders."""
    return AccessDeniedError(
        "The log holds no order for this.",
        reason="authenticity.warrant",
        remedy="Fetch the whole log. Give no share for an order that is not in it.",
    )


def find_committing_entry(
    leaves: Collection[str],
    *,
    wanted: str,
    entries: Sequence[EvidenceEntry],
    order: EvidenceEntry,
) -> EvidenceEntry:
    """The log entry, older than an order, that commits to these leaves and the wanted one in them.

    Args:
        leaves: As the desk shows them.
        wanted: The leaf of the registration that the order is about.
        entries: The log, verified.
        order: The entry that holds the order.

    Raises:
        AccessDeniedError: There is none (`authenticity.escrow`).
    """
    digest = commitment(leaves)
    for entry in entries:
        if wanted in leaves and entry.index < order.index and _committed(entry) == digest:
            return entry
    raise not_committed_error()


def list_committed_leaves(
    leaves: Mapping[str, Sequence[str]],
    *,
    entries: Sequence[EvidenceEntry],
    order: EvidenceEntry,
) -> frozenset[str]:
    """All leaves that the log committed to before an order.

    Args:
        leaves: By hash of a log entry, its leaves as the desk shows them.
        entries: The log, verified.
        order: The entry that holds the order.

    Raises:
        AccessDeniedError: Leaves that their entry does not commit to, or of a later one
            (`authenticity.escrow`).
    """
    digests = {one.hash: _committed(one) for one in entries if one.index < order.index}
    for name, shown in leaves.items():
        if digests.get(name) != commitment(shown):
            raise not_committed_error()
    return frozenset(one for shown in leaves.values() for one in shown)


def registration_entries(entries: Iterable[EvidenceEntry], *, before: int) -> list[EvidenceEntry]:
    """The entries whose leaves an office asks for.

    Args:
        before: Index of the order.
    """
    return [one for one in entries if one.index < before and one.action == REGISTERED]


def not_committed_error() -> AccessDeniedError:
    """The refusal of an escrow that was not registered before the order."""
    return AccessDeniedError(
        "The log did not commit to this escrow before the order.",
        reason="authenticity.escrow",
        remedy="Give no share: the escrow belongs to another pseudonym or is made up. Find out "
        "who runs the service.",
    )


def _committed(entry: EvidenceEntry) -> str | None:
    if entry.action != REGISTERED:
        return None
    said = json.loads(entry.detail)
    return said.get("digest") if said.get("registered") else None
