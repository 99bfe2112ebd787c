"""Where objects lie in containers; what there was before lies alone."""

import json
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision, down_revision = "platform_0002", "platform_0001"

_NAMES = (
    ("key_set", ("public_key", "relinearisation_keys")),
    ("roster", ("tariff", "seats")),
    ("upload", ("columns",)),
    ("transcript", ("outputs",)),
)
"""Tables of signed messages, and what in these names objects."""

_UNKNOWN = 0  # a size that no message says


def upgrade() -> None:
    """Create the tables, and name every object that a message names."""
    stored = op.create_table(
        "stored",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("name", sa.String(), unique=True, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "extent",
        sa.Column("digest", sa.String(), primary_key=True, nullable=False),
        sa.Column("stored_id", sa.Integer(), sa.ForeignKey("stored.id"), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_extent_stored_id", "extent", ["stored_id"])
    named = {name: size for table, fields in _NAMES for name, size in _named(table, fields)}
    if named:
        op.bulk_insert(stored, [{"name": name, "size": size} for name, size in named.items()])


def _named(table: str, fields: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The objects that the messages of a table name, and their sizes."""
    found = op.get_bind().execute(sa.text(f"SELECT message FROM {table}"))  # noqa: S608 - ours
    for text in found.scalars():
        said = json.loads(json.loads(text)["body"])
        for objects in (said[field] for field in fields):
            columns = objects.values() if isinstance(objects, dict) else objects
            if isinstance(objects, str):
                yield objects, _UNKNOWN
            elif objects:
                yield from ((column["digest"], column["size"]) for column in columns)
