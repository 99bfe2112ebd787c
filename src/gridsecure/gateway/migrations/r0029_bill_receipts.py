"""Commitments to the bills of uploads."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0029", "gateway_0028"


def upgrade() -> None:
    """Create the column."""
    receipts = sa.Column("receipts", sa.String(), nullable=False, server_default="")
    op.add_column("upload", receipts)
    with op.batch_alter_table("upload") as uploads:
        uploads.alter_column("receipts", server_default=None)
