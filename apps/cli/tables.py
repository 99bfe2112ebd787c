"""Tables for people: bills, and what a run did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from apps.cli.run_result import RunResult
from gridsecure.analyst.reconciliation import Reconciliation

DIFFERING: Final = "bills that differ from the plaintext oracle"


def show_bills(document: dict[str, Any], console: Console) -> None:
    """Print bills, one table a meter point and period."""
    for meter_point_id, meter in document["meters"].items():
        for period in meter["periods"]:
            title = f"{meter_point_id}   {period['start'][:10]} – {period['end'][:10]}"
            if "cancels" in period:
                title += f"   version {period['version']}, cancels {period['cancels']['version']}"
            table = Table(title=title, title_justify="left", show_footer=True)
            table.add_column("charge", footer="total")
            table.add_column("period")
            table.add_column("tier", justify="right")
            table.add_column("quantity", justify="right")
            currency = period.get("tariff", {}).get("currency", "CNY")
            table.add_column(Text(f"rate [{currency}]"), justify="right")
            amount = Text(f"amount [{currency}]")
            table.add_column(amount, justify="right", footer=period["total"])
            for line in period["lines"]:
                table.add_row(
                    Text(line["charge"]),
                    line["tou_period"] or "",
                    "" if line["tier"] is None else str(line["tier"]),
                    line["quantity"],
                    line["rate"],
                    line["amount"],
                )
            console.print(table)
            for notice in period.get("notices", ()):
                console.print(Text(notice["text"]))
            if "adjustment" in period:
                console.print(_adjustment(period))


def _adjustment(period: dict[str, Any]) -> Table:
    """What a correction takes back and adds, line by line."""
    total = period["adjustment"]["total"]
    table = Table(title="adjustment (退补)", title_justify="left", show_footer=True)
    table.add_column("charge", footer=f"instead of {period['cancels']['total']}")
    table.add_column("period")
    table.add_column("tier", justify="right")
    table.add_column("difference", justify="right", footer=total)
    for line in period["adjustment"]["lines"]:
        tier = "" if line["tier"] is None else str(line["tier"])
        table.add_row(line["charge"], line["tou_period"] or "", tier, line["amount"])
    return table


def show_closing(result: RunResult, console: Console) -> None:
    """Print what a run did: time and bytes by stage, then the month's figures and how they join."""
    table = Table(title="What was done", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("result")
    table.add_column("seconds", justify="right")
    table.add_column("bytes", justify="right")
    for stage in result.stages:
        size = "" if stage.size is None else f"{stage.size:,}"
        table.add_row(stage.name, stage.count, f"{stage.seconds:.1f}", size)
    total = sum(stage.seconds for stage in result.stages)
    table.add_section()
    table.add_row("all", "", f"{total:.1f}", "")
    console.print(table)
    report = result.report
    summary = Table(title="Result", title_justify="left", show_header=False)
    summary.add_column()
    summary.add_column(justify="right")
    rows = {
        "meter points taken in": f"{report['meters']:,}",
        "readings": f"{report['readings']:,}",
        "  of these quarantined": f"{report['quarantined']:,}",
        "intervals estimated": f"{report['estimated']:,}",
        "bills computed on ciphertext": f"{result.bills:,}",
        DIFFERING: f"{result.mismatches:,}",
        **_shown(result.totals),
        "figures of cells released": f"{result.cells:,}",
        "figures withheld": f"{result.suppressed:,}",
    }
    for name, value in rows.items():
        style = "bold red" if name == DIFFERING and result.mismatches else None
        summary.add_row(name, value, style=style)
    console.print(summary)
    if result.totals is not None:
        for line in reconciliation_lines(result.totals):
            console.print(line)


def _shown(totals: Reconciliation | None) -> dict[str, str]:
    if totals is None:
        return {}
    return {
        "energy of cells shown in full, kWh": f"{totals.energy_kwh:,}",
        "amount of cells shown in full, yuan": f"{totals.amount_yuan:,}",
    }


def reconciliation_lines(totals: Reconciliation) -> Iterator[Text]:
    """What was taken in and what became of it, and bills beside load curves; red if they differ."""
    accounts = totals.accounts
    if accounts is not None:
        reasons = ", ".join(f"{n:,} × {name}" for name, n in sorted(accounts.not_billed.items()))
        left_out = f"{sum(accounts.not_billed.values()):,} not billed"
        cells = f"{accounts.withheld_cells:,} cell{'s' * (accounts.withheld_cells != 1)}"
        terms = [
            f"{accounts.shown:,} billed and shown in full",
            f"{accounts.withheld:,} billed, in {cells} with something withheld",
            *([f"{accounts.unreleased:,} not released yet"] if accounts.unreleased else []),
            f"{left_out} ({reasons})" if reasons else left_out,
        ]
        text = f"Meter points: {accounts.taken_in:,} taken in = {' + '.join(terms)}."
        yield (
            Text(text, style="")
            if accounts.closes
            else Text(f"{text} This does not add up.", style="bold red")
        )
    energy = totals.energy
    if energy is not None:
        sign = "=" if energy.agrees else "≠"
        text = (
            f"Energy of the cells that both show: {energy.bills_kwh:,} kWh in bills {sign} "
            f"{energy.curves_kwh:,} kWh in load curves, estimates included."
        )
        for shown, who in ((energy.only_bills, "bills"), (energy.only_curves, "load curves")):
            if shown:
                named = ", ".join(f"{zone} {name}" for zone, name in shown)
                text += f" Shown by {who} alone: {named}."
        if not energy.agrees:
            named = ", ".join(f"{zone} {name}" for zone, name in energy.different)
            text += f" Different: {named}."
        yield Text(text, style="" if energy.agrees else "bold red")
