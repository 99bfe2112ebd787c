"""Questions about measures of a month: whom they are of, and what was told before that they touch.

Who has what is asked for, what is computed and what depends on which edges is found by the plans'
own modules, which the vault runs again. What was told before that depends on edges is the checker's
to know (`told_edges`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from gridsecure.credentials.queries import Query
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError
from gridsecure.key_authority.checker.ledger import SQUARES, WITHHELD_SQUARES, KnownSet
from gridsecure.key_authority.checker.queried_uploads import QueriedData
from gridsecure.key_authority.checker.told_edges import KnownEdges, read_all, read_edges
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.query_orders import OrderedMonth, month_steps
from gridsecure.messages import CellTotal, RosterManifest
from gridsecure.plans.cells import Minima
from gridsecure.plans.query_edges import EdgedCells, divide_by_sets
from gridsecure.plans.query_groups import QueryGroup, count_groups, write_rows
from gridsecure.plans.query_measures import (
    AskedMonth,
    MonthLayout,
    Parts,
    check_what_if,
    divide_groups,
    find_edges,
    lay_out_month,
)
from gridsecure.plans.query_names import AT_LEAST
from gridsecure.plans.query_totals import OUTSIDE
from gridsecure.queries.forms import WhatIf
from gridsecure.queries.language import Question
from gridsecure.store.database import read_session
from gridsecure.tariffs.tariff import Tariff, parse_tariff


@dataclass(frozen=True, slots=True, eq=False)
class LaidMonth:
    """A question about a month, laid out.

    Args:
        what_if: The text of another tariff; empty where there is none.
        edges: The edges that the total of each part depends on.
        known: What was told before that depends on edges; None where nothing here does.
    """

    asked: AskedMonth
    what_if: str
    layout: MonthLayout
    cells: EdgedCells
    edges: tuple[frozenset[int], ...]
    known: KnownEdges | None

    @property
    def parts(self) -> Parts:
        """The parts of groups."""
        return self.layout.parts

    @property
    def steps(self) -> dict[str, list[int]]:
        """What officers approve in the place of steps."""
        return month_steps(self.asked.totals, self.what_if)

    def cell_rows(self) -> list[bytes]:
        """The cell of each slot, per roster, as the vault reads them."""
        return [write_rows(own) for own in self.cells.rows]

    def order(self, tariffs: Mapping[str, str]) -> OrderedMonth:
        """What the vault is told.

        Args:
            tariffs: The texts of the rosters' tariffs, by digest.
        """
        return OrderedMonth(
            totals=list(self.asked.totals),
            tariffs=dict(tariffs),
            what_if=self.what_if,
            rows=[sm3_hex(own) for own in self.cell_rows()],
            groups=list(self.cells.groups),
            links=list(self.cells.links),
            before=[sorted(own) for own in self.cells.before],
            blind=list(self.cells.is_blind),
            least=list(self.cells.least),
        )

    def told_edges(self, cells: Sequence[CellTotal], *, groups: int) -> dict[int, frozenset[int]]:
        """The edges that were told of, or that all depends on, of each part that was told of.

        Squares are one of them. Those that the vault withheld are kept too: how much the largest of
        a group may have follows from that, and more of it from each group that differs by one.

        Args:
            cells: Of the answer.
            groups: How many there are.
        """
        if self.known is None:
            return {}
        told: dict[int, set[int]] = {}
        for cell in cells:
            number, group = divmod(int(cell.customer_class), groups)
            if cell.value is not None:
                name = self.asked.totals[number]
                edges = told.setdefault(group, set())
                if self.asked.is_of_moments:
                    edges.add(SQUARES)
                if name.startswith(AT_LEAST):
                    edges.add(int(name.removeprefix(AT_LEAST)))
        if self.asked.is_of_moments:
            told = {group: told.get(group, {WITHHELD_SQUARES}) for group in range(groups)}
        return {
            part: own | told[group]
            for part, (own, group) in enumerate(zip(self.edges, self.parts.groups, strict=True))
            if group in told
        }


def check_month_question(question: Question, query: Query) -> None:
    """Refuse what is not about the whole month that its query shows.

    Raises:
        InputError: `query.whole`, `query.measure`, or as `AskedMonth.check`.
    """
    if question.private is not None:
        raise InputError(
            "Measures of a month are not told with noise.",
            reason="query.measure",
            remedy="Ask for energy of intervals, where policy has noise for analysts.",
        )
    span = question.period.span
    is_month = question.every == "month" and question.when is None and question.period.month
    shown = tuple(map(datetime.fromisoformat, (query.start, query.end)))
    if not is_month or shown != (span.start, span.end):
        raise InputError(
            "Such a question is about a whole month, which its query has to show.",
            reason="query.whole",
            remedy='Ask for a month, every "month", without when, in a query about that month.',
        )
    AskedMonth(question.totals, ("", ""), {}, _what_if(question)).check()


def ask_month(question: Question, queried: QueriedData) -> AskedMonth:
    """What a question asks of what lies there.

    Raises:
        InputError: Another period was closed (`query.whole`).
    """
    upload = queried.datas[0].upload
    shown, closed = (
        tuple(map(datetime.fromisoformat, span))
        for span in ((queried.start, queried.end), (upload.start, upload.end))
    )
    if shown != closed:
        raise InputError(
            "What was closed is another period than the question's month.",
            reason="query.whole",
            remedy="Ask about the month that the billing office closed.",
        )
    tariffs = {name: parse_tariff(text) for name, text in queried.tariff_texts.items()}
    span = (queried.start, queried.end)
    return AskedMonth(question.totals, span, tariffs, _what_if(question))


def _what_if_text(question: Question) -> str:
    return (question.statistic.tariff or "") if isinstance(question.statistic, WhatIf) else ""


def _what_if(question: Question) -> Tariff | None:
    text = _what_if_text(question)
    return parse_tariff(text) if text else None


def small_parts(
    asked: AskedMonth,
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    minima: Minima,
) -> set[int]:
    """Groups that have a part of too few customers."""
    parts = divide_groups(asked, rosters, rows)
    found = count_groups(
        rosters, parts.rows, groups=len(parts.groups), minima=minima, measures=asked.measures
    )
    pairs = zip(parts.groups, found, strict=True)
    return {group for group, part in pairs if not part.is_enough}


def read_known(
    zone: AuthorityZone,
    asked: AskedMonth,
    queried: QueriedData,
    *,
    told: Sequence[KnownSet] | None = None,
) -> KnownEdges:
    """What was told before that divides a question's cells.

    Args:
        told: All that was told of the period, where that was read.
    """
    with read_session(zone.engine) as session:
        if asked.is_of_moments:
            return read_all(session, queried.period, known=told)
        return read_edges(session, queried.period)


def lay_out_asked(
    read: Callable[[], KnownEdges],
    asked: AskedMonth,
    question: Question,
    queried: QueriedData,
    *,
    rows: Sequence[NDArray[np.int64]],
    found: Sequence[QueryGroup],
) -> LaidMonth:
    """What is computed of a question's groups, and beside what it is looked at.

    Args:
        read: Reads what was told before, as `read_known`; it is needed where edges or squares are.
        rows: Per roster, the group of each slot, without groups that are too small.
        found: The groups.

    Raises:
        InputError: A limit of another tariff is none of the grid's (`query.edge`), or as
            `lay_out_month`.
        GridSecureError: As `lay_out_month`.
    """
    rosters = [data.roster for data in queried.datas]
    check_what_if(asked, rosters, rows)
    parts = divide_groups(asked, rosters, rows)
    edges = find_edges(asked, rosters, parts.rows, cells=len(parts.groups))
    outside = tuple(np.full_like(own, OUTSIDE) for own in rows)
    cells, known = EdgedCells(outside, (), (), (), (), ()), None
    if asked.edges_kwh or asked.is_of_moments or any(edges):
        known = read()
        cells = divide_by_sets(rosters, parts.rows, groups=parts.groups, told=known.sets)
    layout = lay_out_month(
        asked,
        rosters,
        parts=parts,
        cells=cells,
        edges=sorted(frozenset(asked.edges_kwh).union(*edges, *cells.before)),
        minima=[found[group].minimum or 0 for group in parts.groups],
    )
    return LaidMonth(asked, _what_if_text(question), layout, cells, tuple(edges), known)
