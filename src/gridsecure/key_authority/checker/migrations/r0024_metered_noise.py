"""What noise cost is metered from now on; what was charged before is counted nowhere."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0024", "checker_0023"


def upgrade() -> None:
    """Mark what was charged before as not metered."""
    op.add_column(
        "spent_noise",
        sa.Column("metered", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
