"""How an office finds an order in the log it fetched: the chain first, then the entry."""

from __future__ import annotations

from collections.abc import Sequence

from gridsecure.errors import AccessDeniedError
from gridsecure.store.evidence import EvidenceEntry, verify_entries


def entry_in(
    entries: Sequence[EvidenceEntry], *, name: str, witnessed: EvidenceEntry | None
) -> EvidenceEntry:
    """The entry of a name, in a log that holds.

    Args:
        entries: The log as fetched.
        name: Hash of the entry.
        witnessed: An entry this office kept from an earlier time.

    Raises:
        AuditBrokenError: The log does not hold (`audit.chain`).
        AccessDeniedError: It has no such entry (`authenticity.warrant`).
    """
    verify_entries(entries, witnessed=witnessed)
    known = [*entries, *([witnessed] if witnessed else [])]
    found = next((entry for entry in known if entry.hash == name), None)
    if found is None:
        raise not_ordered()
    return found


def not_ordered() -> AccessDeniedError:
    """The refusal of what no entry of the log orders."""
    return AccessDeniedError(
        "The log holds no order for this.",
        reason="authenticity.warrant",
        remedy="Fetch the whole log. Give no share for an order that is not in it.",
    )
