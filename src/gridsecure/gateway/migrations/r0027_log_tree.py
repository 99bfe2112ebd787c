"""A Merkle tree over the evidence log, in place of its hash chain."""

from alembic import op

from gridsecure.store.chained_logs import retire_chain

revision, down_revision = "gateway_0027", "gateway_0026"


def upgrade() -> None:
    """Make the tree's leaves of the chain's entries."""
    retire_chain(op.get_bind())
