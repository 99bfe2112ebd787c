"""Which key-encryption key a database is of is known before its first secret."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "encryption_0002", "encryption_0001"


def upgrade() -> None:
    """Add the table; the next start fills it."""
    op.create_table(
        "kek",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("check_value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
