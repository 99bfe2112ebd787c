"""What the market meters: every document, by kind and organisation, and the fen of uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlmodel import Session, select

from gridsecure.circulation.kinds import KINDS
from gridsecure.circulation.trade import Agreement
from gridsecure.circulation.uses import MeteredUse, SettlementStatement
from gridsecure.market.tables import DocumentRow, UsageRow
from gridsecure.store.rows import load_row
from gridsecure.store.usage import Difference, Done, Metered, UsageBook

_FEN: Final = {"fen": "fen"}


def action_of(kind: str) -> str:
    """What the log calls taking in a document of a kind."""
    return f"market.{kind}"


BOOK: Final = UsageBook(
    UsageRow,
    {
        action_of(kind): Metered(
            f"{kind}s",
            name="document",
            amounts=_FEN if kind == MeteredUse.kind else {},
            month="month" if kind == MeteredUse.kind else "",
        )
        for kind in KINDS
    },
)


def list_done(session: Session) -> Iterator[Done]:
    """What was done, from the market's rows."""
    for row in session.exec(select(DocumentRow).execution_options(yield_per=1000)):
        amounts, month = {}, ""
        if row.kind == MeteredUse.kind:
            month = row.month
            agreed = load_row(session, DocumentRow, digest=row.about)
            amounts["fen"] = Agreement.parse(agreed.envelope.body).price_fen
        yield Done(action_of(row.kind), row.digest, row.organisation, amounts, month)


def find_statement_differences(session: Session) -> Iterator[Difference]:
    """Hold each statement to the uses of its agreement and month: the same releases, no others."""
    settled = select(DocumentRow).where(DocumentRow.kind == SettlementStatement.kind)
    for row in session.exec(settled.execution_options(yield_per=1000)):
        uses = select(DocumentRow.name).where(
            DocumentRow.kind == MeteredUse.kind,
            DocumentRow.about == row.about,
            DocumentRow.month == row.month,
        )
        statement = SettlementStatement.parse(row.envelope.body)
        told = {line.release_id for line in statement.lines}
        differs = told ^ set(session.exec(uses))
        if differs:
            yield Difference("statement", f"{row.name}: {', '.join(sorted(differs))}")
