"""The commands of `gridsecure authorisation`: an officer approves in advance, or takes it back.

They are for what comes every month. A policy says for whom a standing authorisation will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import AuthorityUrlOption, IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import PersonOption
from gridsecure.errors import InputError

with on_use():
    from gridsecure import approvals as scopes
    from gridsecure.cli import online
    from gridsecure.offices import approvals
    from gridsecure.offices import files as office_files
    from gridsecure.plans import purposes
    from gridsecure.policy import signed_policies

if TYPE_CHECKING:
    from gridsecure.offices.approvals import StandingScope

authorisation_app = typer.Typer(
    help="Approve releases of a scope in advance, until a day, or take that back.",
    no_args_is_help=True,
)


@authorisation_app.command("give")
@explain_errors
def give(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    policy: Annotated[str, typer.Option(help="Under which policy: one that ships, or a file.")],
    everything: Annotated[bool, typer.Option("--everything", help="Whatever is asked.")] = False,
    domain: Annotated[
        str | None, typer.Option(help="Only bills, load-curves, previews or queries.")
    ] = None,
    purpose: Annotated[str | None, typer.Option(help="Only one purpose, as billing.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days it holds.")] = 31,
    note: Annotated[str, typer.Option(help="Why; everybody who reads it sees it.")] = "",
) -> None:
    """Sign an authorisation for everything, for one domain or for one purpose."""
    scope = _scope(everything, domain, purpose)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        digest = approvals.give_authorisation(
            call,
            key=office_files.officer_key(key),
            scope=scope,
            policy=signed_policies.load_policy(policy).digest,
            now=online.utc_now(),
            days=days,
            note=note,
        )
    Console().print(f"Authorisation {digest} holds for {days} days.", soft_wrap=True)


@authorisation_app.command("list")
@explain_errors
def list_all(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List standing authorisations, oldest first."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        found = approvals.list_authorisations(call)
    rows = [{"digest": name, "state": state, **said.model_dump()} for name, state, said in found]

    def show(console: Console) -> None:
        table = Table("digest", "by", "for", "until", "state")
        for row in rows:
            scope = row["domain"] or row["purpose"] or row["scope"]
            told = (row["digest"][:12], f"{row['person']} ({row['role']})", scope)
            table.add_row(*map(Text, (*told, to_the_minute(row["expires_at"]), row["state"])))
        console.print(table if rows else "Nobody approves in advance.")

    print_result({"authorisations": rows}, output, show=show)


@authorisation_app.command("revoke")
@explain_errors
def revoke(
    digest: Annotated[str, typer.Argument(help="Digest of it, or its first digits.")],
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
) -> None:
    """Take an authorisation back, at once: also for what is being released by it."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        approvals.revoke_authorisation(call, digest)
    Console().print("Revoked: nothing more is released by it.")


def _scope(everything: bool, domain: str | None, purpose: str | None) -> StandingScope:
    if [everything, domain is not None, purpose is not None].count(True) == 1:
        if everything:
            return approvals.StandingScope("everything")
        for known in scopes.DOMAINS:
            if known == domain:
                return approvals.StandingScope("domain", domain=known)
        if purpose in purposes.PURPOSES:
            return approvals.StandingScope("purpose", purpose=purpose)
    raise InputError(
        "An authorisation is for everything, for one domain, or for one purpose.",
        reason="approval.scope",
        remedy=f"Give --everything, --domain ({', '.join(scopes.DOMAINS)}) or --purpose "
        f"({', '.join(purposes.PURPOSES)}).",
    )
