"""Sealed days: where pseudonyms sit in them."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "platform_0006", "platform_0005"


def upgrade() -> None:
    """Give the seats of sealed days a table."""
    op.create_table(
        "day_seat",
        sa.Column("pseudonym", sa.String(), primary_key=True),
        sa.Column("start_at", Moment(), primary_key=True),
        sa.Column("roster_id", sa.String(), sa.ForeignKey("roster.roster_id"), primary_key=True),
        sa.Column("end_at", Moment(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
    )
