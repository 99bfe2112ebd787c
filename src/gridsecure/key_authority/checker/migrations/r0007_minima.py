"""The fewest customers that each set was told of."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0007", "checker_0006"


def upgrade() -> None:
    """Before there were policies it was 15 for every set that was told of."""
    op.add_column(
        "told_set", sa.Column("minimum", sa.Integer(), nullable=False, server_default="15")
    )
    # Of a changed set nothing was told: what it needs are the minima of the sets around it.
    op.execute("UPDATE told_set SET minimum = 0 WHERE kind = 'changed'")
