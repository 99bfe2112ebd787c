"""A Merkle tree over the evidence log, in place of its hash chain."""

from alembic import op

from gridsecure.store.chained_logs import retire_chain

revision, down_revision = "platform_0008", "platform_0007"


def upgrade() -> None:
    """Make the tree's leaves of the chain's entries."""
    retire_chain(op.get_bind())
