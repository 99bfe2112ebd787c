"""What an office does with an order: checks it in the log, computes its part, sends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gridsecure.credentials.log_details import leaf, name_digest
from gridsecure.credentials.opening import OpenerKey
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.identity_messages import SearchDocument, SearchWork, WarrantDocument
from gridsecure.offices.files import opener_key
from gridsecure.offices.log_checks import find_committing_entry, find_ordered_entry
from gridsecure.offices.officers import (
    Office,
    VerifiedLog,
    check_half,
    fetch_leaves,
    fetch_verified_log,
)
from gridsecure.offices.shares import check_search, search_answer, share_for
from gridsecure.store.evidence import EvidenceEntry


@dataclass(frozen=True, slots=True)
class Tools:
    """What an office works with.

    Args:
        opener_key: File of its half of the opening key.
        witness: File with what it saw of the log.
    """

    opener_key: Path
    witness: Path


@dataclass(frozen=True, slots=True)
class ComputedShare:
    """A share, and the log it was checked in.

    Args:
        warrant: The order as the service shows it.
    """

    share: bytes = field(repr=False)
    log: VerifiedLog
    warrant: dict[str, Any]
    registered: EvidenceEntry

    @property
    def is_witnessed(self) -> bool:
        """Whether this office had seen the registration before it was asked."""
        kept = self.log.witnessed
        return kept is not None and self.registered.index < kept.size


def compute_share(office: Office, name: str, *, tools: Tools) -> ComputedShare:
    """Fetch an order and the log, check them, and compute this office's share.

    Args:
        office: Who is signed in.
        name: Hash of the order's log entry.

    Raises:
        AuditBrokenError: The log does not hold (`audit.log`).
        AccessDeniedError: It orders no such opening, its escrow was not registered before, or the
            half of the key is another's.
        GridSecureError: The service refused.
    """
    suite, key = _key(office, tools)
    warrant = office.call("GET", f"/warrants/{name}")
    document = WarrantDocument(
        entry=name,
        subject=warrant["subject"],
        escrow=warrant["escrow"],
        reference=warrant["reference"],
        leaves=warrant["leaves"],
    )
    log = fetch_verified_log(office, "registrations", witness=tools.witness)
    share = share_for(document, entries=log.entries, key=key, suite=suite, witnessed=log.witnessed)
    wanted = leaf(name_digest(document.subject), bytes.fromhex(document.escrow))
    order = find_ordered_entry(log.entries, name=name, witnessed=log.witnessed)
    registered = find_committing_entry(
        document.leaves, wanted=wanted, entries=log.entries, order=order
    )
    return ComputedShare(share, log, warrant, registered)


def search_steps(
    office: Office, name: str, *, tools: Tools, report: Callable[[str], None]
) -> dict[str, Any]:
    """Do every batch of a search that waits for this office; the search as it stands then.

    Args:
        office: Who is signed in.
        name: Hash of the order's log entry.
        report: Told of every batch.

    Raises:
        AuditBrokenError: The log does not hold (`audit.log`).
        AccessDeniedError: It orders no such search, an escrow was not registered before, or the
            half of the key is another's.
        GridSecureError: The service refused.
    """
    suite, key = _key(office, tools)
    path = f"/person-searches/{name}"
    state: dict[str, Any] = office.call("GET", path)
    document = SearchDocument.model_validate(state["document"])
    log = fetch_verified_log(office, "registrations", witness=tools.witness)
    # Whatever the service shows for a name, the order is the entry of that name.
    order = find_ordered_entry(log.entries, name=name, witnessed=log.witnessed)
    leaves = fetch_leaves(office, log.entries, before=order.index)
    search = check_search(
        document.model_copy(update={"entry": name}),
        entries=log.entries,
        leaves=leaves,
        witnessed=log.witnessed,
    )
    while (waiting := office.call("GET", f"{path}/work")["work"]) is not None:
        work = SearchWork.model_validate(waiting)
        answer = search_answer(work, search=search, key=key, suite=suite)
        state = office.call("POST", f"{path}/work", json=answer.model_dump(mode="json"))
        report(f"batch {work.batch + 1} of {len(document.batches)}: {work.step} done")
    return state


def _key(office: Office, tools: Tools) -> tuple[Suite, OpenerKey]:
    suite = sm2_suite()
    key = opener_key(tools.opener_key, opener=office.opener, suite=suite)
    check_half(office, key, suite=suite)
    return suite, key
