"""Previews of shadow runs, and what they asked of each cell."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0002", "checker_0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "preview",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("preview_id", sa.String(), nullable=False, unique=True),
        sa.Column("order", sa.String(), nullable=False, unique=True),
        sa.Column("digest", sa.String(), nullable=False, unique=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_table(
        "preview_cell",
        sa.Column("preview_id", sa.String(), sa.ForeignKey("preview.preview_id"), primary_key=True),
        sa.Column("zone", sa.String(), primary_key=True),
        sa.Column("customer_class", sa.String(), primary_key=True),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("start_at", Moment(), nullable=False),
        sa.Column("end_at", Moment(), nullable=False),
        sa.Column("questions", sa.Integer(), nullable=False),
    )
    op.create_index("ix_preview_cell_period", "preview_cell", ["domain", "start_at", "end_at"])
