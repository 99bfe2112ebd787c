"""What the market meters: every document, by kind and organisation, and the fen of uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlmodel import Session, select

from gridsecure.circulation.kinds import KINDS
from gridsecure.circulation.trade import Agreement
from gridsecure.circulation.uses import MeteredUse
from gridsecure.market.tables import DocumentRow, UsageRow
from gridsecure.store.rows import load_row
from gridsecure.store.usage import Done, Metered, UsageBook

_FEN: Final = {"fen": "fen"}


def action_of(kind: str) -> str:
    """What the log calls taking in a document of a kind."""
    return f"market.{kind}"


BOOK: Final = UsageBook(
    UsageRow,
    {
        action_of(kind): Metered(
            f"{kind}s", name="document", amounts=_FEN if kind == MeteredUse.kind else {}
        )
        for kind in KINDS
    },
)


def list_done(session: Session) -> Iterator[Done]:
    """What was done, from the market's rows."""
    for row in session.exec(select(DocumentRow).execution_options(yield_per=1000)):
        amounts = {}
        if row.kind == MeteredUse.kind:
            agreed = load_row(session, DocumentRow, digest=row.about)
            amounts["fen"] = Agreement.parse(agreed.envelope.body).price_fen
        yield Done(action_of(row.kind), row.digest, row.organisation, amounts)
