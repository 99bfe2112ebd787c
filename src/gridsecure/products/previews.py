"""A product made of invented readings, in the open: what its buyer would see.

The same recipes run as on ciphertexts, on columns in the clear, and the same code makes answers of
their totals. Groups that are too small, and edges with too few beside them, are withheld as the key
authority withholds them. What only it knows is not: what was told before, and who is how large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.messages import Digest, Message
from gridsecure.plans.load_curve import day_quantity
from gridsecure.plans.query_edges import keep_edges
from gridsecure.plans.query_groups import count_groups
from gridsecure.plans.query_measures import MonthTotals, total_month
from gridsecure.plans.query_names import AT_LEAST
from gridsecure.plans.query_parts import PartsLayout
from gridsecure.policy.decisions import asked_for, find_minima
from gridsecure.products.checks import Rows, keep_told, question_steps
from gridsecure.products.cities import OpenCity, OpenReadings
from gridsecure.products.designs import Issue, ProductDesign, ask_part
from gridsecure.products.joined_parts import run_step
from gridsecure.products.open_layouts import ANYBODY, OpenMonth, ask_of_month, lay_out_open
from gridsecure.queries.answers import answer_question
from gridsecure.queries.groups import Grouping, group_rosters
from gridsecure.queries.language import Question
from gridsecure.queries.steps import step_end
from gridsecure.queries.totals import GroupCount, StepSpan, Told, Totals

SAMPLE_ROWS: Final = 12
"""Rows of each part that a sample shows; its digest is of all of them."""

Frames = dict[str, pd.DataFrame]
_Values = list[list[Told]]


class SampledPart(Message):
    """Some rows of a part or step.

    Args:
        rows: Numbers as text, because they are exact.
        of: How many rows there are.
        digest: SM3 of all of them.
    """

    kind: ClassVar[str] = "sampled-part"
    name: str
    columns: list[str]
    rows: list[list[str]]
    of: int
    digest: Digest


class ProductSample(Message):
    """A sample of a product on invented readings.

    Args:
        city: What it was made from, so that anybody can make it again.
    """

    kind: ClassVar[str] = "product-sample"
    product: str
    version: int
    design: Digest
    period: str
    synthetic: bool = True
    city: dict[str, str | int]
    parts: list[SampledPart]


def preview_design(design: ProductDesign, *, city: OpenCity, issue: Issue) -> Frames:
    """The frames of all parts and steps, by name.

    Raises:
        GridSecureError: A question is refused, as `checks.check_design` says of its field; or a
            step joins what is not of the same groups and times (`product.step`).
    """
    frames: Frames = {}
    for part in design.parts:
        question = ask_part(part, design=design, issue=issue)
        legs = [total_open(leg, design=design, city=city) for leg in question.legs]
        frames[part.name] = answer_question(question, legs)
    for step in design.steps:
        frames[step.name] = run_step(step, [frames[name] for name in step.of])
    return frames


def sample_of(
    design: ProductDesign, frames: Frames, *, city: OpenCity, issue: Issue
) -> ProductSample:
    """The sample that is kept with a product."""
    return ProductSample(
        product=design.name,
        version=design.version,
        design=design.digest,
        period=issue.period,
        city=dict(city.described),
        parts=[_sampled(name, frame) for name, frame in frames.items()],
    )


def _sampled(name: str, frame: pd.DataFrame) -> SampledPart:
    rows = [
        ["" if value is None else str(value) for value in row]
        for row in frame.itertuples(index=False)
    ]
    text = "\n".join("\t".join(row) for row in rows)
    return SampledPart(
        name=name,
        columns=[str(column) for column in frame.columns],
        rows=rows[:SAMPLE_ROWS],
        of=len(rows),
        digest=sm3_hex(text.encode()),
    )


def total_open(question: Question, *, design: ProductDesign, city: OpenCity) -> Totals:
    """The totals of a question of one period, added up in the open.

    Raises:
        InputError: Nobody is in what it asks about (`query.nobody`), or its measure is not computed
            of sealed questions.
    """
    asked = asked_for(design.purpose, resolution=question.resolution)
    minima = find_minima(design.release_policy, asked)
    grouping = group_rosters(question, city.rosters, tariffs=city.tariff_names)
    readings = city.read(f"{question.period.days[0]:%Y-%m}")
    if question.totals in ((), ("energy",)):
        found = count_groups(
            city.rosters, grouping.rows, groups=len(grouping.labels), minima=minima
        )
        rows = grouping.rows
        values = _energies(question, city, keep_told(rows, found), readings, groups=len(found))
        spans = values.spans
        told = {name: values.numbers for name in question.totals}
    else:
        month = lay_out_open(
            ask_of_month(question, city.tariffs), city.rosters, grouping.rows,
            groups=len(grouping.labels), minima=minima,
        )  # fmt: skip
        found, rows = list(month.groups), month.rows
        told = _tell_month(question, month, city, readings)
        spans = [_span(question, question.period.span.start.isoformat(), "")]
    return Totals(
        groups=_counts(grouping, rows, [group.customers for group in found]),
        steps=spans,
        values={
            name: [
                [
                    number if group.is_enough else None
                    for number, group in zip(row, found, strict=True)
                ]
                for row in numbers
            ]
            for name, numbers in told.items()
        },
    )


def _counts(grouping: Grouping, rows: Rows, customers: Sequence[int]) -> list[GroupCount]:
    return [
        GroupCount(
            values=list(label.values),
            cohort=label.cohort,
            points=sum(int((own == number).sum()) for own in rows),
            customers=many,
        )
        for number, (label, many) in enumerate(zip(grouping.labels, customers, strict=True))
    ]


class _Energies(NamedTuple):
    """Totals of intervals, by step and group, with the steps' spans."""

    numbers: _Values
    spans: list[StepSpan]


