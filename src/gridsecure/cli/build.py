"""`gridsecure build`: what software runs, here and at services, and what its maker signed of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result

with on_use():
    from gridsecure import builds
    from gridsecure import messages as signed_messages
    from gridsecure.analyst import releases
    from gridsecure.cli import online
    from gridsecure.offices import files as office_files
    from gridsecure.policy import signed_policies
    from gridsecure.wire import attested, services, words
    from gridsecure.wire import client as clients

build_app = typer.Typer(
    help="Say what software runs, and hold services to what its maker signed.",
    no_args_is_help=True,
)

MakerOption = Annotated[
    str, typer.Option("--maker", help="The maker's public key (130 hexadecimal digits).")
]


@build_app.command("show")
@explain_errors
def show(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """Measure the software that is installed here."""
    _print(builds.measure_build(), output)


@build_app.command("sign")
@explain_errors
def sign(
    file: Annotated[Path, typer.Argument(help="Where the statement goes, as build.json.")],
    *,
    key: Annotated[Path, typer.Option(help="The maker's key file.")],
) -> None:
    """Sign, as its maker, the software that is installed here."""
    own = office_files.officer_key(key)
    measured = builds.measure_build()
    signed = signed_messages.sign_message(measured, key=own)
    office_files.write_signed(file, signed, is_public=True)
    Console().print(f"Signed as {own.public_key.point.hex()}", soft_wrap=True)


@build_app.command("check")
@explain_errors
def check(
    url: Annotated[str, typer.Argument(help="Address of a service.")],
    *,
    maker: MakerOption,
    policy: Annotated[
        str, typer.Option(help="A policy that ships, or a file: what has to be in force there.")
    ] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check that a service says it runs a build that its maker signed, and under which policy."""
    wanted = signed_policies.load_policy(policy) if policy else None
    pinned = releases.pin_authority(maker).key
    with online.open_connection() as http:
        client = clients.Client(http, words.PeopleWords("service"), url=url)
        about = client.read(client.get("/about"), services.About)
    build = attested.check_about(about, maker=pinned)
    if wanted is not None:
        own = services.PolicyStated(name=wanted.name, version=wanted.version, digest=wanted.digest)
        attested.check_policy(about, own=own)
    _print(build, output, about.policy.model_dump() if about.policy else {})


def _print(
    build: builds.BuildStatement, output: OutputFormat, policy: dict[str, Any] | None = None
) -> None:
    document: dict[str, Any] = dict(build.parts)
    document |= {f"policy_{name}": part for name, part in (policy or {}).items()}
    print_result(document, output, show=lambda console: _show(document, console))


def _show(document: dict[str, Any], console: Console) -> None:
    for name, part in document.items():
        console.print(Text(f"{name:<14} {part}"), soft_wrap=True)
