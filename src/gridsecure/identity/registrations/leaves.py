"""Leaves of registrations: which escrow is whose, as the log committed to it at the time.

An order to open or to search names escrows as digests that the desk computed itself, so that no
office could see another's escrow put in the place of the right one, or one made up. The leaf of a
registration was in the log before anybody ordered anything: an office asks for the leaves of the
batch, finds the one of pseudonym and escrow among them, and their digest in an entry older than the
order. Leaves tell nobody anything: an escrow is random.

In a search the desk shows SM3(subject) in place of the subject, which is as good for the leaf and
names nobody to an office that does not know the pseudonym anyhow.

What this cannot show: a registration that was a lie from the start. Only who keeps heads of the log
as a witness makes sure that it was a lie before the order, and not for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.credentials.log_details import commitment, leaf, name_digest
from gridsecure.identity.registrations.tables import BatchRow, LeafRow
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.rows import insert_all, keep, load_row


def keep_leaves(
    session: Session, entry: EvidenceEntry, leaves: Sequence[str], *, now: datetime
) -> None:
    """Keep the leaves of a batch under the hash of its log entry, for offices that ask.

    Args:
        session: The one the entry was appended in.
        now: The present, aware.
    """
    keep(session, BatchRow(entry=entry.hash, digest=commitment(leaves), at=now))
    insert_all(session, LeafRow, ({"entry": entry.hash, "leaf": one} for one in sorted(leaves)))


def leaves_of(engine: Engine, entry: str) -> list[str]:
    """The leaves that a log entry commits to.

    Args:
        entry: Hash of the entry.

    Raises:
        NotFoundError: It is no entry of registrations (`not-found.registration-leaves`).
    """
    with Session(engine) as session:
        return _leaves(session, load_row(session, BatchRow, entry=entry).entry)


def find_leaves_with(engine: Engine, *, subject: str, escrow: bytes) -> list[str]:
    """The leaves of the batch in which a pseudonym got its escrow.

    Args:
        subject: The pseudonym.

    Returns:
        Nothing where no batch has it: no office will open that.
    """
    wanted = leaf(name_digest(subject), escrow)
    with Session(engine) as session:
        batch = select(LeafRow.entry).where(LeafRow.leaf == wanted).order_by(col(LeafRow.id))
        entry = session.exec(batch.limit(1)).first()
        return [] if entry is None else _leaves(session, entry)


def _leaves(session: Session, entry: str) -> list[str]:
    leaves = select(LeafRow.leaf).where(LeafRow.entry == entry)
    return list(session.exec(leaves.order_by(col(LeafRow.leaf))))
