"""A question, opened: who would be added to whom, and when, and what of it may be told.

1. it opens, belongs to this query, and has its one spelling;
2. it asks for what is computed here, within the period that the query shows;
3. rosters and days give its groups and steps;
4. groups that are too small, whatever was told before, are left out, and their labels with them:
   that there is one would say what a single meter point is;
5. of the others the ledger withholds what cannot be told beside all that was told.

Steps 3 to 5 look at membership and never at values. What is refused here is told to the asker
alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from gridsecure.approvals import roster_digest
from gridsecure.credentials.queries import Query
from gridsecure.credentials.sealed_questions import SealedQuestion, open_question
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError, InputError, ReleaseRefusedError
from gridsecure.key_authority.checker.asked_months import (
    LaidMonth,
    ask_month,
    check_month_question,
    lay_out_asked,
    read_known,
    small_parts,
)
from gridsecure.key_authority.checker.coming_bills import (
    ComingBills,
    find_billed,
    find_coming,
    find_harming,
)
from gridsecure.key_authority.checker.ledger import (
    Basis,
    Giving,
    KnownSet,
    check_overlap,
    read_told,
    withhold_beside,
)
from gridsecure.key_authority.checker.queried_uploads import QueriedData
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.query_orders import group_place, groups_digest, steps_digest
from gridsecure.messages import Digest, RosterManifest
from gridsecure.plans.cells import (
    ENERGY,
    NO_MEASURES,
    WHOLE,
    CellSets,
    Minima,
    Place,
    ToldSet,
)
from gridsecure.plans.load_curve import interval_times
from gridsecure.plans.merging import Merged
from gridsecure.plans.noise import find_sensitivity, laplace_scale
from gridsecure.plans.purposes import RESEARCH
from gridsecure.plans.query_groups import (
    MAX_TOTALS,
    OUTSIDE,
    QueryGroup,
    count_groups,
    group_members,
    write_rows,
)
from gridsecure.plans.query_measures import MonthLayout, Parts, narrow_rows
from gridsecure.plans.query_names import INTERVALS
from gridsecure.plans.query_totals import TotalsLayout, lay_out_totals
from gridsecure.policy.language import Resolution
from gridsecure.policy.noise_costs import check_epsilon
from gridsecure.policy.query_resolutions import question_resolution
from gridsecure.queries.groups import Grouping, GroupLabel, group_rosters
from gridsecure.queries.language import Question, parse_question
from gridsecure.queries.refusals import no_question
from gridsecure.queries.steps import find_steps
from gridsecure.queries.totals import GroupCount

_ONE_BY_ONE: Final = 50
"""Most groups that hang together, of which some are told where not all may be."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class AskedQuestion:
    """A question as rosters and days make it.

    Args:
        content: What lay in the envelope.
        labels: What the members of each group have in common.
        found: The groups with enough customers.
        rosters: SM3 of each roster's text.
        rows: Per roster the group of each slot; `OUTSIDE` in all others.
        steps: By quantity the step of each interval, of days that have any.
        spans: Start and end of each step.
        minima: What policy permits at this resolution.
        layout: The totals that are computed.
        scale: Of the noise in each [Wh]; 0 where they are exact.
        month: What is asked of a month, where that is no total of intervals.
    """

    content: SealedQuestion
    question: Question
    labels: tuple[GroupLabel, ...]
    found: tuple[QueryGroup, ...]
    rosters: tuple[Digest, ...]
    rows: tuple[NDArray[np.int64], ...]
    steps: Mapping[str, NDArray[np.int64]]
    spans: tuple[tuple[str, str], ...]
    resolution: Resolution
    minima: Minima
    layout: TotalsLayout | MonthLayout
    scale: int = 0
    month: LaidMonth | None = None

    @property
    def is_squared(self) -> bool:
        """Whether it asks for sums of squares."""
        return self.month is not None and self.month.asked.is_of_moments

    @property
    def parts(self) -> Parts:
        """What has to be enough to be told of by itself: groups, or their parts."""
        own = Parts(self.rows, tuple(range(len(self.found))))
        return own if self.month is None else self.month.parts

    def list_counts(self, withheld: Container[int]) -> list[GroupCount]:
        """What the asker is told of each group; of a withheld one not how many are in it."""
        groups = (QueryGroup() if n in withheld else one for n, one in enumerate(self.found))
        return [
            GroupCount(
                values=list(label.values),
                cohort=label.cohort,
                points=len(group.crowd),
                customers=group.customers,
            )
            for label, group in zip(self.labels, groups, strict=True)
        ]

    @property
    def groups_digest(self) -> Digest:
        """As `query_orders.groups_digest`."""
        rows = (sm3_hex(write_rows(own)) for own in self.rows)
        return groups_digest(self.rosters, rows, salt=self.content.salt)

    @property
    def steps_digest(self) -> Digest:
        """As `query_orders.steps_digest`."""
        return steps_digest(self.steps, self.spans, salt=self.content.salt)


