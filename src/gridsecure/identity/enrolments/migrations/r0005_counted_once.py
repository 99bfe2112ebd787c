"""A customer counts once a period, and no more once in each zone and class of it.

The claim of a meter point's present customer is named anew; of several of one customer the first
stays. A claim of a customer that has the meter point no longer goes: by its old name nobody would
meet it again, and the credential counts for the present customer.
"""

import sqlalchemy as sa
from alembic import op

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.store.rows import Moment

revision, down_revision = "enrolments_0005", "enrolments_0004"


def upgrade() -> None:
    """Write the table anew, by customer and period."""
    counted = sa.table(
        "counted", *map(sa.column, ("place", "period", "zone", "customer_class")),
        *map(sa.column, ("meter_point_id", "credential")), sa.column("at", Moment()),
    )  # fmt: skip
    account = sa.table("account", sa.column("meter_point_id"), sa.column("customer_id"))
    own = counted.c.meter_point_id == account.c.meter_point_id
    asked = sa.select(counted, account.c.customer_id).join(account, own).order_by(counted.c.place)
    claims: dict[str, dict[str, object]] = {}
    for row in op.get_bind().execute(asked).mappings():
        place = frame_parts(row["customer_id"], row["period"], row["zone"], row["customer_class"])
        if sm3_hex(place) != row["place"]:
            continue
        claim = sm3_hex(frame_parts(row["customer_id"], row["period"]))
        kept = ("period", "meter_point_id", "credential", "at")
        claims.setdefault(claim, {"claim": claim} | {name: row[name] for name in kept})
    op.drop_table("counted")
    made = op.create_table(
        "counted",
        sa.Column("claim", sa.String(), primary_key=True),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("meter_point_id", sa.String(), nullable=False, index=True),
        sa.Column("credential", sa.String(), sa.ForeignKey("credential.name"), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    if claims:
        op.bulk_insert(made, list(claims.values()))
