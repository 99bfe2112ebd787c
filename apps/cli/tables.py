"""Tables for people: bills, and what a run did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from apps.cli.run_result import RunResult
from gridsecure.billing.tariff_sources import UNCONFIRMED


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
            marks = _doubt_marks(period)
            for line in period["lines"]:
                table.add_row(
                    Text.assemble((marks.get(line.get("source"), ""), "bold red"), line["charge"]),
                    line["tou_period"] or "",
                    "" if line["tier"] is None else str(line["tier"]),
                    line["quantity"],
                    line["rate"],
                    line["amount"],
                )
            console.print(table)
            for note in _footnotes(period, marks):
                console.print(note)
            for notice in period.get("notices", ()):
                console.print(Text(notice["text"]))
            if "adjustment" in period:
                console.print(_adjustment(period))


def _doubt_marks(period: dict[str, Any]) -> dict[str, str]:
    """A mark for every source of the bill that is not confirmed, in the order of the lines."""
    sources = period.get("sources", {})
    named = [line.get("source") for line in period["lines"]]
    ordered = dict.fromkeys([*(name for name in named if name in sources), *sources])
    doubted = [name for name in ordered if sources[name]["confidence"] == UNCONFIRMED]
    return {name: f"*{number} " for number, name in enumerate(doubted, 1)}


def _footnotes(period: dict[str, Any], marks: Mapping[str, str]) -> Iterator[Text]:
    """What each mark means; a source that no line names is one of hours, limits or tax."""
    named = {line.get("source") for line in period["lines"]}
    for name, mark in marks.items():
        where = "" if name in named else ", behind hours, tiers or tax"
        title = period["sources"][name]["title"]
        yield Text.assemble((f"{mark}UNCONFIRMED{where}: ", "bold red"), title)


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
    """Print what a run did: time and bytes by stage, meters, readings, bills, mismatches."""
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
        "meter points": f"{report['meters']:,}",
        "readings": f"{report['readings']:,}",
        "  of these estimated": f"{report['estimated']:,}",
        "  quarantined": f"{report['quarantined']:,}",
        "bills computed on ciphertext": f"{result.bills:,}",
        "meter points not billed": f"{sum(report['excluded'].values()):,}",
        "bills that differ from the plaintext oracle": f"{result.mismatches:,}",
        "released cells": f"{result.cells:,} ({result.suppressed:,} suppressed, too small)",
    }
    for name, value in rows.items():
        style = "bold red" if name.startswith("bills that differ") and result.mismatches else None
        summary.add_row(name, value, style=style)
    console.print(summary)
    for reason, count in sorted(report["excluded"].items()):
        console.print(f"  not billed: {count} × {reason}")
