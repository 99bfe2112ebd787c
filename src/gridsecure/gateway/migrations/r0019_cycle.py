"""The day that the gateway's billing periods begin on; what is there is of calendar months."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0019", "gateway_0018"


def upgrade() -> None:
    """Create the table; a gateway that has readings or months keeps calendar months."""
    op.create_table(
        "cycle",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("cycle_day", sa.Integer(), nullable=False),
    )
    op.execute(
        "INSERT INTO cycle (number, cycle_day) SELECT 1, 1"
        " WHERE EXISTS (SELECT 1 FROM batch) OR EXISTS (SELECT 1 FROM month_plan)"
    )
