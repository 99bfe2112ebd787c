"""Shadow runs: what kind a run is, and the billing office's orders of them."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "platform_0005", "platform_0004"


def upgrade() -> None:
    """Call every run so far published, and give orders a table."""
    for name, default in (("kind", "published"), ("shadow", "")):
        op.add_column("run", sa.Column(name, sa.String(), nullable=False, server_default=default))
    op.create_table(
        "shadow",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("digest", sa.String(), nullable=False, unique=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("request", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True, unique=True),
        sa.Column("state", sa.String(), nullable=False),
    )
    op.create_index("ix_shadow_state", "shadow", ["state"])
