"""`gridsecure doctor`: what is wrong with a zone, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result

with on_use():
    from gridsecure.cli import doctor_checks, online, zone_setup

_MARKS: Final = {"ok": "ok", "warning": "WARN", "failure": "FAIL"}


@explain_errors
def doctor(
    folder: Annotated[Path, typer.Argument(help="The zone's folder.")],
    *,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check a zone: keys, settings, databases, disk, kernel, neighbours, clocks, versions.

    Changes nothing. Ends with status 1 if anything fails; warnings alone do not.
    """
    facts = zone_setup.read_facts(folder)
    found = doctor_checks.examine(folder, facts, now=online.utc_now)
    checks = [
        {"check": one.check, "state": one.state, "said": one.said, "remedy": one.remedy}
        for one in found
    ]
    is_well = all(one.state != "failure" for one in found)
    told = {"zone": facts.zone, "is_well": is_well, "checks": checks}
    print_result(told, output, show=lambda console: _show(told, console))
    if not is_well:
        raise typer.Exit(1)


def _show(told: dict[str, Any], console: Console) -> None:
    for one in told["checks"]:
        line = f"{_MARKS[one['state']]:<5} {one['check']:<16} {one['said']}"
        console.print(Text(line), soft_wrap=True)
        if one["remedy"]:
            console.print(Text(f"      {'':<16} {one['remedy']}"), soft_wrap=True)
