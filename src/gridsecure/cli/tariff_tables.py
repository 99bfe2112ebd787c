"""Tables of `gridsecure tariff list`, `check` and `diff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.tariff_check import Checked
from gridsecure.statements.wording import Language
from gridsecure.tariffs.calendar import months_text
from gridsecure.tariffs.diff import ADDED, REMOVED, Change
from gridsecure.tariffs.sources import UNCONFIRMED
from gridsecure.tariffs.tariff import load_tariff

_SIGNS = {ADDED: ("+", "green"), REMOVED: ("-", "red")}


def wide(console: Console) -> Console:
    """Give a table room where its width is nobody's screen."""
    return console if console.is_terminal else Console(width=160, file=console.file)


def show_list(
    catalogue: Mapping[str, Sequence[Path]], *, language: Language, console: Console
) -> None:
    """Print every edition of the catalogue with how many of its figures are not confirmed."""
    table = Table(title="Catalogue", title_justify="left")
    table.add_column("tariff", no_wrap=True)
    table.add_column("valid from", no_wrap=True)
    table.add_column("to before", no_wrap=True)
    table.add_column("UNCONFIRMED", justify="right")
    table.add_column("name")
    for paths in catalogue.values():
        for path in paths:
            tariff = load_tariff(path)
            doubted = {s.source_id for s in tariff.sources if s.confidence == UNCONFIRMED}
            count = sum(source in doubted for _, source in tariff.named_sources)
            name = tariff.name_zh if language is Language.CHINESE else tariff.name_en
            table.add_row(
                path.stem,
                str(tariff.valid_from),
                str(tariff.valid_to or ""),
                Text(str(count) if count else "", style="bold red"),
                Text(name),
            )
    console.print(table)


def show_check(path: Path, checked: Checked, console: Console) -> None:
    """Print what was found in one file."""
    heading = Text(path.name, style="bold")
    if checked.tariff is not None:
        heading.append(f"  {checked.tariff.tariff_id} {checked.tariff.version}", style="")
    months = f"{checked.months} months compiled for encrypted billing"
    heading.append("  refused" if checked.problems else f"  good, {months}",
                   style="bold red" if checked.problems else "green")  # fmt: skip
    console.print(heading)
    for problem in checked.problems:
        when = f" ({', '.join(problem.months)})" if problem.months else ""
        console.print(Text(f"  {problem.reason}  {problem.message}{when}", style="red"))
    for warning in checked.warnings:
        console.print(Text(f"  warning: {warning}", style="yellow"))


def show_diff(changes: Sequence[Change], console: Console) -> None:
    """Print what differs, one row a change, in the order of the file's parts."""
    if not changes:
        console.print("The two say the same.")
        return
    table = Table(show_header=True)
    for name in ("", "part", "row", "months", "before", "after"):
        table.add_column(name)
    for change in changes:
        sign, style = _SIGNS.get(change.kind, ("~", "yellow"))
        table.add_row(
            Text(sign, style=style),
            change.part,
            Text(change.key),
            months_text(change.months) if change.months else "",
            Text(change.before or ""),
            Text(change.after or ""),
        )
    console.print(table)
