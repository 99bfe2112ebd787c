"""The market's documents: kept, found, and read by whom they concern.

Denied by default. A document is read by the organisation it is of and by the other one that it
names. Regulators read all. Everybody reads what `PUBLIC` lists, in those states alone. To whomever
a document does not concern it is not there: an answer does not tell that it exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from sqlmodel import Session, col, select

from gridsecure.circulation.documents import Member
from gridsecure.circulation.entries import CatalogueEntry
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.products import ON_SALE, ProductDesign, ProductStep
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.circulation.trade import Agreement, Need, Offer
from gridsecure.circulation.uses import ReleasedAggregate
from gridsecure.errors import NotFoundError
from gridsecure.market.tables import CounterRow, DocumentRow
from gridsecure.market.usage import BOOK, action_of
from gridsecure.messages import Digest
from gridsecure.store.evidence import JSON
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import advance, find, find_many, keep

IN_FORCE: Final = "in-force"
WITHDRAWN: Final = "withdrawn"
REPLACED: Final = "replaced"
WAITING: Final = "waiting"
"""Of a dataset's next record: the registration office did not confirm it yet."""
PUBLIC: Final[Mapping[str, frozenset[str]]] = {
    OrganisationRecord.kind: frozenset({IN_FORCE}),
    DatasetRecord.kind: frozenset({IN_FORCE}),
    CatalogueEntry.kind: frozenset({IN_FORCE}),
    ProductDesign.kind: frozenset(ON_SALE),
    Offer.kind: frozenset({IN_FORCE}),
    Need.kind: frozenset({IN_FORCE}),
    ReleasedAggregate.kind: frozenset({IN_FORCE}),
}
"""What everybody may read, by kind the states in which it is public."""

_WAITS: Final = (ProductDesign.kind, "reviewed")
"""What waits for an operator to publish it, who therefore reads it."""
_REGISTERED: Final = frozenset({DatasetRecord.kind, ProductStep.kind})
"""What the registration office confirms, or registers after, and therefore reads."""

Side = Literal["everybody", "ours", "to-us"]
"""Documents of all organisations, of one's own, or of others to it."""


def keep_document(session: Session, row: DocumentRow, *, by: str, fen: int | None = None) -> bool:
    """Keep a document, enter it in the log and count it; the same again changes nothing.

    Args:
        session: From `write_session`.
        by: Who signed it.
        fen: Of a metered use, its price; it is counted in the use's month, as statements count it.

    Raises:
        ConflictError: Another document of its kind has its name (`conflict.document`).
    """
    if not keep(session, row):
        return False
    detail: dict[str, JSON] = {
        "document": row.digest,
        "name": row.name,
        "party": row.organisation,
        "counterpart": row.counterpart,
        "state": row.state,
        "by": by,
    }
    if fen is not None:
        detail |= {"fen": fen, "month": row.month}
    action = action_of(row.kind)
    BOOK.enter(session, at=row.at, actor=by, action=action, detail=detail)
    return True


def move(session: Session, row: DocumentRow, *, target: str) -> bool:
    """Move a document to another state; False where it was moved before."""
    return advance(session, DocumentRow, source=row.state, target=target, digest=row.digest)


def may_read(row: DocumentRow, reader: Member) -> bool:
    """Whether a document concerns a reader."""
    return (
        reader.organisation in (row.organisation, row.counterpart)
        or "regulator" in reader.roles
        or row.state in PUBLIC.get(row.kind, ())
        or ((row.kind, row.state) == _WAITS and _sees_what_waits(reader))
        or (reader.is_registrar and row.kind in _REGISTERED)
    )


def _sees_what_waits(reader: Member) -> bool:
    return reader.is_registrar or "operator" in reader.roles


def load_readable(
    session: Session, digest: Digest, reader: Member, *, kind: str = ""
) -> DocumentRow:
    """A document that concerns a reader.

    Args:
        kind: The one it has to be of; empty for any.

    Raises:
        NotFoundError: There is none, of that kind and for this reader (`not-found.document`).
    """
    row = find(session, DocumentRow, digest=digest)
    if row is None or not may_read(row, reader) or kind not in ("", row.kind):
        raise NotFoundError(
            "There is no document of that name here, or it is not this reader's to read.",
            reason="not-found.document",
            remedy="List the documents that you may read (gridsecure market list).",
        )
    return row


def find_named(session: Session, kind: str, name: str) -> DocumentRow:
    """The document of a kind that has a name.

    Raises:
        NotFoundError: There is none (`not-found.named`).
    """
    row = find(session, DocumentRow, kind=kind, name=name)
    if row is None:
        raise NotFoundError(
            f"There is no {kind} of that name here.",
            reason="not-found.named",
            remedy="Record it first (gridsecure market send).",
        )
    return row


def list_documents(
    session: Session, kind: str, *, reader: Member, side: Side, asked: PageAsked
) -> tuple[list[DocumentRow], int | None]:
    """A page of documents of a kind that a reader may read, oldest first, and where it ends.

    Of a kind with public states, `everybody` is a page in one of them, for operators and the
    registration office besides of what waits to be published; a regulator's has all, and the
    registration office's all records of datasets and steps of products.
    """
    found = select(DocumentRow).where(DocumentRow.kind == kind)
    states = PUBLIC.get(kind, frozenset())
    if side == "ours":
        found = found.where(DocumentRow.organisation == reader.organisation)
    elif side == "to-us":
        found = found.where(DocumentRow.counterpart == reader.organisation)
    elif "regulator" not in reader.roles:
        waits = {_WAITS[1]} if kind == _WAITS[0] and _sees_what_waits(reader) else set()
        if reader.is_registrar and kind in _REGISTERED:
            states = frozenset()
        elif not states:
            return [], None  # or all of the kind would be looked through
        if states:
            found = found.where(col(DocumentRow.state).in_(states | waits))
    page = read_page(session, found, key=DocumentRow.id, asked=asked)
    return list(page.rows), page.after


def read_uses(session: Session, rows: Sequence[DocumentRow], reader: Member) -> dict[str, int]:
    """How often agreements and datasets among some documents were used, by digest.

    A dataset's are told to its own organisation and to regulators.
    """
    names = {}
    for row in rows:
        if row.kind == Agreement.kind:
            names[row.digest] = f"agreement/{row.digest}"
        elif row.kind == DatasetRecord.kind and (
            row.organisation == reader.organisation or "regulator" in reader.roles
        ):
            names[row.digest] = f"dataset/{row.about or row.name}"
    found = find_many(session, CounterRow, list(names.values()), by="name")
    amounts = {name: row.amount for name, row in found.items()}
    return {digest: amounts.get(name, 0) for digest, name in names.items()}


def count(session: Session, name: str, *, by: int = 1) -> int:
    """Change a counter; what it is afterwards.

    Args:
        session: From `write_session`.
    """
    row = session.get(CounterRow, name)
    if row is None:
        row = CounterRow(name=name, amount=0)
    row.amount += by
    session.add(row)
    session.flush()
    return row.amount
