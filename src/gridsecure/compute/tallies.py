"""Totals that are asked for often and would else be counted anew each time.

Whoever adds or removes what is counted says so in the same transaction. Writers of a database take
turns, so no total is changed twice at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlmodel import Session, col, select, update

from gridsecure.compute.tables import TallyRow

STORED_BYTES: Final = "stored.bytes"
"""What the lengths of all objects add up to."""


def count(session: Session, name: str, by: int = 1) -> None:
    """Change a total.

    Args:
        session: From `write_session`.
        name: Of the total: a table's kind of row, or one of its own.
    """
    counted = update(TallyRow).where(col(TallyRow.name) == name)
    if not session.exec(counted.values(total=col(TallyRow.total) + by)).rowcount:
        session.add(TallyRow(name=name, total=by))


def read_tallies(session: Session) -> Mapping[str, int]:
    """All totals; one that is not there is zero."""
    return dict(session.exec(select(TallyRow.name, TallyRow.total)).all())
