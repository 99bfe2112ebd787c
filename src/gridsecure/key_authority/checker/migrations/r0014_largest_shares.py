"""How much of a set's month one customer has at most."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0014", "checker_0013"


def upgrade() -> None:
    """Of no set before was it compared."""
    largest_share = sa.Column("largest_share", sa.Integer(), nullable=False, server_default="100")
    op.add_column("told_set", largest_share)
