"""What an office computes for itself, with its half of the opening key, on its own machine.

It believes nothing it is told: it recomputes the tree of the log entries it fetched, against what
it kept of the log the last time, finds the order in it, and compares what it is asked with what the
order says. The escrows it works on must be those that the log committed to when they were
registered (`log_checks`), so that it needs the whole log and not its end. In a search by person it
answers three steps:

    blind            the utility blinds every difference and marks its own list
    blind-and-share  the regulator checks those, blinds them again, and gives shares of its output
    share            the utility knows its list by the mark, checks the regulator's, gives shares

The mark is there because a blinding does not show who made it. A utility that gave shares on a list
it had not blinded would let the regulator, together with whoever runs the desk, open everyone.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gridsecure.credentials.group import POINT_BYTES, SCALAR_BYTES
from gridsecure.credentials.log_details import (
    SEARCH,
    STEP_OF,
    batch_digest,
    check_warrant,
    leaf,
    name_digest,
    search_detail,
    warrant_detail,
)
from gridsecure.credentials.opening import Opener, OpenerKey, make_opening_share
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.revocation import Difference, blind_difference
from gridsecure.credentials.search_pairs import bytes_of, check_blindings, compute_differences
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm3 import hkdf_sm3, hmac_sm3
from gridsecure.errors import AccessDeniedError, SignatureError
from gridsecure.identity_messages import (
    SearchAnswer,
    SearchDocument,
    SearchWork,
    WarrantDocument,
)
from gridsecure.offices.log_checks import (
    find_committing_entry,
    find_ordered_entry,
    list_committed_leaves,
    not_committed_error,
    not_ordered_error,
)
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.transparency.tree import Frontier

_MARK: Final = b"gridsecure-own-blindings-1"


def share_for(
    document: WarrantDocument,
    *,
    entries: Sequence[EvidenceEntry],
    key: OpenerKey,
    suite: Suite,
    witnessed: Frontier | None = None,
) -> bytes:
    """Check an order in the log; return this office's share for it.

    Args:
        document: What is to be opened, as the desk shows it.
        entries: The log as fetched, from its first entry on.
        witnessed: What this office kept of the log at an earlier time.

    Raises:
        AuditBrokenError: The log does not hold (`audit.log`).
        AccessDeniedError: It does not hold this order (`authenticity.warrant`), or did not commit
            to this escrow of this pseudonym before (`authenticity.escrow`).
        InvalidMessageError: A malformed escrow.
    """
    entry = find_ordered_entry(entries, name=document.entry, witnessed=witnessed)
    escrow = Escrow.from_bytes(bytes.fromhex(document.escrow), suite=suite)
    ordered = warrant_detail(
        document.subject, escrow=escrow, reference=document.reference, suite=suite
    )
    check_warrant(entry.action, entry.detail, ordered=ordered)
    wanted = leaf(name_digest(document.subject), escrow.to_bytes(suite))
    find_committing_entry(document.leaves, wanted=wanted, entries=entries, order=entry)
    return make_opening_share(key, point=escrow.e1, head=entry.hash, suite=suite)


@dataclass(frozen=True, slots=True)
class CheckedSearch:
    """A search whose order this office found in a log that holds.

    Args:
        leaves: What the log committed to before the order.
    """

    document: SearchDocument
    leaves: frozenset[str] = field(repr=False)


def check_search(
    document: SearchDocument,
    *,
    entries: Sequence[EvidenceEntry],
    leaves: Mapping[str, Sequence[str]],
    witnessed: Frontier | None = None,
) -> CheckedSearch:
    """Check that the log orders exactly this search, once before its first batch.

    Args:
        document: As the desk shows it.
        entries: As for `share_for`.
        leaves: By hash of a log entry of registrations, its leaves as the desk shows them.
        witnessed: As for `share_for`.

    Raises:
        AuditBrokenError: The log does not hold (`audit.log`).
        AccessDeniedError: It does not hold this order (`authenticity.warrant`), or leaves are not
            what it committed to before (`authenticity.escrow`).
    """
    entry = find_ordered_entry(entries, name=document.entry, witnessed=witnessed)
    ordered = search_detail(document.keys, batches=document.batches, reference=document.reference)
    if entry.action != SEARCH or json.loads(entry.detail) != ordered:
        raise not_ordered_error()
    return CheckedSearch(document, list_committed_leaves(leaves, entries=entries, order=entry))


def search_answer(
    work: SearchWork, *, search: CheckedSearch, key: OpenerKey, suite: Suite
) -> SearchAnswer:
    """Do this office's next step with one batch.

    Args:
        work: The batch, as the desk shows it.
        search: From `check_search`.

    Raises:
        AccessDeniedError: The order does not name this batch (`authenticity.warrant`), it is
            another office's turn (`authenticity.step`), or an escrow was not registered before
            the order (`authenticity.escrow`).
        SignatureError: The other office's blinding is wrong (`authenticity.blinding`), or the
            utility is shown blindings that are not its own (`authenticity.mark`).
        InvalidMessageError: Malformed points.
    """
    _check_work(work, search, key.opener)
    head = work.entry
    pairs = compute_differences(work.key, work.escrows, suite=suite)
    if work.step == "blind":
        blindings = _blindings(pairs, key, head, suite)
        mark = _mark(key, work, blindings)
        return SearchAnswer(batch=work.batch, step=work.step, blindings=blindings, mark=mark)
    if work.step == "blind-and-share":
        pairs = check_blindings(work.first, pairs=pairs, opener="utility", head=head, suite=suite)
        blindings = _blindings(pairs, key, head, suite)
        shares = _shares(_read(blindings, suite), key, head, suite)
        return SearchAnswer(batch=work.batch, step=work.step, blindings=blindings, shares=shares)
    if not hmac.compare_digest(work.mark, _mark(key, work, work.first)):
        raise SignatureError(
            "The first blindings are not this office's own.",
            reason="authenticity.mark",
            remedy="Give no share. Find out who runs the service.",
        )
    pairs = check_blindings(
        work.second, pairs=_read(work.first, suite), opener="regulator", head=head, suite=suite
    )
    shares = _shares(pairs, key, head, suite)
    return SearchAnswer(batch=work.batch, step=work.step, shares=shares)


def _check_work(work: SearchWork, search: CheckedSearch, opener: Opener) -> None:
    document = search.document
    if (
        work.entry != document.entry
        or work.key not in document.keys
        or work.batch >= len(document.batches)
        or document.batches[work.batch] != batch_digest(work.key, work.escrows)
    ):
        raise not_ordered_error()
    if STEP_OF[work.step] != opener:
        raise AccessDeniedError("It is the other office's turn.", reason="authenticity.step")
    registered = zip(work.names, map(bytes.fromhex, work.escrows), strict=False)
    if len(work.names) != len(work.escrows) or not search.leaves.issuperset(
        leaf(name, escrow) for name, escrow in registered
    ):
        raise not_committed_error()


def _blindings(pairs: Sequence[Difference], key: OpenerKey, head: str, suite: Suite) -> list[str]:
    return [
        blind_difference(pair, opener=key.opener, head=head, suite=suite).hex() for pair in pairs
    ]


def _shares(pairs: Sequence[Difference], key: OpenerKey, head: str, suite: Suite) -> list[str]:
    return [make_opening_share(key, point=pair.a, head=head, suite=suite).hex() for pair in pairs]


def _read(blindings: Sequence[str], suite: Suite) -> list[Difference]:
    """The pairs of blindings that need no check: this office's own."""
    return [
        Difference(*suite.group.decode_points(bytes_of(one)[: 2 * POINT_BYTES]))
        for one in blindings
    ]


def _mark(key: OpenerKey, work: SearchWork, blindings: Sequence[str]) -> str:
    secret = hkdf_sm3(key.k.to_bytes(SCALAR_BYTES, "big"), info=_MARK, length=32)
    text = frame_parts(_MARK, work.entry, str(work.batch), *blindings)
    return hmac_sm3(secret, text).hex()
