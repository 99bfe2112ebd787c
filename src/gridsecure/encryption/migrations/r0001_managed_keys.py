"""The encryption service's first tables."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import create_evidence
from gridsecure.store.rows import Moment

revision, down_revision = "encryption_0001", None


def upgrade() -> None:
    """Create the tables."""
    create_evidence(op.get_bind())
    op.create_table(
        "managed_key",
        sa.Column("id", sa.Integer(), nullable=False),
        *_texts("key_id", "organisation", "name"),
        sa.Column("generation", sa.Integer(), nullable=False),
        *_texts("algorithm", "public_key", "state"),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_id"),
        sa.UniqueConstraint("organisation", "name", "generation"),
    )
    op.create_index("ix_managed_key_organisation", "managed_key", ["organisation", "id"])
    op.create_table(
        "key_secret",
        *_texts("key_id", "sealed"),
        sa.PrimaryKeyConstraint("key_id"),
        sa.ForeignKeyConstraint(["key_id"], ["managed_key.key_id"]),
    )
    op.create_table(
        "key_use",
        sa.Column("id", sa.Integer(), nullable=False),
        *_texts("use", "key_id", "organisation", "operation", "person"),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("use"),
        sa.ForeignKeyConstraint(["key_id"], ["managed_key.key_id"]),
    )
    op.create_index("ix_key_use_key", "key_use", ["key_id", "id"])
    op.create_table(
        "usage",
        *_texts("month", "party", "measure"),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "party", "measure"),
    )


def _texts(*names: str) -> "list[sa.Column[str]]":
    return [sa.Column(name, sa.String(), nullable=False) for name in names]
