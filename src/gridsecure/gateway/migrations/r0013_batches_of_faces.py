"""Which batches hold faces of registers; none of those taken in before does."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0013", "gateway_0012"


def upgrade() -> None:
    """Create the column."""
    op.add_column(
        "batch",
        sa.Column("has_faces", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    with op.batch_alter_table("batch") as batch:
        batch.alter_column("has_faces", server_default=None)
