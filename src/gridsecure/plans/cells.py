"""Which numbers may be told of some members: never one that is about fewer than its minimum.

Every released number is a sum over a set of meter points: energy over a cell, an interval, a
correction; money over the parts of a cell whose bills are the same function of energy. All sets
that anything was told of divide the meter points into *atoms*: who is in exactly the same sets. A
sum treats the members of an atom alike, and so does every combination of sums. So a set may be told
of when every atom has enough members or none (`may_tell`), and no combination is about fewer.

How many are enough is policy, and differs between sets: half-hours are told of more customers than
months. An atom needs the largest minimum of all sets that it lies in. And what a release makes
possible to compute is held to that release's own minimum: all atoms of sets that hang together with
its own need it as well. So a minimum that was raised holds at once, also for what old numbers would
tell beside new ones.

What counts: customers, not meter points (`counted`), and for whoever runs a gateway those that are
not its own, because it knows its own readings and can subtract them. Gateways of one owner count as
one. Owners who share what they know without the identity authority knowing it do not.

Policy may also limit how much of a number one customer is. The vault compares, and only sums over
whole months; so where a set has such a limit, every atom must be a set that the vault compared and
found within it. Whatever is computed of atoms is then about sets of which each kept the limit, and
a union of such sets keeps it too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter
from typing import Final, NamedTuple

from gridsecure.billing.limits import service_months
from gridsecure.billing.part_months import weighs_days
from gridsecure.billing.rules import line_rules
from gridsecure.billing.table_rows import Columns
from gridsecure.messages import Merging, PlanName, RosterManifest
from gridsecure.periods import BillingPeriod
from gridsecure.plans.lines.hours import CAPACITY
from gridsecure.plans.lines.registry import kind_of
from gridsecure.plans.lines.tiers import FREE_QUOTA
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import KWH_PER_KVA
from gridsecure.tariffs.tariff import Tariff

Place = tuple[str, str]
"""Zone and customer class: what makes a cell."""


class Member(NamedTuple):
    """One meter point of a cell: a tuple, because sets of many thousands are compared.

    Args:
        name: Its pseudonym.
        counts: Whether it is the one that counts for its customer.
    """

    name: str
    owner: str
    counts: bool


Members = frozenset[Member]
MEASURES: Final = ("bills", "energy_wh", "amount_fen")
BILLS: Final = "bills"
ENERGY: Final = "energy_wh"
MONEY: Final = "amount_fen"
ALL_MEASURES: Final = frozenset(MEASURES)
OTHER_CLASSES: Final = "*"
"""Stands for every customer class that is not named."""
NO_MEASURES: Final[frozenset[str]] = frozenset()
WHOLE: Final = 100
"""The share of a number that nobody exceeds [%]: no limit."""
UNMERGED: Final = Merging()
"""No cell is merged with another."""


def measures_of(plan: PlanName) -> tuple[str, ...]:
    """The measures that a release of a plan tells."""
    if plan == "query":  # which of them is nobody's to know
        return (ENERGY, MONEY)
    return (ENERGY,) if plan == "load-curve" else MEASURES


@dataclass(frozen=True, slots=True)
class Minima:
    """Fewest customers that a number may be about, and how cells of fewer are merged.

    Args:
        by_class: Customer class, or `OTHER_CLASSES` -> measure -> fewest customers. What is not in
            it may not be told at all.
        dominance: Likewise, by class -> the largest share that one customer may have of a number
            [%]; what is not in it has no limit.
        customer_points: Most meter points that one customer has, where that matters for dominance;
            0 is any number.
    """

    by_class: Mapping[str, Mapping[str, int]]
    merging: Merging = UNMERGED
    dominance: Mapping[str, int] = field(default_factory=dict)
    customer_points: int = 0

    def of(self, place: Place) -> Mapping[str, int]:
        """By measure, those of a zone and customer class; not of a merged cell (`merging`)."""
        found = self.by_class.get(place[1])
        return self.by_class.get(OTHER_CLASSES, {}) if found is None else found

    def merges(self, place: Place) -> bool:
        """Whether a zone and customer class may be merged with others."""
        return self._named(place) in self.merging.classes

    def limit_of(self, place: Place) -> int:
        """The largest share that one customer may have of a number of a zone and class [%]."""
        return self.dominance.get(self._named(place), WHOLE)

    def _named(self, place: Place) -> str:
        return place[1] if place[1] in self.by_class else OTHER_CLASSES

    def as_message(self) -> dict[str, dict[str, int]]:
        """What a message says of them."""
        return {name: dict(fewest) for name, fewest in self.by_class.items()}

    @property
    def least(self) -> int:
        """The smallest of them; 0 where nothing may be told."""
        return min((n for fewest in self.by_class.values() for n in fewest.values()), default=0)


NOTHING: Final = Minima({})
"""What a policy permits that has no rule for it."""


class ToldSet(NamedTuple):
    """Members that something is told of.

    Args:
        minimum: Fewest customers that it may be about.
        limit: Largest share of its month that one customer has, as the vault found [%]; `WHOLE`
            where it did not look.
    """

    members: Members
    minimum: int
    limit: int = WHOLE


class Dominance(NamedTuple):
    """How much of a cell's numbers one customer may be.

    Args:
        limit: The largest share [%].
        is_compared: Whether the vault compares in this very release; else all rests on what it
            compared before.
    """

    limit: int = WHOLE
    is_compared: bool = True


NO_LIMIT: Final = Dominance()


@dataclass(frozen=True, slots=True)
class CellSets:
    """What a release would tell of a cell: energy over all of it, and money of each part.

    Where no money is told, there are no parts.
    """

    cell: Members
    parts: tuple[Members, ...] = ()

    def list_withheld(
        self,
        *,
        minima: Mapping[str, int],
        told: Sequence[ToldSet] = (),
        beside: Sequence[ToldSet] = (),
        dominance: Dominance = NO_LIMIT,
    ) -> frozenset[str]:
        """The measures of which nothing may be told beside what was told before.

        Args:
            minima: Of those that policy permits, by measure.
            beside: What the same release tells of other cells.
        """
        refused = self._measures - minima.keys()
        limit, is_compared = dominance
        rest = self.list_told(refused | {MONEY}, minima=minima, limit=limit)
        whole = self.list_told(refused, minima=minima, limit=limit)
        if not whole or not may_tell((*beside, *rest), told=told, is_compared=is_compared):
            return ALL_MEASURES
        is_told = may_tell((*beside, *whole), told=told, is_compared=is_compared)
        return refused if is_told else refused | {MONEY}

    def list_told(
        self, withheld: frozenset[str], *, minima: Mapping[str, int], limit: int = WHOLE
    ) -> tuple[ToldSet, ...]:
        """The sets that something is told of when some measures are withheld.

        Args:
            minima: Of the others, by measure.
            limit: Largest share that one customer may have [%].
        """
        measures = self._measures - withheld
        if not measures:
            return ()
        if measures == {BILLS}:
            limit = WHOLE  # a number of bills is compared by nobody, and tells of no energy
        cell = ToldSet(self.cell, max(minima[measure] for measure in measures), limit)
        if MONEY not in measures:
            return (cell,)
        return (cell, *(ToldSet(part, minima[MONEY], limit) for part in self.parts))

    @property
    def _measures(self) -> frozenset[str]:
        return ALL_MEASURES if self.parts else frozenset({ENERGY})


def cell_sets(
    rows: Iterable[tuple[Place, Member, Hashable]], *, into: Mapping[Place, Place] | None = None
) -> dict[Place, CellSets]:
    """The sets of every cell, from its members with what their money depends on (`money_keys`).

    Where no money is told, every key is None, and there are no parts.

    Args:
        into: Zone and class -> the cell that it was merged into; what is not in it is a cell.
    """
    found: dict[Place, dict[Hashable, set[Member]]] = defaultdict(lambda: defaultdict(set))
    merged = into or {}
    for place, member, key in rows:
        found[merged.get(place, place)][key].add(member)
    untold = {place for place, parts in found.items() if None in parts}
    sets = {}
    for place in list(found):
        parts = tuple(map(frozenset, found.pop(place).values()))
        # A cell of one part is that part: a city's largest sets are not kept twice.
        cell = parts[0] if len(parts) == 1 else frozenset[Member]().union(*parts)
        sets[place] = CellSets(cell, () if place in untold else parts)
    return sets


NAME: Final[Callable[[Member], str]] = itemgetter(0)
"""Of a member, over many thousands of them."""

_COUNTED: Final = itemgetter(1, 2)
"""Owner of a member, and whether it counts."""


class Crowd(Iterable[Member]):
    """Members without their names, counted: as much of them as `is_enough` looks at.

    Whoever adds one twice counts it twice.
    """

    def __init__(self) -> None:
        self._counted = Counter[tuple[str, bool]]()

    def add(self, member: Member, *, times: int = 1) -> None:
        """Count one more, or some alike."""
        self._counted[member.owner, member.counts] += times

    def count(self, members: Iterable[Member]) -> None:
        """Count each of many once more."""
        self._counted.update(map(_COUNTED, members))

    def add_all(self, other: Crowd) -> None:
        """Count all of another crowd as well."""
        self._counted.update(other._counted)

    def by_owner(self) -> dict[str, tuple[int, int]]:
        """Owner -> its meter points, and the customers among them."""
        points, customers = Counter[str](), Counter[str]()
        for (owner, counts), number in self._counted.items():
            points[owner] += number
            customers[owner] += number * counts
        return {owner: (number, customers[owner]) for owner, number in points.items()}

    def __iter__(self) -> Iterator[Member]:
        for (owner, counts), number in self._counted.items():
            yield from repeat(Member("", owner, counts), number)

    def __len__(self) -> int:
        return self._counted.total()


@dataclass(slots=True)
class CellCrowds:
    """What `CellSets` says of a cell of which nothing was told before, its members only counted.

    Its parts have no member in common, so they are its atoms.
    """

    cell: Crowd = field(default_factory=Crowd)
    parts: dict[Hashable, Crowd] = field(default_factory=lambda: defaultdict(Crowd))

    def add(self, member: Member, key: Hashable) -> None:
        """Count a member, who is in no other part, with what its money depends on."""
        self.cell.add(member)
        self.parts[key].add(member)

    def add_all(self, other: CellCrowds) -> None:
        """Count all of another cell as well."""
        self.cell.add_all(other.cell)
        for key, part in other.parts.items():
            self.parts[key].add_all(part)

    def list_withheld(self, *, minima: Mapping[str, int]) -> frozenset[str]:
        """The measures of which nothing may be told.

        Args:
            minima: Of those that policy permits, by measure.
        """
        told = ALL_MEASURES & minima.keys()
        rest = [minima[measure] for measure in told - {MONEY}]
        if not told or (rest and not is_enough(self.cell, minimum=max(rest))):
            return ALL_MEASURES
        most = max(minima[measure] for measure in told)
        # A part lies in its cell, and needs what the cell needs.
        sets = (self.cell, *self.parts.values())
        is_told = MONEY in told and all(is_enough(some, minimum=most) for some in sets)
        return (ALL_MEASURES - told) | (NO_MEASURES if is_told else {MONEY})


def roster_members(roster: RosterManifest) -> list[Member]:
    """The members of a roster in slot order."""
    owner = roster.owner or roster.gateway_id
    counted = roster.counted or [True] * roster.slots
    rows = zip(roster.pseudonyms, [owner] * roster.slots, counted, strict=True)
    return list(map(Member._make, rows))


def roster_places(roster: RosterManifest) -> list[Place]:
    """The cell of every slot of a roster."""
    return list(zip(roster.zones, roster.customer_classes, strict=True))


def is_enough(members: Iterable[Member], *, minimum: int) -> bool:
    """Whether a number about these members may be told.

    There are enough customers; and for every owner among them, the others are enough or none.

    Args:
        minimum: Fewest customers that are enough.

    >>> is_enough([Member(str(n), "utility", True) for n in range(15)], minimum=15)
    True
    >>> others = [Member(str(n), "b", True) for n in range(16)]
    >>> is_enough([Member("victim", "a", True), *others], minimum=15)
    False
    """
    crowd = members if isinstance(members, Crowd) else count_members(members)
    owners = crowd.by_owner()
    total = sum(customers for _, customers in owners.values())
    return total >= minimum and (
        # An owner knows its own points and subtracts them; what remains must be nobody or enough.
        len(owners) == 1 or all(total - customers >= minimum for _, customers in owners.values())
    )


def count_members(members: Iterable[Member]) -> Crowd:
    """Members, counted."""
    crowd = Crowd()
    crowd.count(members)
    return crowd


def may_tell(
    wanted: Sequence[ToldSet], *, told: Iterable[ToldSet], is_compared: bool = True
) -> bool:
    """Whether sums over some sets of a cell's members can be told beside those told before.

    An atom needs the largest minimum of the sets it lies in. Where these hang together with a set
    of the release, over whatever others, it needs every minimum of the release as well: there, sums
    of before and now can be combined to numbers that could not be computed before.

    So it is with limits of dominance: an atom needs the smallest limit of its sets, and of a
    release that they hang together with. It keeps it if it is itself a set of at most that limit.

    Args:
        wanted: The sets of one release.
        told: All sets of members of the cell that anything was told of.
        is_compared: Whether the vault compares the wanted sets; else only earlier ones count.

    >>> cell = frozenset(Member(str(n), "utility", True) for n in range(40))
    >>> one = frozenset({Member("0", "utility", True)})
    >>> months, hours = ToldSet(cell, 15), ToldSet(cell, 40)
    >>> may_tell([hours], told=[months]), may_tell([ToldSet(cell - one, 15)], told=[months])
    (True, False)
    >>> half = frozenset(sorted(cell)[:20])
    >>> may_tell([ToldSet(half, 15)], told=[hours])
    False
    >>> limited, parts = ToldSet(cell, 15, 15), (half, cell - half)
    >>> both = [ToldSet(part, 15, 15) for part in parts]
    >>> may_tell([limited], told=both, is_compared=False), may_tell([limited], told=both[:1])
    (True, False)
    """
    before = list(told)
    sets = list(dict.fromkeys((*before, *wanted)))
    atoms = _find_atoms([one.members for one in sets])
    own = frozenset(wanted)
    reached = _connect((n for n, one in enumerate(sets) if one in own), atoms)
    least = max((one.minimum for one in wanted), default=0)
    share = min((one.limit for one in wanted), default=WHOLE)
    compared = frozenset((*before, *wanted) if is_compared else before)

    def is_within(numbers: tuple[int, ...], found: Set[Member]) -> bool:
        limit = min(share if numbers[0] in reached else WHOLE, *(sets[n].limit for n in numbers))
        # An atom lies in each of its sets, so one of as many members is the atom itself.
        return limit == WHOLE or any(
            sets[n].limit <= limit and len(sets[n].members) == len(found) and sets[n] in compared
            for n in numbers
        )

    return all(one.members for one in wanted) and all(
        is_enough(
            found,
            minimum=max(least if numbers[0] in reached else 0, *(sets[n].minimum for n in numbers)),
        )
        and is_within(numbers, found)
        for numbers, found in atoms.items()
    )


_COUNTING: Final = Member("", "", True)


def _find_atoms(sets: Sequence[Members]) -> dict[tuple[int, ...], Set[Member]]:
    """Who is in exactly the same sets, by the numbers of these.

    Members of the same sets cannot be told apart by any sum; so each such atom must be enough.
    """
    found = _seat_once(sets)
    everybody = set().union(*found)
    atoms, inside, numbers = [everybody], dict.fromkeys(everybody, 0), [tuple[int, ...]()]
    for number, members in enumerate(found):
        # Only atoms that the set meets are looked at, and of those that it parts the part in it.
        for atom, met in Counter(map(inside.__getitem__, members)).items():
            if met == len(atoms[atom]):
                numbers[atom] += (number,)
                continue
            part = atoms[atom] & members
            atoms[atom] -= part
            inside.update(dict.fromkeys(part, len(atoms)))
            atoms.append(part)
            numbers.append((*numbers[atom], number))
    return {own: atom for own, atom in zip(numbers, atoms, strict=True) if own}


def _seat_once(sets: Sequence[Members]) -> Sequence[Members]:
    """The same sets with one member a name: seated anew it counts only if it always did."""
    everybody = frozenset[Member]().union(*sets)
    if len(set(map(NAME, everybody))) == len(everybody):
        return sets
    known: dict[str, Member] = {}
    for members in sets:
        for name, owner, counts in members:
            known[name] = Member(name, owner, counts and known.get(name, _COUNTING).counts)
    return [frozenset(known[name] for name, _, _ in members) for members in sets]


def thin(sets: Collection[Members], *, most: int) -> dict[Members, Members]:
    """Each of some sets with fewer members, of which the same may be told.

    Of each atom as many of every owner are left as the largest minimum asks for: a sum of numbers
    reaches a minimum if and only if it does with each number that is larger taken for it. All sets
    are unions of atoms, so this goes for those that some of them alone divide the members into.

    Args:
        most: No minimum that any of the sets is held to is larger.

    >>> cell = frozenset(Member(str(n), "utility", True) for n in range(40))
    >>> one = frozenset({Member("0", "utility", True)})
    >>> [len(left) for left in thin([cell, cell - one], most=15).values()]
    [16, 15]
    """
    everybody = frozenset[Member]().union(*sets)
    times = Counter(map(NAME, everybody))
    # Who is seated twice counts in some of them only: what that makes of each depends on which.
    twice = {one for one in everybody if times[one.name] > 1}
    kept = set(twice)
    for atom in _find_atoms([own - twice for own in sets]).values():
        left = Counter[tuple[str, bool]]()
        for member in atom:
            left[member.owner, member.counts] += 1
            if left[member.owner, member.counts] <= most:
                kept.add(member)
    return {own: own & kept for own in sets}


def find_joined(sets: Sequence[Members]) -> list[int]:
    """For each set, the number of the first one that it hangs together with, or its own.

    >>> a, b, c = (Member(name, "utility", True) for name in "abc")
    >>> find_joined([frozenset({a}), frozenset({b}), frozenset({b, c}), frozenset({a, c})])
    [0, 0, 0, 0]
    >>> find_joined([frozenset({a}), frozenset({b}), frozenset({b, c})])
    [0, 1, 1]
    """
    return join_names([map(NAME, members) for members in sets])


def join_names(sets: Sequence[Iterable[str]]) -> list[int]:
    """As `find_joined`, of sets of names."""
    before = list(range(len(sets)))

    def first(number: int) -> int:
        while before[number] != number:
            before[number] = before[before[number]]  # halves the way for whoever asks next
            number = before[number]
        return number

    seen: dict[str, int] = {}
    for number, members in enumerate(sets):
        # Of the sets that its members were met in before, each once: most have met in few.
        for met in set(map(seen.setdefault, members, repeat(number))):
            one, other = first(met), first(number)
            before[max(one, other)] = min(one, other)
    return [first(number) for number in range(len(sets))]


def _connect(begin: Iterable[int], atoms: Iterable[tuple[int, ...]]) -> set[int]:
    """The sets, by number, that hang together with some: they share an atom, or others in between.

    Args:
        atoms: The numbers of the sets that each atom lies in.
    """
    found, left = set(begin), list(atoms)
    while more := {n for numbers in left if not found.isdisjoint(numbers) for n in numbers} - found:
        found |= more
    return found


def money_keys(roster: RosterManifest, *, tariff: Tariff, period: BillingPeriod) -> list[Hashable]:
    """What the bill of each slot depends on besides its energy; alike keys, alike functions.

    A fact that only adds a public amount (a capacity charge) tells nothing of energy and is left
    out, unless something is computed from the sum.
    """
    rules = line_rules(tariff, period)
    slots = range(roster.slots)
    yearly = any(rule.reset == YEAR for rule in rules)
    first = roster.service_from or [""] * roster.slots
    months = dict(zip(first, _months(first, period), strict=True)) if yearly else {}
    limited = any(rule.lower or rule.upper is not None for rule in rules)
    facts = frozenset().union(*(kind_of(rule).facts(rule, rules) for rule in rules))
    free = roster.free_quota_wh or [0] * roster.slots
    unheld = roster.unheld_days or [0] * roster.slots
    by_capacity = CAPACITY in facts or any(rule.limit_unit == KWH_PER_KVA for rule in rules)
    by_days = weighs_days(rules)
    return [
        (
            roster.tariff,
            roster.large,
            roster.household_quota_wh[slot] if limited else 0,
            free[slot] if FREE_QUOTA in facts else 0,
            months.get(first[slot], 0),
            roster.contracted_va[slot] if by_capacity else 0,
            unheld[slot] if by_days else 0,
        )
        for slot in slots
    ]


def _months(first: Sequence[str], period: BillingPeriod) -> list[int]:
    months: list[int] = service_months(
        Columns({"service_from": first}), year=period.month[0]
    ).tolist()
    return months
