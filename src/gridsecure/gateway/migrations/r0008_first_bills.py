"""How many meter points got their first bill with a correction."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0008", "gateway_0007"


def upgrade() -> None:
    """Create the column; corrections made before billed nobody first."""
    billed = sa.Column("first_billed", sa.Integer(), nullable=False, server_default="0")
    op.add_column("correction_report", billed)
    with op.batch_alter_table("correction_report") as report:
        report.alter_column("first_billed", server_default=None)
