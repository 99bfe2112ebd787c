"""Questions at the vault: who is added to whom is looked at here, and nothing said of it believed.

The checker opened the question; the vault never sees it. It is handed rosters and the group of
each slot, and finds for itself

1. that both, and the times, are what officers approved;
2. how fine the numbers are, and so which minima its own policy has for them;
3. who is in each group, and whether they are enough, nobody counted twice.

A group that is too small ends the order before anything of it is decrypted: the checker leaves such
groups out, so an order that has one is not the checker's work as it should be. Then all columns are
decrypted one after the other, and what leaves are totals of groups and steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InvalidMessageError
from gridsecure.key_authority.control_totals import CountedOnce
from gridsecure.key_authority.packages import VaultAnswer, check_named, read_named
from gridsecure.key_authority.query_orders import (
    MAIN,
    REACH,
    CheckedQuery,
    OrderedMonth,
    group_place,
    groups_digest,
    steps_digest,
)
from gridsecure.key_authority.vault.gate import Passage
from gridsecure.key_authority.vault.month_queries import (
    check_month,
    list_entries,
    too_small,
    total_answer,
)
from gridsecure.key_authority.vault.noisy_totals import tell_with_noise
from gridsecure.messages import CellTotal, ColumnEntry, Digest, RosterManifest
from gridsecure.plans.cells import ENERGY, roster_places
from gridsecure.plans.noise import find_sensitivity
from gridsecure.plans.query_edges import CELLS
from gridsecure.plans.query_groups import (
    MAX_GROUPS,
    MAX_TOTALS,
    QueryGroup,
    count_groups,
    read_rows,
)
from gridsecure.plans.query_totals import add_up, lay_out_totals
from gridsecure.policy.query_resolutions import is_of_month, question_resolution
from gridsecure.policy.supply import list_terms

Decrypt = Callable[[ColumnEntry, bytes, RosterManifest], NDArray[np.uint64]]
"""Opens a column under a key set of its roster's gateway."""


def answer_query(
    order: CheckedQuery,
    files: Iterator[bytes],
    passage: Passage,
    *,
    decrypt: Decrypt,
    lock: AbstractContextManager[Any],
) -> VaultAnswer:
    """Decrypt blinded columns and add them up by group and step.

    Args:
        files: What follows the order.
        passage: The gate, which the order has passed.
        lock: As `tell_with_noise`.

    Raises:
        ReleaseRefusedError: A group is too small (`vault.group`), or as `Passage`.
        AuthenticityError, CiphertextError: As `Vault.release_bills`.
        InvalidMessageError: The order makes no sense (`vault.query`, `query.rows`).
        StorageError, InputError: As `tell_with_noise`.
    """
    _check_shape(order)
    _check_approved(order, passage)
    counted = CountedOnce()
    rosters = list[RosterManifest]()
    for digest in order.rosters:
        roster = read_named(next(files), digest=digest, expect=RosterManifest)
        counted.count(roster.pseudonyms)
        _admit(roster, passage)
        rosters.append(roster)
    rows = [_read_rows(next(files), digest=digest) for digest in order.rows]
    if order.month is not None:
        return _answer_month(order, order.month, files, (rosters, rows), decrypt=decrypt)
    groups = count_groups(rosters, rows, groups=order.groups, minima=order.permitted)
    _check_groups(groups)
    steps = {name: np.array(own, dtype=np.int64) for name, own in order.steps.items()}
    layout = lay_out_totals(
        rosters,
        rows=rows,
        steps=steps,
        minima=[group.minimum or 0 for group in groups],
    )
    values = (
        decrypt(entry, next(files), roster)
        for number, roster in enumerate(rosters)
        for entry in (order.outputs[name][number] for name in layout.quantities)
    )
    totals = add_up(values, layout=layout)
    cells = list_totals(order, groups, totals)
    if not passage.epsilon:
        return VaultAnswer(cells=cells, statements=[])
    most = find_sensitivity(rosters, rows, steps, customer_points=passage.policy.customer_points)
    return tell_with_noise(passage, cells, sensitivity=most, lock=lock)


def _answer_month(
    order: CheckedQuery,
    month: OrderedMonth,
    files: Iterator[bytes],
    seated: tuple[list[RosterManifest], list[NDArray[np.int64]]],
    *,
    decrypt: Decrypt,
) -> VaultAnswer:
    """The same of a measure that is no total of intervals."""
    rosters, rows = seated
    cells = [_read_rows(next(files), digest=digest, most=CELLS) for digest in month.rows]
    checked = check_month(order, month, rosters, rows=tuple(rows), cells=tuple(cells))
    entries = list(list_entries(order, checked, rosters))
    values = (decrypt(entry, next(files), roster) for entry, roster in entries)
    return VaultAnswer(cells=total_answer(order, checked, values), statements=[])