def read_question(
    zone: AuthorityZone, query: Query, *, admit: Callable[[Question], None] | None = None
) -> tuple[SealedQuestion, Question]:
    """Open a query's question (steps 1 and 2).

    Args:
        admit: Refuses questions before a tariff in them is read.

    What is read here is the asker's alone, and nothing was computed: so what fails in a way nobody
    foresaw is the question's fault, is told to the asker, and is not tried again in every round.

    Raises:
        EnvelopeError: As `open_question`.
        InputError: It is none (`query.shape` and others), or in another spelling
            (`query.spelling`), about another period than the query shows (`query.period`), or about
            what is not computed (`query.measure`); or as `check_month_question`.
        ReleaseRefusedError: Numbers are told with noise and it asks for exact ones, or the other
            way round (`release.private`).
    """
    try:
        return _read_question(zone, query, admit=admit)
    except (GridSecureError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - askers find the kinds that nobody thought of
        _log.error("a question could not be read: %s", type(error).__name__)
        raise no_question() from None


def _read_question(
    zone: AuthorityZone, query: Query, *, admit: Callable[[Question], None] | None
) -> tuple[SealedQuestion, Question]:
    content = open_question(query.sealed, key=zone.query_key, reader=query.reader)
    question = parse_question(content.question)
    if question.text != content.question:
        raise InputError(
            "The question is not in its one spelling.",
            reason="query.spelling",
            remedy="Seal the text that the question's parser gives.",
        )
    if admit is not None:
        admit(question)
    check_epsilon(zone.policy, question.private.millionths if question.private else 0)
    if question.base is not None:
        raise InputError(
            "Compared periods are asked about one by one.",
            reason="query.measure",
            remedy="Ask for each of them.",
        )
    span = question.period.span
    first, last = map(datetime.fromisoformat, (query.start, query.end))
    if not first <= span.start < span.end <= last:
        raise InputError(
            "The question is about another period than its query shows.",
            reason="query.period",
            remedy="Send it in a query about its own period, or a longer one.",
        )
    if question.totals != INTERVALS:
        check_month_question(question, query)
    return content, question


def lay_out_question(
    zone: AuthorityZone,
    opened: tuple[SealedQuestion, Question],
    queried: QueriedData,
    *,
    told: Sequence[KnownSet] | None = None,
) -> AskedQuestion:
    """Find a question's groups and steps, and what of it policy permits (steps 3 and 4).

    Args:
        told: What was told of the period, where that was read.

    Raises:
        InputError: As `group_rosters`, `_find_steps` and `laplace_scale`.
        ReleaseRefusedError: No group has enough customers, or anybody (`query.small`).
        OutOfRangeError: As `lay_out_totals`.
    """
    _, question = opened
    rosters = [data.roster for data in queried.datas]
    grouping = _group(question, rosters, queried)
    if question.totals != INTERVALS:
        return _lay_out_month(zone, opened, queried, grouping, told=told)
    steps, spans = _find_steps(question, queried, groups=len(grouping.labels))
    resolution = question_resolution(
        {name: own.tolist() for name, own in steps.items()},
        queried.entries(),
        start=queried.start,
        end=queried.end,
    )
    minima = zone.find_minima(RESEARCH, resolution=resolution)
    found = count_groups(rosters, grouping.rows, groups=len(grouping.labels), minima=minima)
    kept, rows = _keep_large(grouping.labels, found, grouping.rows)
    fewest = [found[number].minimum or 0 for number in kept]
    return AskedQuestion(
        *opened,
        labels=tuple(grouping.labels[number] for number in kept),
        found=tuple(found[number] for number in kept),
        rosters=tuple(map(roster_digest, rosters)),
        rows=rows,
        steps=steps,
        spans=spans,
        resolution=resolution,
        minima=minima,
        layout=lay_out_totals(rosters, rows=rows, steps=steps, minima=fewest),
        scale=_noise_scale(zone, question, rosters, rows, steps),
    )


def _noise_scale(
    zone: AuthorityZone,
    question: Question,
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    steps: Mapping[str, NDArray[np.int64]],
) -> int:
    """The scale of a question's noise: where none can be drawn, in the vault it would be late."""
    if question.private is None:
        return 0
    points = zone.policy.customer_points
    most = find_sensitivity(rosters, rows, steps, customer_points=points)
    return laplace_scale(most, question.private.millionths)


def _lay_out_month(
    zone: AuthorityZone,
    opened: tuple[SealedQuestion, Question],
    queried: QueriedData,
    grouping: Grouping,
    *,
    told: Sequence[KnownSet] | None,
) -> AskedQuestion:
    """The same of a measure of a month."""
    _, question = opened
    rosters = [data.roster for data in queried.datas]
    asked = ask_month(question, queried)
    narrowed = narrow_rows(asked, rosters, grouping.rows)
    minima = zone.find_minima(RESEARCH, resolution="monthly")
    many = len(grouping.labels)
    found = count_groups(rosters, narrowed, groups=many, minima=minima, measures=asked.measures)
    small = small_parts(asked, rosters, narrowed, minima=minima)
    if many * len(asked.totals) > MAX_TOTALS:
        raise _too_large()
    kept, rows = _keep_large(grouping.labels, found, narrowed, small=small)
    groups = tuple(found[number] for number in kept)
    read = partial(read_known, zone, asked, queried, told=told)
    month = lay_out_asked(read, asked, question, queried, rows=rows, found=groups)
    return AskedQuestion(
        *opened,
        labels=tuple(grouping.labels[number] for number in kept),
        found=groups,
        rosters=tuple(map(roster_digest, rosters)),
        rows=rows,
        steps={name: np.array(own) for name, own in month.steps.items()},
        spans=((queried.start, queried.end),),
        resolution="monthly",
        minima=minima,
        layout=month.layout,
        month=month,
    )


def _keep_large(
    labels: Sequence[GroupLabel],
    found: Sequence[QueryGroup],
    rows: Sequence[NDArray[np.int64]],
    *,
    small: Container[int] = (),
) -> tuple[list[int], tuple[NDArray[np.int64], ...]]:
    """Groups with enough customers, and the group of each slot, numbered anew.

    Args:
        small: Groups of which a part has too few.

    Raises:
        ReleaseRefusedError: There is none (`query.small`).
    """
    if not (kept := _large_groups(labels, found, small)):
        raise _too_small()
    numbers = np.full(len(found) + 1, OUTSIDE, dtype=np.int64)  # the last is who is outside
    numbers[kept] = np.arange(len(kept))
    return kept, tuple(numbers[own] for own in rows)


def _group(question: Question, rosters: Sequence[RosterManifest], queried: QueriedData) -> Grouping:
    """A question's groups; that nobody is in one is told as that too few are."""
    try:
        return group_rosters(question, rosters, tariffs=queried.tariffs)
    except InputError as error:
        if error.reason != "query.nobody":
            raise
        raise _too_small() from error


def _large_groups(
    labels: Sequence[GroupLabel], found: Sequence[QueryGroup], few: Container[int]
) -> list[int]:
    """Groups with enough customers.

    Where two cohorts are compared, all that have the same values are told of or none: the asker
    takes a group that is not there for one of nobody, and adds up the others.
    """
    small = {
        label.values
        for number, (label, group) in enumerate(zip(labels, found, strict=True))
        if not group.is_enough or number in few
    }
    return [number for number, label in enumerate(labels) if label.values not in small]


def _too_small() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "No group of the question has as many customers as policy wants.",
        reason="query.small",
        remedy="Ask about larger groups, or at a coarser time, and compare the names of zones, "
        "classes and tariffs with those of rosters.",
    )


