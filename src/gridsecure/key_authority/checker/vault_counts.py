"""What the evidence log has of the vault, so that an older copy of its folder is known as such.

The vault says, signed, how many moves of key sets, policies and revocations it has. The largest of
each that it ever said is entered in the log. Whoever puts an older copy of its whole folder back
has a vault that says less: then no custodian's share is handed on to it, and nothing is ordered of
it (`vault.rolled-back`), until it has as many again.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Final

from sqlmodel import Session

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.vault_messages import VaultCounts, VaultStatus

COUNTED: Final = "vault-folder.counted"
_log = logging.getLogger(__name__)


def read_logged(session: Session) -> VaultCounts:
    """The largest counts of the vault in the log."""
    found = VaultCounts()
    for entry in evidence.list_entries_of(session, COUNTED):
        found = found.joined(VaultCounts.model_validate(json.loads(entry.detail)))
    return found


def check_counts(zone: AuthorityZone, *, at: datetime) -> None:
    """Refuse a vault with fewer than the log has of it; enter what it has more.

    Raises:
        GridSecureError: `vault.rolled-back`; or it is down.
    """
    now = VaultStatus.parse(zone.vault.status().body).counts
    with read_session(zone.engine) as session:
        logged = read_logged(session)
    now.check_after(logged)
    if now != logged and not now.is_first:
        with write_session(zone.engine) as session:
            if now != read_logged(session):
                _enter(session, now, at=at)


def follow_counts(zone: AuthorityZone, *, at: datetime) -> None:
    """Enter what the vault has more since something was done; else the next release does it."""
    try:
        check_counts(zone, at=at)
    except GridSecureError as error:  # what was done is done, whatever the vault says of itself
        _log.warning("the vault's counts were not entered: %s", error.reason)


def _enter(session: Session, counts: VaultCounts, *, at: datetime) -> None:
    detail: dict[str, evidence.JSON] = {
        "moves": counts.moves,
        "policies": counts.policies,
        "revocations": counts.revocations,
    }
    evidence.append(session, at=at, actor="checker", action=COUNTED, detail=detail)