def list_totals(
    order: CheckedQuery, groups: list[QueryGroup], totals: NDArray[Any]
) -> list[CellTotal]:
    """The cells of a question: every group at every step, withheld ones without value and size.

    Args:
        totals: By step and group [Wh].
    """
    withheld = set(order.withheld)
    cells = []
    for (step, span), (number, group) in product(enumerate(order.spans), enumerate(groups)):
        zone, name = group_place(order.question, number)
        is_told = group.is_enough and number not in withheld
        cells.append(
            CellTotal(
                zone=zone,
                customer_class=name,
                start=span[0],
                end=span[1],
                measure=ENERGY,
                members=len(group.crowd) if is_told else 0,
                value=str(totals[step, number]) if is_told else None,
            )
        )
    return cells


def _check_shape(order: CheckedQuery) -> None:
    if order.month is not None:
        _check_month_shape(order, order.month)
        return
    many, steps = len(order.rosters), len(order.spans)
    named = {step for own in order.steps.values() for step in own}
    if (
        not order.steps
        or order.outputs.keys() != order.steps.keys()
        or any(len(own) != many for own in order.outputs.values())
        or len(order.rows) != many
        or order.groups * steps > MAX_TOTALS
        or not named <= set(range(-1, steps))
        or not set(range(steps)) <= named
        or not all(
            _is_alike(entry, own[0], name=name, intervals=len(order.steps[name]))
            for name, own in order.outputs.items()
            for entry in own
        )
    ):
        raise InvalidMessageError("An order about a question is none.", reason="vault.query")


def _check_month_shape(order: CheckedQuery, month: OrderedMonth) -> None:
    many, cells = len(order.rosters), len(month.groups)
    if (
        order.outputs.keys() != {MAIN, REACH}
        or order.steps != month.steps
        or order.spans != [(order.start, order.end)]
        or len(order.rows) != many
        or len(month.rows) != many
        or {len(own) for own in (month.links, month.before, month.blind, month.least)} != {cells}
        or cells > CELLS
        or max(month.groups, default=0) >= order.groups
        or len(month.totals) * order.groups > MAX_TOTALS
    ):
        raise InvalidMessageError("An order about a question is none.", reason="vault.query")


def _is_alike(entry: ColumnEntry, first: ColumnEntry, *, name: str, intervals: int) -> bool:
    """Whether a column is about the times of the first roster's: those say how fine numbers are."""
    said = (entry.quantity, entry.intervals, entry.start, entry.end)
    return said == (name, intervals, first.start, first.end)


def _admit(roster: RosterManifest, passage: Passage) -> None:
    """Refuse a roster of other cells, or on other terms of its owner, than were approved."""
    passage.admit_cells(roster_places(roster))
    passage.admit_terms(list_terms([roster]))


def _check_approved(order: CheckedQuery, passage: Passage) -> None:
    """Steps 1 and 2."""
    passage.check_span(order.start, order.end)
    passage.admit_question(
        order.question,
        groups=groups_digest(order.rosters, order.rows, salt=order.salt),
        steps=steps_digest(order.steps, order.spans, salt=order.salt),
    )
    passage.admit_all_rosters(order.rosters)
    entries = [entry for own in order.outputs.values() for entry in own]
    passage.admit_all([entries])
    if order.month is not None:
        passage.admit_tariffs(order.month.tariffs)
        # Noise is drawn for sums of intervals alone: here nobody knows how much one customer is.
        if passage.epsilon or not is_of_month(entries, start=order.start, end=order.end):
            raise InvalidMessageError("An order about a question is none.", reason="vault.query")
        passage.check_minima(order.permitted, resolution="monthly")
        return
    columns = {name: own[0] for name, own in order.outputs.items()}
    resolution = question_resolution(order.steps, columns, start=order.start, end=order.end)
    passage.check_minima(order.permitted, resolution=resolution)


def _read_rows(data: bytes, *, digest: Digest, most: int = MAX_GROUPS) -> NDArray[np.int64]:
    check_named(data, digest=digest)
    return read_rows(data, most=most)


def _check_groups(groups: list[QueryGroup]) -> None:
    """Step 3. A group of nobody is one that the checker left out."""
    if any(len(group.crowd) and not group.is_enough for group in groups):
        raise too_small()
