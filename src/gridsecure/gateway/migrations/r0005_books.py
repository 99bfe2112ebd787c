"""The books: accounts, meters and contracts of meter points, by date."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0005", "gateway_0004"

_TEXTS = ("zone", "customer_class", "tariff_id", "service_from", "large")
_NUMBERS = ("household_quota_wh", "free_quota_wh", "contracted_va", "year_to_date_wh")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "books_revision",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(), nullable=False, unique=True),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Integer(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    _dated("holding", _columns(sa.String, "account", "holder"))
    op.create_index("ix_holding_page", "holding", ["until_revision", "id"])
    faces = _columns(sa.BigInteger, "first_face_wh", "final_face_wh")
    meter = [*_columns(sa.String, "meter"), *_columns(sa.Integer, "multiplier")]
    _dated("installed_meter", [*meter, *faces])
    _dated("contract", [*_columns(sa.String, *_TEXTS), *_columns(sa.BigInteger, *_NUMBERS)])


def _columns(kind: type[Any], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind(), nullable=False) for name in names]


def _dated(name: str, own: Sequence[sa.Column[Any]]) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("meter_point_id", sa.String(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("until_revision", sa.Integer(), nullable=False),
        *own,
    )
    op.create_index(f"ix_{name}_meter_point", name, ["meter_point_id", "until_revision"])
    op.create_index(f"ix_{name}_valid_to", name, ["valid_to"])
