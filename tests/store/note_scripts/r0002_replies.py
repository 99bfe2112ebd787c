"""Replies to notes."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "notes_0002", "notes_0001"


def upgrade() -> None:
    op.create_table(
        "reply",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.ForeignKeyConstraint(["note"], ["note.name"]),
    )
    op.create_index("ix_reply_note", "reply", ["note"])
