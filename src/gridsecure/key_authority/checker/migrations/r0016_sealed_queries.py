"""Sealed questions, what answers them, and what became of each query."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0016", "checker_0015"


def _release_id(*, nullable: bool) -> sa.Column[str]:
    named = sa.ForeignKey("release.release_id", deferrable=True, initially="DEFERRED")
    return sa.Column("release_id", sa.String(), named, nullable=nullable)


def upgrade() -> None:
    """Create the tables; nobody asked so before."""
    op.create_table(
        "question",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_table(
        "kept_answer",
        sa.Column("question", sa.String(), nullable=False),
        _release_id(nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("question"),
        sa.UniqueConstraint("release_id"),
    )
    op.create_table(
        "answered_query",
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        _release_id(nullable=True),
        sa.Column("refusal", sa.LargeBinary(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("asked_by"),
        sa.UniqueConstraint("request_id"),
    )
