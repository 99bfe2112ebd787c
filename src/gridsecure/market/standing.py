"""How much of one organisation the portal shows at once, so that nobody pushes others off it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlmodel import Session, select

from gridsecure.errors import ConflictError
from gridsecure.market import shelf
from gridsecure.market.received import Received
from gridsecure.market.tables import DocumentRow

MOST_STANDING: Final = 100
"""Of one organisation at once: offers, needs, released totals, versions of products on sale."""


def check_standing(
    session: Session,
    kind: str,
    received: Received[Any],
    *,
    organisation: str = "",
    states: Collection[str] = (shelf.IN_FORCE,),
) -> None:
    """Refuse more of a kind than the portal would show of anybody: others' would be pushed off.

    Args:
        organisation: Whose; the signer's if it is left out.
        states: In which it is shown.

    Raises:
        ConflictError: `MOST_STANDING` stand already (`market.many`).
    """
    own = select(DocumentRow.state, DocumentRow.until).where(
        DocumentRow.kind == kind,
        DocumentRow.organisation == (organisation or received.member.organisation),
    )
    # By the index of whose documents are: by their state those of everybody would be read.
    standing = sum(
        state in states and (until is None or until > received.now)
        for state, until in session.exec(own)
    )
    if standing >= MOST_STANDING:
        raise ConflictError(
            f"{MOST_STANDING} of the organisation's stand already.",
            reason="market.many",
            remedy="Withdraw some, or wait until they end.",
        )
