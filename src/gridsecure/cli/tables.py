"""Tables for people: bills, and what a run did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.analyst.merged_cells import name_cell
from gridsecure.analyst.reconciled_words import RECONCILED_PHRASES, line_terms
from gridsecure.analyst.reconciliation import Cell, EnergyCheck, Reconciliation
from gridsecure.cli.run_result import MonthResult, RunResult
from gridsecure.month_texts import day_text

DIFFERING: Final = "bills that differ from the plaintext oracle"


def show_bills(document: dict[str, Any], console: Console) -> None:
    """Print bills, one table a meter point and period."""
    for meter_point_id, meter in document["meters"].items():
        for period in meter["periods"]:
            title = f"{meter_point_id}   {day_text(period['start'])} – {day_text(period['end'])}"
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
    console.print(_month_table(result.months))
    for approval in dict.fromkeys(one for month in result.months for one in month.approvals):
        console.print(f"Approved: {approval}", highlight=False)
    for month in result.months:
        if month.totals is not None:
            if len(result.months) > 1:
                console.print(f"{month.month}:", style="bold")
            for line in reconciliation_lines(month.totals):
                console.print(line)


def _month_table(months: Sequence[MonthResult]) -> Table:
    """What came of each month, a column each."""
    table = Table(title="Result", title_justify="left", show_header=len(months) > 1)
    table.add_column()
    for month in months:
        table.add_column(month.month, justify="right")
    told = [_told(month) for month in months]
    differs = any(month.mismatches for month in months)
    for name in told[0]:
        style = "bold red" if name == DIFFERING and differs else None
        table.add_row(name, *(one.get(name, "") for one in told), style=style)
    return table


def _told(month: MonthResult) -> dict[str, str]:
    """The figures of a month, as they are shown."""
    report = month.report
    return {
        "meter points taken in": f"{report['meters']:,}",
        "readings": f"{report['readings']:,}",
        "  of these quarantined": f"{report['quarantined']:,}",
        "intervals estimated": f"{report['estimated']:,}",
        "bills computed on ciphertext": f"{month.bills:,}",
        DIFFERING: f"{month.mismatches:,}",
        **_shown(month.totals),
        "figures of groups released": f"{month.cells:,}",
        "figures withheld": f"{month.suppressed:,}",
    }


def _shown(totals: Reconciliation | None) -> dict[str, str]:
    if totals is None:
        return {}
    return {
        "energy of groups shown in full, kWh": f"{totals.energy_kwh:,.3f}",
        "amount of groups shown in full, yuan": f"{totals.amount_yuan:,.2f}",
    }


def reconciliation_lines(totals: Reconciliation) -> Iterator[Text]:
    """What was taken in and what became of it, and bills beside load curves; red if they differ."""
    accounts = totals.accounts
    if accounts is not None:
        text = _english("line", **line_terms(accounts))
        reasons = ", ".join(f"{name} {n:,}" for name, n in sorted(accounts.not_billed.items()))
        text += f" ({reasons})." if reasons else "."
        if not accounts.closes:
            text += f" {_english('line_open')}"
        yield Text(text, style="" if accounts.closes else "bold red")
    if totals.merged:
        yield Text(_english("merged_cells", cells=_named(totals.merged)))
    if totals.energy is not None:
        yield from _energy_lines(totals.energy)


def _energy_lines(energy: EnergyCheck) -> Iterator[Text]:
    bills, curves = f"{energy.bills_kwh:,.3f}", f"{energy.curves_kwh:,.3f}"
    if energy.agrees:
        yield Text(_english("energy_agrees", kwh=bills))
    else:
        named = _named(energy.different)
        text = _english("energy_differs", bills=bills, curves=curves, cells=named)
        yield Text(text, style="bold red")
    for key, cells in (
        ("energy_only_bills", energy.only_bills),
        ("energy_only_curves", energy.only_curves),
    ):
        if cells:
            yield Text(_english(key, cells=_named(cells)))


def _named(cells: Sequence[Cell]) -> str:
    return ", ".join(" ".join(name_cell(cell)) for cell in cells)


def _english(key: str, **values: str) -> str:
    return RECONCILED_PHRASES[key][1].format(**values)
