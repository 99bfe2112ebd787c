"""Sealed days: which cohorts and sets of members are theirs."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0006", "checker_0005"


def upgrade() -> None:
    """Whatever was told of before was told of months."""
    op.add_column(
        "cohort", sa.Column("by_day", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "told_set", sa.Column("kind", sa.String(), nullable=False, server_default="month")
    )
