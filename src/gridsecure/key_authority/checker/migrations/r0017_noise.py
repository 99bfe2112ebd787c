"""What questions with noise cost, and which kind of numbers analysts are told of a month."""

from datetime import datetime, timedelta

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
    told_month = op.create_table(
        "told_month",
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("told", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )
    release = sa.table("release", sa.column("start"), sa.column("end"), sa.column("at", Moment()))
    earliest = dict[str, datetime]()
    for start, end, at in op.get_bind().execute(sa.select(release)):
        for month in _months(start, end):
            earliest[month] = min(at, earliest.get(month, at))
    rows = [{"month": month, "told": "exactly", "at": at} for month, at in earliest.items()]
    op.bulk_insert(told_month, rows)


def _months(start: str, end: str) -> list[str]:
    """All that a period has a part of: a billing cycle may have two, a quarter has three."""
    first = datetime.fromisoformat(start)
    last = datetime.fromisoformat(end).astimezone(first.tzinfo) - timedelta(microseconds=1)
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in numbers]
