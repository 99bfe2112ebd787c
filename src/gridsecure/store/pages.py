"""Lists read page by page, each page behind the last row of the one before.

A page costs what is on it, however long the list is: no row before it is counted or read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select
from sqlmodel import Session, col, func, select

from gridsecure.errors import InputError

MOST: Final = 1000
"""Longest page."""

_CURSOR: Final = re.compile(r"p[0-9a-f]{1,15}")


@dataclass(frozen=True, slots=True)
class PageAsked:
    """Which page is asked for.

    Args:
        limit: At most so many rows.
        after: Number of the row that it begins behind.
    """

    limit: int = MOST
    after: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a list.

    Args:
        after: Number of the last one, if the list goes on.
    """

    rows: Sequence[Any]
    after: int | None


def read_page(session: Session, found: Select[Any], *, key: Any, asked: PageAsked) -> Page:
    """Read a page of what a query finds.

    Args:
        key: The rows' number, the column `id`, which the query has too.
    """
    behind = found.where(key > asked.after).order_by(key).limit(asked.limit + 1)
    # One column as itself, several as a tuple with names, one entity as itself.
    rows = session.execute(behind).all()
    plain = [row[0] if len(row) == 1 else row for row in rows]
    if len(plain) <= asked.limit:
        return Page(plain, None)
    return Page(plain[:-1], plain[-2].id)


def narrow(found: Select[Any], wanted: Iterable[tuple[Any, str]]) -> Select[Any]:
    """What a query finds where columns have the values that were asked for.

    Args:
        wanted: Columns and their values; an empty one is any.
    """
    for column, value in wanted:
        if value:
            found = found.where(column == value)
    return found


def newest(session: Session, key: Any) -> int:
    """The greatest number of a table; 0 while it is empty."""
    return session.exec(select(func.max(col(key)))).one() or 0


def write_cursor(after: int) -> str:
    """A row's number as it travels, where nobody reads it."""
    return f"p{after:x}"


def read_cursor(text: str) -> int:
    """The number that a cursor stands for; 0 for none.

    Raises:
        InputError: Not one that this service gave (`list.cursor`).
    """
    if not text:
        return 0
    if _CURSOR.fullmatch(text) is None:
        raise InputError(
            "No list was left off at this place.",
            reason="list.cursor",
            remedy="Follow the Link of the page before, or begin without `after`.",
        )
    return int(text[1:], 16)
