"""`gridsecure query ask`: a question asked sealed, under a grant that names nobody."""

from __future__ import annotations

from typing import Annotated

import typer

from gridsecure.cli.analyst import IdentityOption, WalletOption, patience
from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat
from gridsecure.cli.query import (
    RESEARCH,
    ChartOption,
    CsvOption,
    ParquetOption,
    PurposeOption,
    QuestionArgument,
    SeriesOption,
    print_answer,
    read_question,
)

with on_use():
    from gridsecure.analyst import grants, sealed_asking
    from gridsecure.cli import online, query_files, series_headers
    from gridsecure.client import analysts

PlatformOption = Annotated[str, typer.Option(help="Address of the compute platform.")]
AuthorityOption = Annotated[str, typer.Option(help="Address of the key authority.")]
AuthorityKeyOption = Annotated[str, typer.Option(help="The key authority's key (130 digits).")]
SizeOption = Annotated[
    int, typer.Option(help="Public size of the sealed question [bytes]; 0 takes the smallest.")
]

QueryKeyOption = Annotated[
    str,
    typer.Option(
        metavar="THUMBPRINT",
        help="The key authority's query key, as others see it; the wallet keeps it.",
    ),
]


@explain_errors
def ask(  # noqa: PLR0913 - one parameter an option
    question: QuestionArgument,
    *,
    wallet: WalletOption,
    identity_url: IdentityOption,
    platform_url: PlatformOption,
    authority_url: AuthorityOption,
    authority_key: AuthorityKeyOption,
    query_key: QueryKeyOption = "",
    size: SizeOption = 0,
    series: SeriesOption = None,
    purpose: PurposeOption = RESEARCH,
    csv: CsvOption = None,
    parquet: ParquetOption = None,
    chart: ChartOption = None,
    wait: Annotated[int, typer.Option(min=0, help="Give up after so many seconds.")] = 600,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Ask a question sealed, and wait for its answer. It takes one grant for each period."""
    asked = read_question(question)
    joining = series_headers.joining_of(series, purpose=purpose)
    with analysts.Analyst(
        grants.QueryAddresses(identity_url, platform_url, authority_url),
        authority_key=authority_key,
        wallet=wallet,
        query_key=query_key,
        clock=online.utc_now,
        open_connection=online.open_unlinked,
    ) as analyst:
        found = analyst.ask(asked, size=size, joining=joining, pause=patience(wait))
    _tell_basis(found)
    files = query_files.AnswerFiles(csv, parquet, chart)
    is_told = print_answer(found.answer, files=files, output=output)
    notes.print(f"{found.left} of {found.limit} grants are left this month.")
    if not is_told:
        raise typer.Exit(1)


def _tell_basis(found: sealed_asking.SealedAnswer) -> None:
    """Say what an answer rests on, and how exact it is."""
    for release in found.answer.releases:
        notes.print(f"release {release.release_id}", style="dim")
    for closing in found.closings:
        notes.print(f"over closing list {closing}", style="dim")
    if found.left_out:
        notes.print(f"{found.left_out} rosters are left out: their days are divided otherwise.")
    for noise in found.noise:
        notes.print(
            f"noise of ε {noise.epsilon}: each total is within {noise.accuracy / 1000:,.3f} kWh "
            "of the exact one in 95 of 100 cases",
            style="dim",
        )
