"""Who signed a release policy, and whether its day has come."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0012", "checker_0011"


def upgrade() -> None:
    """Before, nobody signed one, and each held from when the service started with it."""
    for name, default in (("signatures", "[]"), ("state", "begun")):
        column = sa.Column(name, sa.String(), nullable=False, server_default=default)
        op.add_column("policy", column)
