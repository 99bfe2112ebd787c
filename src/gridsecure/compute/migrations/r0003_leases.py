"""Runs and jobs that several processes share: who has one in hand, and until when."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "platform_0003", "platform_0002"


def upgrade() -> None:
    """Give runs a lease, and jobs a table. A run that was left at work is taken up again."""
    for column in _lease():
        op.add_column("run", column)
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.String(), sa.ForeignKey("run.run_id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        *_lease(),
        sa.UniqueConstraint("run_id", "name"),
    )
    op.create_index("ix_job_state", "job", ["state", "id"])


def _lease() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("lease_until", Moment(), nullable=True),
    )
