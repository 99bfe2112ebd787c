"""Totals of what is computed on encrypted columns: lines of bills, counts, squares.

A *recipe* says what is computed on a roster's columns: named *parts*, each a column with a proven
range. Every part is blinded by group before it leaves, like the plain columns of `query_totals`, so
whoever decrypts learns the total of each part over each group and nothing else. What cannot be
expressed by totals of parts (a quotient, a maximum or a rounding of each meter point) cannot be
computed so, and recipes refuse it.

Parts are blinded in *blocks*: parts of one parameter set and range that the same rosters have. A
part that only some rosters have (a free quota that nobody in the others has) is totalled over the
members in those, so they have to be enough to be told of by themselves, or none.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InputError, NotFoundError
from gridsecure.homomorphic.blinding import zero_sum_blinding
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.messages import ColumnEntry, RosterManifest
from gridsecure.plans.bills import PlannedInputs
from gridsecure.plans.cell_pieces import seat_cells
from gridsecure.plans.cells import Crowd, Member, is_enough
from gridsecure.plans.execution import (
    Executed,
    Load,
    OpenedColumns,
    Output,
    RosterData,
    check_needed,
    write_output,
)
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.outputs import last_level
from gridsecure.plans.quantities import ColumnNeed
from gridsecure.plans.query_totals import (
    TotalsLayout,
    TotalsSum,
    check_rosters,
    column_groups,
    lay_out_totals,
)

_PURPOSE: Final = "parts"


class Recipe(Protocol):
    """What is computed on a roster's columns, encrypted or planned."""

    @property
    def published(self) -> tuple[ColumnNeed, ...]:
        """The columns that it may read."""
        ...

    def compute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Its parts by name, from columns by quantity; the same names whatever kind they are of."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PartsBlock:
    """Parts that are blinded together.

    Args:
        places: The rosters that have them, by their place among all.
        layout: Over those rosters; each part is a quantity and a step of its own.
        low: Smallest value that a part has; it is taken off before blinding.
        members: How many slots each group has in those rosters [groups].
    """

    places: tuple[int, ...]
    layout: TotalsLayout
    low: int
    members: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class PartsLayout:
    """The parts of a question about some rosters, proven.

    Args:
        rosters: Their ids.
        recipes: By roster.
        needs: The columns that are read, by roster.
    """

    rosters: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    needs: tuple[tuple[ColumnNeed, ...], ...]
    blocks: tuple[PartsBlock, ...]

    def outputs(self) -> Iterator[tuple[int, str, str]]:
        """The roster's place, the part and the parameter set of each output, in their order."""
        for place in range(len(self.rosters)):
            for block in self.blocks:
                for name in block.layout.quantities if place in block.places else ():
                    yield place, name, block.layout.parameters.name

    def places_of(self, block: PartsBlock, only: Container[str] | None) -> set[int]:
        """Numbers of a block's columns that belong to some of its rosters."""
        parts = len(block.layout.quantities)
        return {
            row * parts + number
            for row, place in enumerate(block.places)
            if only is None or self.rosters[place] in only
            for number in range(parts)
        }


def lay_out_parts(
    rosters: Sequence[RosterManifest],
    *,
    recipes: Sequence[Recipe],
    rows: Sequence[NDArray[np.int64]],
    minima: Sequence[int],
) -> PartsLayout:
    """Prove range and noise of the parts of a question, and number their totals.

    Args:
        recipes: What is computed, by roster.
        rows: Per roster, the group of each slot, or `OUTSIDE`.
        minima: Fewest customers that each group's totals may be about.

    Raises:
        KeyMismatchError: The groups are those of other rosters (`query.roster`).
        OutOfRangeError: A total could reach the modulus, and divided, a piece of it would be about
            too few customers (`query.large`).
        InputError: A part is about too few customers of a group (`query.few`).
        DepthExceededError: A part's noise does not fit.
    """
    found: dict[tuple[Any, ...], dict[str, None]] = {}
    whose: dict[tuple[str, Any, int, int], list[int]] = {}
    needs = []
    for place, recipe in enumerate(recipes):
        planned = PlannedInputs(recipe.published)
        for name, column in recipe.compute(planned).items():
            whose.setdefault((name, *_proven(name, column)), []).append(place)
        needs.append(planned.needs())
    for (name, parameters, low, high), places in whose.items():
        found.setdefault((parameters, low, high, tuple(places)), {})[name] = None
    blocks = []
    for (parameters, low, high, places), names in found.items():
        those, own = [rosters[place] for place in places], [rows[place] for place in places]
        _check_enough(those, own, minima=minima)
        layout = lay_out_totals(
            those,
            rows=own,
            steps={name: np.array([step]) for step, name in enumerate(names)},
            minima=minima,
            parameters=parameters,
            bound=high - low,
        )
        blocks.append(PartsBlock(places, layout, low, _count_members(own, groups=len(minima))))
    ids = tuple(roster.roster_id for roster in rosters)
    return PartsLayout(ids, tuple(recipes), tuple(needs), tuple(blocks))


def _proven(name: str, column: PlannedColumn) -> tuple[Any, int, int]:
    last = last_level(column)
    last.blind(np.zeros(1, dtype=np.uint64)).check(what=f"The part {name!r}")
    return last.parameters, last.low, last.high


def _count_members(rows: Sequence[NDArray[np.int64]], *, groups: int) -> NDArray[Any]:
    counts: NDArray[Any] = np.zeros(groups, dtype=object)
    for own in rows:
        counts += np.bincount(own[own >= 0], minlength=groups)
    return counts


