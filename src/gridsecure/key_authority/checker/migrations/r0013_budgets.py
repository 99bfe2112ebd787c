"""How often something was told in a month, where policy has a budget of it."""

import sqlalchemy as sa
from alembic import op

from gridsecure.store.rows import Moment

revision, down_revision = "checker_0013", "checker_0012"

_KEY = ("release_id", "measure", "resolution", "customer_class")
_CASE = ("month", "purpose", "role", "resolution", "measure", "customer_class")


def upgrade() -> None:
    """Before, no policy had a budget."""
    names = (*_KEY, "role", "purpose", "month")
    op.create_table(
        "spent_budget",
        *(sa.Column(name, sa.String(), nullable=False) for name in names),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    op.create_index("ix_spent_budget_case", "spent_budget", list(_CASE))
