"""Which rows of the key authority name its objects: published keys and sealed statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.key_authority.checker.tables import KeySetRow, ReleaseRow
from gridsecure.messages import ReleaseCertificate
from gridsecure.store.sweeping import LOOKED_FOR, NamedObjects

_WITH_STATEMENTS: Final = col(ReleaseRow.plan).in_(["bill", "rebill"])


def _texts(session: Session) -> Iterator[str]:
    yield from session.exec(select(KeySetRow.message))
    released = select(ReleaseRow.message).where(_WITH_STATEMENTS)
    yield from session.exec(released.execution_options(yield_per=1))  # each may be megabytes


def _newest(session: Session) -> Sequence[str]:
    """Sealed statements: no other zone has them."""
    newest = select(ReleaseRow).where(_WITH_STATEMENTS).order_by(col(ReleaseRow.id).desc())
    rows = session.exec(newest.limit(LOOKED_FOR).execution_options(yield_per=1))
    statements = (
        name
        for row in rows
        for name in ReleaseCertificate.parse(row.certificate.body).statements.values()
    )
    return list(islice(statements, LOOKED_FOR))


NAMED: Final = NamedObjects(texts=_texts, newest=_newest)
