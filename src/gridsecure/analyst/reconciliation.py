"""One line that joins the figures of a month: what was taken in, and what became of it.

    taken in = billed and shown + withheld + not released yet + not billed

and beside it the energy of the bills against that of the load curves, cell by cell.

Invariants:
- What was taken in and not billed comes from the gateway's report, which the key authority never
  sees; what was billed and shown from release certificates, which the gateway never sees. The line
  closes only if both agree.
- Rosters that bill releases cover are counted by their sealed statements. Once all are covered,
  whoever is in no released cell is in a withheld one. Before that, withheld is what certificates
  say of their withheld cells, and the rest waits for a release.
- Energy is compared where both kinds of release show the same cell. Energy in whole Wh, so equal
  means equal.

Not here: corrections, which are released as differences to bills and change no count of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gridsecure.analyst.releases import Release, ReleasedCell
from gridsecure.analyst.reports import amount_yuan, bill_table, bill_totals, energy_kwh
from gridsecure.plans.cells import Place

Cell = tuple[Place, ...]
"""The zones and customer classes of a cell; more than one where they were merged."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What a gateway's report says of a month.

    Args:
        meters: Meter points taken in.
        not_billed: Of those, left out at the gateway, by reason.
    """

    meters: int
    not_billed: Mapping[str, int]
    rosters: int

    @property
    def sent(self) -> int:
        """Meter points that went out to be billed."""
        return self.meters - sum(self.not_billed.values())


def intake_of(report: Mapping[str, Any]) -> Intake:
    """Read the intake out of a gateway's report as its service answers it."""
    return Intake(
        meters=int(report["meters"]),
        not_billed={str(name): int(number) for name, number in report["excluded"].items()},
        rosters=int(report["rosters"]),
    )


@dataclass(frozen=True, slots=True)
class Accounts:
    """The line of meter points; every term counts meter points.

    Args:
        taken_in: In the month's contracts or files.
        shown: Billed, and in the figures that are shown.
        withheld: Billed, in cells whose figures are withheld.
        unreleased: Sent to be billed, and in no release yet.
        not_billed: Left out at the gateway, by reason.
        rosters_of_others: Rosters in the releases beyond those of this gateway; with one, the
            releases count other gateways' meter points too, and no line can close.
    """

    taken_in: int
    shown: int
    withheld: int
    withheld_cells: int
    unreleased: int
    not_billed: Mapping[str, int]
    rosters_of_others: int = 0

    @property
    def closes(self) -> bool:
        """Whether the terms can be true together.

        No term is below zero, they add up to what was taken in, and there are at least as many
        withheld meter points as withheld cells, none without such a cell.
        """
        left_out = sum(self.not_billed.values())
        adds_up = self.taken_in == self.shown + self.withheld + self.unreleased + left_out
        natural = min(self.withheld, self.unreleased) >= 0
        cells_fit = self.withheld >= self.withheld_cells and (
            bool(self.withheld) == bool(self.withheld_cells)
        )
        return adds_up and natural and cells_fit and not self.rosters_of_others


