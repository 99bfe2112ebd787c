"""A Merkle tree over the evidence log, in place of its hash chain."""

from alembic import op

from gridsecure.store.chained_logs import retire_chain

revision, down_revision = "checker_0011", "checker_0010"


def upgrade() -> None:
    """Make the tree's leaves of the chain's entries."""
    retire_chain(op.get_bind())
