"""The fewest customers that each set was told of."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0007", "checker_0006"


def upgrade() -> None:
    """Before there were policies it was 15 for every set."""
    op.add_column(
        "told_set", sa.Column("minimum", sa.Integer(), nullable=False, server_default="15")
    )
