"""Rule books that persons order a billed month to be corrected by."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0026", "gateway_0025"


def upgrade() -> None:
    """Create the column."""
    rules = sa.Column("rules", sa.String(), nullable=False, server_default="")
    op.add_column("correction_order", rules)
    with op.batch_alter_table("correction_order") as orders:
        orders.alter_column("rules", server_default=None)
