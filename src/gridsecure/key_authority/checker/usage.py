"""What the key authority meters, and what its ledger says of the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from gridsecure.key_authority.checker.tables import (
    PreviewCellRow,
    ReleaseRow,
    SpentNoiseRow,
    UsageRow,
)
from gridsecure.messages import CellTotal
from gridsecure.released_values import ReleasedValues
from gridsecure.store.usage import ANALYSTS, Done, Metered, UsageBook, party_of, share_of

GRANTED: Final = "release.granted"
SPENT: Final = "shadow.spent"
CHARGED: Final = "noise.charged"
_EPSILON: Final = "epsilon_millionths"

BOOK: Final = UsageBook(
    UsageRow,
    {
        GRANTED: Metered(
            "releases",
            name="request",
            amounts={
                "told": "cells_told",
                "withheld": "cells_withheld",
                "bytes": "bytes_released",
            },
        ),
        SPENT: Metered("previews", name="request", amounts={"spent": "questions_spent"}),
        # In millionths of ε, as the ledger has it: of all months of readings that are asked about.
        CHARGED: Metered("noisy_questions", name="request", shares={"epsilon": _EPSILON}),
    },
)


def released(cells: Sequence[CellTotal], values: ReleasedValues | None) -> dict[str, int]:
    """The figures of a release: cells with and without a value, and the bytes of all values."""
    told = sum(cell.told for cell in cells)
    text = "" if values is None else values.text
    return {"told": told, "withheld": len(cells) - told, "bytes": len(text.encode())}


def list_done(session: Session) -> Iterator[Done]:
    """What was done, from the ledger: releases, and questions that previews spent."""
    for row in session.exec(select(ReleaseRow).execution_options(yield_per=20)):
        # Of a question the log says that there was one, and not how much it told.
        values = None if row.plan == "query" else row.certificate.values
        text = "" if values is None else values.text
        party = party_of(row.requested_by, purpose=row.purpose)
        told = {"cells_told": row.cells, "cells_withheld": row.suppressed}
        bytes_ = {"bytes_released": len(text.encode())}
        yield Done(GRANTED, row.release_id, party, told | bytes_)
    spent = select(PreviewCellRow.preview_id, func.sum(PreviewCellRow.questions))
    since = spent.where(col(PreviewCellRow.metered)).group_by(col(PreviewCellRow.preview_id))
    for name, questions in session.exec(since):
        yield Done(SPENT, name, "", {"questions_spent": int(questions)})
    yield from _list_charged(session)


def _list_charged(session: Session) -> Iterator[Done]:
    table = SpentNoiseRow
    asked = (
        select(table.request_id, table.customer_class, func.sum(table.epsilon))
        .where(col(table.metered))
        .group_by(col(table.request_id), col(table.customer_class))
        .order_by(col(table.request_id), col(table.customer_class))
    )
    for name, rows in groupby(session.exec(asked), key=lambda row: row[0]):
        spent = {share_of(_EPSILON, kind): int(epsilon) for _, kind, epsilon in rows}
        yield Done(CHARGED, name, ANALYSTS, spent)
