"""Revisions of the books that persons order a billed month to be corrected by."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0028", "gateway_0027"


def upgrade() -> None:
    """Create the column."""
    books = sa.Column("books", sa.Integer(), nullable=False, server_default="0")
    op.add_column("correction_order", books)
    with op.batch_alter_table("correction_order") as orders:
        orders.alter_column("books", server_default=None)
