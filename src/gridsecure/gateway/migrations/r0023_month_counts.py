"""What became of batches' readings; months that were done before are not counted again."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0023", "gateway_0022"


def upgrade() -> None:
    """Create the column and the table."""
    counts = sa.Column("counts", sa.String(), nullable=False, server_default="")
    op.add_column("batch_month", counts)
    with op.batch_alter_table("batch_month") as batch_month:
        batch_month.alter_column("counts", server_default=None)
    op.create_table(
        "month_count",
        sa.Column("month", sa.String(), primary_key=True),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
    )
    op.execute(
        "INSERT INTO month_count (month, occasion, document) SELECT month_report.month, COALESCE(("
        "SELECT correction_plan.digest FROM correction_plan JOIN correction_report"
        " ON correction_report.name = correction_plan.name"
        " WHERE correction_plan.month = month_report.month"
        " ORDER BY correction_plan.number DESC LIMIT 1), month_report.digest), ''"
        " FROM month_report WHERE EXISTS"
        " (SELECT 1 FROM batch_month WHERE batch_month.month = month_report.month)"
    )
