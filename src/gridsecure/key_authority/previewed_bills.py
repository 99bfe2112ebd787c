"""What the vault tells of a shadow run: how many bills change in a cell, and by how much.

As for corrections (`compared_bills`), whose differences these are, and on top of that, within every
part of a cell that is billed by one tariff before and one after:

- whose bill changes by a contract charge alone is public, unless a minimum may swallow the charge;
  of the others a count is told as far as `plans.previews.bound_count` lets it be;
- money is told where every line that moved is reached by enough customers, and enough are on either
  side of each of its limits, in both versions. It is rounded once for the cell: bills rounded one
  by one would make every small price a limit, whose side each of them falls on;
- where a limit moved that is in no line's terms (`moves_hidden_limit`), nothing is told;
- nor is anything where policy limits how much of a cell one customer may be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import Bills
from gridsecure.billing.corrections import line_key
from gridsecure.billing.rounding import round_half_up
from gridsecure.billing.rules import CONTRACT, MINIMUM, POWER_FACTOR, LineRule
from gridsecure.key_authority.compared_bills import (
    ComparedBills,
    merge_corrected,
    total_corrections,
)
from gridsecure.key_authority.packages import CheckedPreview, withheld_measures
from gridsecure.messages import PreviewCell
from gridsecure.plans.cells import BILLS, MONEY, NO_MEASURES, Member, Place
from gridsecure.plans.merging import Merged
from gridsecure.plans.previews import (
    bound_count,
    find_moved_lines,
    is_crowd,
    is_derived,
    is_step,
    moves_hidden_limit,
)


@dataclass(slots=True)
class _Part:
    """Who of a cell is billed by the same two tariffs, and what would change for whom.

    Bills of another part change or do not for reasons of its own, so they hide nobody of this one.

    Args:
        public: Members whose bill changes by what everybody can compute.
        crowds: Who reaches each line that moved, and who is on each side of its limits.
        is_silent: Whether a limit moved that is in no line's terms.
        amount: New minus old, exactly [1e-11 yuan].
    """

    members: set[Member] = field(default_factory=set)
    changed: set[Member] = field(default_factory=set)
    public: set[Member] = field(default_factory=set)
    crowds: dict[Hashable, set[Member]] = field(default_factory=lambda: defaultdict(set))
    is_silent: bool = False
    amount: int = 0

    def tells_money(self, minimum: int | None) -> bool:
        """Whether enough bills change, and enough are on every side of what moved."""
        if self.is_silent or minimum is None:
            return False
        sets = (self.changed, *self.crowds.values())
        return all(is_crowd(some, within=self.members, minimum=minimum) for some in sets)

    def count_changed(self, minimum: int | None) -> tuple[int, int]:
        """The least and most that may be told of how many bills change."""
        if self.is_silent or minimum is None:
            return 0, len(self.members)
        others = self.members - self.public
        if not others or others == self.members:
            least, most = bound_count(others, chosen=self.changed - self.public, minimum=minimum)
            return len(self.public) + least, len(self.public) + most
        # The others are a set of their own, which no ledger knows.
        return len(self.public), len(self.members)


def preview_cells(order: CheckedPreview, parts: Sequence[ComparedBills]) -> list[PreviewCell]:
    """What changes by cell, as far as it may be told."""
    cells: dict[Place, dict[Hashable, _Part]] = defaultdict(lambda: defaultdict(_Part))
    merged = merge_corrected(order, parts)
    for item, compared in zip(order.corrections, parts, strict=True):
        tariffs = (item.before.roster.tariff, item.after.roster.tariff)
        _sort_into(cells, compared, tariffs, merged=merged)
    told = {
        (cell.zone, cell.customer_class, cell.measure): cell.value
        for cell in total_corrections(order, parts)
    }
    ordered = withheld_measures(order.withheld)
    found = []
    for place, own in sorted(cells.items()):
        inside, fewest = list(own.values()), merged.minima[place]
        bills = sum(len(part.members) for part in inside)
        withheld = MONEY in ordered.get(place, NO_MEASURES) or place in merged.limits
        counted = None if withheld else fewest.get(BILLS)
        bounds = [part.count_changed(counted) for part in inside]
        is_told = told[*place, MONEY] is not None and all(
            part.tells_money(fewest.get(MONEY)) for part in inside
        )
        amount = np.array([sum(part.amount for part in inside)], dtype=object)
        found.append(
            PreviewCell(
                zone=place[0],
                customer_class=place[1],
                bills=bills,
                changed_least=sum(least for least, _ in bounds),
                changed_most=sum(most for _, most in bounds),
                energy_wh=told[*place, "energy_wh"],
                amount_fen=str(round_half_up(amount)[0]) if is_told else None,
            )
        )
    return found


def _sort_into(
    cells: dict[Place, dict[Hashable, _Part]],
    part: ComparedBills,
    tariffs: Hashable,
    *,
    merged: Merged,
) -> None:
    before, after = part.correction.before, part.correction.after
    public = (_contract_fen(after) != _contract_fen(before))[part.slots]
    if is_derived(before.rules) or is_derived(after.rules):
        public[:] = False
    changed = (part.amount_fen != 0) | public
    exact = (after.totals.astype(object) - before.totals.astype(object))[part.slots]
    crowds = _crowds(before, after)
    is_silent = moves_hidden_limit(before.rules, after.rules)
    for row, (place, member) in enumerate(zip(part.places, part.members, strict=True)):
        cell = cells[merged.into[place]][tariffs]
        cell.members.add(member)
        cell.amount += int(exact[row])
        cell.is_silent |= is_silent
        for chosen, named in ((cell.changed, changed), (cell.public, public)):
            if named[row]:
                chosen.add(member)
        for key, mask in crowds.items():
            crowd = cell.crowds[key]
            if mask[part.slots[row]]:
                crowd.add(member)


def _contract_fen(bills: Bills) -> NDArray[np.object_]:
    """What each bill holds of contract charges [fen]."""
    rows = [n for n, rule in enumerate(bills.rules) if rule.basis == CONTRACT]
    total: NDArray[np.object_] = bills.amounts_fen[rows].astype(object).sum(axis=0)
    return total


def _crowds(before: Bills, after: Bills) -> dict[Hashable, NDArray[np.bool_]]:
    """Who reaches each line that moved, and who is on each side of its limits, by version."""
    moved = {line.key for line in find_moved_lines(before.rules, after.rules)}
    found: dict[Hashable, NDArray[np.bool_]] = {}
    for version, bills in enumerate((before, after)):
        for rule in bills.rules:
            key = line_key(rule)
            if key not in moved:
                continue
            reach = found[version, key, "reach"] = _reach(bills, _same_line(rule))
            if is_step(rule):
                found[version, key, "below"] = ~reach
            if rule.upper is not None:
                # Where no line says who is beyond, nobody is, and a crowd is missing.
                beyond = found[version, key, "beyond"] = _reach(bills, _next_tier(rule))
                found[version, key, "within"] = ~beyond
    return found


def _same_line(rule: LineRule) -> Callable[[LineRule], bool]:
    return lambda other: line_key(other) == line_key(rule)


def _next_tier(rule: LineRule) -> Callable[[LineRule], bool]:
    step = (rule.tou_period, (rule.tier or 0) + 1)
    return lambda other: (other.tou_period, other.tier) == step


def _reach(bills: Bills, is_meant: Callable[[LineRule], bool]) -> NDArray[np.bool_]:
    """Which bills some lines are about; some lines have a quantity for every bill."""
    rows = zip(bills.rules, bills.quantities, bills.amounts_fen, strict=True)
    found = np.zeros(len(bills.meter_point_ids), dtype=bool)
    for rule, quantity, amount in rows:
        if is_meant(rule):
            found |= (amount if rule.basis in (MINIMUM, POWER_FACTOR) else quantity) != 0
    return found
