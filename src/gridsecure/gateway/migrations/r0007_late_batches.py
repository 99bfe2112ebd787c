"""The last batch that counts in a correction."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0007", "gateway_0006"


def upgrade() -> None:
    """Create the column; corrections made before count no batch."""
    op.add_column(
        "correction_plan",
        sa.Column("until_batch", sa.Integer(), nullable=False, server_default="0"),
    )
    with op.batch_alter_table("correction_plan") as correction:
        correction.alter_column("until_batch", server_default=None)
