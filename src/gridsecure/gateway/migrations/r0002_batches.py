"""Sources of readings, and the batches they sent."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0002", "gateway_0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "source",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("thumbprint", sa.String(), nullable=False, unique=True),
        sa.Column("meter_points", sa.String(), nullable=False),
        sa.Column("stamps", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_table(
        "batch",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("body_digest", sa.String(), nullable=False),
        sa.Column("readings_digest", sa.String(), nullable=False),
        sa.Column("first_at", Moment(), nullable=False),
        sa.Column("last_at", Moment(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.UniqueConstraint("source", "batch_id"),
        sa.UniqueConstraint("source", "sequence"),
    )
    op.create_index("ix_batch_page", "batch", ["source", "id"])
    op.create_index("ix_batch_last_at", "batch", ["last_at"])
