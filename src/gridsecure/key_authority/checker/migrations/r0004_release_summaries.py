"""What a list of releases shows, beside the certificates: listing them reads none."""

import json

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0004", "checker_0003"

_TEXTS = ("start", "end", "released_at")
_COUNTS = ("cells", "suppressed")


def upgrade() -> None:
    """Add the columns, and fill them from the certificates that are there, one at a time."""
    for name in _TEXTS:
        op.add_column("release", sa.Column(name, sa.String(), nullable=False, server_default=""))
    for name in _COUNTS:
        op.add_column("release", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    connection = op.get_bind()
    release = sa.table(
        "release", *(sa.column(name) for name in ("id", "message", *_TEXTS, *_COUNTS))
    )
    for number in connection.execute(sa.select(release.c.id)).scalars().all():
        is_it = release.c.id == number
        message = connection.execute(sa.select(release.c.message).where(is_it)).scalar_one()
        certificate = json.loads(json.loads(message)["body"])
        told = sum(cell["value"] is not None for cell in certificate["cells"])
        values = {name: certificate[name] for name in _TEXTS}
        values |= {"cells": told, "suppressed": len(certificate["cells"]) - told}
        connection.execute(sa.update(release).where(is_it).values(values))
