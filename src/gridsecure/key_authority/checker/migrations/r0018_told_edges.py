"""At which edges sets of members were told of."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0018", "checker_0017"


def upgrade() -> None:
    """Create the table; no sealed question was answered that depends on edges before."""
    op.create_table(
        "told_edge",
        sa.Column("told_set", sa.String(), nullable=False),
        sa.Column("edge", sa.Integer(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["told_set"], ["told_set.name"]),
        sa.PrimaryKeyConstraint("told_set", "edge"),
    )
