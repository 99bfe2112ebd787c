"""Batches that wait, or were refused, in the order in which they came: listed page by page."""

from alembic import op

revision, down_revision = "gateway_0017", "gateway_0016"


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_queued_batch_order", "queued_batch", ["state", "id"])
