"""What is proven of a product before anything runs: who is told of, bounds, noise, cost, refusals.

A part is checked by laying its question out on rosters, with the code that the checker and the
vault lay questions out with. Nothing here sees a reading. What is found for one city's rosters
holds for those: another city is checked by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gridsecure.errors import GridSecureError, InputError
from gridsecure.homomorphic.counting import CountedColumn, Tally
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.messages import Message, RosterManifest
from gridsecure.plans.load_curve import day_quantity, interval_times
from gridsecure.plans.noise import find_sensitivity, half_width, laplace_scale
from gridsecure.plans.operation_costs import chunks
from gridsecure.plans.quantities import ColumnNeed
from gridsecure.plans.query_groups import QueryGroup, count_groups
from gridsecure.plans.query_parts import PartsLayout
from gridsecure.plans.query_totals import OUTSIDE, lay_out_totals
from gridsecure.policy.decisions import Case, asked_for, find_minima, find_terms
from gridsecure.policy.noise_costs import check_epsilon
from gridsecure.products.cities import OpenCity
from gridsecure.products.designs import Issue, Part, ProductDesign, ask_part
from gridsecure.products.joined_parts import no_join
from gridsecure.products.open_layouts import ask_of_month, lay_out_open
from gridsecure.products.references import run_recipes
from gridsecure.queries.forms import Sum
from gridsecure.queries.groups import Grouping, group_rosters
from gridsecure.queries.language import Question
from gridsecure.queries.spans import Period
from gridsecure.queries.steps import find_steps

Rows = Sequence[NDArray[np.int64]]


class Refusal(Message):
    """Why a field of a product's file is refused.

    Args:
        field: As `parts.0.question`.
    """

    kind: ClassVar[str] = "product-refusal"
    field: str
    reason: str
    message: str
    remedy: str


class GroupCheck(Message):
    """A group of a part.

    Args:
        minimum: Fewest customers that policy wants; None where it permits nothing.
        is_told: Whether it would be told of, beside nothing that was told before.
    """

    kind: ClassVar[str] = "product-group"
    values: list[str]
    customers: int
    minimum: int | None
    is_told: bool


class PartCheck(Message):
    """What is proven of a part.

    Args:
        totals: What is decrypted, by name.
        approvals: Whose approval its numbers need.
        columns: Encrypted columns that are read.
        outputs: Columns that are decrypted.
        depth: Ciphertext products in a row.
        operations: By kind, on ciphertexts.
        largest: The largest bound of a column that leaves.
        margin_bits: The smallest noise margin, in whole bits; 0 where nothing is computed.
        noise_wh: How near to the exact total one with noise is, in 95 of 100 cases; 0 where exact.
    """

    kind: ClassVar[str] = "product-part-check"
    name: str
    resolution: str = ""
    measures: list[str] = Field(default_factory=list)
    totals: list[str] = Field(default_factory=list)
    approvals: list[str] = Field(default_factory=list)
    groups: list[GroupCheck] = Field(default_factory=list)
    columns: int = 0
    outputs: int = 0
    depth: int = 0
    operations: dict[str, int] = Field(default_factory=dict)
    largest: int = 0
    margin_bits: int = 0
    noise_wh: int = 0
    refusals: list[Refusal] = Field(default_factory=list)


class ProductCheck(Message):
    """What is proven of a product.

    Args:
        design: Digest of the design.
        policy: Digest of the policy.
        city: Whose rosters it was laid out on.
        steps: What is refused of steps.
    """

    kind: ClassVar[str] = "product-check"
    product: str
    version: int
    design: str
    policy: str
    period: str
    city: dict[str, str | int]
    parts: list[PartCheck]
    steps: list[Refusal] = Field(default_factory=list)

    @property
    def refusals(self) -> list[Refusal]:
        """All of them."""
        return [refusal for part in self.parts for refusal in part.refusals] + self.steps


def check_design(design: ProductDesign, *, city: OpenCity, issue: Issue) -> ProductCheck:
    """Prove a product before anything runs; what is refused stands with its field.

    Raises:
        InputError: No policy of its name ships (`policy.pack`).
    """
    policy = design.release_policy
    parts = [
        check_part(part, design=design, city=city, issue=issue, field=f"parts.{number}.question")
        for number, part in enumerate(design.parts)
    ]
    return ProductCheck(
        product=design.name,
        version=design.version,
        design=design.digest,
        policy=policy.digest,
        period=issue.period,
        city=dict(city.described),
        parts=parts,
        steps=[] if any(part.refusals for part in parts) else _check_steps(design, issue),
    )


def _check_steps(design: ProductDesign, issue: Issue) -> list[Refusal]:
    """Steps that join numbers of different groups, or sums over different times."""
    shapes: dict[str, tuple[object, ...]] = {}
    for part in design.parts:
        question = ask_part(part, design=design, issue=issue)
        # Other statistics than a sum may make one number of all steps of time.
        every = question.every if isinstance(question.statistic, Sum) else ""
        shapes[part.name] = (tuple(question.group_by), every)
    found = []
    for number, step in enumerate(design.steps):
        own = [shapes[name] for name in step.of]
        groups, times = {one[0] for one in own}, {one[1] for one in own if one[1]}
        shapes[step.name] = own[0]
        if len(groups) > 1 or len(times) > 1:
            found.append(_refused(f"steps.{number}", no_join(step)))
    return found


def check_part(
    part: Part, *, design: ProductDesign, city: OpenCity, issue: Issue, field: str
) -> PartCheck:
    """Prove one part."""
    try:
        question = ask_part(part, design=design, issue=issue)
        found = [_check_leg(leg, design, city) for leg in question.legs]
    except GridSecureError as error:
        return PartCheck(name=part.name, refusals=[_refused(field, error)])
    own = found[0]
    operations = Counter[str]()
    for leg in found:
        operations.update(leg.operations)
    is_told = any(group.is_told for group in own.groups)
    refusals = [] if is_told else [_refused(field, _nobody())]
    return own.model_copy(
        update={
            "name": part.name,
            "totals": list(question.totals),
            "columns": sum(leg.columns for leg in found),
            "outputs": sum(leg.outputs for leg in found),
            "operations": dict(sorted(operations.items())),
            "refusals": refusals,
        }
    )


def _refused(field: str, error: GridSecureError) -> Refusal:
    return Refusal(
        field=field, reason=error.reason, message=error.message, remedy=error.remedy or ""
    )


def _nobody() -> InputError:
    return InputError(
        "No group has as many customers as policy wants, so nothing would be told.",
        reason="product.nobody",
        remedy="Group by less, ask about more customers, or take another policy.",
    )


def _check_leg(question: Question, design: ProductDesign, city: OpenCity) -> PartCheck:
    """What is proven of one question of one period."""
    policy = design.release_policy
    check_epsilon(policy, question.private.millionths if question.private else 0)
    asked = asked_for(design.purpose, resolution=question.resolution)
    minima = find_minima(policy, asked)
    grouping = group_rosters(question, city.rosters, tariffs=city.tariff_names)
    known = PartCheck(
        name="",
        resolution=question.resolution,
        measures=sorted(question.measures),
        approvals=_approvals(question, design, city),
    )
    if question.totals in ((), ("energy",)):
        found = count_groups(
            city.rosters, grouping.rows, groups=len(grouping.labels), minima=minima
        )
        proven = _prove_energy(question, city, grouping.rows, found) if question.totals else {}
        if question.private is not None and proven:
            proven["noise_wh"] = _noise(question, city, grouping.rows, policy.customer_points)
    else:
        month = lay_out_open(
            ask_of_month(question, city.tariffs), city.rosters, grouping.rows,
            groups=len(grouping.labels), minima=minima,
        )  # fmt: skip
        found, proven = list(month.groups), _prove_month(month.layout.both)
    return known.model_copy(update={"groups": _groups(grouping, found), **proven})


def _groups(grouping: Grouping, found: Sequence[QueryGroup]) -> list[GroupCheck]:
    return [
        GroupCheck(
            values=list(label.values),
            customers=group.customers,
            minimum=group.minimum,
            is_told=group.is_enough,
        )
        for label, group in zip(grouping.labels, found, strict=True)
    ]


def _approvals(question: Question, design: ProductDesign, city: OpenCity) -> list[str]:
    """Whose approval a part needs, of all customer classes there are."""
    asked = asked_for(design.purpose, resolution=question.resolution)
    classes = sorted({name for roster in city.rosters for name in roster.customer_classes})
    found: set[str] = set()
    for name in classes:
        for measure in question.measures:
            case = Case(measure, asked.resolution, name, asked.role, asked.purpose)
            terms = find_terms(design.release_policy, case)
            found |= set(terms.approvals.roles) if terms else set()
    return sorted(found)


def keep_told(rows: Rows, found: Sequence[QueryGroup]) -> list[NDArray[np.int64]]:
    """Rows without groups that are too small."""
    kept = np.array([*(group.is_enough for group in found), False], dtype=bool)
    return [np.where(kept[own], own, OUTSIDE) for own in rows]


def question_steps(question: Question, city: OpenCity) -> dict[str, NDArray[np.int64]]:
    """By the column of each day that is asked about, the step of each interval over the period."""
    starts: dict[str, int] = {}
    steps = {}
    for day, times in period_times(question.period, city):
        numbers, begins = find_steps(question, times)
        if not begins:
            continue
        places = np.array([starts.setdefault(begin, len(starts)) for begin in begins])
        inside = numbers >= 0
        own = np.full(len(numbers), OUTSIDE, dtype=np.int64)
        own[inside] = places[numbers[inside]]
        steps[day_quantity(day)] = own
    return steps


def period_times(period: Period, city: OpenCity) -> Iterator[tuple[str, list[str]]]:
    """Each local day of a period, with the times of its intervals."""
    zone = period.span.start.tzinfo
    minutes = int(city.described["interval_minutes"])
    for day in period.days:
        start = datetime(day.year, day.month, day.day, tzinfo=zone)
        following = day + timedelta(days=1)
        end = datetime(following.year, following.month, following.day, tzinfo=zone)
        intervals = int((end.timestamp() - start.timestamp()) // (60 * minutes))
        yield (
            day.isoformat(),
            interval_times(
                start.isoformat(), end.isoformat(), intervals=intervals, timezone=period.timezone
            ),
        )


def _prove_energy(
    question: Question, city: OpenCity, rows: Rows, found: Sequence[QueryGroup]
) -> dict[str, object]:
    """Totals of intervals: that none can wrap, and what blinding them costs."""
    kept = keep_told(rows, found)
    if not any((own >= 0).any() for own in kept):
        return {}
    steps = question_steps(question, city)
    minima = [group.minimum or 0 for group in found]
    layout = lay_out_totals(city.rosters, rows=kept, steps=steps, minima=minima)
    tally: Tally = Counter()
    margins = []
    for high in set(layout.bounds):
        fresh = CountedColumn(PlannedColumn.fresh(INTERVAL, high=high), tally)
        blinded = fresh.blind(np.zeros(1, dtype=np.uint64)).planned
        blinded.check(what="A blinded column")
        margins.append(blinded.margin)
    ciphertexts = _ciphertexts(city.rosters, steps)
    kinds = {operation.kind for operation in tally}
    return {
        "columns": len(city.rosters) * len(steps),
        "outputs": len(city.rosters) * len(steps),
        "operations": dict.fromkeys(sorted(kinds), ciphertexts),
        "largest": int(max(layout.limits, default=0)),
        "margin_bits": int(min(margins)),
    }


def _ciphertexts(rosters: Sequence[RosterManifest], steps: dict[str, NDArray[np.int64]]) -> int:
    """How many ciphertexts the columns of some days are."""
    return sum(
        chunks(INTERVAL, slots=roster.slots * len(own))
        for roster in rosters
        for own in steps.values()
    )


def _noise(question: Question, city: OpenCity, rows: Rows, customer_points: int) -> int:
    steps = question_steps(question, city)
    sensitivity = find_sensitivity(city.rosters, rows, steps, customer_points=customer_points)
    millionths = question.private.millionths if question.private else 0
    return half_width([laplace_scale(sensitivity, millionths)])


def _prove_month(layouts: Sequence[PartsLayout]) -> dict[str, object]:
    tally: Tally = Counter()
    needs: dict[str, ColumnNeed] = {}
    made = [pair for layout in layouts for pair in run_recipes(layout, tally=tally, needs=needs)]
    operations = Counter[str]()
    for operation, count in tally.items():
        operations[operation.kind] += count
    limits = [
        int(limit) for layout in layouts for block in layout.blocks for limit in block.layout.limits
    ]
    return {
        "columns": sum(len(own) for layout in layouts for own in layout.needs),
        "outputs": len(made),
        "depth": max((own.depth for own, _ in made), default=0),
        "operations": dict(sorted(operations.items())),
        "largest": max(limits, default=0),
        "margin_bits": int(min((left.planned.margin for _, left in made), default=0)),
    }
