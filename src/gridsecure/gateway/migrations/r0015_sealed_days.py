"""Days that are sealed one by one."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0015", "gateway_0014"


def upgrade() -> None:
    """Give the plans of days a table."""
    op.create_table(
        "sealed_day",
        sa.Column("day", sa.String(), primary_key=True),
        sa.Column("month", sa.String(), nullable=False, index=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
