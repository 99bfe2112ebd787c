"""Length of a source's intervals, where it declared one."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0012", "gateway_0011"


def upgrade() -> None:
    """Create the column; sources registered before declared none."""
    length = sa.Column("interval_minutes", sa.Integer(), nullable=False, server_default="0")
    op.add_column("source", length)
    with op.batch_alter_table("source") as source:
        source.alter_column("interval_minutes", server_default=None)
