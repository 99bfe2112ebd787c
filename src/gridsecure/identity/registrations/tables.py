"""The registrations' database: pseudonyms and what they did, one table for each thing it keeps.

No name comes into it. Rows are written and read by the module that is about them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from gridsecure.identity.one_use import GivenOnce
from gridsecure.store.rows import Kept, Moment
from gridsecure.store.schema import Schema


class Row(SQLModel, registry=registry()):
    """A row of the registrations' database."""


class RegistrationRow(Kept, Row, table=True):
    """A pseudonym in one domain; `state` goes from active to denied and never back.

    The first escrow and facts stay: the same key and role again is the same registration.
    """

    __tablename__ = "registration"
    SAME: ClassVar = ("subject", "role", "holder")

    subject: str = Field(primary_key=True)
    domain: str
    nym: bytes
    holder: bytes
    escrow: bytes
    role: str
    settlement: str | None = Field(foreign_key="registration.subject", index=True)
    zone: str
    customer_class: str
    counted: bool
    owner: str
    state: str = Field(index=True)
    at: datetime = Field(sa_type=Moment)


class CarriedRow(Kept, Row, table=True):
    """An earlier pseudonym that a registration carries on, and its place among those."""

    __tablename__ = "carried"
    SAME: ClassVar = ("subject", "place", "earlier")

    subject: str = Field(primary_key=True, foreign_key="registration.subject")
    place: int = Field(primary_key=True)
    earlier: str = Field(foreign_key="registration.subject")


class BatchRow(Kept, Row, table=True):
    """A batch of registrations, by the hash of the log entry that commits to it."""

    __tablename__ = "registration_leaves"
    SAME: ClassVar = ("entry", "digest")

    entry: str = Field(primary_key=True)
    digest: str
    at: datetime = Field(sa_type=Moment)


class LeafRow(Kept, Row, table=True):
    """A leaf of a batch; a batch may have the same one twice."""

    __tablename__ = "registration_leaf"
    SAME: ClassVar = ("entry", "leaf")

    id: int | None = Field(default=None, primary_key=True)
    entry: str = Field(foreign_key="registration_leaves.entry", index=True)
    leaf: str = Field(index=True)


class OpeningRow(Row, table=True):
    """That an order was opened, as the log says it too; `warrant` is the hash of its entry."""

    __tablename__ = "opening"

    id: int | None = Field(default=None, primary_key=True)
    warrant: str = Field(index=True)


class SpentGrantRow(Kept, Row, table=True):
    """A query grant that was used: its quota's and tag's digest, and for which query."""

    __tablename__ = "spent_grant"
    SAME: ClassVar = ("tag", "digest")

    tag: str = Field(primary_key=True)
    digest: str
    at: datetime = Field(sa_type=Moment)


class ChallengeRow(GivenOnce, Row, table=True):
    """A challenge, which one presentation, batch or log-in answers."""

    __tablename__ = "challenge"


SCHEMA: Final = Schema(
    head="registrations_0003",
    metadata=Row.metadata,
    scripts=Path(__file__).parent / "migrations",
)
