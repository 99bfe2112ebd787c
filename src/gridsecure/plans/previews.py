"""What a shadow run may tell of a cell besides what the rules of sets say (`cells`).

A preview counts the bills that change. Unlike who sits in a cell, whose bill changes is secret, and
the tariff that decides it is of the orderer's choosing. So:

1. a count is exact only where enough bills change and enough do not (`bound_count`);
2. money is told only where enough customers reach every line whose price or limit moved
   (`find_moved_lines`), and enough lie on either side of every limit of such a line, new or not. A
   high limit, or a low one, would be a question about the largest or smallest household;
3. neither is told where limits move that nobody sees (`moves_hidden_limit`);
4. a month's cell answers so many questions and no more (`count_questions`): one for each preview,
   and one for each new limit, because limits can be swept.

Enough is what policy says, and for every owner of gateways in the cell as many that are not its
own. Unlike for sets there is no "or none": an owner who knows its own bills would learn that no
other changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from gridsecure.billing.corrections import LineKey, line_key
from gridsecure.billing.rules import (
    CONTRACT,
    DISCOUNT,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    QUOTA,
    RATCHET,
    LineRule,
)
from gridsecure.errors import InputError
from gridsecure.plans.cells import Member
from gridsecure.tariffs.consistency import CHRONOLOGICAL
from gridsecure.tariffs.tariff import Tariff

_STEPS = frozenset({DISCOUNT, MINIMUM, OWN_DEMAND, POWER_FACTOR, QUOTA, RATCHET})
"""Lines that are not proportional to a quantity, besides those of tiers."""
_DERIVED = frozenset({MINIMUM, POWER_FACTOR})
"""Lines made of other lines: what moves those, moves where these begin."""


def is_crowd(chosen: Collection[Member], *, within: Collection[Member], minimum: int) -> bool:
    """Whether enough customers of a cell are among the chosen, whoever takes its own away.

    Args:
        minimum: Fewest customers that are enough.

    >>> cell = [Member(str(n), "utility", True) for n in range(40)]
    >>> [is_crowd(cell[:count], within=cell, minimum=15) for count in (15, 14)]
    [True, False]
    >>> is_crowd(cell, within=[*cell, Member("a", "other", True)], minimum=15)
    False
    """
    customers = Counter(member.owner for member in chosen if member.counts)
    owners, total = {member.owner for member in within}, customers.total()
    return total >= minimum and (
        len(owners) == 1 or all(total - customers[own] >= minimum for own in owners)
    )


def bound_count(
    members: Collection[Member], *, chosen: Collection[Member], minimum: int
) -> tuple[int, int]:
    """Return the least and most that may be told of how many members of a cell are chosen.

    A bound leaves room for all that any owner knows, so that no one's own taken away sharpens it.

    Args:
        minimum: Fewest customers that are enough.

    >>> cell = [Member(str(n), "utility", True) for n in range(40)]
    >>> [bound_count(cell, chosen=cell[:count], minimum=15) for count in (0, 14, 15, 26, 40)]
    [(0, 14), (0, 14), (15, 15), (26, 40), (26, 40)]
    """
    count = len(members)
    rest = set(members).difference(chosen)
    points = Counter(member.owner for member in members)
    own = max(points.values()) if len(points) > 1 else 0
    few = min(minimum - 1 + own + sum(not m.counts for m in members), count)
    if not is_crowd(chosen, within=members, minimum=minimum):
        return 0, few
    if not is_crowd(rest, within=members, minimum=minimum):
        return count - few, count
    return len(chosen), len(chosen)


@dataclass(frozen=True, slots=True)
class MovedLine:
    """A bill line whose price or limit differs between two tariffs.

    Args:
        is_new_limit: Whether it begins at a limit that the first tariff does not have.
    """

    key: LineKey
    is_new_limit: bool


def find_moved_lines(before: Sequence[LineRule], after: Sequence[LineRule]) -> list[MovedLine]:
    """The lines of two tariffs that make a secret difference; contract charges are public."""
    old, new = ({line_key(rule): rule for rule in rules} for rules in (before, after))
    known = {_limit(rule) for rule in before}
    return [
        MovedLine(key, key in new and is_step(new[key]) and _limit(new[key]) not in known)
        for key in dict.fromkeys((*new, *old))
        if _price(old.get(key)) != _price(new.get(key))
    ]


def count_questions(before: Sequence[LineRule], after: Sequence[LineRule]) -> int:
    """How many questions a preview of another tariff asks of every cell."""
    return 1 + sum(line.is_new_limit for line in find_moved_lines(before, after))


def check_columns(issued: Tariff, *, tried: Tariff) -> None:
    """Refuse a tariff that means other columns than those that were settled, by the same names.

    A gateway sums readings by labels, and a column is named by them: `register:peak` does not say
    when peak is. What a tried tariff does without may go; of the rest all is as it was.

    Raises:
        InputError: They differ in what the gateway settles by (`shadow.columns`).
    """
    old, new = _settled_by(issued), _settled_by(tried)
    differing = [name for name, value in new.items() if value and value != old[name]]
    if differing:
        raise InputError(
            f"The tried tariff differs from that of the uploads in its {', '.join(differing)}, "
            "by which the gateway summed the readings before it encrypted them.",
            reason="shadow.columns",
            remedy="Try a tariff that differs in prices, amounts and limits of monthly or yearly "
            "energy only. The rest takes uploads that are settled by it.",
        )


def _settled_by(tariff: Tariff) -> dict[str, object]:
    windows, demand = (
        frozenset(replace(window, row="") for window in windows)
        for windows in (tariff.windows, tariff.demand_windows)
    )
    days = (tariff.day_types, frozenset((row.day, row.day_type) for row in tariff.days))
    tiers = frozenset(replace(tier, row="") for tier in tariff.tiers)
    ratchet, dynamic, part = tariff.ratchet, tariff.dynamic, tariff.part_month
    return {
        "time zone": tariff.timezone,
        "month of a cycle": tariff.cycle_month,
        "time-of-use windows": windows,
        "demand windows": demand,
        "day types": days if windows or demand else (),
        "tiers by the order of time": (
            (tiers, tariff.tier_reset) if tariff.tier_convention == CHRONOLOGICAL else ()
        ),
        "demand ratchet": ratchet and (ratchet.share, ratchet.months, ratchet.range_months),
        "price intervals": dynamic and dynamic.interval,
        "parts of a month": part and (part.charges, part.limits),
    }


def is_derived(rules: Sequence[LineRule]) -> bool:
    """Whether some line of a bill is made of its other lines."""
    return any(rule.basis in _DERIVED for rule in rules)


def moves_hidden_limit(before: Sequence[LineRule], after: Sequence[LineRule]) -> bool:
    """Whether two tariffs differ in a limit that is in no line's terms.

    Under a minimum every price decides whose bill reaches it, a contract charge as well. A power
    factor weighs what moves by each customer's own. And a quota ends at another energy for each.
    """
    old, new = (Counter(map(_terms, rules)) for rules in (before, after))
    bases = {terms[0] for terms in (old - new) + (new - old)}
    made = is_derived(before) or is_derived(after)
    return QUOTA in bases or (made and not bases <= {MINIMUM})


def is_step(rule: LineRule) -> bool:
    """Whether a line begins at a limit."""
    return bool(rule.lower) or rule.basis in _STEPS


def _limit(rule: LineRule) -> tuple[object, ...]:
    """What says where a line begins."""
    amount = rule.rate if rule.basis == MINIMUM else Decimal(0)
    ends = (rule.lower, rule.limit_unit, rule.reset, rule.min_use_hours)
    return (rule.basis, rule.tou_period, *ends, rule.standard, amount)


def _price(rule: LineRule | None) -> tuple[object, ...] | None:
    return None if rule is None or rule.basis == CONTRACT else _terms(rule)


def _terms(rule: LineRule) -> tuple[object, ...]:
    money = (rule.rate, rule.unit, rule.prices, rule.base)
    return (*_limit(rule), *line_key(rule), rule.upper, *money)
