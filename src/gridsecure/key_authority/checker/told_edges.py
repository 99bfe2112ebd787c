"""The ledger of edges: of whom totals were told that depend on them (`plans.query_edges`).

Which sets of members those are is in the ledger; here is at which edges. A set without any, as of
a part of bills without tiers, has the edge 0, which everybody reaches; one of sums of squares has
`SQUARES`, or `WITHHELD_SQUARES` where the vault told nothing. Squares are looked at beside all that
was told, of whatever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.ledger import (
    SQUARES,
    WITHHELD_SQUARES,
    Giving,
    Kind,
    KnownSet,
    Period,
    name_set,
    read_told,
)
from gridsecure.key_authority.checker.tables import ListedMemberRow, ToldEdgeRow, ToldSetRow
from gridsecure.plans.cells import Place
from gridsecure.plans.query_edges import EdgedSet
from gridsecure.store.rows import keep

_NO_EDGE: Final = 0
_NO_EDGES: Final = frozenset({_NO_EDGE, SQUARES, WITHHELD_SQUARES})
_CHANGED: Final = "changed"
"""Of whom is told only where days and their month differ, and nothing of the month."""
_KINDS: Final[tuple[Kind, ...]] = ("month", "day")
_PORTION: Final = 500


class KnownEdges(NamedTuple):
    """What was told of a month that depends on edges.

    Args:
        entries: The names of the sets in the ledger, each with each of its edges.
        beside: The names of all sets of the month, where they were looked at as well.
    """

    sets: tuple[EdgedSet, ...]
    entries: frozenset[tuple[str, int]]
    beside: frozenset[str] | None = None


def read_edges(session: Session, period: Period) -> KnownEdges:
    """All that was told of a period that depends on edges."""
    edges: dict[str, set[int]] = defaultdict(set)
    entries = _read_entries(session, period)
    for name, edge in entries:
        edges[name].add(edge)
    members: dict[str, list[str]] = defaultdict(list)
    told = select(ToldEdgeRow.told_set).join(ToldSetRow).where(*_of(period)).distinct()
    asked = (
        select(ToldSetRow.name, ListedMemberRow.name)
        .join(ListedMemberRow, col(ListedMemberRow.members) == col(ToldSetRow.members))
        .where(col(ToldSetRow.name).in_(told))
        .execution_options(yield_per=_PORTION)
    )
    for name, member in session.exec(asked):
        members[name].append(member)
    wanted = select(ToldSetRow.name, ToldSetRow.minimum).where(col(ToldSetRow.name).in_(told))
    fewest = {name: minimum for name, minimum in session.exec(wanted)}
    sets = (
        EdgedSet(frozenset(members[name]), frozenset(own - _NO_EDGES), fewest[name])
        for name, own in sorted(edges.items())
    )
    return KnownEdges(tuple(sets), entries)


def read_all(
    session: Session, period: Period, *, known: Sequence[KnownSet] | None = None
) -> KnownEdges:
    """All that was told of a period, for squares: what was told of energy alone divides them, too.

    Args:
        known: What was told of it, where that was read.
    """
    edged = read_edges(session, period)
    ones = read_told(session, period) if known is None else known
    # Each once, whatever was told of it: the same cells are told of every day.
    minima: dict[frozenset[str], int] = {}
    for one in ones:
        if one.kind != _CHANGED:
            names = frozenset(member.name for member in one.told.members)
            minima[names] = max(minima.get(names, 0), one.told.minimum)
    sets = (EdgedSet(names, frozenset(), minimum) for names, minimum in minima.items())
    beside = frozenset(one.name for one in ones if one.kind != _CHANGED)
    return KnownEdges((*edged.sets, *sets), edged.entries, beside)


def _read_entries(session: Session, period: Period) -> frozenset[tuple[str, int]]:
    wanted = select(ToldEdgeRow.told_set, ToldEdgeRow.edge).join(ToldSetRow).where(*_of(period))
    return frozenset((name, edge) for name, edge in session.exec(wanted))


def enter_edges(
    session: Session,
    giving: Giving,
    edges: Mapping[Place, frozenset[int]],
    *,
    known: KnownEdges,
    at: datetime,
) -> None:
    """Keep at which edges sets were told of, in the transaction that enters them.

    Args:
        edges: By place of the giving.
        known: What the release was looked at beside.

    Raises:
        GridSecureError: Another release told of edges meanwhile, or, of squares, of anything
            (`release.meanwhile`).
    """
    if _read_entries(session, giving.period) != known.entries or not _is_beside(
        session, giving, known
    ):
        raise GridSecureError(
            "Another release of this month was certified in the meantime.",
            reason="release.meanwhile",
            remedy="Start another release round.",
        )
    for place, own in edges.items():
        for told in giving.told.get(place, ()):
            name = name_set((place, "month"), told, period=giving.period)
            for edge in sorted(own) or [_NO_EDGE]:
                keep(session, ToldEdgeRow(told_set=name, edge=edge, at=at))


def _is_beside(session: Session, giving: Giving, known: KnownEdges) -> bool:
    """Whether nothing else was told of, where all that was told matters."""
    own = {
        name_set((place, kind), one, period=giving.period)
        for place, sets in giving.told.items()
        for one in sets
        for kind in _KINDS
    }
    names = select(ToldSetRow.name).where(*_of(giving.period), col(ToldSetRow.kind) != _CHANGED)
    return known.beside is None or {*session.exec(names)} - own <= known.beside


def _of(period: Period) -> tuple[ColumnElement[bool], ...]:
    return (
        col(ToldSetRow.domain) == period.domain,
        col(ToldSetRow.start_at) == period.start_at,
        col(ToldSetRow.end_at) == period.end_at,
    )
