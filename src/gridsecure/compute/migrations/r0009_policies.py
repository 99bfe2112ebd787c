"""Which release policies were taken in, and by whom they were signed."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "platform_0009", "platform_0008"


def upgrade() -> None:
    """Before, the policy was a setting alone."""
    op.create_table(
        "policy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("signatures", sa.String(), nullable=False, server_default="[]"),
        sa.Column("state", sa.String(), nullable=False, server_default="begun"),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
