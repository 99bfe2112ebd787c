"""`gridsecure query series`: an owner describes a table that analysts may join with totals."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result

with on_use():
    from gridsecure.cli import series_headers


class PutTogether(StrEnum):
    """How values of shorter times become one of a longer."""

    SUM = "sum"
    MEAN = "mean"


class SeriesRole(StrEnum):
    """Who asks."""

    STAFF = "staff"
    ANALYST = "analyst"


@explain_errors
def describe_series(  # noqa: PLR0913 - one parameter an option
    table: Annotated[Path, typer.Argument(help="Times or groups, and values (CSV).")],
    *,
    name: Annotated[str, typer.Option(help="What questions call it, as weather.")],
    owner: Annotated[str, typer.Option(help="Whose it is.")],
    unit: Annotated[str, typer.Option(help="Of its values, as °C.")],
    timezone: Annotated[str, typer.Option(help="Of times without offset.")] = "Asia/Shanghai",
    put_together: Annotated[
        PutTogether | None, typer.Option(help="How values of shorter times become one.")
    ] = None,
    role: Annotated[list[SeriesRole] | None, typer.Option(help="For whom; repeat it.")] = None,
    purpose: Annotated[list[str] | None, typer.Option(help="What for; repeat it.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="The first day of use.")] = None,
    until: Annotated[str | None, typer.Option(help="The day when use ends.")] = None,
    least: Annotated[int, typer.Option(min=0, help="Fewest meter points of a group.")] = 0,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write the header of a series beside its table: owner, unit, policy and digest."""
    policy = {
        "roles": [str(one) for one in role] if role else None,
        "purposes": purpose or None,
        "first": first,
        "until": until,
        "least_meter_points": least,
    }
    said = {"name": name, "owner": owner, "unit": unit, "timezone": timezone}
    if put_together is not None:
        said["put_together"] = str(put_together)
    written = series_headers.write_series(table, said=said, policy=policy)
    document = {"name": name, "digest": written.digest, "rows": series_headers.count(written)}
    line = f"{document['rows']} values of {name}, pinned as {name}@{written.digest}"
    print_result(document, output, show=lambda console: console.print(Text(line), soft_wrap=True))
