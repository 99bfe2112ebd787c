"""Lists of pseudonyms are told apart by a whole digest; those that are there have none."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0025", "checker_0024"


def upgrade() -> None:
    """Leave the digest of earlier lists empty."""
    op.add_column("seat_list", sa.Column("digest", sa.String(), nullable=False, server_default=""))
