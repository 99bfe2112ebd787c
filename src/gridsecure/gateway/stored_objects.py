"""Which rows of a gateway name its objects: public keys, seats, tariffs and rule books."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.gateway.tables import (
    CorrectionOrderRow,
    CorrectionPlanRow,
    KeySetRow,
    MonthPlanRow,
    RosterRow,
    RuleSetRow,
    SealedDayRow,
)
from gridsecure.messages import RosterManifest
from gridsecure.store.sweeping import LOOKED_FOR, NamedObjects

_TEXTS: Final = (
    KeySetRow.message,
    RosterRow.message,
    RuleSetRow.digest,
    MonthPlanRow.document,
    SealedDayRow.document,
    CorrectionPlanRow.document,
    CorrectionOrderRow.rules,
)


def _texts(session: Session) -> Iterator[str]:
    for text in _TEXTS:
        yield from session.exec(select(text).execution_options(yield_per=LOOKED_FOR))


def _newest(session: Session) -> Sequence[str]:
    """Seats: no other zone but the platform has them."""
    newest = select(RosterRow).order_by(col(RosterRow.at).desc()).limit(LOOKED_FOR)
    return [RosterManifest.parse(row.envelope.body).seats for row in session.exec(newest)]


NAMED: Final = NamedObjects(texts=_texts, newest=_newest)