def _find_steps(
    question: Question, queried: QueriedData, *, groups: int
) -> tuple[dict[str, NDArray[np.int64]], tuple[tuple[str, str], ...]]:
    """By quantity the step of each interval, and where steps begin and end.

    Raises:
        InputError: As `find_steps`; no interval is in it (`query.days`), or for so many groups too
            many steps (`query.large`).
    """
    numbers: dict[str, int] = {}
    ends: dict[str, str] = {}
    found = {}
    for name, entry in queried.entries().items():
        times = interval_times(
            entry.start, entry.end, intervals=entry.intervals, timezone=queried.timezone
        )
        own, starts = find_steps(question, times)
        if not starts:
            continue
        joined = [numbers.setdefault(start, len(numbers)) for start in starts]
        found[name] = np.where(own >= 0, np.array(joined)[own], OUTSIDE)
        for end, step in zip(times[1:], own.tolist(), strict=True):
            if step >= 0:
                ends[starts[step]] = end
    if not found:
        raise InputError(
            "No day of the question has intervals here.",
            reason="query.days",
            remedy="Ask about days of the period that the query shows.",
        )
    if groups * len(numbers) > MAX_TOTALS:
        raise _too_large()
    return found, tuple((start, ends[start]) for start in numbers)


def _too_large() -> InputError:
    return InputError(
        "The question has too many groups for so many steps.",
        reason="query.large",
        remedy=f"Ask about fewer groups, longer steps or fewer days: groups times steps may be"
        f" {MAX_TOTALS:,}.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class LookedQuestion:
    """What of a question may be told beside all that was told.

    Args:
        withheld: Groups of which nothing is told.
        giving: What the ledger would keep.
        sets: By group, what would be told of it if anything is.
    """

    withheld: frozenset[int]
    giving: Giving
    sets: Mapping[int, ToldSet]


def look_at_groups(
    session: Session, zone: AuthorityZone, asked: AskedQuestion, queried: QueriedData
) -> LookedQuestion:
    """What of a question's groups may be told (step 5).

    Raises:
        ReleaseRefusedError: As `check_overlap`.
    """
    check_overlap(session, queried.by_upload)
    billed = find_billed(session, queried)
    coming = find_coming(session, zone, queried, billed=billed)
    return look_beside(asked, queried, read_told(session, queried.period), coming)


def look_beside(
    asked: AskedQuestion,
    queried: QueriedData,
    known: Sequence[KnownSet],
    coming: Sequence[ComingBills] = (),
) -> LookedQuestion:
    """What of a question's groups may be told beside some sets, whatever rosters overlap.

    Args:
        known: What was told of the period.
        coming: Bills of it that are still to be released.
    """
    datas, parts = queried.by_upload, asked.parts
    rosters = [data.roster for data in queried.datas]
    members = group_members(rosters, parts.rows, groups=len(parts.groups))
    places = part_places(asked)
    sets = {place: CellSets(members[part]) for part, place in places.items()}
    merged = _rules_of(asked, places)
    basis = replace(Basis.of(queried.datas), is_compared=False, is_squared=asked.is_squared)
    found = withhold_beside(known, sets, merged=merged, basis=basis, most=_ONE_BY_ONE)
    withheld = {
        parts.groups[part] for part, place in places.items() if ENERGY in found.get(place, ())
    }
    withheld |= _moved_groups(asked, queried, known)
    own = {part: _told_set(sets[place], merged, place) for part, place in places.items()}
    new = {parts.groups[part]: list[KnownSet]() for part in own}
    for part, ones in own.items():
        new[parts.groups[part]] += map(basis.known, ones)
    new = {number: ones for number, ones in new.items() if number not in withheld}
    withheld |= find_harming(coming, known, new, most=_ONE_BY_ONE)
    is_told = np.array([*(n not in withheld for n in range(len(asked.found))), False])
    given = {
        digest: data
        for (digest, data), rows in zip(datas.items(), asked.rows, strict=True)
        if is_told[rows].any()
    }
    told = {place: own[p] for p, place in places.items() if parts.groups[p] not in withheld}
    beside = frozenset(one.name for one in known) if coming else None
    giving = Giving({}, given, queried.period, told, basis, beside)
    return LookedQuestion(frozenset(withheld), giving, _join_parts(parts.groups, own))


def _join_parts(
    groups: Sequence[int], told: Mapping[int, tuple[ToldSet, ...]]
) -> dict[int, ToldSet]:
    """The sets of parts by group: all of a group's members as one."""
    found: dict[int, ToldSet] = {}
    for part, (one,) in told.items():
        known = found.setdefault(groups[part], one)
        found[groups[part]] = one._replace(members=known.members | one.members)
    return found


def part_places(asked: AskedQuestion) -> dict[int, Place]:
    """What stands for zone and class of each part of a question's groups in the ledger."""
    return {
        part: group_place(asked.content.digest, part) for part in range(len(asked.parts.groups))
    }


def _rules_of(asked: AskedQuestion, places: Mapping[int, Place]) -> Merged:
    groups = {place: asked.found[asked.parts.groups[part]] for part, place in places.items()}
    return Merged(
        {place: place for place in groups},
        {place: {ENERGY: group.minimum or 0} for place, group in groups.items()},
        {place: group.limit for place, group in groups.items() if group.limit < WHOLE},
    )


def _told_set(sets: CellSets, merged: Merged, place: Place) -> tuple[ToldSet, ...]:
    limit = merged.limits.get(place, WHOLE)
    return sets.list_told(NO_MEASURES, minima=merged.minima[place], limit=limit)


def _moved_groups(
    asked: AskedQuestion, queried: QueriedData, known: Iterable[KnownSet]
) -> set[int]:
    """Groups with somebody whose days were moved by corrected books (`told_cells`), or changed.

    Days that were sealed may be told of by themselves. Whose readings are others in their month is
    compared over all of it (`ledger`); on one day perhaps one member's are. Of squares it is not:
    who was silent in all days has in the month what a group's days lack, so days divide the group.

    Args:
        known: What was told of the period, also by an earlier version of uploads.
    """
    is_whole = asked.resolution == "monthly" and not asked.is_squared
    changed = {
        member.name
        for one in known
        if asked.is_squared and one.kind == "changed"
        for member in one.told.members
    }
    return {
        int(own[slot])
        for data, own in zip(queried.datas, asked.rows, strict=True)
        for slot in (
            *data.upload.moved_slots,
            *(() if is_whole else data.upload.changed_slots),
            *_slots_of(data.roster.pseudonyms, changed),
        )
        if own[slot] >= 0
    }


def _slots_of(pseudonyms: Sequence[str], named: Container[str]) -> Iterator[int]:
    if named:  # a roster's million names are gone through for nothing else
        yield from (slot for slot, name in enumerate(pseudonyms) if name in named)
