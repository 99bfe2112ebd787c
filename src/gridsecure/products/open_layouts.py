"""A question laid out on rosters before anything runs, by the code that proves it in earnest.

Whatever is proven here (ranges, noise, pieces, who is enough) is proven by the modules that the
checker and the vault call; nothing is decided twice. What was told before is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.messages import Digest, RosterManifest
from gridsecure.plans.cells import BILLS, ENERGY, MONEY, OTHER_CLASSES, Minima
from gridsecure.plans.query_edges import EdgedCells, divide_by_sets
from gridsecure.plans.query_groups import QueryGroup, count_groups
from gridsecure.plans.query_measures import (
    AskedMonth,
    MonthLayout,
    check_what_if,
    divide_groups,
    find_edges,
    lay_out_month,
    narrow_rows,
)
from gridsecure.plans.query_totals import OUTSIDE
from gridsecure.queries.forms import WhatIf
from gridsecure.queries.language import Question
from gridsecure.tariffs.tariff import Tariff, parse_tariff

ANYBODY: Final = Minima({OTHER_CLASSES: {ENERGY: 0, MONEY: 0, BILLS: 0}})
"""Nobody wants a minimum: for counting alone."""
Rows = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True, eq=False)
class OpenMonth:
    """A question about a month's measures, laid out.

    Args:
        rows: Per roster, the group of each slot that has what is asked for.
        groups: Them, counted.
        edges: The edges that the total of each part depends on.
    """

    asked: AskedMonth
    layout: MonthLayout
    cells: EdgedCells
    rows: Rows
    groups: tuple[QueryGroup, ...]
    edges: tuple[frozenset[int], ...]


def ask_of_month(question: Question, tariffs: Mapping[Digest, Tariff]) -> AskedMonth:
    """What a question asks of a month's measures.

    Raises:
        InputError: It is not computed of sealed questions (`query.measure`, `query.limits`,
            `query.edge`).
    """
    text = question.statistic.tariff if isinstance(question.statistic, WhatIf) else None
    span = question.period.span
    asked = AskedMonth(
        question.totals,
        (span.start.isoformat(), span.end.isoformat()),
        tariffs,
        parse_tariff(text) if text else None,
    )
    asked.check()
    return asked


def lay_out_open(
    asked: AskedMonth,
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    groups: int,
    minima: Minima,
) -> OpenMonth:
    """Prove what is computed of a month, as the checker does.

    Groups that are too small are left out, as they are there.

    Args:
        rows: Per roster, the group of each slot, or `OUTSIDE`.
        groups: How many there are.
        minima: What policy wants.

    Raises:
        GridSecureError: As `plans.query_measures.lay_out_month` and `check_what_if`.
    """
    own = narrow_rows(asked, rosters, rows)
    found = count_groups(rosters, own, groups=groups, minima=minima, measures=asked.measures)
    whole, own = own, _keep(own, [group.is_enough for group in found])
    check_what_if(asked, rosters, own)
    parts = divide_groups(asked, rosters, own)
    edges = find_edges(asked, rosters, parts.rows, cells=len(parts.groups))
    cells = EdgedCells(tuple(np.full_like(row, OUTSIDE) for row in own), (), (), (), (), ())
    if asked.edges_kwh or asked.is_of_moments or any(edges):
        cells = divide_by_sets(rosters, parts.rows, groups=parts.groups, told=())
    layout = lay_out_month(
        asked,
        rosters,
        parts=parts,
        cells=cells,
        edges=sorted(frozenset(asked.edges_kwh).union(*edges)),
        minima=[found[group].minimum or 0 for group in parts.groups],
    )
    return OpenMonth(asked, layout, cells, whole, tuple(found), tuple(edges))


def _keep(rows: Rows, told: Sequence[bool]) -> Rows:
    """Groups that are enough; who is in another is outside."""
    kept = np.array([*told, False], dtype=bool)  # the last place is for who is outside already
    return tuple(np.where(kept[own], own, OUTSIDE) for own in rows)
