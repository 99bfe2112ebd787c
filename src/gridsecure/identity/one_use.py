"""Values that are given out once and good once, for a short while: challenges and sessions.

A value is a record from when it is given out, so that a restart forgets none; those that are over
are deleted whenever another is given out, so that the table does not grow.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import StaleMessageError
from gridsecure.store.database import write_session
from gridsecure.store.many_records import fetch_many, forget_before
from gridsecure.store.records import Record, advance, record

VALUE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class OneUse:
    """One kind of such values.

    Args:
        kind: What they are for.
        lifetime: How long one is good.
    """

    kind: str
    lifetime: timedelta

    def give(self, engine: Engine, *, now: datetime, owner: str = "") -> bytes:
        """Give out a value, 32 random bytes.

        Args:
            engine: The database that remembers it.
            now: The present, aware.
            owner: Who alone may use it; anybody by default.

        Raises:
            StorageError: The database refuses.
        """
        value = secrets.token_bytes(VALUE_BYTES)
        name, expires_at = value.hex(), (now + self.lifetime).isoformat()
        with write_session(engine) as session:
            forget_before(session, now - self.lifetime, kind=self.kind)
            entry = Record(self.kind, name, name, sm3_hex(owner.encode()), "open", expires_at)
            record(session, entry, at=now)
        return value

    def use(self, engine: Engine, *, value: bytes, now: datetime, owner: str = "") -> None:
        """Use a value up. An attempt by another than its owner leaves it as it is.

        Args:
            engine: The database that remembers it.
            value: The value.
            now: The present, aware.
            owner: Who uses it.

        Raises:
            StaleMessageError: Never given out, not to this owner, used before, or expired
                (`authenticity.<kind>`).
        """
        name = value.hex()
        with write_session(engine) as session:
            given = fetch_many(session, [name], kind=self.kind).get(name)
            is_theirs = given is not None and given.digest == sm3_hex(owner.encode())
            is_ours = is_theirs and advance(
                session, kind=self.kind, name=name, source="open", target="used"
            )
        if given is None or not is_ours or now >= datetime.fromisoformat(given.text):
            raise StaleMessageError(
                "A challenge or session is unknown, used or expired.",
                reason=f"authenticity.{self.kind}",
                remedy="Ask for a new one.",
            )


CHALLENGES: Final = OneUse("challenge", timedelta(minutes=2))
"""What presentations and log-ins answer."""

SESSIONS: Final = OneUse("enrolment-session", timedelta(minutes=10))
"""What an enrolment order is sent in; making hundreds of requests takes a while."""
