"""`gridsecure init` and `join`: a zone's folder made, and completed by neighbours' cards."""

from __future__ import annotations

import os
import pwd
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.card import line_of
from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import InputError

with on_use():
    from gridsecure.cli import online, zone_setup, zone_units

if TYPE_CHECKING:
    from gridsecure.cli.zone_cards import Zone
    from gridsecure.cli.zone_setup import Prepared


class ZoneOption(StrEnum):
    """What can be made: zones with a process, offices with keys alone, a person's key."""

    IDENTITY = "identity"
    GATEWAY = "gateway"
    PLATFORM = "platform"
    WORKER = "worker"
    AUTHORITY = "authority"
    VAULT = "vault"
    MARKET = "market"
    ENCRYPTION = "encryption"
    DASHBOARD = "dashboard"
    BILLING_OFFICE = "billing-office"
    REGISTRATION_OFFICE = "registration-office"
    UTILITY = "utility"
    REGULATOR = "regulator"
    PERSON = "person"


_ROLES: Final[dict[str, tuple[str, ...]]] = {"utility": ("custodian",), "regulator": ("regulator",)}
_SOCKET: Final = "/run/gridsecure-vault/vault.sock"
_USUALLY_NEEDED: Final = 2

FolderArgument = Annotated[Path, typer.Argument(help="The zone's folder.")]
CardsArgument = Annotated[
    list[Path] | None, typer.Argument(help="Cards of neighbours, as their `init` wrote them.")
]
AddressOption = Annotated[str, typer.Option(help="Where neighbours reach it, https://HOST.")]
ListenOption = Annotated[str, typer.Option(help="Where its process listens, HOST:PORT.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A further setting, NAME=VALUE (docs: settings); repeat it."),
]
AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        help="The thumbprint of a known key that may have the other name and roles that its newer "
        "card says; repeat it."
    ),
]
PolicyOption = Annotated[str, typer.Option(help="Of the key authority: its first release policy.")]


@explain_errors
def init(  # noqa: PLR0913 - one parameter an option
    zone: Annotated[ZoneOption, typer.Argument(help="What is made.")],
    folder: FolderArgument,
    cards: CardsArgument = None,
    *,
    name: Annotated[str, typer.Option(help="Of a person or office.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="Of a person; repeat it.")] = None,
    address: AddressOption = "",
    listen: ListenOption = "",
    user: Annotated[str, typer.Option(help="The system's user that its process runs as.")] = "",
    socket: Annotated[str, typer.Option(help="Of a vault: where it listens.")] = "",
    policy: PolicyOption = "",
    own: SetOption = None,
    needed: Annotated[
        int, typer.Option(min=2, help="Of a vault: how many custodians unlock it.")
    ] = _USUALLY_NEEDED,
    accept_roles: AcceptOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Make a zone's keys, databases, folders, settings, unit and card; nothing is overwritten.

    The same call again completes what is there. A vault takes the cards of its custodians here.
    """
    kind: Zone = zone.value
    port = zone_units.PORTS.get(kind)
    facts = zone_setup.ZoneFacts(
        zone=kind,
        name=name or ("" if zone is ZoneOption.PERSON else kind),
        roles=tuple(role or _ROLES.get(kind, ())),
        address=address or (f"http://127.0.0.1:{port}" if port else ""),
        listen=listen or (f"127.0.0.1:{port}" if port else ""),
        user=user or _usual_user(kind),
        socket=socket or (_SOCKET if zone is ZoneOption.VAULT else ""),
        policy=policy,
        own=read_own(own),
    )
    now = online.utc_now()
    done = zone_setup.init_zone(
        folder, facts, cards or [], needed=needed, now=now, accepted=accept_roles or ()
    )
    _tell(done, output)


@explain_errors
def join(  # noqa: PLR0913 - one parameter an option
    folder: FolderArgument,
    cards: CardsArgument = None,
    *,
    address: AddressOption = "",
    listen: ListenOption = "",
    policy: PolicyOption = "",
    own: SetOption = None,
    accept_roles: AcceptOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Take in neighbours' cards, or change a choice, and write settings, unit and card anew.

    Compare each neighbour's thumbprint, as it is printed here and by `gridsecure card show`, with
    the neighbour by another way before its card is believed.
    """
    changes = {"address": address, "listen": listen, "policy": policy, "own": read_own(own)}
    accepted = accept_roles or ()
    now = online.utc_now()
    done = zone_setup.join_cards(folder, cards or [], changes, now=now, accepted=accepted)
    _tell(done, output)


def read_own(texts: list[str] | None) -> dict[str, str]:
    """Settings of an operator's own, by name.

    Raises:
        InputError: One is not NAME=VALUE (`setup.setting`).
    """
    settings = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(
                "A setting is given as NAME=VALUE.",
                reason="setup.setting",
                remedy="Names are those of the page of settings without GRIDSECURE_ZONE_, as "
                "connections=8; VALUE empty takes one away.",
            )
        settings[name.lower()] = value
    return settings


def _usual_user(zone: str) -> str:
    """Whoever makes the folder; the superuser gives it to a user of the zone's own."""
    return f"gs-{zone}" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _tell(done: Prepared, output: OutputFormat) -> None:
    told = zone_setup.describe(done)
    print_result(told, output, show=lambda console: _show(told, console))


def _show(told: dict[str, Any], console: Console) -> None:
    made = "Made" if told["is_new"] else "There is"
    lines = {made: f"the {told['zone']} {told['name']} in {told['folder']}"}
    lines |= {
        word: str(told[name])
        for word, name in {
            "Card": "card", "Thumbprint": "thumbprint", "Settings": "settings", "Unit": "unit",
        }.items()
        if name in told
    }  # fmt: skip
    if told["missing"]:
        lines["Wanted"] = f"cards of {', '.join(told['missing'])} (gridsecure join)"
    elif "unit" in told:
        lines["Next"] = "gridsecure doctor " + told["folder"]
    rows = [*lines.items(), *(("Card of", line_of(card)) for card in told["cards"])]
    if any(card["is_new"] for card in told["cards"]):
        rows.append(("Compare", "each new thumbprint with the neighbour, by another way"))
    for word, line in rows:
        console.print(Text(f"{word:<10} {line}"), soft_wrap=True)
