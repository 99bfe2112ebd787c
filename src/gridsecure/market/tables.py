"""The market's database: signed documents, who may sign, and counters. Nothing else is here.

All documents are of one table, because all are looked up alike: by kind and by whose they are, to
whom, and about what. What each says is in its signed text.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from gridsecure.store.held_policies import HeldPolicyRow
from gridsecure.store.rows import Moment, SignedKept
from gridsecure.store.schema import Schema
from gridsecure.store.usage import UsageColumns


class Row(SQLModel, registry=registry()):
    """A row of the market's database."""


class DocumentRow(SignedKept, Row, table=True):
    """A signed document.

    Attributes:
        name: What makes it one of its kind, such as a product's name and version.
        organisation: Whose it is.
        counterpart: Whom else it concerns, and who reads it too; empty for nobody.
        about: Digest or name of what it is about; empty for nothing.
        month: Of a metered use or settlement, YYYY-MM; else empty.
        state: The only thing that moves.
        until: Of an offer or need, when it ends; else empty.
    """

    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("kind", "name"),
        Index("ix_document_kind", "kind", "id"),
        Index("ix_document_organisation", "kind", "organisation", "id"),
        Index("ix_document_counterpart", "kind", "counterpart", "id"),
        Index("ix_document_about", "kind", "about", "month", "id"),
        Index("ix_document_state", "kind", "state", "id"),
        Index("ix_document_until", "kind", "state", "until"),
    )
    SAME: ClassVar = ("kind", "name", "digest")

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(unique=True)
    kind: str
    name: str
    organisation: str
    counterpart: str
    about: str
    month: str
    state: str
    until: datetime | None = Field(default=None, sa_type=Moment)


class SignatureRow(SignedKept, Row, table=True):
    """One side's signature under an agreement."""

    __tablename__ = "signature"
    SAME: ClassVar = ("digest", "organisation")

    digest: str = Field(primary_key=True, foreign_key="document.digest")
    organisation: str = Field(primary_key=True)


class PersonRow(Row, table=True):
    """Who signs for which organisation, by the newest record of each.

    Attributes:
        roles: The organisation's, joined by blanks.
    """

    __tablename__ = "person"

    person: str = Field(primary_key=True)
    thumbprint: str = Field(unique=True)
    organisation: str = Field(index=True)
    public_key: str
    roles: str


class CounterRow(Row, table=True):
    """What is counted as it comes: uses of an agreement, and of a dataset."""

    __tablename__ = "counter"

    name: str = Field(primary_key=True)
    amount: int = Field(sa_type=BigInteger)


class PolicyRow(HeldPolicyRow, Row, table=True):
    """A release policy that was taken in; agreements have the one in force in them."""

    __tablename__ = "policy"


class UsageRow(UsageColumns, Row, table=True):
    """What an organisation did in a month."""

    __tablename__ = "usage"


SCHEMA = Schema(
    metadata=Row.metadata, scripts=Path(__file__).parent / "migrations", head="market_0002"
)
