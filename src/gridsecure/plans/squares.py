"""Squares: sets of whose energy the sum of squares was told, and what no later set may divide.

Sum and squares of a set say how much its largest member has, where that is most of it. So the vault
tells squares only where nobody has more than half of any *atom*: of who is in exactly the same sets
of all that was told. A set that is told later of energy alone divides atoms further, and nobody
looks at squares again: the sum of what is left of one bounds its squares from below, and so those
of the rest from above. So a later set has all of an atom or nothing of it.

Sets of which squares are told themselves are looked at by the vault, with all that they divide.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from gridsecure.plans.cells import Members


class SquaredAtoms:
    """The atoms of what was told, within sets of which squares were told.

    Args:
        told: All sets that anything was told of.
        squared: Those of which squares were.

    >>> from gridsecure.plans.cells import Member
    >>> a, b, c = (frozenset({Member(name, "utility", True)}) for name in "abc")
    >>> atoms = SquaredAtoms([a | b, a | b | c], squared=[a | b | c])
    >>> [atoms.are_divided_by([one]) for one in (a | b, c, a | b | c, a, b | c)]
    [False, False, False, True, True]
    """

    def __init__(self, told: Iterable[Members], *, squared: Iterable[Members]) -> None:
        names = {name for members in squared for name, _, _ in members}
        inside: dict[str, list[int]] = defaultdict(list)
        if names:
            for number, members in enumerate(told):
                for name, _, _ in members:
                    if name in names:
                        inside[name].append(number)
        self._atoms = {name: tuple(numbers) for name, numbers in inside.items()}
        self._sizes = Counter(self._atoms.values())

    def are_divided_by(self, sets: Iterable[Members]) -> bool:
        """Whether one of some sets has some of an atom, and not all of it."""
        return bool(self._atoms) and any(
            self._sizes[atom] != met
            for members in sets
            for atom, met in Counter(
                self._atoms[name] for name, _, _ in members if name in self._atoms
            ).items()
        )
