"""The work list of exceptions."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0006", "gateway_0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "exception",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("meter_point_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("intervals", sa.Integer(), nullable=False),
        sa.Column("first_at", Moment(), nullable=True),
        sa.Column("is_unbilled", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("due", sa.String(), nullable=False),
        sa.Column("opened_at", Moment(), nullable=False),
        sa.Column("changed_at", Moment(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("month", "meter_point_id", "rule"),
    )
    op.create_index("ix_exception_month", "exception", ["month", "state", "id"])
    op.create_index("ix_exception_state", "exception", ["state", "id"])
    op.create_index("ix_exception_owner", "exception", ["owner", "state", "id"])
    op.create_index("ix_exception_meter_point", "exception", ["meter_point_id", "id"])
    op.create_index("ix_exception_revision", "exception", ["revision"])
    op.create_table(
        "exception_note",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("exception_id", sa.Integer(), sa.ForeignKey("exception.id"), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_index("ix_exception_note_exception_id", "exception_note", ["exception_id"])
