"""Trials of rules."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0010", "gateway_0009"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "rule_trial",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("rules_before", sa.String(), nullable=False),
        sa.Column("rules_after", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("billed_before", sa.Integer(), nullable=False),
        sa.Column("billed_after", sa.Integer(), nullable=False),
        sa.Column("estimated_before", sa.BigInteger(), nullable=False),
        sa.Column("estimated_after", sa.BigInteger(), nullable=False),
        sa.Column("quarantined_before", sa.BigInteger(), nullable=False),
        sa.Column("quarantined_after", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_rule_trial_month", "rule_trial", ["month", "id"])
    op.create_table(
        "rule_trial_count",
        sa.Column(
            "trial",
            sa.Integer(),
            sa.ForeignKey("rule_trial.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("rule", sa.String(), primary_key=True),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
    )
