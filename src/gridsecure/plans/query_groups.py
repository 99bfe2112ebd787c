"""Groups of a question: how many customers each has, and how many policy wants it to have.

A group may have members of any customer classes. It is held to the strictest of theirs, and where
policy permits nothing of one of them, nothing is told of the group. Checker and vault find that
each for itself, from rosters and from the group of each slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InvalidMessageError
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import ENERGY, WHOLE, Crowd, Member, Minima, is_enough, roster_members

OUTSIDE: Final = -1
MAX_GROUPS: Final = 1_000
"""Most groups of one question."""
MAX_TOTALS: Final = 100_000
"""Most totals of one question: its groups, at each of its steps."""
_ROWS: Final = np.dtype("<i4")


@dataclass(slots=True)
class QueryGroup:
    """One group of a question.

    Args:
        crowd: Its members, counted.
        minimum: Fewest customers that energy may be told of it; None where policy permits none.
        limit: Largest share of it that one customer may have [%].
    """

    crowd: Crowd = field(default_factory=Crowd)
    minimum: int | None = 0
    limit: int = WHOLE

    @property
    def customers(self) -> int:
        """How many customers are in it."""
        return sum(customers for _, customers in self.crowd.by_owner().values())

    @property
    def is_enough(self) -> bool:
        """Whether there are enough customers in it, of every owner's others too."""
        return self.minimum is not None and is_enough(self.crowd, minimum=max(self.minimum, 1))


def count_groups(
    rosters: Iterable[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    groups: int,
    minima: Minima,
    measures: Iterable[str] = (ENERGY,),
) -> list[QueryGroup]:
    """The groups of a question, by number.

    Args:
        rosters: Taken one after the other, and not kept.
        rows: Per roster, the group of each slot, or `OUTSIDE`.
        groups: How many there are; some may have nobody.
        measures: All that policy has to permit of them; the largest minimum holds.

    Raises:
        InvalidMessageError: A roster has other slots than rows, or a slot another group than there
            are (`query.rows`).
    """
    if max((int(own.max(initial=OUTSIDE)) for own in rows), default=OUTSIDE) >= groups:
        raise _wrong_rows()
    found, wanted = [QueryGroup() for _ in range(groups)], frozenset(measures)
    for roster, own in zip(rosters, rows, strict=True):
        if len(own) != roster.slots:
            raise _wrong_rows()
        owner = roster.owner or roster.gateway_id
        counted = roster.counted or [True] * roster.slots
        alike = Counter(zip(own.tolist(), counted, strict=True))
        for (group, counts), times in alike.items():
            if group >= 0:
                found[group].crowd.add(Member("", owner, counts), times=times)
        for group, name in set(zip(own.tolist(), roster.customer_classes, strict=True)):
            if group >= 0:
                _hold(found[group], name, minima, wanted)
    return found


def _hold(group: QueryGroup, customer_class: str, minima: Minima, measures: frozenset[str]) -> None:
    """Hold a group to what policy wants of a class too."""
    own, known = minima.of(("", customer_class)), group.minimum
    is_permitted = known is not None and measures <= own.keys()
    fewest = [known or 0, *(own[measure] for measure in measures & own.keys())]
    group.minimum = max(fewest) if is_permitted else None
    group.limit = min(group.limit, minima.limit_of(("", customer_class)))


def group_members(
    rosters: Iterable[RosterManifest], rows: Sequence[NDArray[np.int64]], *, groups: int
) -> list[frozenset[Member]]:
    """The members of each group."""
    found: list[set[Member]] = [set() for _ in range(groups)]
    for roster, own in zip(rosters, rows, strict=True):
        for group, member in zip(own.tolist(), roster_members(roster), strict=True):
            if group >= 0:
                found[group].add(member)
    return list(map(frozenset, found))


def write_rows(rows: NDArray[np.int64]) -> bytes:
    """The group of each slot of a roster, as bytes."""
    return rows.astype(_ROWS).tobytes()


def read_rows(data: bytes, *, most: int = MAX_GROUPS) -> NDArray[np.int64]:
    """As `write_rows` wrote them.

    Args:
        most: How many groups, or cells, there may be.

    Raises:
        InvalidMessageError: It did not (`query.rows`).
    """
    if len(data) % _ROWS.itemsize:
        raise _wrong_rows()
    rows = np.frombuffer(data, dtype=_ROWS).astype(np.int64)
    if rows.min(initial=OUTSIDE) < OUTSIDE or rows.max(initial=OUTSIDE) >= most:
        raise _wrong_rows()
    return rows


def _wrong_rows() -> InvalidMessageError:
    return InvalidMessageError(
        "The groups of a question are not those of its rosters.", reason="query.rows"
    )
