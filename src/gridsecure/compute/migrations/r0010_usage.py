"""What each party used in a month; what was done before is counted nowhere."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "platform_0010", "platform_0009"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "usage",
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("party", sa.String(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "party", "measure"),
    )
