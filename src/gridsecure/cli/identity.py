"""`gridsecure identity`: what the offices do, each on its own machine with its own keys.

Opening a pseudonym, revoking one or a person, and giving somebody a new key. The half of the
opening key never leaves this machine: it is used here, on an order that was found in a log whose
chain holds and reaches back to the head this office kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.identity_books import add_books_command
from gridsecure.cli.identity_keys import add_key_commands
from gridsecure.cli.office_options import (
    IdentityOption,
    KeyOption,
    OpenerKeyOption,
    ReferenceOption,
    SubjectOption,
    UrlOption,
    WitnessOption,
)
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError

with on_use():
    from gridsecure.cli import office_client, office_steps
    from gridsecure.cli import office_words as words
    from gridsecure.offices import files as office_files

identity_app = typer.Typer(
    help="Open and revoke pseudonyms, two offices together.", no_args_is_help=True
)
add_key_commands(identity_app)
add_books_command(identity_app)


@identity_app.command()
@explain_errors
def warrant(
    *, url: UrlOption, key: KeyOption, subject: SubjectOption, reference: ReferenceOption
) -> None:
    """Order to open one pseudonym."""
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        body = {"subject": subject, "reference": reference}
        words.show_warrant(office.call("POST", "/warrants", json=body), Console())


@identity_app.command()
@explain_errors
def warrants(*, url: UrlOption, key: KeyOption) -> None:
    """List every order to open and whom it waits for."""
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        words.show_warrants(office.call("GET", "/warrants"), Console())


@identity_app.command()
@explain_errors
def share(
    order: Annotated[str, typer.Argument(help="Hash of the order's log entry.")],
    *,
    url: UrlOption,
    key: KeyOption,
    opener_key: OpenerKeyOption,
    witness: WitnessOption,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the share for the dashboard; send nothing.")
    ] = False,
) -> None:
    """Check an order in the log and give this office's share."""
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        computed = office_steps.compute_share(
            office, order, tools=office_steps.Tools(opener_key, witness)
        )
        words.show_checked(computed, notes)
        if only_print:
            typer.echo(computed.share.hex())
            return
        body = {"opener": office.opener, "share": computed.share.hex()}
        given = office.call("POST", f"/warrants/{order}/shares", json=body)
        console = Console()
        words.say(console, f"The share of the {office.opener} is given.")
        words.show_warrant(given, console)


@identity_app.command()
@explain_errors
def result(
    order: Annotated[str, typer.Argument(help="Hash of the order's log entry.")],
    *,
    url: UrlOption,
    key: KeyOption,
) -> None:
    """Read who a pseudonym is, after both shares, for a quarter of an hour."""
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        words.show_result(office.call("GET", f"/warrants/{order}/result"), Console())


@identity_app.command()
@explain_errors
def revoke(
    *,
    url: UrlOption,
    key: KeyOption,
    subject: SubjectOption,
    reference: ReferenceOption,
    platform_url: Annotated[str, typer.Option(help="Platform to bring the deny list to.")] = "",
) -> None:
    """Revoke one pseudonym at once. The person behind it stays unknown, and is not blocked."""
    with office_client.sign_in_officer(
        office_client.Services(url, platform_url), key=key
    ) as office:
        body = {"subject": subject, "reference": reference}
        done = office.call("POST", "/revocations", json=body)
        console = Console()
        words.say(console, f"{done['revoked']} pseudonyms that were active are revoked.")
        _deliver(office, console)


@identity_app.command("revoke-person")
@explain_errors
def revoke_person(  # noqa: PLR0913 - one parameter an option
    *,
    url: UrlOption,
    key: KeyOption,
    identity: Annotated[str | None, typer.Option(help="Whom, as in the books.")] = None,
    reference: Annotated[str | None, typer.Option(help="The order's number.")] = None,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Only what a replaced key had; block nobody.")
    ] = False,
    search: Annotated[
        str | None, typer.Option("--continue", help="Do this office's steps of a search.")
    ] = None,
    opener_key: Annotated[Path | None, typer.Option(help="Half of the opening key.")] = None,
    witness: Annotated[Path | None, typer.Option(help="Heads of the log kept here.")] = None,
    platform_url: Annotated[str, typer.Option(help="Platform to bring the deny list to.")] = "",
) -> None:
    """Order to find and revoke all a person has, or do this office's steps of such an order."""
    is_order = search is None
    if is_order == (identity is None or reference is None) or (not is_order and replaced):
        raise _either()
    if not is_order and (opener_key is None or witness is None):
        raise _either()
    with office_client.sign_in_officer(
        office_client.Services(url, platform_url), key=key
    ) as office:
        console = Console()
        if search is None or opener_key is None or witness is None:
            body = {"identity": identity, "reference": reference, "replaced": replaced}
            words.show_search(office.call("POST", "/person-searches", json=body), console)
            return
        tools = office_steps.Tools(opener_key, witness)
        state = office_steps.search_steps(
            office, search, tools=tools, report=lambda text: words.say(notes, text)
        )
        words.show_search(state, console)
        if not state["waiting_for"]:
            _deliver(office, console)


@identity_app.command()
@explain_errors
def block(
    *, url: UrlOption, key: KeyOption, identity: IdentityOption, reference: ReferenceOption
) -> None:
    """Give an identity no new credential; what it has ends with its period."""
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        body = {"identity": identity, "reference": reference}
        is_new = office.call("POST", "/blocks", json=body)["blocked"]
        words.say(Console(), "Blocked from now on." if is_new else "It was blocked before.")


@identity_app.command("verify-log")
@explain_errors
def verify_log(*, url: UrlOption, key: KeyOption, witness: WitnessOption) -> None:
    """Recompute both evidence logs against the heads this office kept, and keep the new ones."""
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        for name in office_files.LOGS:
            log = office_client.fetch_verified_log(office, name, witness=witness)
            words.show_log(log, Console(), name=name)


def _deliver(office: office_client.Office, console: Console) -> None:
    """Bring the deny list to the platform, if one was named."""
    if not office.services.platform:
        words.say(console, "Next: bring the deny list to the platform: --platform-url.")
        return
    known = office.deliver("/deny-lists", office.call("GET", "/deny-list"))
    words.say(console, f"The platform refuses {known['subjects']} pseudonyms now.")


def _either() -> InputError:
    return InputError(
        "Give either a new order or one already under way.",
        reason="office.options",
        remedy="Give --identity and --reference, or --continue with --opener-key and --witness.",
    )
