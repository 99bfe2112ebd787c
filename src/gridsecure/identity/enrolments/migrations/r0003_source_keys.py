"""Keys of meter-data systems, which the settings named before."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "enrolments_0003", "enrolments_0002"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "source_key",
        sa.Column("thumbprint", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("point", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_table(
        "former_source_key",
        sa.Column("thumbprint", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
