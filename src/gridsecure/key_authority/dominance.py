"""Whether one customer has more of a cell than policy lets one customer have.

The vault compares the bills that it decrypts to issue them, exactly: nothing is estimated, and a
cell that keeps the limit is never withheld. What it looks at, once a cell is told of:

1. energy over the cell: if one customer is above the limit, neither energy nor money is told;
2. energy and money over each part of the cell that is billed by one function, and money over the
   cell, where money is to be told: from energy and money together the parts can be computed. If one
   is above the limit there, energy is told and money is not.

Each holds for all customers of the cell, and for those of every owner of gateways' others: an owner
subtracts what it knows.

Nobody here knows which meter points are of one customer, but for the one of each customer that
counts (`plans.cells.Member`). So a customer may be as large as the largest meter point that counts
and all together that do not count; or, where policy says how many meter points a customer has at
most, as many of the largest that do not. That is never less than what a customer has, so no cell
passes wrongly. Where all meter points count it is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import partial
from heapq import nlargest
from typing import NamedTuple

from gridsecure.plans.cells import ENERGY, MONEY, NO_MEASURES, WHOLE, Member


class _Held(NamedTuple):
    """What customers have of a number.

    Args:
        total: All of it.
        largest: What the meter point has most that counts for its customer.
        others: What those have that do not count: the largest of them, or all together.
    """

    total: int = 0
    largest: int = 0
    others: tuple[int, ...] = ()


class Shares:
    """What the customers of each owner of gateways have of one number.

    Args:
        points: Most meter points that one customer has; 0 is any number.
    """

    def __init__(self, points: int = 0) -> None:
        self._points = points
        self._held: dict[str, _Held] = {}

    def add(self, member: Member, value: int) -> None:
        """Add what a meter point has."""
        size = abs(value)
        self._add(member.owner, _Held(value, size) if member.counts else _Held(value, 0, (size,)))

    def add_all(self, other: Shares) -> None:
        """Add what the customers of another part have, who are in none of this one's."""
        for owner, held in other._held.items():
            self._add(owner, held)

    def keep(self, limit: int) -> bool:
        """Whether no customer can have more than a limit of the number.

        Args:
            limit: In per cent.

        >>> shares = Shares()
        >>> for number, value in enumerate([15, *[5] * 17]):
        ...     shares.add(Member(str(number), "utility", True), value)
        >>> shares.keep(15), shares.keep(14)
        (True, False)
        """
        return all(
            WHOLE * (held.largest + sum(held.others)) <= limit * abs(held.total)
            for held in self._list_rests()
        )

    def _add(self, owner: str, held: _Held) -> None:
        before = self._held.get(owner)
        self._held[owner] = held if before is None else self._join((before, held))

    def _join(self, held: Sequence[_Held]) -> _Held:
        others = [value for one in held for value in one.others]
        if others:
            others = nlargest(self._points - 1, others) if self._points else [sum(others)]
        return _Held(
            sum(one.total for one in held), max(one.largest for one in held), tuple(others)
        )

    def _list_rests(self) -> Iterator[_Held]:
        """What all have together, and what remains for each owner without its own."""
        every = list(self._held.values())
        if every:
            yield self._join(every)
        if len(every) > 1:
            for number in range(len(every)):
                yield self._join(every[:number] + every[number + 1 :])


class CellShares:
    """What customers have of a cell's energy [Wh] and money [fen], by part of the cell.

    A part is of those whose bill is one function of energy, as `plans.cells.money_keys` says.

    Args:
        points: Most meter points that one customer has; 0 is any number.
    """

    def __init__(self, points: int = 0) -> None:
        self.points = points
        pair = partial(_pair, points)
        self._parts: dict[Hashable, tuple[Shares, Shares]] = defaultdict(pair)

    def add(self, member: Member, key: Hashable, *, energy_wh: int, amount_fen: int) -> None:
        """Add a meter point's bill."""
        energy, money = self._parts[key]
        energy.add(member, energy_wh)
        money.add(member, amount_fen)

    def add_all(self, other: CellShares) -> None:
        """Add the bills of another zone or class of the same cell."""
        for key, (energy, money) in other._parts.items():
            own_energy, own_money = self._parts[key]
            own_energy.add_all(energy)
            own_money.add_all(money)

    def list_withheld(self, limit: int, *, tells_money: bool) -> frozenset[str]:
        """The measures that are not told because one customer may be above the limit.

        Args:
            limit: In per cent.
            tells_money: Whether money would be told.
        """
        if not self._join(energy for energy, _ in self._parts.values()).keep(limit):
            return frozenset({ENERGY, MONEY})
        if not tells_money:
            return NO_MEASURES
        sets = [shares for part in self._parts.values() for shares in part]
        sets.append(self._join(money for _, money in self._parts.values()))
        return NO_MEASURES if all(one.keep(limit) for one in sets) else frozenset({MONEY})

    def _join(self, parts: Iterable[Shares]) -> Shares:
        joint = Shares(self.points)
        for part in parts:
            joint.add_all(part)
        return joint


def _pair(points: int) -> tuple[Shares, Shares]:
    return Shares(points), Shares(points)
