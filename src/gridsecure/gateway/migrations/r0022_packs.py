"""Which pack a batch's file lies in; those that are there lie by themselves."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0022", "gateway_0021"


def upgrade() -> None:
    """Create the column."""
    op.add_column("batch", sa.Column("pack", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("batch") as batch:
        batch.alter_column("pack", server_default=None)
