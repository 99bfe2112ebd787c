"""Notices to sources: where they go, and what is still to be told."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0004", "gateway_0003"


def upgrade() -> None:
    """Create the table and the column."""
    op.add_column("source", sa.Column("webhook", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("source") as source:
        source.alter_column("webhook", server_default=None)
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("due_at", Moment(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.UniqueConstraint("month", "occasion", "source"),
    )
    op.create_index("ix_notice_due", "notice", ["state", "due_at"])
    op.create_index("ix_notice_page", "notice", ["source", "id"])
