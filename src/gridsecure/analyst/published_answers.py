"""Questions that published releases answer: computed where the reader is, and asked of nobody.

A release tells cells, each of one or more zones and classes. A group of a question is told where
its places make up whole cells, and none of these is withheld; otherwise its number is withheld. No
number is estimated, and none is of a part of what was asked about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn

import numpy as np

from gridsecure.analyst.merged_cells import name_cell
from gridsecure.analyst.releases import BILL, LOAD_CURVE, Release, ReleasedCell
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import MAX_SLOTS, ReleaseCertificate, RosterManifest
from gridsecure.plans import cells
from gridsecure.plans.cells import Place
from gridsecure.queries.cohorts import Cohort
from gridsecure.queries.forms import COUNT, ENERGY
from gridsecure.queries.groups import GroupLabel, group_rosters
from gridsecure.queries.language import Question
from gridsecure.queries.steps import find_steps, step_end
from gridsecure.queries.totals import GroupCount, StepSpan, Told, Totals, add_told
from gridsecure.released_values import SignedCertificate

_MEASURES: Final = {ENERGY: cells.ENERGY, "bill": cells.MONEY}
_PLACED: Final = frozenset({"zone", "customer_class", "all_of", "any_of", "none_of"})
"""What a cohort may name that a release tells of."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Published:
    """A verified release, and who is in its places.

    Args:
        counts: Zone and class -> meter points and customers; empty in certificates of before they
            were counted.
    """

    release: Release
    counts: Mapping[Place, tuple[int, int]]


def read_published(release: Release) -> Published:
    """What a question needs of a release that was verified."""
    counts: dict[Place, tuple[int, int]] = {}
    if release.signed_text is not None:
        body = SignedCertificate.parse(release.signed_text).body
        for place in ReleaseCertificate.parse(body).places:
            counts[place.zone, place.customer_class] = (
                sum(one.points for one in place.counts),
                sum(one.customers for one in place.counts),
            )
    return Published(release, counts)


def collect_totals(question: Question, published: Sequence[Published]) -> list[Totals]:
    """The totals of each of a question's legs, from releases.

    Raises:
        NotFoundError: Releases do not hold what it takes (`query.not-published`): the message says
            what is missing.
        InputError: Two releases tell the same (`query.two-releases`), or as `groups.group_rosters`
            and `steps.find_steps`.
    """
    _check_attributes(question)
    return [_collect(leg, published) for leg in question.legs]


def list_joined(question: Question, published: Sequence[Published]) -> list[str]:
    """Cells of releases that are about several of a question's groups, or a part of one, by name.

    Their groups are withheld: what a release tells together nobody can tell apart.
    """
    parts = sorted({part for one in published for cell in one.release.cells for part in cell.parts})
    _, group_of = _group_places(question.legs[0], parts)
    joined = {
        cell.parts
        for one in published
        for cell in one.release.cells
        if len({group_of[part] for part in cell.parts}) > 1
    }
    return sorted(" ".join(name_cell(parts)) for parts in joined)


def _check_attributes(question: Question) -> None:
    if "tariff" in question.group_by:
        _lack("Releases do not tell tariffs apart.")
    for cohort in filter(None, (question.where, question.second)):
        for name in _names_in(cohort):
            if name not in _PLACED:
                _lack(f"Releases say nothing of {name}.")
    if question.measure != COUNT and question.totals != (question.measure,):
        _lack(f"Releases have no totals of {', '.join(question.totals)}.")
    if question.measure not in {*_MEASURES, COUNT}:
        _lack(f"Releases have no totals of {question.measure}.")


def _names_in(cohort: Cohort) -> Iterator[str]:
    yield from (name for name in type(cohort).model_fields if getattr(cohort, name) is not None)
    for inner in cohort.inner:
        yield from _names_in(inner)


def _collect(question: Question, published: Sequence[Published]) -> Totals:
    span = (question.period.span.start, question.period.span.end)
    bills = [one for one in published if one.release.plan == BILL and _span(one.release) == span]
    is_whole = question.every == "month" and question.when is None
    if is_whole and bills:
        return _of_cells(question, bills, [cell for one in bills for cell in one.release.cells])
    if question.measure == "bill":
        _lack(f"No bills of {_named(span)} are among the releases.")
    curves = [one for one in published if one.release.plan == LOAD_CURVE]
    found = [
        cell
        for one in curves
        for cell in one.release.cells
        if span[0] <= cell.start < span[1] and question.has_day(cell.start.date())
    ]
    days = {cell.start.date() for cell in found}
    missing = [d for d in question.period.days if question.has_day(d) and d not in days]
    if missing:
        more = f" and {len(missing) - 1} more days" if len(missing) > 1 else ""
        _lack(f"No load curve of {missing[0]}{more} is among the releases.")
    return _of_cells(question, curves, found)


def _span(release: Release) -> Span:
    return release.start, release.end


def _named(span: Span) -> str:
    return f"{span[0]:%Y-%m-%d} to {span[1]:%Y-%m-%d}"


