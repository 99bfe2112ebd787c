"""Days of accounts: from when until when a gateway has a meter point."""

import sqlalchemy as sa
from alembic import op

from gridsecure.identity_messages import meter_point_of

revision, down_revision = "enrolments_0002", "enrolments_0001"


def upgrade() -> None:
    """Give accounts days, all open, and the id of their meter point."""
    with op.batch_alter_table("account") as account:
        for name in ("site", "valid_from", "valid_to"):
            account.add_column(sa.Column(name, sa.String(), nullable=False, server_default=""))
    table = sa.table("account", sa.column("meter_point_id"), sa.column("site"))
    op.execute(table.update().values(site=table.c.meter_point_id))
    joint = table.c.meter_point_id.contains("~")
    for (name,) in op.get_bind().execute(sa.select(table.c.meter_point_id).where(joint)).all():
        own = table.update().where(table.c.meter_point_id == name)
        op.execute(own.values(site=meter_point_of(name)))
    with op.batch_alter_table("account") as account:
        for name in ("site", "valid_from", "valid_to"):
            account.alter_column(name, server_default=None, existing_type=sa.String())
    op.create_index("ix_account_site", "account", ["site"])
