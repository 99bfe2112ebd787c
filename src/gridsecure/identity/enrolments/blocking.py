"""Blocking an identity: no new credential from now on. Those it has end with their period."""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.credentials.log_details import ACTOR
from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import hmac_sm3, sm3_hex
from gridsecure.identity.enrolments.enrolled_keys import BLOCKED
from gridsecure.store.database import write_session
from gridsecure.store.evidence import append
from gridsecure.store.many_records import fetch_many
from gridsecure.store.records import Record, record

BLOCK: Final = "identity.blocked"
_KEY_BYTES: Final = 32


def block(
    engine: Engine, *, identity: str, reference: str, now: datetime, actor: str = ACTOR
) -> bool:
    """Give an identity no new credential from now on; say whether it was not blocked before.

    The log commits to whom: HMAC-SM3 of the identity under a key drawn for this block and kept in
    its record, beside the identity itself. A bare SM3 of a meter number would name it to whoever
    tries all numbers; one key for all blocks would, if it got out, name everybody ever blocked. To
    an auditor the authority shows the key of one record. It cannot swap whom the entry is about.

    Args:
        engine: The database of enrolments.
        identity: The reference, as in the record of enrolments; it need not be enrolled yet.
        reference: Of the order, for the log.
        now: The present, aware.
        actor: The officer who orders it.
    """
    with write_session(engine) as session:
        known = fetch_many(session, [identity], kind=BLOCKED).get(identity)
        kept = known or _new_block(identity, reference)
        is_new = record(session, kept, at=now)
        detail = {"identity": blocked_name(kept), "reference": reference}
        append(session, at=now, actor=actor, action=BLOCK, detail=detail)
        return is_new


def blocked_name(entry: Record) -> str:
    """What the log says of whom a block is about.

    Args:
        entry: The block's record.
    """
    return hmac_sm3(bytes.fromhex(json.loads(entry.text)["key"]), entry.name.encode()).hex()


def _new_block(identity: str, reference: str) -> Record:
    said = {"key": secrets.token_hex(_KEY_BYTES), "reference": reference}
    digest = sm3_hex(framed(identity))
    return Record(BLOCKED, identity, identity, digest, "", json.dumps(said))
