"""Rosters whose seats were checked, so that they are checked once a year and not once a month."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0003", "checker_0002"


def upgrade() -> None:
    """Create the table; what was checked before is checked once more."""
    op.create_table(
        "seated_roster",
        sa.Column("roster", sa.String(), primary_key=True, nullable=False),
        sa.Column("identity", sa.String(), primary_key=True, nullable=False),
        sa.Column("point", sa.LargeBinary(), nullable=False),
    )
