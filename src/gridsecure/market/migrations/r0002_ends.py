"""Until when offers and needs stand: the portal looks for those, and not through all."""

import json

import sqlalchemy as sa
from alembic import op

from gridsecure.month_texts import read_moment
from gridsecure.store.rows import Moment

revision, down_revision = "market_0002", "market_0001"


def upgrade() -> None:
    """Add the column, and fill it from what was signed."""
    op.add_column("document", sa.Column("until", Moment(), nullable=True))
    op.create_index("ix_document_until", "document", ["kind", "state", "until"])
    columns: list[sa.ColumnClause[object]] = [sa.column(one) for one in ("id", "kind", "message")]
    table = sa.table("document", *columns, sa.column("until", Moment()))
    timed = sa.select(table.c.id, table.c.message).where(
        table.c.kind.in_(["market-offer", "market-need"])
    )
    bind = op.get_bind()
    for number, message in bind.execute(timed).all():
        until = read_moment(json.loads(json.loads(message)["body"])["valid_until"])
        bind.execute(sa.update(table).where(table.c.id == number).values(until=until))
