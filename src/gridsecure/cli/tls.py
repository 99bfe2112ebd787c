"""`gridsecure tls`: a zone's authority, and the certificates of its services."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use

with on_use():
    from gridsecure.cli import online
    from gridsecure.wire import certificates

tls_app = typer.Typer(
    help="Make a zone's certificate authority, and certificates that services show each other.",
    no_args_is_help=True,
)

AuthorityOption = Annotated[Path, typer.Option(help="Folder of the zone's authority.")]
FolderArgument = Annotated[Path, typer.Argument(help="Folder of a service's certificates.")]
DaysOption = Annotated[int, typer.Option(min=1, max=398, help="How long it is good for.")]


@tls_app.command("authority")
@explain_errors
def authority(
    folder: Annotated[Path, typer.Argument(help="Folder that is made for it.")],
    *,
    zone: Annotated[str, typer.Option(help="The zone's name, for people.")],
    host: Annotated[
        list[str], typer.Option(help="Name or address that it may sign for; repeat it.")
    ],
) -> None:
    """Make a zone's authority, and say which file the neighbours need.

    It signs for the hosts that it names and no others, whoever believes it.
    """
    made = certificates.make_authority(folder, zone=zone, hosts=host, now=online.utc_now())
    _say(f"Give the neighbours {made}. Keep {folder / certificates.CA_KEY} to yourself.")


@tls_app.command("issue")
@explain_errors
def issue(
    folder: FolderArgument,
    *,
    authority: AuthorityOption,
    service: Annotated[str, typer.Option(help="gateway, platform, authority, identity, market.")],
    host: Annotated[list[str], typer.Option(help="Name or address it answers at; repeat it.")],
    days: DaysOption = 30,
) -> None:
    """Make a key and a certificate of a service, in place of those that are there."""
    order = certificates.CertificateOrder(service, tuple(host), timedelta(days=days))
    made = certificates.issue(authority, order, output=folder, now=online.utc_now())
    _say(_described(made))


@tls_app.command("renew")
@explain_errors
def renew(
    folder: FolderArgument,
    *,
    authority: AuthorityOption,
    days: DaysOption = 30,
) -> None:
    """Make a certificate anew once less than a third of its life is left; for a daily timer."""
    now = online.utc_now()
    found = certificates.read_validity(folder / certificates.CERTIFICATE)
    if found.is_due(now):
        order = certificates.CertificateOrder(found.service, found.hosts, timedelta(days=days))
        found = certificates.issue(authority, order, output=folder, now=now)
        _say(f"Renewed. {_described(found)}")
        return
    _say(f"Not yet due. {_described(found)}")


@tls_app.command("show")
@explain_errors
def show(
    file: Annotated[Path, typer.Argument(help="A certificate (PEM).")],
) -> None:
    """Say whose the certificates in a file are, and until when they are good."""
    for one in certificates.read_certificates(file):
        _say(_described(one))


def _described(made: certificates.Validity) -> str:
    hosts = ", ".join(made.hosts)
    if made.is_authority:
        return f"{made.service}, for {hosts or 'ANY host'}, good until {made.ends:%F %R} UTC"
    named = f"{made.service or 'no service'} at {hosts or 'no host'}"
    return f"{named}, good until {made.ends:%F %R} UTC"


def _say(text: str) -> None:
    Console().print(Text(text), soft_wrap=True)
