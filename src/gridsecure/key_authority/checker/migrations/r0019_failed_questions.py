"""How often sealed questions failed as nobody foresaw."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0019", "checker_0018"


def upgrade() -> None:
    """Create the table; what failed before is counted from now on."""
    op.create_table(
        "failed_question",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("rules", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("asked_vault", sa.Boolean(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
