"""The day that a roster's billing periods begin on; rosters that are there have calendar months."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "platform_0007", "platform_0006"


def upgrade() -> None:
    """Create the column."""
    op.add_column(
        "roster", sa.Column("cycle_day", sa.Integer(), nullable=False, server_default="1")
    )