def _check_enough(
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    minima: Sequence[int],
) -> None:
    """Every group has enough customers in these rosters, or nobody."""
    crowds = [Crowd() for _ in minima]
    for roster, own in zip(rosters, rows, strict=True):
        seated = seat_cells(roster, own, bound_wh=0)
        sizes = np.bincount(own[own >= 0], minlength=len(minima)).tolist()
        counted = np.bincount(own[(own >= 0) & seated.counted], minlength=len(minima)).tolist()
        for crowd, size, customers in zip(crowds, sizes, counted, strict=True):
            if size:  # who has nobody in a group knows nothing of it
                crowd.add(Member("", seated.owner, counts=True), times=customers)
                crowd.add(Member("", seated.owner, counts=False), times=size - customers)
    for crowd, minimum in zip(crowds, minima, strict=True):
        if len(crowd) and not is_enough(crowd, minimum=minimum):
            raise InputError(
                "A part of the answer would be about too few customers of a group: those whose"
                " bills are computed from other columns than the others'.",
                reason="query.few",
                remedy="Ask for customers of one tariff, or for larger groups.",
            )


def execute_parts(
    datas: Sequence[RosterData],
    *,
    layout: PartsLayout,
    seed: bytes,
    load: Load,
    keys: KeyRing,
    only: Container[str] | None = None,
) -> Executed:
    """Compute the parts of a question and blind them for their totals, roster by roster.

    Inputs are named "roster/quantity", outputs "roster/part".

    Args:
        datas: Of the layout's rosters, in their order.
        seed: 32 secret bytes for this question alone.
        only: The rosters whose outputs are made, by id; all by default.

    Raises:
        NotFoundError: The gateways encrypt no such columns for a roster's tariff (`query.columns`).
        CiphertextError: As for `execute_bill`.
        KeyMismatchError: Other rosters (`query.roster`), or columns of another parameter set or a
            larger bound (`plan.input`).
    """
    check_rosters(datas, layout.rosters)
    entries = [_find_entries(data, needs) for data, needs in zip(datas, layout.needs, strict=True)]
    for data, own in zip(datas, entries, strict=True):
        keys.check(own.values(), gateway=data.roster.gateway_id)

    def make() -> Iterator[tuple[str, Output]]:
        streams = [
            _draw(seed, block, number, wanted=layout.places_of(block, only))
            for number, block in enumerate(layout.blocks)
        ]
        for place, (data, own) in enumerate(zip(datas, entries, strict=True)):
            if only is not None and data.roster.roster_id not in only:
                continue
            parts = layout.recipes[place].compute(OpenedColumns(own, data, load, keys))
            for block, stream in zip(layout.blocks, streams, strict=True):
                for name in block.layout.quantities if place in block.places else ():
                    blinded = last_level(parts[name]).blind(next(stream))
                    output = write_output(blinded, name=name, unit="1", like=data, span=data.upload)
                    yield f"{data.roster.roster_id}/{name}", output

    inputs = {
        f"{data.roster.roster_id}/{name}": entry.digest
        for data, own in zip(datas, entries, strict=True)
        for name, entry in own.items()
    }
    return inputs, make()


def _draw(
    seed: bytes, block: PartsBlock, number: int, *, wanted: set[int]
) -> Iterator[NDArray[np.uint64]]:
    """A block's blinding, with the smallest value taken off."""
    modulus = block.layout.parameters.plain_modulus
    shift = np.uint64(-block.low % modulus)
    for vector in zero_sum_blinding(
        seed,
        groups=column_groups(block.layout),
        modulus=modulus,
        purpose=f"{_PURPOSE}/{number}",
        wanted=wanted,
    ):
        yield (vector + shift) % np.uint64(modulus)  # both are below 2**60


def _find_entries(data: RosterData, needs: Sequence[ColumnNeed]) -> dict[str, ColumnEntry]:
    found = {}
    for need in needs:
        entry = data.columns.get(need.quantity)
        if entry is None:
            raise NotFoundError(
                "A roster has no encrypted columns that this is computed from.",
                reason="query.columns",
                remedy="Gateways encrypt the columns that the form of a roster's own tariff needs:"
                " ask about customers whose tariff has tiers, periods or demand like yours.",
            )
        check_needed(entry, need)
        found[need.quantity] = entry
    return found


def add_up_parts(
    values: Iterable[NDArray[np.uint64]], *, layout: PartsLayout
) -> dict[str, NDArray[Any]]:
    """The total of each part over each group, exactly, from all decrypted outputs.

    Args:
        values: In the order of the outputs; taken one after the other.

    Returns:
        Part -> totals as object integers [groups].

    Raises:
        OutOfRangeError: A total that no honest columns have (`query.inconsistent`).
    """
    remaining = iter(values)
    sums = [TotalsSum(block.layout) for block in layout.blocks]
    for place in range(len(layout.rosters)):
        for block, own in zip(layout.blocks, sums, strict=True):
            for _ in block.layout.quantities if place in block.places else ():
                own.add(next(remaining))
    totals: dict[str, NDArray[Any]] = {}
    for block, own in zip(layout.blocks, sums, strict=True):
        for name, total in zip(block.layout.quantities, own.tell(), strict=True):
            totals[name] = totals.get(name, 0) + total + block.low * block.members
    return totals
