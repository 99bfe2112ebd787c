"""Counters of uploads that overtook each other are taken."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "platform_0012", "platform_0011"


def upgrade() -> None:
    """What was the highest counter closes all up to it."""
    with op.batch_alter_table("upload_counter") as table:
        table.alter_column("highest", new_column_name="closed_to")
        table.add_column(sa.Column("recent", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("upload_counter") as table:
        table.alter_column("recent", server_default=None)
