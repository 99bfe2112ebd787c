"""The utility's books as enrolment needs them: which meter points a gateway may enrol.

They are in the database of enrolments. The evidence log says how many accounts were written and by
whom, with a digest, and repeats no name or address.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.store.accounts import Account, accounts_of, put_accounts
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, append

WRITTEN = "identity.books-written"


def write_books(engine: Engine, accounts: Sequence[Account], *, actor: str, now: datetime) -> None:
    """Write accounts, each in place of an earlier one of its meter point.

    Args:
        engine: The database of enrolments.
        accounts: The accounts; of two of one meter point the later counts.
        actor: Who wrote them.
        now: The present, aware.

    Raises:
        StorageError: The database refuses; nothing was kept.
    """
    # In order of meter points: two operators at once then wait for each other, and not both ways.
    latest = {account.meter_point_id: account for account in accounts}
    ordered = [latest[name] for name in sorted(latest)]
    written = [framed(a.meter_point_id, a.gateway, a.name, a.address) for a in ordered]
    detail: dict[str, JSON] = {"accounts": len(ordered), "digest": sm3_hex(framed(*written))}
    with write_session(engine) as session:
        put_accounts(session, ordered)
        append(session, at=now, actor=actor, action=WRITTEN, detail=detail)


def read_by(engine: Engine, meter_point_ids: Sequence[str], *, gateway: str) -> set[str]:
    """Those meter points that a gateway reads, by the books.

    Args:
        engine: The database of enrolments.
        meter_point_ids: Which.
        gateway: The gateway's thumbprint.
    """
    with Session(engine) as session:
        found = accounts_of(session, meter_point_ids)
    return {name for name, account in found.items() if account.gateway == gateway}
