"""Totals that are kept and not counted anew; and which uploads a request is about, by request."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "platform_0004", "platform_0003"

_TOTALS = {
    "key-set": "SELECT count(*) FROM key_set",
    "roster": "SELECT count(*) FROM roster",
    "upload": "SELECT count(*) FROM upload",
    "upload.committed": "SELECT count(*) FROM upload WHERE state = 'committed'",
    "run": "SELECT count(*) FROM run",
    "stored.bytes": "SELECT coalesce(sum(size), 0) FROM stored",
}


def upgrade() -> None:
    """Create the table, and count once what there is; create the index."""
    tally = op.create_table(
        "tally",
        sa.Column("name", sa.String(), primary_key=True, nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
    )
    found = {
        name: op.get_bind().execute(sa.text(sql)).scalar_one() for name, sql in _TOTALS.items()
    }
    op.bulk_insert(tally, [{"name": name, "total": int(total)} for name, total in found.items()])
    op.create_index("ix_request_upload_request_id", "request_upload", ["request_id"])
