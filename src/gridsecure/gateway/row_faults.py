"""Every row of a file that cannot be read, by kind of fault.

A reader refuses a file for the first check that some of its rows fail, and names all rows that fail
it. What the other rows have is found by reading again without those, until nothing is refused by
row. So every faulty row is named, by the first fault that it has, and no check is written twice. A
refusal of the whole, which the rows taken out may have caused, ends the search and is not told.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import InvalidReadingsError, RowFault

MOST_PROBLEMS: Final = 20
"""Places in one refusal."""
_MOST_ROUNDS: Final = 12
_MOST_SAID: Final = 6
"""Kinds in one sentence beside the first."""

_Data = TypeVar("_Data")
_Read = TypeVar("_Read")


def name_rows(
    numbers: NDArray[np.integer], *, reason: str, rule: str, detail: str, remedy: str
) -> RowFault:
    """A kind of fault and the rows that have it.

    Args:
        numbers: Of the rows, in any order and perhaps repeated.
    """
    rows = np.unique(np.asarray(numbers, dtype=np.int64))
    edges = np.flatnonzero(np.diff(rows) != 1)
    firsts, lasts = rows[np.append(0, edges + 1)], rows[np.append(edges, len(rows) - 1)]
    return RowFault(reason, rule, detail, remedy, len(rows), _array(firsts), _array(lasts))


def refuse_line(
    message: str, *lines: int, reason: str, rule: str, detail: str, remedy: str
) -> InvalidReadingsError:
    """The refusal of a file for one of its lines, or for several that do not fit each other."""
    fault = name_rows(np.array(lines), reason=reason, rule=rule, detail=detail, remedy=remedy)
    problems = [ReadingProblem("", None, rule, f"line {line}: {detail}") for line in lines]
    return InvalidReadingsError(
        message, reason=reason, remedy=remedy, problems=problems, faults=[fault]
    )


def refuse_readings(
    detail: str, numbers: Sequence[int], *, reason: str, rule: str, remedy: str
) -> InvalidReadingsError:
    """The refusal of a body or a document, which has no lines, for some of its readings.

    Args:
        numbers: Of these among all readings, from 1, in order.
    """
    fault = name_rows(np.array(numbers), reason=reason, rule=rule, detail=detail, remedy=remedy)
    faults = [replace(fault, place="reading")]
    return InvalidReadingsError(
        _sentence(faults),
        reason=reason,
        remedy=remedy,
        problems=[
            ReadingProblem("", None, rule, f"reading {number}: {detail}")
            for number in numbers[:MOST_PROBLEMS]
        ],
        faults=faults,
    )


def rows_of(faults: Sequence[RowFault]) -> NDArray[np.int64]:
    """Numbers of all rows that have one of these, each once, in order."""
    firsts = np.array([row for one in faults for row in one.firsts], dtype=np.int64)
    lasts = np.array([row for one in faults for row in one.lasts], dtype=np.int64)
    counts = lasts - firsts + 1
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.unique(np.repeat(firsts, counts) + within)


def read_or_name_rows(
    read: Callable[[_Data], _Read],
    data: _Data,
    *,
    without: Callable[[_Data, NDArray[np.int64]], _Data | None],
) -> _Read:
    """Read something, or say of every row why it cannot be read.

    Args:
        without: The same data without rows of these numbers, where the others keep theirs; None
            where that cannot be had.

    Raises:
        InvalidReadingsError: As `read`, with the rows that it refuses after the first ones.
    """
    try:
        return read(data)
    except InvalidReadingsError as error:
        first = error
    if not first.faults:
        raise first
    refusals, known = [first], rows_of(first.faults)
    for _ in range(_MOST_ROUNDS):
        rest = without(data, known)
        if rest is None:
            break
        try:
            read(rest)
            break
        except InvalidReadingsError as error:
            rows = rows_of(error.faults)
            if not len(rows) or np.isin(rows, known).any():
                break
            refusals.append(error)
            known = np.union1d(known, rows)
    raise merge_refusals(refusals)


def merge_refusals(refusals: Sequence[InvalidReadingsError]) -> InvalidReadingsError:
    """One refusal for the rows of several, under the reason of the first.

    Args:
        refusals: Each with `faults`.
    """
    first = refusals[0]
    if len(refusals) == 1:
        return first
    kinds: dict[tuple[str, ...], list[RowFault]] = {}
    for fault in chain.from_iterable(one.faults for one in refusals):
        key = (fault.reason, fault.rule, fault.detail, fault.remedy, fault.place)
        kinds.setdefault(key, []).append(fault)
    faults = [_joined(own) for own in kinds.values()]
    named = zip_longest(*(one.problems for one in refusals))
    problems = [one for one in chain.from_iterable(named) if one is not None]
    return InvalidReadingsError(
        _sentence(faults),
        reason=first.reason,
        remedy=first.remedy,
        problems=problems[:MOST_PROBLEMS],
        faults=faults,
    )


def _joined(faults: Sequence[RowFault]) -> RowFault:
    """Rows of one kind from several refusals, each counted once."""
    one = faults[0]
    named = name_rows(
        rows_of(faults), reason=one.reason, rule=one.rule, detail=one.detail, remedy=one.remedy
    )
    return replace(named, place=one.place)


def _sentence(faults: Sequence[RowFault]) -> str:
    """What is wrong, by kind."""
    first, *others = faults
    said = f"{_counted(first)} refused ({first.rule}), first {first.place} {first.firsts[0]}:"
    said = f"{said} {first.detail}."
    if not others:
        return said
    also = [
        f"{_counted(one)} ({one.rule}) from {one.place} {one.firsts[0]}"
        for one in others[:_MOST_SAID]
    ]
    more = len(others) - len(also)
    also += [f"{more} more kinds"] if more else []
    return f"{said} Also refused: {', '.join(also)}."


def _counted(fault: RowFault) -> str:
    return f"{fault.count:,} {fault.place}{'s' if fault.count > 1 else ''}"


def _array(numbers: NDArray[np.int64]) -> array[int]:
    found = array("q")
    found.frombytes(numbers.tobytes())
    return found
