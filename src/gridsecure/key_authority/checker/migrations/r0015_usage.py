"""What each party used in a month; what was done and spent before is counted nowhere."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0015", "checker_0014"


def upgrade() -> None:
    """Create the table, and mark questions of before as not metered."""
    op.create_table(
        "usage",
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("party", sa.String(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "party", "measure"),
    )
    op.add_column(
        "preview_cell",
        sa.Column("metered", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
