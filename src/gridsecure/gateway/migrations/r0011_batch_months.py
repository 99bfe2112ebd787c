"""Which batches have readings of a month, for finding late ones without reading all of them."""

import json

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0011", "gateway_0010"


def upgrade() -> None:
    """Create the table, and fill it from the receipts that were given."""
    months = op.create_table(
        "batch_month",
        sa.Column("month", sa.String(), primary_key=True),
        sa.Column("batch", sa.Integer(), sa.ForeignKey("batch.id"), primary_key=True),
    )
    kept = op.get_bind().execute(sa.text("SELECT id, message FROM batch"))
    rows = [
        {"month": month, "batch": number}
        for number, message in kept
        for month in json.loads(json.loads(message)["body"])["months"]
    ]
    if rows:
        op.bulk_insert(months, rows)