def _of_cells(
    question: Question, published: Sequence[Published], found: Sequence[ReleasedCell]
) -> Totals:
    """Totals of groups and steps, added up of cells."""
    measure = _MEASURES.get(question.measure, cells.ENERGY)
    found = [cell for cell in found if cell.measure == measure]
    parts = sorted({part for cell in found for part in cell.parts})
    labels, group_of = _group_places(question, parts)
    step_of, steps = _find_steps(question, {(cell.start, cell.end) for cell in found})
    numbers: list[list[list[Told]]] = [[[] for _ in labels] for _ in steps]
    members: dict[Span, list[int]] = defaultdict(lambda: [0] * len(labels))
    seen: set[tuple[datetime, Place]] = set()
    for cell in found:
        span = (cell.start, cell.end)
        if not seen.isdisjoint((cell.start, part) for part in cell.parts):
            _refuse_twice(cell)
        seen.update((cell.start, part) for part in cell.parts)
        if span not in step_of:
            continue
        groups = {group_of[part] for part in cell.parts}
        for group in groups - {-1}:
            # A cell that others have a part of tells nothing of this group alone.
            is_own = len(groups) == 1
            numbers[step_of[span]][group].append(cell.value if is_own else None)
            members[span][group] += cell.members if is_own else 0
    return Totals(
        groups=_count_groups(labels, group_of, members=members, published=published),
        steps=steps,
        values={
            name: [[add_told(told) if told else None for told in row] for row in numbers]
            for name in question.totals
        },
    )


def _group_places(
    question: Question, parts: Sequence[Place]
) -> tuple[tuple[GroupLabel, ...], dict[Place, int]]:
    """The groups of zones and classes: each as if one meter point were there."""
    blocks = [parts[at : at + MAX_SLOTS] for at in range(0, len(parts), MAX_SLOTS)]
    grouping = group_rosters(question, map(_as_roster, blocks), tariffs={})
    numbers = np.concatenate(grouping.rows).tolist()
    return grouping.labels, dict(zip(parts, numbers, strict=True))


def _as_roster(places: Sequence[Place]) -> RosterManifest:
    return RosterManifest(
        roster_id="",
        gateway_id="",
        domain="",
        tariff="",
        pseudonyms=[str(number) for number in range(len(places))],
        zones=[zone for zone, _ in places],
        customer_classes=[customer_class for _, customer_class in places],
        household_quota_wh=[0] * len(places),
        contracted_va=[0] * len(places),
    )


def _find_steps(
    question: Question, spans: Iterable[Span]
) -> tuple[dict[Span, int], list[StepSpan]]:
    """The step of each time that cells are of, and all steps."""
    whole = (question.period.span.start, question.period.span.end)
    by_day: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans):
        if span == whole and question.every == "month":
            start = whole[0].isoformat()
            return {span: 0}, [StepSpan(start=start, end=step_end(question, start))]
        by_day[span[0].date().isoformat()].append(span)
    starts: dict[str, int] = {}
    ends: dict[str, str] = {}
    step_of: dict[Span, int] = {}
    for day, own in by_day.items():
        times = [own[0][0], *(end for _, end in own)]
        if [start for start, _ in own] != times[:-1] or not _is_whole_day(times):
            _lack(f"The load curve of {day} is not of a whole day.")
        numbers, found = find_steps(question, [moment.isoformat() for moment in times])
        for span, number in zip(own, numbers.tolist(), strict=True):
            if number < 0:
                continue
            start = found[number]
            step_of[span] = starts.setdefault(start, len(starts))
            is_interval = question.every == "interval"
            ends[start] = span[1].isoformat() if is_interval else step_end(question, start)
    return step_of, [StepSpan(start=start, end=ends[start]) for start in starts]


def _is_whole_day(times: Sequence[datetime]) -> bool:
    first, last = times[0], times[-1]
    is_next = (last.date() - first.date()).days == 1
    return is_next and first.strftime("%H:%M") == last.strftime("%H:%M") == "00:00"


def _count_groups(
    labels: Sequence[GroupLabel],
    group_of: Mapping[Place, int],
    *,
    members: Mapping[Span, Sequence[int]],
    published: Sequence[Published],
) -> list[GroupCount]:
    """How many are in each group: most at any time, where days differ."""
    most = [max(numbers) for numbers in zip(*members.values(), strict=True)] or [0] * len(labels)
    counted = [[0, 0] for _ in labels]
    for place, group in group_of.items():
        known = [one.counts[place] for one in published if place in one.counts]
        if group >= 0 and known:
            counted[group] = [a + b for a, b in zip(counted[group], max(known), strict=True)]
    return [
        GroupCount(
            values=list(label.values), cohort=label.cohort, points=points or n, customers=customers
        )
        for label, n, (points, customers) in zip(labels, most, counted, strict=True)
    ]


def _lack(message: str) -> NoReturn:
    raise NotFoundError(
        message,
        reason="query.not-published",
        remedy="Give releases that tell it, or ask the services.",
    )


def _refuse_twice(cell: ReleasedCell) -> NoReturn:
    raise InputError(
        f"Two releases tell of {cell.start:%Y-%m-%d %H:%M}.",
        reason="query.two-releases",
        remedy="Give one of them; of a load curve both say the same.",
    )
