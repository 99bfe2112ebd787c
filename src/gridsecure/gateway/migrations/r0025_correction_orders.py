"""Orders of persons to correct a billed month."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0025", "gateway_0024"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "correction_order",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("approver", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("readings", sa.String(), nullable=False),
        sa.Column("tariffs", sa.String(), nullable=False),
        sa.Column("intervals", sa.Integer(), nullable=False),
        sa.Column("meter_points", sa.Integer(), nullable=False),
    )
    op.create_index("ix_correction_order_month", "correction_order", ["month", "state", "id"])
    op.create_index("ix_correction_order_state", "correction_order", ["state", "id"])
    op.create_index("ix_correction_order_revision", "correction_order", ["revision"])
