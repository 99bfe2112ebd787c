"""`gridsecure query try`: what would become of a question, before a grant is spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gridsecure.cli.analyst import IdentityOption, WalletOption
from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.query import QuestionArgument, read_question
from gridsecure.cli.query_ask import AuthorityKeyOption, AuthorityOption, QueryKeyOption, SizeOption

with on_use():
    from gridsecure.analyst import asking, grants, query_trials, releases
    from gridsecure.cli import online

if TYPE_CHECKING:
    from gridsecure.trial_answers import TrialAnswer, TriedGroup

NewPassOption = Annotated[
    bool,
    typer.Option(
        "--new-pass", help="Take another pass: trials of one pass are seen to be one asker's."
    ),
]


@explain_errors
def try_out(  # noqa: PLR0913 - one parameter an option
    question: QuestionArgument,
    *,
    wallet: WalletOption,
    identity_url: IdentityOption,
    authority_url: AuthorityOption,
    authority_key: AuthorityKeyOption,
    query_key: QueryKeyOption = "",
    size: SizeOption = 0,
    new_pass: NewPassOption = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Try a question sealed: whether it is allowed, or why not, what it costs, what is near it.

    It takes no grant; nothing is decrypted, and nothing is entered in any log.
    """
    asked = read_question(question)
    with online.open_unlinked() as http:
        client = asking.Asking(
            http,
            grants.QueryAddresses(identity_url, "", authority_url),
            releases.pin_authority(authority_key),
            online.utc_now,
            lambda _progress: None,
            query_key,
        )
        answers = list(
            query_trials.try_question(client, wallet, asked, size=size, new_pass=new_pass)
        )
    document = {"trials": [answer.model_dump() for answer in answers]}
    print_result(document, output, show=lambda console: _show(answers, console))
    notes.print(f"{answers[-1].trials_left} trials are left of this pass.")
    if not all(answer.is_allowed for answer in answers):
        raise typer.Exit(1)


def _show(answers: Sequence[TrialAnswer], console: Console) -> None:
    for answer in answers:
        _show_one(answer, console)


def _show_one(answer: TrialAnswer, console: Console) -> None:
    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    if answer.reason:
        say(f"Refused ({answer.reason}): {answer.message}")
        say(f"  {answer.remedy}")
    else:
        say(f"Allowed: {len(answer.told)} groups would be told, {answer.resolution}")
    for group in answer.withheld:
        said = ", ".join(group.conflicts) or "what was told before"
        say(f"  withheld    {_named(group)}, beside {said}")
    if answer.cost is not None:
        cost = answer.cost
        say(
            f"  reads       {cost.columns:,} columns, {cost.objects:,} objects, {cost.bytes:,}"
            f" bytes; some {cost.seconds:,} s of the authority's work"
        )
    for one in answer.budgets:
        what = f"{one.measure} of {one.customer_class}, {one.resolution}"
        say(f"  spends      1 of {one.left:,} left of {one.of:,} a month: {what}")
    if noise := answer.noise:
        say(
            f"  noise       ε {noise.epsilon} of {noise.left} left of {noise.of}, for good; totals"
            f" within {noise.accuracy / 1000:,.3f} kWh in 95 of 100 cases"
        )
    if answer.approvals:
        say(f"  approved by {', '.join(answer.approvals)}")
    if answer.nearest:
        say(f"  allowed is  {answer.nearest}")
    for digest in answer.closings:
        notes.print(f"over closing list {escape(digest)}", style="dim")


def _named(group: TriedGroup) -> str:
    return " ".join(group.values) or "all"
