"""Whether a source may send; those that are there may."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0024", "gateway_0023"


def upgrade() -> None:
    """Create the column."""
    state = sa.Column("state", sa.String(), nullable=False, server_default="active")
    op.add_column("source", state)
    with op.batch_alter_table("source") as source:
        source.alter_column("state", server_default=None)