def _energies(
    question: Question,
    city: OpenCity,
    rows: Rows,
    readings: Sequence[OpenReadings],
    *,
    groups: int,
) -> _Energies:
    steps = question_steps(question, city)
    many = 1 + max((int(own.max()) for own in steps.values()), default=-1)
    totals = np.zeros((many, groups), dtype=np.int64)
    spans: list[StepSpan | None] = [None] * many
    for day, times in readings[0].times.items():
        numbers = steps.get(day_quantity(day))
        if numbers is None:
            continue
        inside = numbers >= 0
        for place in np.flatnonzero(inside).tolist():
            if spans[numbers[place]] is None:
                spans[numbers[place]] = _span(question, times[place], times[place + 1])
        for own, read in zip(rows, readings, strict=True):
            for group in range(groups):
                used = read.days[day][:, own == group].sum(axis=1)
                np.add.at(totals[:, group], numbers[inside], used[inside])
    told: _Values = [list(row) for row in totals.tolist()]
    return _Energies(told, [span for span in spans if span is not None])


def _span(question: Question, start: str, end: str) -> StepSpan:
    if question.every == "month":
        start = question.period.span.start.isoformat()
    elif question.every == "day":
        start = f"{start[:10]}T00:00:00{start[19:]}"
    if question.every != "interval":
        end = step_end(question, start)
    return StepSpan(start=start, end=end)


def _tell_month(
    question: Question, month: OpenMonth, city: OpenCity, readings: Sequence[OpenReadings]
) -> dict[str, _Values]:
    """Totals of a month's measures, by name, without edges that have too few beside them."""
    layout, cells = month.layout, month.cells
    columns = [read.columns for read in readings]
    main_rows = layout.shares.rows if month.asked.is_of_moments else layout.parts.rows
    many = len(layout.shares.cells) if month.asked.is_of_moments else len(layout.parts.groups)
    found = total_month(
        month.asked,
        layout,
        _add_up(layout.main, columns, main_rows, groups=many),
        _add_up(layout.reach, columns, layout.shares.rows, groups=len(layout.shares.cells)),
        groups=len(month.groups),
        cells=cells.groups,
    )
    kept = _kept_edges(month, found, city)
    told: dict[str, _Values] = {}
    for name in question.totals:
        edge = int(name.removeprefix(AT_LEAST)) if name.startswith(AT_LEAST) else None
        told[name] = [
            [
                None if group in kept and _is_left_out(kept[group], edge)
                else _number(found, cells.groups, name, group=group, edge=edge)
                for group in range(len(month.groups))
            ]
        ]  # fmt: skip
    return told


def _number(
    found: MonthTotals, cells: Sequence[int], name: str, *, group: int, edge: int | None
) -> int:
    if edge is None:
        return int(found.values[name][group])
    return sum(
        sum(own.values())
        for cell, own in zip(cells, found.reached[edge], strict=True)
        if cell == group
    )


def _is_left_out(kept: list[int] | None, edge: int | None) -> bool:
    return kept is None or (edge is not None and edge not in kept)


def _kept_edges(
    month: OpenMonth, found: MonthTotals, city: OpenCity
) -> dict[int, list[int] | None]:
    """Of each group that edges matter for, those that may be told; None where nothing may."""
    cells = month.cells
    crowds = [
        one.crowd
        for one in count_groups(city.rosters, cells.rows, groups=len(cells.groups), minima=ANYBODY)
    ]
    kept: dict[int, list[int] | None] = {}
    for company in cells.companies:
        needed = {
            cell: frozenset(month.edges[cell]) if cell < len(month.edges) else frozenset[int]()
            for cell in company
        }
        edges = keep_edges(
            month.asked.edges_kwh,
            found.reached,
            {cell: crowds[cell] for cell in company},
            needed=needed,
            minima={cell: month.groups[cells.groups[cell]].minimum or 0 for cell in company},
        )
        kept |= {cells.groups[cell]: edges for cell in company}
    return kept


def _add_up(
    layout: PartsLayout,
    columns: Sequence[Mapping[str, NDArray[Any]]],
    rows: Rows,
    *,
    groups: int,
) -> dict[str, NDArray[Any]]:
    """The total of each part over each group, on columns in the clear."""
    totals: dict[str, NDArray[Any]] = {}
    for place, recipe in enumerate(layout.recipes):
        wanted = [
            name
            for block in layout.blocks
            if place in block.places
            for name in block.layout.quantities
        ]
        if not wanted:
            continue
        made = recipe.compute({name: PlainColumn.of(own) for name, own in columns[place].items()})
        inside = rows[place] >= 0
        for name in wanted:
            own = totals.setdefault(name, np.zeros(groups, dtype=object))
            np.add.at(own, rows[place][inside], made[name].values[inside])
    return totals
