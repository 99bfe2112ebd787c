"""The encryption service's database: managed keys, sealed secrets, and each use. Nothing else.

A secret is a row of its own, so that destroying it is deleting a row, while the key's name and
history stay.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from gridsecure.store.rows import Kept, Moment
from gridsecure.store.schema import Schema
from gridsecure.store.usage import UsageColumns


class Row(SQLModel, registry=registry()):
    """A row of the encryption service's database."""


class ManagedKeyRow(Kept, Row, table=True):
    """A managed key.

    Attributes:
        organisation: Whose it is; nobody else learns that it is there.
        generation: From 1; a rotation makes the next one.
        public_key: Its SM2 point as hexadecimal digits; empty for a key without one.
        state: The only thing that moves.
    """

    __tablename__ = "managed_key"
    __table_args__ = (
        UniqueConstraint("organisation", "name", "generation"),
        Index("ix_managed_key_organisation", "organisation", "id"),
    )
    SAME: ClassVar = ("key_id",)

    id: int | None = Field(default=None, primary_key=True)
    key_id: str = Field(unique=True)
    organisation: str
    name: str
    generation: int
    algorithm: str
    public_key: str
    state: str
    at: datetime = Field(sa_type=Moment)


class KeySecretRow(Kept, Row, table=True):
    """A managed key's secret, sealed under the zone's key-encryption key; hexadecimal digits."""

    __tablename__ = "key_secret"
    SAME: ClassVar = ("key_id",)

    key_id: str = Field(primary_key=True, foreign_key="managed_key.key_id")
    sealed: str


class KekRow(Kept, Row, table=True):
    """What tells the zone's key-encryption key from others; the key does not follow from it.

    Attributes:
        number: 0: there is one row.
        check_value: HMAC-SM3 of a fixed text under the key, hexadecimal digits.
    """

    __tablename__ = "kek"
    SAME: ClassVar = ("number", "check_value")

    number: int = Field(default=0, primary_key=True)
    check_value: str


class KeyUseRow(Kept, Row, table=True):
    """One use of a managed key; not of what.

    Attributes:
        operation: As `uses.OPERATIONS` names it.
    """

    __tablename__ = "key_use"
    __table_args__ = (Index("ix_key_use_key", "key_id", "id"),)
    SAME: ClassVar = ("use",)

    id: int | None = Field(default=None, primary_key=True)
    use: str = Field(unique=True)
    key_id: str = Field(foreign_key="managed_key.key_id")
    organisation: str
    operation: str
    person: str
    at: datetime = Field(sa_type=Moment)


class UsageRow(UsageColumns, Row, table=True):
    """What an organisation used in a month."""

    __tablename__ = "usage"


SCHEMA = Schema(
    metadata=Row.metadata, scripts=Path(__file__).parent / "migrations", head="encryption_0002"
)
