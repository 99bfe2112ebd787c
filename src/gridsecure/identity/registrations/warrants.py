"""Warrants in the evidence log: nothing is opened that the log does not say.

1. `record_warrant` appends what is to be opened and why; the entry's hash is the log head.
2. Each opener runs `check_warrant` on the entry it read in its own copy of the log, and only then
   gives a share, whose proof names that hash.
3. `record_shares` appends the shares' digests when the escrow was opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.credentials.opening import Opener, share_digest
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError
from gridsecure.identity.registrations.registry import ACTOR
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, EvidenceEntry, append

WARRANT: Final = "identity.warrant"
OPENED: Final = "identity.opened"


@dataclass(frozen=True, slots=True)
class WarrantOrder:
    """What is to be opened, and why.

    Args:
        subject: The pseudonym.
        escrow: Its escrow.
        reference: The order's number in the utility's and regulator's files.
    """

    subject: str
    escrow: Escrow
    reference: str


def record_warrant(
    engine: Engine, order: WarrantOrder, *, now: datetime, suite: Suite, actor: str = ACTOR
) -> EvidenceEntry:
    """Append the order to open one escrow; the entry's hash is what shares are bound to.

    Args:
        engine: The database that holds the evidence log.
        order: What is to be opened.
        now: The present, aware.
        suite: The group.
        actor: The officer who orders it.

    Raises:
        StorageError: Another writer came first; try again.
    """
    escrow = _digest(order.escrow, suite)
    detail = {"subject": order.subject, "escrow": escrow, "reference": order.reference}
    with write_session(engine) as session:
        return append(session, at=now, actor=actor, action=WARRANT, detail=detail)


def check_warrant(
    entry: EvidenceEntry, *, subject: str, escrow: Escrow, reference: str, suite: Suite
) -> str:
    """Return the log head for a share if the entry orders exactly this opening.

    Args:
        entry: Read by the opener from a log whose chain it verified.
        subject: The pseudonym it was asked about.
        escrow: The escrow it was given.
        reference: The order's number it was told.
        suite: The group.

    Raises:
        AccessDeniedError: The entry orders something else (`authenticity.warrant`).
    """
    ordered = {"subject": subject, "escrow": _digest(escrow, suite), "reference": reference}
    if entry.action != WARRANT or json.loads(entry.detail) != ordered:
        raise AccessDeniedError(
            "The log entry does not order this opening.",
            reason="authenticity.warrant",
            remedy="Append the warrant to the evidence log first.",
        )
    return entry.hash


def record_shares(
    engine: Engine,
    *,
    head: str,
    shares: Mapping[Opener, bytes],
    now: datetime,
    actor: str = ACTOR,
) -> EvidenceEntry:
    """Append that an escrow was opened, with the shares' digests.

    Args:
        engine: The database that holds the evidence log.
        head: Hash of the log entry that holds the warrant.
        shares: By opener.
        now: The present, aware.
        actor: The officer whose share was the last.
    """
    digests: dict[str, JSON] = {
        str(name): share_digest(share) for name, share in sorted(shares.items())
    }
    with write_session(engine) as session:
        detail: dict[str, JSON] = {"warrant": head, "shares": digests}
        return append(session, at=now, actor=actor, action=OPENED, detail=detail)


def _digest(escrow: Escrow, suite: Suite) -> str:
    return sm3_hex(escrow.to_bytes(suite))
