"""Totals of encrypted columns over groups of meter points and steps of time, whatever those are.

A question divides some meter points into *groups* and a period into *steps*, and asks for the total
of each group in each step. A load curve is that with cells and intervals; here a group is any set
of slots, and a step any set of intervals of any days. Nothing but totals can be learned: all
columns of a question get one zero-sum blinding vector, which sums to zero over the slots of a group
at the intervals of a step, over all rosters and days. Slots of no group and intervals of no step
are blinded completely. A fresh column takes exactly one plaintext addition.

A decrypted total is a residue of the plain modulus t, so none may reach it. Where one could, by the
declared bounds of the columns, it is taken in *pieces* that are added up after decryption as whole
numbers. A step of several intervals is divided first: a piece of fewer intervals is about no fewer
customers. Only where a single interval of a group could reach t is the group itself divided
(`cell_pieces`), each piece with enough customers to be told of by itself. Whoever decrypts meets
the totals of the pieces on the way, and answers none of them. Which pieces there are depends on
membership and public bounds alone, so that checker and vault find the same.

Nothing here knows who may ask: whether a group is large enough, and whether it may be told of
beside what was told before, is asked before (`cells.may_tell`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import KeyMismatchError, OutOfRangeError
from gridsecure.homomorphic.blinding import SlotGroups, group_sums, zero_sum_blinding
from gridsecure.homomorphic.parameters import INTERVAL, Parameters
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.messages import ColumnEntry, RosterManifest
from gridsecure.plans.cell_pieces import divide_cells, seat_cells
from gridsecure.plans.execution import (
    Executed,
    Load,
    Output,
    RosterData,
    open_entry,
    write_output,
)
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.quantities import interval_bound_wh

QUERY_PLAN_VERSION: Final = 1
OUTSIDE: Final = -1
"""The group of a slot that is in none, and the step of an interval that is in none."""
_PURPOSE: Final = "totals"
_ROSTER: Final = "query.roster"


@dataclass(frozen=True, slots=True, eq=False)
class TotalsLayout:
    """Which slot at which interval belongs to which total.

    Args:
        parameters: The set of all columns.
        rosters: Their ids.
        bounds: Declared largest value of a slot, per roster.
        pieces: Per roster, the piece of each slot, or `OUTSIDE`.
        numbers: By quantity, the number of the total that each piece has at each interval
            [intervals, pieces], or `OUTSIDE`.
        told: Step and group of each total [totals, 2]; a total is that of a group at a step, or a
            piece of one.
        limits: The largest value that each total can have [totals].
        shape: How many steps and how many groups there are.
    """

    parameters: Parameters
    rosters: tuple[str, ...]
    bounds: tuple[int, ...]
    pieces: tuple[NDArray[np.int64], ...]
    numbers: Mapping[str, NDArray[np.int64]]
    told: NDArray[np.int64]
    limits: NDArray[Any]
    shape: tuple[int, int]

    @property
    def quantities(self) -> tuple[str, ...]:
        """The columns that are read of each roster, in the order of the outputs."""
        return tuple(self.numbers)


class _ColumnGroups(Iterable[SlotGroups]):
    """The groups of all columns, made anew each time they are gone through: none is kept."""

    def __init__(self, layout: TotalsLayout) -> None:
        self._layout = layout
        self._rosters = [SlotGroups.of(pieces) for pieces in layout.pieces]

    def __iter__(self) -> Iterator[SlotGroups]:
        for roster in self._rosters:
            for numbers in self._layout.numbers.values():
                yield roster.renumber(numbers)


def column_groups(layout: TotalsLayout) -> Iterable[SlotGroups]:
    """The totals that the slots of each column belong to, in the order of the outputs."""
    return _ColumnGroups(layout)


def lay_out_totals(
    rosters: Sequence[RosterManifest],
    *,
    rows: Sequence[NDArray[np.int64]],
    steps: Mapping[str, NDArray[np.int64]],
    minima: Sequence[int],
    parameters: Parameters = INTERVAL,
    bound: int | None = None,
) -> TotalsLayout:
    """Number the totals of a question, and take in pieces those that could reach the modulus.

    Args:
        rows: Per roster, the group of each slot, or `OUTSIDE`.
        steps: By quantity, the step of each interval of its columns, or `OUTSIDE`. A column of one
            value a slot has one interval.
        minima: Fewest customers that each group's totals may be about.
        bound: Declared largest value of a slot; by default that of its class's intervals [Wh].

    Raises:
        KeyMismatchError: The groups are those of other rosters (`query.roster`).
        OutOfRangeError: A group's total could reach the modulus, and divided, a piece of it would
            be about too few customers (`query.large`).
    """
    if [len(own) for own in rows] != [roster.slots for roster in rosters]:
        raise KeyMismatchError("A question's groups are those of other rosters.", reason=_ROSTER)
    bounds = tuple(_largest(roster) if bound is None else bound for roster in rosters)
    seated = [
        seat_cells(roster, own, bound_wh=high)
        for roster, own, high in zip(rosters, rows, bounds, strict=True)
    ]
    pieces, group_of = divide_cells(seated, minima=minima, modulus=parameters.plain_modulus)
    highs = np.zeros(len(group_of), dtype=object)
    for own, high in zip(pieces, bounds, strict=True):
        highs += np.bincount(own[own >= 0], minlength=len(highs)).astype(object) * high
    if max(highs, default=0) >= parameters.plain_modulus:
        raise _too_large()
    numbers, told, limits = _number(
        steps, highs=highs, group_of=group_of, modulus=parameters.plain_modulus
    )
    shape = (1 + max(int(own.max(initial=OUTSIDE)) for own in steps.values()), len(minima))
    ids = tuple(roster.roster_id for roster in rosters)
    return TotalsLayout(parameters, ids, bounds, pieces, numbers, told, limits, shape)


def _largest(roster: RosterManifest) -> int:
    return max(map(interval_bound_wh, set(roster.customer_classes)))


def _too_large() -> OutOfRangeError:
    return OutOfRangeError(
        "A group's total could exceed what one column holds, and divided, a piece of it would be"
        " about too few customers.",
        reason="query.large",
        remedy="Ask for smaller groups, or for groups in which every owner has more customers.",
    )


def _number(
    steps: Mapping[str, NDArray[np.int64]],
    *,
    highs: NDArray[Any],
    group_of: Sequence[int],
    modulus: int,
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64], NDArray[Any]]:
    """Numbers of the totals by quantity, step and group of each, and the largest that each can be.

    Args:
        highs: The largest total of each piece at one interval.
    """
    of_interval = np.concatenate(list(steps.values()))
    inside = of_interval >= 0
    known = of_interval[inside]
    sizes = np.bincount(known)
    # So many intervals stay below the modulus together; of an empty piece, any number.
    fits = np.array([(modulus - 1) // high if high else modulus for high in highs], dtype=object)
    runs = -(-sizes[:, None] // fits).astype(np.int64)  # [steps, pieces]
    firsts = np.cumsum(runs).reshape(runs.shape) - runs
    # The place of an interval among those of its step, in the order of the columns.
    order = np.argsort(known, kind="stable")
    places = np.empty(len(known), dtype=np.int64)
    places[order] = np.arange(len(known)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    run = places[:, None] * runs[known] // sizes[known][:, None]
    joined = np.full((len(of_interval), len(highs)), OUTSIDE, dtype=np.int64)
    joined[inside] = firsts[known] + run
    lengths = np.bincount(joined[inside].ravel(), minlength=int(runs.sum()))
    told = np.stack(
        [
            np.repeat(np.arange(len(sizes)), runs.sum(axis=1)),
            np.repeat(np.tile(np.array(group_of), len(sizes)), runs.ravel()),
        ],
        axis=1,
    )
    pieces = np.repeat(np.tile(np.arange(len(highs)), len(sizes)), runs.ravel())
    ends = np.cumsum([len(own) for own in steps.values()])[:-1]
    numbers = dict(zip(steps, np.split(joined, ends), strict=True))
    return numbers, told, highs[pieces] * lengths.astype(object)


def execute_totals(
    datas: Sequence[RosterData],
    *,
    layout: TotalsLayout,
    seed: bytes,
    load: Load,
    keys: KeyRing,
    only: Container[str] | None = None,
) -> Executed:
    """Blind the columns of a question for its totals, one roster at a time.

    Inputs and outputs are named "roster/quantity", roster by roster.

    Args:
        datas: Of the layout's rosters, in their order.
        seed: 32 secret bytes for this question alone: under one seed, two questions would share a
            blinding vector, and the difference of their columns would hide nothing.
        only: The rosters whose outputs are made, by id, so that several processes share a question;
            all by default. The outputs do not depend on it.

    Raises:
        NotFoundError: A needed column is missing.
        CiphertextError: A column is not what its manifest says, or is under a key set that the
            gateway may not use; found out before anything is computed, unless it is in the file.
        KeyMismatchError: Another roster (`query.roster`) or grid of intervals (`query.grid`) than
            the question was laid out for, or another parameter set or bound (`plan.input`).
    """
    check_rosters(datas, layout.rosters)
    for data in datas:
        keys.check(map(data.entry, layout.quantities), gateway=data.roster.gateway_id)
    columns = [(data, data.entry(name)) for data in datas for name in layout.quantities]
    _check_columns(columns, layout)
    wanted = {
        number
        for number, (data, _) in enumerate(columns)
        if only is None or data.roster.roster_id in only
    }

    def make() -> Iterator[tuple[str, Output]]:
        blinding = zero_sum_blinding(
            seed,
            groups=column_groups(layout),
            modulus=layout.parameters.plain_modulus,
            purpose=_PURPOSE,
            wanted=wanted,
        )
        for number, own in zip(sorted(wanted), blinding, strict=True):
            data, entry = columns[number]
            blinded = open_entry(entry, data, load=load, keys=keys).blind(own)
            output = write_output(
                blinded, name=entry.quantity, unit=entry.unit, like=data, span=entry
            )
            yield _name(data, entry), output

    return {_name(data, entry): entry.digest for data, entry in columns}, make()


def _name(data: RosterData, entry: ColumnEntry) -> str:
    return f"{data.roster.roster_id}/{entry.quantity}"


def check_rosters(datas: Sequence[RosterData], rosters: Sequence[str]) -> None:
    """Refuse data of other rosters than a question was laid out for (`query.roster`)."""
    if [data.roster.roster_id for data in datas] != list(rosters):
        raise KeyMismatchError("A question was laid out for other rosters.", reason=_ROSTER)


def _check_columns(columns: Sequence[tuple[RosterData, ColumnEntry]], layout: TotalsLayout) -> None:
    """Hold the columns to what the layout took for granted, and prove that blinding is sure."""
    spans: dict[str, tuple[str, str]] = {}
    bounds = np.repeat(np.array(layout.bounds, dtype=object), len(layout.quantities))
    for (_, entry), bound in zip(columns, bounds, strict=True):
        span = spans.setdefault(entry.quantity, (entry.start, entry.end))
        intervals = len(layout.numbers[entry.quantity])
        if (entry.start, entry.end, entry.intervals) != (*span, intervals):
            raise KeyMismatchError(
                "A column has other intervals than the question was laid out for.",
                reason="query.grid",
                remedy="Bring all meter points to one interval length, and ask for that.",
            )
        if entry.parameters != layout.parameters.name or entry.high > bound:
            raise KeyMismatchError(
                f"The column {entry.quantity!r} has another parameter set or a larger bound than"
                " the question was laid out for.",
                reason="plan.input",
            )
    for high in set(layout.bounds):
        planned = PlannedColumn.fresh(layout.parameters, high=high)
        planned.blind(np.zeros(1, dtype=np.uint64)).check(what="A blinded column")


class TotalsSum:
    """The sum of decrypted outputs, total by total, one column after the other."""

    def __init__(self, layout: TotalsLayout) -> None:
        self._layout = layout
        self._groups = iter(column_groups(layout))
        self._sums = np.zeros(len(layout.told), dtype=object)

    def add(self, values: NDArray[np.uint64]) -> None:
        """The next column, in the order of the outputs.

        Raises:
            ValueError: There was one for every output already.
        """
        groups = next(self._groups, None)
        if groups is None:
            raise ValueError("a question has one column for each output")
        found = group_sums(values, groups=groups, modulus=self._layout.parameters.plain_modulus)
        self._sums[list(found)] += np.array(list(found.values()), dtype=object)

    def tell(self) -> NDArray[Any]:
        """Totals as object integers [steps, groups], once all columns are in.

        Raises:
            ValueError: A column is missing: what is there is noise.
            OutOfRangeError: A total that no honest columns have (`query.inconsistent`): one that
                was altered, or decrypted under another key, gives a residue without any meaning.
        """
        if next(self._groups, None) is not None:
            raise ValueError("a question has one column for each output")
        sums = self._sums % self._layout.parameters.plain_modulus
        if (sums > self._layout.limits).any():
            raise OutOfRangeError(
                "A decrypted total is larger than its columns may hold.",
                reason="query.inconsistent",
                remedy="Do not release; check the keys, and what the gateways uploaded.",
            )
        totals = np.zeros(self._layout.shape, dtype=object)
        np.add.at(totals, tuple(self._layout.told.T), sums)
        return totals


def add_up(values: Iterable[NDArray[np.uint64]], *, layout: TotalsLayout) -> NDArray[Any]:
    """The totals, exactly, from all decrypted outputs of a question.

    Args:
        values: By roster and quantity, as the outputs come; taken one after the other.

    Returns:
        Totals as object integers [steps, groups]; zero where a step has no interval or a group no
        slot.

    Raises:
        OutOfRangeError, ValueError: As `TotalsSum`.
    """
    sums = TotalsSum(layout)
    for own in values:
        sums.add(own)
    return sums.tell()
