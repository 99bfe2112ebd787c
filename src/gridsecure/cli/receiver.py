"""The commands of `gridsecure receiver`: who a gateway or the key authority tells of events.

Each service has receivers of its own: months and exceptions are the gateway's to tell, releases the
key authority's.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption, KeyOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.errors import InputError

with on_use():
    from gridsecure.cli import online

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridsecure.identity_messages import Audience

receiver_app = typer.Typer(
    help="Register who is told of events, and look after notices.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="The receiver.")]
GatewayOption = Annotated[
    str, typer.Option("--gateway", help="Address of the gateway.", callback=without_slash)
]
AuthorityOption = Annotated[
    str, typer.Option("--authority", help="Address of the key authority.", callback=without_slash)
]


@contextmanager
def _service(identity: str, key: Any, gateway: str, authority: str) -> Iterator[Callable[..., Any]]:
    """Calls the routes of receivers of the one service that is named, as an operator.

    Raises:
        InputError: None or both are named (`receiver.service`).
    """
    if bool(gateway) == bool(authority):
        raise InputError(
            "One service is to be named.",
            reason="receiver.service",
            remedy="Name the gateway with --gateway, or the key authority with --authority.",
        )
    name: Audience = "gateway" if gateway else "authority"
    with online.person(identity, key=key, services={name: gateway or authority}) as call:

        def ask(method: str, path: str = "", **options: Any) -> Any:
            return call(name, method, f"/v1/receivers{path}", **options)

        yield ask


@receiver_app.command("register")
@explain_errors
def register(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="Up to 64 small letters, digits and hyphens.")],
    *,
    identity: IdentityUrlOption,
    key: KeyOption,
    address: Annotated[str, typer.Option(help="Where it is told (https://…).")],
    event: Annotated[
        list[str],
        typer.Option(
            help="What it is told of; may be given again. At the gateway cycle.done, "
            "cycle.corrected and exception.opened, at the key authority release.done."
        ),
    ],
    gateway: GatewayOption = "",
    authority: AuthorityOption = "",
) -> None:
    """Register a receiver, or replace what it is told, and where; prints the service's key."""
    wanted = {"address": address, "events": event}
    with _service(identity, key, gateway, authority) as ask:
        done = ask("PUT", f"/{name}", json=wanted)
    typer.echo(f"Registered {name}, told of {', '.join(done['events'])}.")
    typer.echo(f"The key that its notices are signed with: {done['service_key']}")


@receiver_app.command("list")
@explain_errors
def list_receivers(
    *,
    identity: IdentityUrlOption,
    key: KeyOption,
    gateway: GatewayOption = "",
    authority: AuthorityOption = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List a service's receivers."""
    with _service(identity, key, gateway, authority) as ask:
        found = ask("GET")

    def show(console: Console) -> None:
        table = Table("receiver", "told of", "address")
        for one in found:
            table.add_row(one["name"], ", ".join(one["events"]), Text(one["address"]))
        console.print(table)

    print_result({"receivers": found}, output, show=show)


@receiver_app.command("notices")
@explain_errors
def notices(  # noqa: PLR0913 - one parameter an option
    name: NameArgument,
    *,
    identity: IdentityUrlOption,
    key: KeyOption,
    gateway: GatewayOption = "",
    authority: AuthorityOption = "",
    given_up: Annotated[bool, typer.Option(help="Only those that were given up.")] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what a receiver was told or will be, and what was given up."""
    asked = {"state": "given-up"} if given_up else {}
    with _service(identity, key, gateway, authority) as ask:
        found = ask("GET", f"/{name}/notices", params=asked)

    def show(console: Console) -> None:
        table = Table("event", "about", "how many", "log entry", "state", "tried", "next")
        for one in found:
            following = to_the_minute(one["due_at"]) if one["due_at"] else ""
            table.add_row(
                *(one["event"], one["subject"][:16], f"{one['count']:,}", str(one["entry"])),
                *(one["state"], str(one["attempts"]), following),
            )
        console.print(table)

    print_result({"notices": found}, output, show=show)


@receiver_app.command("retry")
@explain_errors
def retry(
    name: NameArgument,
    *,
    identity: IdentityUrlOption,
    key: KeyOption,
    gateway: GatewayOption = "",
    authority: AuthorityOption = "",
) -> None:
    """Send again the notices to a receiver that were given up."""
    with _service(identity, key, gateway, authority) as ask:
        found = ask("POST", f"/{name}/notices/retries")
    typer.echo(f"Notices that are sent again within a minute: {found['notices']:,}.")


@receiver_app.command("remove")
@explain_errors
def remove(
    name: NameArgument,
    *,
    identity: IdentityUrlOption,
    key: KeyOption,
    gateway: GatewayOption = "",
    authority: AuthorityOption = "",
) -> None:
    """Tell a receiver nothing more; what waits for it is given up."""
    with _service(identity, key, gateway, authority) as ask:
        ask("DELETE", f"/{name}")
    typer.echo(f"Removed {name}.")
