"""Which hours a meter's registers count; of the meters that are there nobody has said it."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0021", "gateway_0020"


def upgrade() -> None:
    """Create the column."""
    hours = sa.Column("register_hours", sa.String(), nullable=False, server_default="")
    op.add_column("installed_meter", hours)
    with op.batch_alter_table("installed_meter") as meter:
        meter.alter_column("register_hours", server_default=None)
