"""Rule books that operators hand in."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0003", "gateway_0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "rule_set",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_index("ix_rule_set_month", "rule_set", ["month", "id"])
