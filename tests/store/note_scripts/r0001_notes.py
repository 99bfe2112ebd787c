"""Notes, from records of the kind k."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import create_evidence, old_records
from gridsecure.store.rows import Moment

revision, down_revision = "notes_0001", None


def upgrade() -> None:
    create_evidence(op.get_bind())
    notes = op.create_table(
        "note",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("topic"),
    )
    op.create_index("ix_note_state", "note", ["state"])
    with old_records(op.get_bind()) as old:
        for found in old.take("k"):
            row = {
                "name": found.name,
                "topic": found.scope,
                "digest": found.digest,
                "state": found.state,
                "text": found.text,
                "at": found.at,
            }
            op.bulk_insert(notes, [row])
