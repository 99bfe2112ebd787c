"""Values that are given out once and good once, for a short while: challenges and sessions.

A value is a row from when it is given out, so that a restart forgets none; those that are over are
deleted whenever another is given out, so that the table does not grow.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from sqlalchemy import Engine
from sqlmodel import Field, col, delete

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import StaleMessageError
from gridsecure.store.database import write_session
from gridsecure.store.rows import Kept, Moment, advance, find, keep, kind_of

VALUE_BYTES: Final = 32


class GivenOnce(Kept):
    """A value that was given out, and to whom alone; `state` goes from open to used."""

    SAME: ClassVar = ("value", "owner")

    value: str = Field(primary_key=True)
    owner: str
    state: str = "open"
    expires_at: datetime = Field(sa_type=Moment, index=True)


@dataclass(frozen=True, slots=True)
class OneUse:
    """One kind of such values.

    Args:
        table: Where they are kept; its name is what they are for.
        lifetime: How long one is good.
    """

    table: type[GivenOnce]
    lifetime: timedelta

    def give(self, engine: Engine, *, now: datetime, owner: str = "") -> bytes:
        """Give out a value, 32 random bytes.

        Args:
            now: The present, aware.
            owner: Who alone may use it; anybody by default.

        Raises:
            StorageError: The database refuses.
        """
        value = secrets.token_bytes(VALUE_BYTES)
        row = self.table(
            value=value.hex(), owner=sm3_hex(owner.encode()), expires_at=now + self.lifetime
        )
        with write_session(engine) as session:
            session.exec(delete(self.table).where(col(self.table.expires_at) < now))
            keep(session, row)
        return value

    def use(self, engine: Engine, *, value: bytes, now: datetime, owner: str = "") -> None:
        """Use a value up. An attempt by another than its owner leaves it as it is.

        Args:
            now: The present, aware.

        Raises:
            StaleMessageError: Never given out, not to this owner, used before, or expired
                (`authenticity.<kind>`).
        """
        name = value.hex()
        with write_session(engine) as session:
            given = find(session, self.table, value=name, owner=sm3_hex(owner.encode()))
            is_over = given is None or now >= given.expires_at
            is_ours = given is not None and advance(
                session, self.table, source="open", target="used", value=name
            )
        if is_over or not is_ours:
            raise StaleMessageError(
                "A challenge or session is unknown, used or expired.",
                reason=f"authenticity.{kind_of(self.table)}",
                remedy="Ask for a new one.",
            )
