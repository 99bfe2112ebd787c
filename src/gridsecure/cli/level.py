"""`gridsecure level`: security levels, and whether policies, custody and services keep one."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import AuthenticityError, InputError

with on_use():
    from gridsecure.analyst import releases
    from gridsecure.cli import online
    from gridsecure.plans import cells
    from gridsecure.policy import language as policies
    from gridsecure.policy import levels, signed_policies
    from gridsecure.wire import attested, services, words
    from gridsecure.wire import client as clients

level_app = typer.Typer(
    help="Security levels: what they switch, and whether settings and services keep one.",
    no_args_is_help=True,
)
LevelArgument = Annotated[str, typer.Argument(help="L1, L2, L3, or a file (.toml).")]
PolicyOption = Annotated[
    str, typer.Option("--policy", help="A release policy: one that ships, or a file.")
]

EXPLAINED: Final[dict[str, tuple[str, str]]] = {
    "approvals": (
        "each rule of the release policy; officers' signatures in certificates",
        "key authority, vault, platform and market refuse a weaker policy, at their start and when "
        "one is put; `gridsecure verify` reads the certificate",
    ),
    "groups": (
        "each rule of the release policy, by customer class; minima in certificates",
        "the same; `gridsecure verify` reads the certificate",
    ),
    "noise": (
        "[private] of the release policy, where analysts are permitted anything",
        "the same; `gridsecure verify` reads the certificate",
    ),
    "custody": (
        "the custodians of `gridsecure vault init` and `vault split`, UNLOCKED_HOURS of the vault",
        "the vault, at its start and at each splitting",
    ),
    "sandbox": (
        "SANDBOX of platform, its workers, key authority and vault",
        "each of them at its start, where its kernel cannot do it, too",
    ),
    "attestation": (
        "MAKER_PUBLIC_KEY and BUILD_STATEMENT of every service",
        "each at its start; then it asks its peers",
    ),
}
"""Switch -> where it is set, and who refuses what falls below."""


@level_app.command("list")
@explain_errors
def list_(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """List the levels that ship."""
    rows = [_head(levels.load_level(name)) for name in levels.list_levels()]
    document = {"levels": rows}
    print_result(document, output, show=lambda console: _show_heads(rows, console))


@level_app.command("show")
@explain_errors
def show(
    level: LevelArgument,
    *,
    text: Annotated[
        bool, typer.Option("--text", help="Print the file, as it was written.")
    ] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what a level wants."""
    found = _open(level)
    if text:
        typer.echo(found.text, nl=False)
        return
    document = _head(found) | {"wants": _wants(found)}
    print_result(document, output, show=lambda console: _show(document, console))


