"""Blocking an identity: no new credential from now on. Those it has end with their period."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.credentials.log_details import ACTOR
from gridsecure.crypto.sm3 import hmac_sm3
from gridsecure.identity.enrolments.tables import BlockedRow
from gridsecure.store.database import write_session
from gridsecure.store.evidence import append
from gridsecure.store.rows import find, keep

BLOCK: Final = "identity.blocked"
_KEY_BYTES: Final = 32


def block(
    engine: Engine, *, identity: str, reference: str, now: datetime, actor: str = ACTOR
) -> bool:
    """Give an identity no new credential from now on; say whether it was not blocked before.

    The log commits to whom: HMAC-SM3 of the identity under a key drawn for this block and kept in
    its row, beside the identity itself. A bare SM3 of a meter number would name it to whoever
    tries all numbers; one key for all blocks would, if it got out, name everybody ever blocked. To
    an auditor the authority shows the key of one row. It cannot swap whom the entry is about.

    Args:
        identity: The reference, as in the record of enrolments; it need not be enrolled yet.
        reference: Of the order, for the log.
        now: The present, aware.
    """
    with write_session(engine) as session:
        kept = find(session, BlockedRow, identity=identity)
        is_new = kept is None
        if kept is None:
            key = secrets.token_bytes(_KEY_BYTES)
            kept = BlockedRow(identity=identity, key=key, reference=reference, at=now)
            keep(session, kept)
        detail = {"identity": blocked_name(kept), "reference": reference}
        append(session, at=now, actor=actor, action=BLOCK, detail=detail)
        return is_new


def blocked_name(row: BlockedRow) -> str:
    """What the log says of whom a block is about.

    Args:
        row: The block as it is kept.
    """
    return hmac_sm3(row.key, row.identity.encode()).hex()
