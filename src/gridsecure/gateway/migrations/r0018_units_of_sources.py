"""The unit that a source declared of values without one; those registered before declared none."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0018", "gateway_0017"


def upgrade() -> None:
    """Create the column."""
    op.add_column("source", sa.Column("unit", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("source") as source:
        source.alter_column("unit", server_default=None)
