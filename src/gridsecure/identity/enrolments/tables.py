"""The enrolments' database: names, keys and books, one table for each thing it keeps.

No pseudonym comes into it. Rows are written and read by the module that is about them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from gridsecure.identity.one_use import GivenOnce
from gridsecure.store.rows import Kept, Moment
from gridsecure.store.schema import Schema


class Row(SQLModel, registry=registry()):
    """A row of the enrolments' database."""


class EnrolmentRow(Kept, Row, table=True):
    """Whose a key is, in one generation of the identity; a hidden role's key nobody knows."""

    __tablename__ = "enrolment"
    __table_args__ = (UniqueConstraint("identity", "generation"),)
    SAME: ClassVar = ("identity", "generation", "key")

    id: int | None = Field(default=None, primary_key=True)
    identity: str
    generation: int
    key: str | None = Field(unique=True)
    at: datetime = Field(sa_type=Moment)


class CredentialRow(Kept, Row, table=True):
    """The one credential of an identity's generation in a role and period, by its name."""

    __tablename__ = "credential"
    __table_args__ = (
        ForeignKeyConstraint(
            ["identity", "generation"], ["enrolment.identity", "enrolment.generation"]
        ),
    )
    SAME: ClassVar = ("name", "digest")

    name: str = Field(primary_key=True)
    identity: str
    generation: int
    role: str
    period: str
    digest: str
    at: datetime = Field(sa_type=Moment)


class CertifiedRow(Kept, Row, table=True):
    """The facts of a credential."""

    __tablename__ = "certified"
    SAME: ClassVar = ("credential", "zone", "customer_class", "counted", "owner")

    credential: str = Field(primary_key=True, foreign_key="credential.name")
    zone: str
    customer_class: str
    counted: bool
    owner: str
    at: datetime = Field(sa_type=Moment)


class CountedRow(Kept, Row, table=True):
    """The one meter point that counts for a customer in a period.

    `claim` is the digest of customer and period; the customer's number is in the books alone.
    """

    __tablename__ = "counted"
    SAME: ClassVar = ("claim", "credential")

    claim: str = Field(primary_key=True)
    period: str
    meter_point_id: str = Field(index=True)
    credential: str = Field(foreign_key="credential.name")
    at: datetime = Field(sa_type=Moment)


class BlockedRow(Kept, Row, table=True):
    """An identity that gets no new credential, and the key that the log names it under."""

    __tablename__ = "blocked"
    SAME: ClassVar = ("identity",)

    identity: str = Field(primary_key=True)
    key: bytes
    reference: str
    at: datetime = Field(sa_type=Moment)


class RekeyOrderRow(Kept, Row, table=True):
    """A re-key order that was carried out: the JSON of both offices' signed orders."""

    __tablename__ = "rekey_order"
    SAME: ClassVar = ("digest",)

    digest: str = Field(primary_key=True)
    orders: str
    at: datetime = Field(sa_type=Moment)


class UsedLoginRow(Kept, Row, table=True):
    """A log-in that was used, by its kind, the key that signed it, and its nonce."""

    __tablename__ = "login"
    SAME: ClassVar = ("kind", "signer", "nonce", "digest")

    kind: str = Field(primary_key=True)
    signer: str = Field(primary_key=True)
    nonce: str = Field(primary_key=True)
    digest: str
    at: datetime = Field(sa_type=Moment, index=True)


class SessionRow(GivenOnce, Row, table=True):
    """A session, which one enrolment order is sent in."""

    __tablename__ = "enrolment_session"


class AccountRow(Row, table=True):
    """One account of the books, which may change: customers move, gateways are replaced.

    `site` is the meter point's own id; a holder's name has more. Days are ISO 8601, blank if open.
    """

    __tablename__ = "account"

    meter_point_id: str = Field(primary_key=True)
    site: str = Field(index=True)
    gateway: str
    name: str
    address: str
    customer_id: str
    zone: str
    customer_class: str
    valid_from: str
    valid_to: str


class OwnerRow(Row, table=True):
    """Who runs a gateway, by the books; it may change."""

    __tablename__ = "gateway_owner"

    gateway: str = Field(primary_key=True)
    owner: str


class SourceKeyRow(Row, table=True):
    """A key that a meter-data system signs in with, until it is replaced or withdrawn.

    Attributes:
        name: Whose it is, at its gateway.
        point: Of the public key, in hexadecimal.
    """

    __tablename__ = "source_key"

    thumbprint: str = Field(primary_key=True)
    name: str
    point: str
    at: datetime = Field(sa_type=Moment)


class FormerSourceKeyRow(Kept, Row, table=True):
    """A key that was replaced or withdrawn, and whose it was; it never comes back."""

    __tablename__ = "former_source_key"
    SAME: ClassVar = ("thumbprint", "name")

    thumbprint: str = Field(primary_key=True)
    name: str
    at: datetime = Field(sa_type=Moment)


SCHEMA: Final = Schema(
    head="enrolments_0005",
    metadata=Row.metadata,
    scripts=Path(__file__).parent / "migrations",
)
