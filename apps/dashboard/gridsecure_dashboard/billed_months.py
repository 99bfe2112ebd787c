"""Months of bills side by side: totals, like-for-like changes, and what made the difference.

Everything is computed from released cells and nothing else.

Invariants:
- Months are compared over the groups that both show in full; others are counted beside them.
- A bridge closes to the fen: what last month was, and each step, add up to what this month is.
- Money is Decimal yuan, energy Decimal kWh; only ratios and the volume step are rounded, half up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce
from operator import add
from typing import Final, Literal, NamedTuple

from gridsecure.analyst.reconciliation import Cell
from gridsecure.analyst.releases import BILL, REBILL, Release
from gridsecure.analyst.reports import (
    RELEASED,
    Dimension,
    amount_yuan,
    average_price,
    bill_table,
    energy_kwh,
)
from gridsecure.analyst.runs import name_month

_FEN: Final = Decimal("0.01")
_RATIO_STEP: Final = Decimal("0.00001")

Step = Literal["then", "gone", "new", "volume", "price", "now"]


@dataclass(frozen=True, slots=True)
class Billed:
    """What was billed: number of bills, energy [kWh] and amount [yuan]."""

    bills: int = 0
    energy_kwh: Decimal = Decimal(0)
    amount_yuan: Decimal = Decimal("0.00")

    def __add__(self, other: Billed) -> Billed:
        return Billed(
            self.bills + other.bills,
            self.energy_kwh + other.energy_kwh,
            self.amount_yuan + other.amount_yuan,
        )

    @property
    def average(self) -> Decimal | None:
        """Yuan per kWh, 4 decimals; None without energy."""
        return average_price(self.amount_yuan, self.energy_kwh)


@dataclass(frozen=True, slots=True)
class BilledMonth:
    """A month as its bill releases show it.

    Args:
        name: As 2026-07.
        groups: What is shown, by group.
        withheld: Groups of which a figure is withheld in one of the releases.
        releases: In the order of their release.
    """

    name: str
    start: datetime
    end: datetime
    groups: Mapping[Cell, Billed]
    withheld: frozenset[Cell]
    releases: tuple[Release, ...]

    @property
    def total(self) -> Billed:
        """All that is shown."""
        return reduce(add, self.groups.values(), Billed())

    @property
    def bounds(self) -> tuple[str, str]:
        """Start and end, ISO 8601 with offset."""
        return self.start.isoformat(), self.end.isoformat()


class Change(NamedTuple):
    """Two months over the groups that both show in full.

    Args:
        groups: How many those are.
        others: Groups that one of them does not show in full.
    """

    now: Billed
    then: Billed
    groups: int
    others: int

    @property
    def amount(self) -> Decimal | None:
        """By what part of it the amount changed; None without groups, or from nothing."""
        return _ratio(self.now.amount_yuan, self.then.amount_yuan)

    @property
    def energy(self) -> Decimal | None:
        """The same of energy."""
        return _ratio(self.now.energy_kwh, self.then.energy_kwh)

    @property
    def bills(self) -> Decimal | None:
        """The same of the number of bills."""
        return _ratio(Decimal(self.now.bills), Decimal(self.then.bills))

    @property
    def average(self) -> Decimal | None:
        """The same of the average price, from the exact amounts."""
        if not (self.now.energy_kwh and self.then.energy_kwh):
            return None
        now = self.now.amount_yuan * self.then.energy_kwh
        return _ratio(now, self.then.amount_yuan * self.now.energy_kwh)


def billed_months(releases: Iterable[Release]) -> tuple[BilledMonth, ...]:
    """The months of bill releases, newest first.

    Args:
        releases: Of bills, with the values that the reader may see. No roster is in two of them.
    """
    by_period: dict[tuple[datetime, datetime], list[Release]] = {}
    for release in sorted(releases, key=lambda one: one.released_at):
        if release.plan == BILL:
            by_period.setdefault((release.start, release.end), []).append(release)
    return tuple(_month(of_period) for _, of_period in sorted(by_period.items(), reverse=True))


def _month(releases: Sequence[Release]) -> BilledMonth:
    groups: dict[Cell, Billed] = {}
    withheld: set[Cell] = set()
    for release in releases:
        for row in bill_table(release).to_dict("records"):
            if row["state"] != RELEASED:
                withheld.add(row["parts"])
                continue
            billed = Billed(row["bills"], row["energy_kwh"], row["amount_yuan"])
            groups[row["parts"]] = groups.get(row["parts"], Billed()) + billed
    start, end = releases[0].start, releases[0].end
    return BilledMonth(
        name_month(start.isoformat(), end.isoformat()),
        start,
        end,
        groups,
        frozenset(withheld),
        tuple(releases),
    )


def find_month(months: Iterable[BilledMonth], name: str) -> BilledMonth | None:
    """The month of that name, if it was released."""
    return next((month for month in months if month.name == name), None)


def earlier(name: str, *, months: int) -> str:
    """The month that many months before.

    >>> earlier("2026-01", months=1), earlier("2026-07", months=12)
    ('2025-12', '2025-07')
    """
    year, month = map(int, name.split("-"))
    years, index = divmod(year * 12 + month - 1 - months, 12)
    return f"{years:04}-{index + 1:02}"


def compare_months(now: BilledMonth, then: BilledMonth) -> Change:
    """Compare two months over what both show in full."""
    both = _in_both(now, then)
    every = {*now.groups, *then.groups, *now.withheld, *then.withheld}
    return Change(
        reduce(add, (now.groups[cell] for cell in both), Billed()),
        reduce(add, (then.groups[cell] for cell in both), Billed()),
        len(both),
        len(every) - len(both),
    )


def build_bridge(now: BilledMonth, then: BilledMonth) -> dict[Step, Decimal]:
    """What made one month's amount of another's [yuan].

    Volume is the change of energy at the earlier month's average price of each group, price is the
    rest of what changed in groups that both show. `gone` is what only the earlier month shows,
    below zero, and `new` what only the later one does.
    """
    both = _in_both(now, then)
    volume, changed = Decimal("0.00"), Decimal("0.00")
    for cell in both:
        before, after = then.groups[cell], now.groups[cell]
        changed += after.amount_yuan - before.amount_yuan
        if before.energy_kwh:
            more = (after.energy_kwh - before.energy_kwh) * before.amount_yuan
            volume += (more / before.energy_kwh).quantize(_FEN, rounding=ROUND_HALF_UP)
    shared_now, shared_then = (
        sum((month.groups[cell].amount_yuan for cell in both), Decimal("0.00"))
        for month in (now, then)
    )
    return {
        "then": then.total.amount_yuan,
        "gone": shared_then - then.total.amount_yuan,
        "volume": volume,
        "price": changed - volume,
        "new": now.total.amount_yuan - shared_now,
        "now": now.total.amount_yuan,
    }


def select_part(month: BilledMonth, dimension: Dimension, names: tuple[str, ...]) -> BilledMonth:
    """The same month, with the groups of some zones or classes alone."""
    return BilledMonth(
        month.name,
        month.start,
        month.end,
        {c: billed for c, billed in month.groups.items() if names_of(c, dimension) == names},
        frozenset(cell for cell in month.withheld if names_of(cell, dimension) == names),
        month.releases,
    )


def names_of(cell: Cell, dimension: Dimension) -> tuple[str, ...]:
    """The zones or the classes of a group, each once, in order."""
    index = 0 if dimension == "zone" else 1
    return tuple(sorted({part[index] for part in cell}))


def list_names(month: BilledMonth, dimension: Dimension) -> list[tuple[str, ...]]:
    """The zones or classes of a month's groups, the largest amount first."""
    amounts = {names_of(cell, dimension): Decimal(-1) for cell in month.withheld}
    for cell, billed in month.groups.items():
        names = names_of(cell, dimension)
        amounts[names] = max(amounts.get(names, Decimal(0)), Decimal(0)) + billed.amount_yuan
    return sorted(amounts, key=lambda names: (-amounts[names], names))


