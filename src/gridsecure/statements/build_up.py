"""The price build-up: which components price the same kWh, and what they add up to.

A column is a period, a tier, or both. Every component with a unit of kWh has exactly one rate in a
column (its own for that period or tier, or one for all energy), save a tier surcharge, which may
have none. A column for which that does not hold is left out rather than shown with a wrong sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gridsecure.statements.bill_document import Bill, BillLine
from gridsecure.statements.figures import add_up, figure_text
from gridsecure.statements.model import Column, Section, Table
from gridsecure.statements.wording import Wording

SURCHARGE: Final = "tier-adder"
# Priced by the kWh, but of another quantity than the energy taken.
_OTHER_ENERGY: Final = {"feed-in", "free-quota"}
_ABSENT: Final = "—"
# What fits the width of a page; more go into further tables.
COLUMNS_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class _Cell:
    """The energy a column is about."""

    tou_period: str | None
    tier: int | None

    def holds(self, line: BillLine) -> bool:
        """Return whether a line's rate applies to this energy."""
        return line.tou_period in {None, self.tou_period} and line.tier in {None, self.tier}


def build_up_section(bill: Bill, wording: Wording) -> Section | None:
    """Return the section, or None where a kWh has a single price."""
    priced = [
        line
        for line in bill.lines
        if line.unit == "kWh" and line.rate is not None and line.charge not in _OTHER_ENERGY
    ]
    charges = tuple(dict.fromkeys(line.charge for line in priced))
    if len(charges) < 2:
        return None
    cells = [cell for cell in _cells(priced) if _is_complete(cell, priced, charges)]
    tables = tuple(
        _table(cells[at : at + COLUMNS_AT_ONCE], priced, charges, wording)
        for at in range(0, len(cells), COLUMNS_AT_ONCE)
    )
    if not tables:
        return None
    return Section(wording.say("build_up"), wording.say("build_up_note"), tables)


def _cells(priced: Sequence[BillLine]) -> list[_Cell]:
    tou_periods: list[str | None] = list(
        dict.fromkeys(line.tou_period for line in priced if line.tou_period)
    )
    tiers = {line.tier for line in priced if line.tier is not None}
    surcharged = [line.tier for line in priced if line.charge == SURCHARGE and line.tier]
    if surcharged:
        # Below the first surcharge lie the tiers without one.
        tiers.update(range(1, min(surcharged)))
    steps: list[int | None] = [*sorted(tiers)]
    return [_Cell(label, step) for label in tou_periods or [None] for step in steps or [None]]


def _rates(cell: _Cell, priced: Sequence[BillLine], charge: str) -> list[Decimal]:
    return [
        line.rate
        for line in priced
        if line.charge == charge and line.rate is not None and cell.holds(line)
    ]


def _is_complete(cell: _Cell, priced: Sequence[BillLine], charges: Sequence[str]) -> bool:
    for charge in charges:
        count = len(_rates(cell, priced, charge))
        if count != 1 and not (count == 0 and charge == SURCHARGE):
            return False
    return True


def _table(
    cells: Sequence[_Cell], priced: Sequence[BillLine], charges: Sequence[str], wording: Wording
) -> Table:
    heading = wording.say("build_up_component", unit=wording.per("kWh"))
    columns = [Column(heading)]
    columns += [Column(_heading(cell, wording), is_figure=True) for cell in cells]
    rows = []
    for charge in charges:
        rates = [_rates(cell, priced, charge) for cell in cells]
        texts = [figure_text(found[0]) if found else _ABSENT for found in rates]
        rows.append((wording.charge(charge), *texts))
    sums = [add_up(rate for charge in charges for rate in _rates(c, priced, charge)) for c in cells]
    rows.append((wording.say("build_up_sum"), *map(figure_text, sums)))
    return Table(tuple(columns), tuple(rows))


def _heading(cell: _Cell, wording: Wording) -> str:
    parts = [wording.tou_period(cell.tou_period), wording.tier(cell.tier)]
    return " · ".join(part for part in parts if part) or wording.say("all_energy")
