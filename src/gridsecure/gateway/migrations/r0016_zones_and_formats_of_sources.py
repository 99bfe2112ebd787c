"""What sources declared of their zone and formats; those registered before said nothing of either.

Their zone was that of times without an offset, so no offset contradicts it.
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0016", "gateway_0015"


def upgrade() -> None:
    """Create the columns."""
    op.add_column(
        "source",
        sa.Column("declares_zone", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("source", sa.Column("formats", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("source") as source:
        source.alter_column("declares_zone", server_default=None)
        source.alter_column("formats", server_default=None)