class Corrected(NamedTuple):
    """What corrections changed: bills, energy [kWh], amount [yuan], and cells without a figure."""

    billed: Billed
    withheld: int


def correction_totals(releases: Iterable[Release], *, bounds: tuple[str, str]) -> Corrected:
    """What the released corrections of a month changed in all.

    Args:
        bounds: Start and end of the month, ISO 8601 with offset.
    """
    start, end = map(datetime.fromisoformat, bounds)
    totals = {"bills": 0, "energy_wh": 0, "amount_fen": 0}
    withheld: set[tuple[str, Cell]] = set()
    for release in releases:
        if (release.plan, release.start, release.end) != (REBILL, start, end):
            continue
        for cell in release.cells:
            if cell.value is None:
                withheld.add((release.release_id, cell.parts))
            else:
                totals[cell.measure] += cell.value
    billed = Billed(
        totals["bills"], energy_kwh(totals["energy_wh"]), amount_yuan(totals["amount_fen"])
    )
    return Corrected(billed, len(withheld))


def _in_both(now: BilledMonth, then: BilledMonth) -> list[Cell]:
    hidden = now.withheld | then.withheld
    return sorted((now.groups.keys() & then.groups.keys()) - hidden)


def _ratio(now: Decimal, then: Decimal) -> Decimal | None:
    if not then:
        return None
    return ((now - then) / then).quantize(_RATIO_STEP, rounding=ROUND_HALF_UP)