@dataclass(frozen=True, slots=True)
class EnergyCheck:
    """Energy of bills beside energy of load curves.

    Args:
        bills_kwh: Of bills, in the cells that both show [kWh].
        curves_kwh: Of load curves, in the same cells [kWh].
        different: Cells that both show, with different energy.
        only_bills: Cells whose energy only bills show.
        only_curves: Cells whose energy only load curves show.
    """

    bills_kwh: Decimal
    curves_kwh: Decimal
    different: tuple[Cell, ...]
    only_bills: tuple[Cell, ...]
    only_curves: tuple[Cell, ...]

    @property
    def agrees(self) -> bool:
        """The same energy in every cell that both show."""
        return not self.different


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A month's figures, joined.

    Args:
        accounts: The line of meter points; None without a gateway's report.
        energy_kwh: Their energy [kWh].
        amount_yuan: Their money [yuan].
        merged: Cells of bills that are several zones or classes, each too small for itself.
        energy: Bills beside load curves; None without a load curve.
    """

    accounts: Accounts | None
    bills: int
    energy_kwh: Decimal
    amount_yuan: Decimal
    withheld_cells: int
    merged: tuple[Cell, ...]
    energy: EnergyCheck | None


def reconcile_month(
    intake: Intake | None, *, bills: Sequence[Release], curves: Sequence[Release]
) -> Reconciliation:
    """Join what the gateway reported with what was released of the same month.

    Args:
        intake: From the gateway's report; None for a reader who may not see it.
        bills: All bill releases of the month. No roster is in two of them.
        curves: Its load-curve releases; the same curve released twice counts once.
    """
    totals = [bill_totals(bill_table(release)) for release in bills]
    shown = sum(part.bills for part in totals)
    withheld_cells = sum(part.cells_left_out for part in totals)
    return Reconciliation(
        accounts=None if intake is None else _accounts(intake, bills, shown, withheld_cells),
        bills=shown,
        energy_kwh=sum((part.energy_kwh for part in totals), Decimal(0)),
        amount_yuan=sum((part.amount_yuan for part in totals), amount_yuan(0)),
        withheld_cells=withheld_cells,
        merged=tuple(sorted({c for part in bills for c in _by_cell(part) if len(c) > 1})),
        energy=_energy(bills, curves) if bills and curves else None,
    )


def list_covered_rosters(bills: Iterable[Release]) -> frozenset[str]:
    """Rosters whose bills are in one of these releases."""
    return frozenset(name for release in bills for name in release.statements)


def _accounts(
    intake: Intake, bills: Sequence[Release], shown: int, withheld_cells: int
) -> Accounts:
    rest, covered = intake.sent - shown, len(list_covered_rosters(bills))
    if covered >= intake.rosters:
        withheld, unreleased = rest, 0
    else:
        withheld = _members_of_withheld(bills)
        unreleased = rest - withheld
    return Accounts(
        taken_in=intake.meters,
        shown=shown,
        withheld=withheld,
        withheld_cells=withheld_cells,
        unreleased=unreleased,
        not_billed=dict(intake.not_billed),
        rosters_of_others=max(0, covered - intake.rosters),
    )


def _members_of_withheld(bills: Iterable[Release]) -> int:
    """Members of cells that lack a measure, as the certificates say."""
    return sum(
        max(cell.members for cell in cells)
        for release in bills
        for cells in _by_cell(release).values()
        if any(cell.value is None for cell in cells)
    )


def _energy(bills: Sequence[Release], curves: Sequence[Release]) -> EnergyCheck:
    # The same inputs give the same outputs, bit for bit: equal digests are one curve, told twice.
    distinct = {release.outputs_digest: release for release in curves}.values()
    billed, drawn = _energy_by_cell(bills), _energy_by_cell(distinct)
    both = sorted(billed.keys() & drawn.keys())
    return EnergyCheck(
        bills_kwh=energy_kwh(sum(billed[cell] for cell in both)),
        curves_kwh=energy_kwh(sum(drawn[cell] for cell in both)),
        different=tuple(cell for cell in both if billed[cell] != drawn[cell]),
        only_bills=tuple(sorted(billed.keys() - drawn.keys())),
        only_curves=tuple(sorted(drawn.keys() - billed.keys())),
    )


def _energy_by_cell(releases: Iterable[Release]) -> dict[Cell, int]:
    """Energy [Wh] of each cell with nothing withheld in it."""
    totals: dict[Cell, int] = {}
    partly: set[Cell] = set()
    for release in releases:
        for name, cells in _by_cell(release).items():
            values = [cell.value for cell in cells if cell.measure == "energy_wh"]
            known = [value for value in values if value is not None]
            totals[name] = totals.get(name, 0) + sum(known)
            if len(known) < len(values):
                partly.add(name)
    return {name: total for name, total in totals.items() if name not in partly}


def _by_cell(release: Release) -> dict[Cell, list[ReleasedCell]]:
    cells: dict[Cell, list[ReleasedCell]] = {}
    for cell in release.cells:
        cells.setdefault(cell.parts, []).append(cell)
    return cells


def releases_of_month(
    releases: Iterable[Release], *, plan: str, bounds: tuple[str, str]
) -> tuple[Release, ...]:
    """Those of one plan over exactly one period.

    Args:
        bounds: Start and end of the period, ISO 8601 with offset, as `runs.month_bounds` gives.
    """
    start, end = map(datetime.fromisoformat, bounds)
    return tuple(
        release
        for release in releases
        if (release.plan, release.start, release.end) == (plan, start, end)
    )
