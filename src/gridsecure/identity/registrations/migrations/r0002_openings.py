"""Openings by order, so that nobody reads all of the log's to count those of one."""

import json

import sqlalchemy as sa
from alembic import op

revision, down_revision = "registrations_0002", "registrations_0001"


def upgrade() -> None:
    """Create the table, and enter what the log says was opened."""
    opening = op.create_table(
        "opening",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("warrant", sa.String(), nullable=False),
    )
    op.create_index("ix_opening_warrant", "opening", ["warrant"])
    log = sa.text("SELECT detail FROM evidence WHERE action = 'identity.opened' ORDER BY \"index\"")
    found = op.get_bind().execute(log).scalars().all()
    if found:
        op.bulk_insert(opening, [{"warrant": json.loads(text)["warrant"]} for text in found])
