"""Shadow runs: what kind a run is, the billing office's orders of them, and rosters' tariffs."""

import json

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "platform_0005", "platform_0004"


def upgrade() -> None:
    """Call every run so far published, give orders a table, and find the tariff of each roster."""
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
    op.add_column("roster", sa.Column("tariff", sa.String(), nullable=False, server_default=""))
    roster = sa.table("roster", *(sa.column(name) for name in ("roster_id", "message", "tariff")))
    found = op.get_bind().execute(sa.select(roster.c.roster_id)).scalars().all()
    for name in found:  # one after the other: some are large
        one = roster.c.roster_id == name
        message = op.get_bind().execute(sa.select(roster.c.message).where(one)).scalar_one()
        tariff = json.loads(json.loads(message)["body"])["tariff"]
        op.execute(sa.update(roster).where(one).values(tariff=tariff))
