"""The ledger of edges: of whom totals were told that depend on them (`plans.query_edges`).

Which sets of members those are is in the ledger; here is at which edges. A set without any, as of
sums of squares, has the edge 0, which everybody reaches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.ledger import Giving, Period, name_set
from gridsecure.key_authority.checker.tables import ToldEdgeRow, ToldMemberRow, ToldSetRow
from gridsecure.plans.cells import Place
from gridsecure.plans.query_edges import EdgedSet
from gridsecure.store.rows import keep

_NO_EDGE: Final = 0
_PORTION: Final = 500


class KnownEdges(NamedTuple):
    """What was told of a month that depends on edges.

    Args:
        entries: The names of the sets in the ledger, each with each of its edges.
    """

    sets: tuple[EdgedSet, ...]
    entries: frozenset[tuple[str, int]]


def read_edges(session: Session, period: Period) -> KnownEdges:
    """All that was told of a period that depends on edges."""
    edges: dict[str, set[int]] = defaultdict(set)
    entries = _read_entries(session, period)
    for name, edge in entries:
        edges[name].add(edge)
    members: dict[str, list[str]] = defaultdict(list)
    told = select(ToldEdgeRow.told_set).join(ToldSetRow).where(*_of(period)).distinct()
    asked = (
        select(ToldMemberRow.told_set, ToldMemberRow.name)
        .where(col(ToldMemberRow.told_set).in_(told))
        .execution_options(yield_per=_PORTION)
    )
    for name, member in session.exec(asked):
        members[name].append(member)
    wanted = select(ToldSetRow.name, ToldSetRow.minimum).where(col(ToldSetRow.name).in_(told))
    fewest = {name: minimum for name, minimum in session.exec(wanted)}
    sets = (
        EdgedSet(frozenset(members[name]), frozenset(own - {_NO_EDGE}), fewest[name])
        for name, own in sorted(edges.items())
    )
    return KnownEdges(tuple(sets), entries)


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
        GridSecureError: Another release told of edges meanwhile (`release.meanwhile`).
    """
    if _read_entries(session, giving.period) != known.entries:
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


def _of(period: Period) -> tuple[ColumnElement[bool], ...]:
    return (
        col(ToldSetRow.domain) == period.domain,
        col(ToldSetRow.start_at) == period.start_at,
        col(ToldSetRow.end_at) == period.end_at,
    )
