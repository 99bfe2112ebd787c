"""Sums of squares that were told before they had an edge of their own."""

from alembic import op

revision, down_revision = "checker_0021", "checker_0020"


def upgrade() -> None:
    """Take all sets without an edge for such that squares were told of.

    Squares stood at edge 0 then, as parts of bills without tiers did, and nothing says which they
    were. So some of whom a bill was told may not be divided in their month, and none is too few.
    """
    op.execute(
        "INSERT INTO told_edge (told_set, edge, at) SELECT told_set, -1, at FROM told_edge"
        " WHERE edge = 0 AND told_set NOT IN (SELECT told_set FROM told_edge WHERE edge = -1)"
    )
