"""Receivers of events, and what is still to be told them."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0030", "gateway_0029"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "receiver",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("events", sa.String(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_table(
        "event_notice",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Moment(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("happened_at", sa.String(), nullable=False),
    )
    op.create_index("ix_event_notice_due", "event_notice", ["state", "due_at"])
    op.create_index("ix_event_notice_page", "event_notice", ["receiver", "id"])
    op.create_index("ix_event_notice_state", "event_notice", ["receiver", "state", "id"])
