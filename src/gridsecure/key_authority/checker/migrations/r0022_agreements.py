"""Under which agreements releases are asked for, and which of them were used."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0022", "checker_0021"


def upgrade() -> None:
    """Create the table; what was released before was under none."""
    op.create_table(
        "agreed_release",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release_id", sa.String(), nullable=False),
        sa.Column("agreement", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("proof", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("release_id", "agreement"),
    )
    op.create_index("ix_agreed_release_agreement", "agreed_release", ["agreement", "state"])