@level_app.command("explain")
@explain_errors
def explain(
    level: LevelArgument,
    *,
    policy: PolicyOption = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Say of each switch what is wanted, where it is set, who refuses; and what a policy lacks."""
    found = _open(level)
    short = levels.find_policy_shortfalls(found, _policy(policy)) if policy else []
    document = _head(found) | {
        "switches": [
            {
                "switch": switch,
                "wants": wanted,
                "set_by": EXPLAINED[switch][0],
                "refused_by": EXPLAINED[switch][1],
            }
            for switch, wanted in _wants(found).items()
        ],
        "shortfalls": [one._asdict() for one in short],
    }
    print_result(document, output, show=lambda console: _show_explained(document, console))


@level_app.command("check")
@explain_errors
def check(  # noqa: PLR0913 - one parameter an option
    level: LevelArgument,
    url: Annotated[list[str] | None, typer.Argument(help="Addresses of services.")] = None,
    *,
    policy: PolicyOption = "",
    custodians: Annotated[int, typer.Option(min=0, help="Custodians of the vault's key.")] = 0,
    needed: Annotated[int, typer.Option(min=0, help="How many of them open the vault.")] = 0,
    hours: Annotated[float, typer.Option(help="How long they unlock it for [h].")] = 12,
    maker: Annotated[str, typer.Option(help="The maker's key, for services' builds.")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check a policy, a custody or running services; exit with 1 where something falls short."""
    wanted = _open(level)
    if not (url or policy or custodians):
        raise InputError(
            "Nothing is named that could be checked.",
            reason="level.nothing",
            remedy="Give addresses of services, --policy, or --custodians and --needed.",
        )
    rows = [*_check_told(wanted, policy, (custodians, needed, hours)), *_ask(wanted, url, maker)]
    document = {"level": wanted.name, "checked": rows}
    print_result(document, output, show=lambda console: _show_rows(wanted, rows, console))
    if any(row["shortfalls"] for row in rows):
        raise typer.Exit(1)


def _check_told(
    level: levels.Level, policy: str, custody: tuple[int, int, float]
) -> list[dict[str, Any]]:
    rows = []
    if policy:
        found = levels.find_policy_shortfalls(level, _policy(policy))
        rows.append(_row(f"policy {policy}", found))
    custodians, needed, hours = custody
    if custodians:
        short = levels.find_custody_shortfalls(
            level, custodians=custodians, needed=needed, hours=hours
        )
        rows.append(_row(f"{needed} of {custodians} custodians", short))
    return rows


def _ask(level: levels.Level, urls: list[str] | None, maker: str) -> list[dict[str, Any]]:
    pinned = releases.pin_authority(maker).key if maker else None
    rows = []
    with online.open_connection() as http:
        for url in urls or []:
            client = clients.Client(http, words.PeopleWords("service"), url=url)
            about = client.read(client.get("/about"), services.About)
            rows.append(_row(f"{about.zone} at {url}", _of_service(level, about, pinned)))
    return rows


def _of_service(level: levels.Level, about: services.About, maker: Any) -> list[levels.Shortfall]:
    found = []
    stated = about.level.digest if about.level else ""
    if stated != level.digest:
        said = about.level.name if about.level else "no level"
        found.append(levels.Shortfall("attestation", f"held to {level.name}", f"held to {said}"))
    box = about.sandbox
    if level.sandbox.required and box is not None and not (box.files and box.programs):
        found.append(levels.Shortfall("sandbox", "workers are confined", "they are not"))
    if level.attestation.pinned and maker is not None:
        try:
            attested.check_about(about, maker=maker)
        except AuthenticityError as error:
            found.append(levels.Shortfall("attestation", "a released build", error.reason))
    return found


def _row(what: str, found: list[levels.Shortfall]) -> dict[str, Any]:
    return {"checked": what, "shortfalls": [one._asdict() for one in found]}


def _open(named: str) -> levels.Level:
    level = levels.open_level(named)
    if level is None:
        return levels.load_level(named)  # refuses the empty name
    return level


def _policy(named: str) -> policies.Policy:
    return policies.parse_policy(signed_policies.read_document(named).text)


def _head(level: levels.Level) -> dict[str, Any]:
    return {
        "name": level.name,
        "version": level.version,
        "title": level.title,
        "digest": level.digest,
    }


def _wants(level: levels.Level) -> dict[str, str]:
    """Switch -> what the level wants, in words."""
    standing = "or in advance" if level.approvals.standing else "each release by itself"
    groups = [
        f"{name}: {group.minimum}"
        + (f" (none above {group.dominance} %)" if group.dominance < cells.WHOLE else "")
        for name, group in sorted(level.groups.items())
    ]
    custody = level.custody
    return {
        "approvals": f"{', '.join(level.approvals.roles)}, {standing}",
        "groups": f"fewest customers, {', '.join(groups)}",
        "noise": f"analysts are told numbers {level.noise.terms.said}"
        if level.noise
        else "none wanted",
        "custody": f"{custody.needed} of {custody.custodians} custodians at least, for "
        f"{custody.unlocked_hours:g} hours at the most",
        "sandbox": "required" if level.sandbox.required else "as far as the machine can",
        "attestation": "released builds alone" if level.attestation.pinned else "any build",
    }


def _show_heads(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("name", "version", "what it says")
    for row in rows:
        table.add_row(row["name"], str(row["version"]), Text(row["title"]))
    console.print(table)


def _show_head(document: dict[str, Any], console: Console) -> None:
    console.print(Text(f"{document['name']}, version {document['version']}: {document['title']}"))
    console.print(f"digest {document['digest']}", soft_wrap=True)


def _show(document: dict[str, Any], console: Console) -> None:
    _show_head(document, console)
    for switch, wanted in document["wants"].items():
        console.print(Text(f"{switch:<12} {wanted}"), soft_wrap=True)


def _show_explained(document: dict[str, Any], console: Console) -> None:
    _show_head(document, console)
    for one in document["switches"]:
        console.print(Text(f"{one['switch']}: {one['wants']}", style="bold"), soft_wrap=True)
        console.print(Text(f"  set by      {one['set_by']}"), soft_wrap=True)
        console.print(Text(f"  refused by  {one['refused_by']}"), soft_wrap=True)
    _show_shortfalls(document["shortfalls"], console)


def _show_rows(level: levels.Level, rows: list[dict[str, Any]], console: Console) -> None:
    for row in rows:
        verdict = "falls below" if row["shortfalls"] else "keeps"
        console.print(Text(f"{row['checked']} {verdict} {level.name}"), soft_wrap=True)
        _show_shortfalls(row["shortfalls"], console)


def _show_shortfalls(rows: list[dict[str, Any]], console: Console) -> None:
    for one in rows:
        said = f"  {one['switch']}: {one['wanted']}, but {one['found']}"
        console.print(Text(said, style="red"), soft_wrap=True)
