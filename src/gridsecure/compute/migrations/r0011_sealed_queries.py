"""Which release request a grant was spent for."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "platform_0011", "platform_0010"


def upgrade() -> None:
    """Grants of before were spent for runs."""
    op.add_column(
        "query_grant",
        sa.Column("request_id", sa.String(), nullable=False, server_default=""),
    )
