"""Questions of a preview are kept before the preview, so they no longer refer to its row."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0005", "checker_0004"


def upgrade() -> None:
    """Make the table anew: SQLite cannot drop a constraint."""
    op.create_table(
        "preview_asked",
        sa.Column("preview_id", sa.String(), primary_key=True),
        sa.Column("zone", sa.String(), primary_key=True),
        sa.Column("customer_class", sa.String(), primary_key=True),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("start_at", Moment(), nullable=False),
        sa.Column("end_at", Moment(), nullable=False),
        sa.Column("questions", sa.Integer(), nullable=False),
    )
    op.execute("INSERT INTO preview_asked SELECT * FROM preview_cell")
    op.drop_table("preview_cell")
    op.rename_table("preview_asked", "preview_cell")
    op.create_index("ix_preview_cell_period", "preview_cell", ["domain", "start_at", "end_at"])
