"""The market's catalogue (数据目录), read page by page: a card of each release that was entered."""

from __future__ import annotations

from sqlmodel import Session, select

from gridsecure.circulation.entries import CatalogueEntry, entry_card
from gridsecure.market import shelf
from gridsecure.market.tables import DocumentRow
from gridsecure.messages import ReleaseCertificate
from gridsecure.products.datasets import Search, search
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.wire.workshop import CardTold


def find_cards(
    session: Session, wanted: Search, *, asked: PageAsked
) -> tuple[list[CardTold], int | None]:
    """The cards of a page of entries that match what is looked for, and where the page ends.

    A page is of entries: of those that match there may be fewer on it, or none.

    Raises:
        InputError: As `search`.
    """
    found = select(DocumentRow).where(
        DocumentRow.kind == CatalogueEntry.kind, DocumentRow.state == shelf.IN_FORCE
    )
    page = read_page(session, found, key=DocumentRow.id, asked=asked)
    cards = [card for row in page.rows for card in _matching(row, wanted)]
    return cards, page.after


def _matching(row: DocumentRow, wanted: Search) -> list[CardTold]:
    said = CatalogueEntry.parse(row.envelope.body)
    # Its signatures were verified as it came in, and a kept row never changes.
    card = entry_card(said, ReleaseCertificate.parse(said.certificate.body))
    found = search([card], wanted)
    return [CardTold(digest=row.digest, dataset=said.dataset, card=one) for one in found]
