"""The market's first tables."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import create_evidence
from gridsecure.store.rows import Moment

revision, down_revision = "market_0001", None


def upgrade() -> None:
    """Create the tables.

    Length: one list, read as a whole.
    """
    create_evidence(op.get_bind())
    op.create_table(
        "document",
        *_texts("message"),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        *_texts("digest", "kind", "name", "organisation", "counterpart", "about", "month", "state"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("kind", "name"),
    )
    for name, columns in (
        ("ix_document_kind", ["kind", "id"]),
        ("ix_document_organisation", ["kind", "organisation", "id"]),
        ("ix_document_counterpart", ["kind", "counterpart", "id"]),
        ("ix_document_about", ["kind", "about", "month", "id"]),
        ("ix_document_state", ["kind", "state", "id"]),
    ):
        op.create_index(name, "document", columns)
    op.create_table(
        "signature",
        *_texts("message"),
        sa.Column("at", Moment(), nullable=False),
        *_texts("digest", "organisation"),
        sa.ForeignKeyConstraint(["digest"], ["document.digest"]),
        sa.PrimaryKeyConstraint("digest", "organisation"),
    )
    op.create_table(
        "person",
        *_texts("person", "thumbprint", "organisation", "public_key", "roles"),
        sa.PrimaryKeyConstraint("person"),
        sa.UniqueConstraint("thumbprint"),
    )
    op.create_index("ix_person_organisation", "person", ["organisation"])
    op.create_table(
        "counter",
        *_texts("name"),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "usage",
        *_texts("month", "party", "measure"),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "party", "measure"),
    )
    op.create_table(
        "policy",
        sa.Column("id", sa.Integer(), nullable=False),
        *_texts("digest", "name"),
        sa.Column("version", sa.Integer(), nullable=False),
        *_texts("text"),
        sa.Column("signatures", sa.String(), nullable=False, server_default="[]"),
        sa.Column("state", sa.String(), nullable=False, server_default="begun"),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _texts(*names: str) -> "list[sa.Column[str]]":
    return [sa.Column(name, sa.String(), nullable=False) for name in names]
