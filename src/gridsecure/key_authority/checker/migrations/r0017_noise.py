"""What questions with noise cost, and which kind of numbers analysts are told of a month."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0017", "checker_0016"


def upgrade() -> None:
    """Before, analysts were told exact numbers of every month that something was released of."""
    op.create_table(
        "spent_noise",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("customer_class", sa.String(), nullable=False),
        sa.Column("epsilon", sa.Integer(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "month", "customer_class"),
    )
    op.create_index("ix_spent_noise_month", "spent_noise", ["month", "customer_class"])
    op.create_table(
        "told_month",
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("told", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )
    op.execute(
        "INSERT INTO told_month (month, told, at) "
        "SELECT substr(start, 1, 7), 'exactly', MIN(at) FROM release GROUP BY substr(start, 1, 7)"
    )
