"""The commands of `gridsecure source`: meter-data systems that send readings to a gateway.

An operator registers a source once. From then on the source signs in with its own key; no person
has to. What it sends goes in whole or not at all, and sending it again is harmless. An operator
replaces its key, suspends, resumes and removes it while the services run.

What a source may do is the gateway's to say, whose key it is the identity service's. A command that
was stopped between the two is given again.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import PersonOption
from gridsecure.errors import NotFoundError
from gridsecure.gateway.passed_over import WORDS

with on_use():
    from gridsecure import messages, zone_keys
    from gridsecure.cli import online
    from gridsecure.crypto import sm2
    from gridsecure.head_end import sender
    from gridsecure.wire import service_tokens

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from gridsecure.head_end.sender import Became, Sender
    from gridsecure.identity_messages import Audience
    from gridsecure.messages import BatchReceipt, ReadingCounts
    from gridsecure.offices.officers import Call
    from gridsecure.wire.gateway import BatchStatus

source_app = typer.Typer(
    help="Register and look after meter-data systems, and send readings as one.",
    no_args_is_help=True,
)

GatewayOption = Annotated[
    str, typer.Option("--gateway", help="Address of the gateway.", callback=without_slash)
]
SourceKeyOption = Annotated[Path, typer.Option(help="The source's SM2 key (32 bytes, mode 0600).")]

KEYS: Final = "/source-keys"
"""At the identity service."""

NameArgument = Annotated[str, typer.Argument(help="The source.")]
PublicKeyOption = Annotated[str, typer.Option(help="The source's public key (130 digits).")]

GatewayKeyOption = Annotated[
    str, typer.Option(help="What receipts are signed with, as registering said (130 digits).")
]

FormatsOption = Annotated[
    list[str] | None,
    typer.Option("--format", help="A format that it sends; may be given again. Default: all."),
]


UnitOption = Annotated[
    str,
    typer.Option(
        help="Unit of values that stand without one: Wh, kWh or MWh; W, kW or MW of averages."
    ),
]
IntervalOption = Annotated[
    int, typer.Option(min=0, help="Minutes of its intervals, for batches that show none.")
]


WebhookOption = Annotated[
    str, typer.Option(help="Where it is told what became of its batches (https://…).")
]


class StampsOption(StrEnum):
    """What a source says of its times."""

    START = "start"
    END = "end"
    LOOK = "look"


@source_app.command("key")
@explain_errors
def make_key(
    path: Annotated[Path, typer.Argument(help="File of the key; made if there is none.")],
) -> None:
    """Make a source's key, and print its public half for the identity service and the gateway."""
    zone_keys.load_secret(path, lambda: sm2.generate_private_key().to_bytes())
    typer.echo(zone_keys.read_private_key(path).public_key.point.hex())


@source_app.command("register")
@explain_errors
def register(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="Up to 64 small letters, digits and hyphens.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    public_key: PublicKeyOption,
    meter_points: Annotated[
        list[str] | None,
        typer.Option(help="Beginning of the ids it may send; may be given again. Default: all."),
    ] = None,
    stamps: Annotated[
        StampsOption, typer.Option(help="What its times are; look: as each batch shows.")
    ] = StampsOption.LOOK,
    timezone: Annotated[
        str,
        typer.Option(
            help="Zone or fixed offset (+08:00, +05:30) of its times. Default: the gateway's."
        ),
    ] = "",
    interval: IntervalOption = 0,
    formats: FormatsOption = None,
    unit: UnitOption = "",
    webhook: WebhookOption = "",
) -> None:
    """Register a source and its key as an operator, or replace what it declared."""
    body = {
        "public_key": public_key,
        "meter_points": meter_points or [""],
        "stamps": "" if stamps is StampsOption.LOOK else stamps.value,
        "timezone": timezone,
        "webhook": webhook,
        "interval_minutes": interval,
        "formats": formats or [],
        "unit": unit,
    }
    with _sign_in(identity, gateway, key=key) as call:
        source = call("gateway", "PUT", f"/v1/sources/{name}", json=body)
        call("identity", "POST", KEYS, json={"name": name, "public_key": public_key})
    _tell_registered(source)


@source_app.command("rotate")
@explain_errors
def rotate(
    name: NameArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    public_key: Annotated[str, typer.Option(help="The new public key (130 digits).")],
) -> None:
    """Replace a source's key as an operator; the earlier one is refused from then on, for good."""
    new = {"public_key": public_key}
    with _sign_in(identity, gateway, key=key) as call:
        replaced = _find_thumbprint(call, name)
        # The identity service first: it alone knows keys that must not come back.
        call("identity", "POST", KEYS, json=new | {"name": name, "replaces": replaced})
        call("gateway", "PUT", f"/v1/sources/{name}/key", json=new)
    typer.echo(f"Source {name} signs in with the new key. The earlier one is refused from now on.")


@source_app.command("suspend")
@explain_errors
def suspend(
    name: NameArgument, *, identity: IdentityUrlOption, gateway: GatewayOption, key: PersonOption
) -> None:
    """Refuse whatever a source sends from now on, as an operator; what it sent stays."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        call("gateway", "PUT", f"/v1/sources/{name}/state", json={"state": "suspended"})
    typer.echo(f"Source {name} is suspended. Its batches are refused from now on.")


@source_app.command("resume")
@explain_errors
def resume(
    name: NameArgument, *, identity: IdentityUrlOption, gateway: GatewayOption, key: PersonOption
) -> None:
    """Let a suspended source send again, as an operator."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        call("gateway", "PUT", f"/v1/sources/{name}/state", json={"state": "active"})
    typer.echo(f"Source {name} may send.")


@source_app.command("retry")
@explain_errors
def retry(
    name: NameArgument, *, identity: IdentityUrlOption, gateway: GatewayOption, key: PersonOption
) -> None:
    """Send again the notices to a source that were given up, as an operator."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "POST", f"/v1/sources/{name}/notices/retries")
    typer.echo(f"Notices that are sent again within a minute: {found['notices']:,}.")


@source_app.command("remove")
@explain_errors
def remove(
    name: NameArgument, *, identity: IdentityUrlOption, gateway: GatewayOption, key: PersonOption
) -> None:
    """Remove a source and its key for good, as an operator; what it sent stays under its name."""
    with _sign_in(identity, gateway, key=key) as call:
        removed = call("gateway", "DELETE", f"/v1/sources/{name}")
        call("identity", "DELETE", f"{KEYS}/{removed['thumbprint']}")
    typer.echo(f"Source {name} is removed. What it sent stays, and so do its receipts.")


@source_app.command("list")
@explain_errors
def list_all(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List all sources of a gateway and whether they may send, as an operator."""
    with _sign_in(identity, gateway, key=key) as call:
        sources = call("gateway", "GET", "/v1/sources")
        keys = {one["thumbprint"] for one in call("identity", "GET", KEYS)}
    for source in sources:
        source["signs_in"] = source["thumbprint"] in keys

    def tell(console: Console) -> None:
        table = Table("source", "state", "signs in", "meter points", "formats", "zone")
        for one in sources:
            scope = ", ".join(f"{part}…" if part else "all" for part in one["meter_points"])
            signs_in = "yes" if one["signs_in"] else "no"
            formats = ", ".join(one["formats"]) or "all"
            table.add_row(one["name"], one["state"], signs_in, scope, formats, one["timezone"])
        console.print(table)

    print_result({"sources": sources}, output, show=tell)


def _sign_in(identity: str, gateway: str, *, key: Path) -> AbstractContextManager[Call]:
    services: dict[Audience, str] = {"identity": identity, "gateway": gateway}
    return online.person(identity, key=key, services=services)


def _find_thumbprint(call: Call, name: str) -> str:
    """Of the key that a source has; the name of no source is refused before a key is replaced."""
    found = [one for one in call("gateway", "GET", "/v1/sources") if one["name"] == name]
    if not found or found[0]["state"] == "removed":
        raise NotFoundError(
            "There is no source of that name here, or it was removed.",
            reason="not-found.source",
            remedy="List the gateway's sources: gridsecure source list.",
        )
    return str(found[0]["thumbprint"])


@source_app.command("send")
@explain_errors
def send(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="The source that sends.")],
    file: Annotated[Path, typer.Argument(help="Readings in any format of docs/readings.md.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    gateway_key: GatewayKeyOption,
    key: SourceKeyOption,
    sequence: Annotated[int, typer.Option(min=1, help="Its number among the source's batches.")],
    batch: Annotated[
        str, typer.Option(help="Its id; the same again when it is repeated. Default: its digest.")
    ] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Send a batch of readings, check its receipt, and show it."""
    with _connect(name, identity, gateway, gateway_key=gateway_key, key=key) as sending:
        became = sending.send(file, sequence=sequence, batch_id=batch, progress=_tell)
    _print_became(became, output)


@source_app.command("batch")
@explain_errors
def tell_batch(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="The source that sent it.")],
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    gateway_key: GatewayKeyOption,
    key: SourceKeyOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what became of a batch: its receipt, its months, and what became of its readings."""
    with _connect(name, identity, gateway, gateway_key=gateway_key, key=key) as source:
        became = source.find(batch, progress=_tell)
    _print_became(became, output)


def _connect(
    name: str, identity: str, gateway: str, *, gateway_key: str, key: Path
) -> AbstractContextManager[Sender]:
    return sender.connect(
        sender.Addresses(identity, gateway),
        source=name,
        key=zone_keys.read_private_key(key),
        gateway_key=sender.read_point(gateway_key),
        clock=online.utc_now,
        open_connection=online.open_connection,
    )


def _print_became(became: Became, output: OutputFormat) -> None:
    document = {
        "receipt": became.receipt.model_dump(),
        "months": became.months,
        "counts": {month: counts.model_dump() for month, counts in became.counts.items()},
    }
    print_result(document, output, show=lambda console: _show(became, console))


@source_app.command("rejected")
@explain_errors
def list_rejected(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="The source that sent it.")],
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    gateway_key: GatewayKeyOption,
    key: SourceKeyOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the readings of a batch that were rejected: place, meter point, start and rule."""
    with _connect(name, identity, gateway, gateway_key=gateway_key, key=key) as source:
        found = [one.model_dump() for one in source.rejected(batch)]

    def tell(console: Console) -> None:
        table = Table("reading", "meter point", "start", "rule")
        for one in found:
            table.add_row(f"{one['number']:,}", one["meter_point_id"], one["start"], one["rule"])
        console.print(table)

    print_result({"rejected": found}, output, show=tell)


@source_app.command("verify")
@explain_errors
def verify(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="The source that sent it.")],
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    file: Annotated[
        Path | None, typer.Argument(help="The file that was sent; without it, it is not compared.")
    ] = None,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    gateway_key: GatewayKeyOption,
    key: SourceKeyOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check a receipt: its signature, the file, and the list of rejected readings against it."""
    with _connect(name, identity, gateway, gateway_key=gateway_key, key=key) as source:
        became = source.verify(batch, file)
    receipt = became.receipt
    document = {"receipt": receipt.model_dump(), "file": file is not None}

    def tell(console: Console) -> None:
        _show(became, console)
        listed = f"the list of {sum(receipt.rejected.values()):,} rejected readings"
        checked = [*(["the file"] if file else []), listed]
        console.print(f"The gateway signed the receipt, and {' and '.join(checked)} agree with it.")
        if not receipt.rejected_digest:
            console.print("It is of an earlier release, and signs the counts of that list alone.")

    print_result(document, output, show=tell)


@source_app.command("token")
@explain_errors
def give_token(*, identity: IdentityUrlOption, key: SourceKeyOption) -> None:
    """Print a token for the gateway, for programs that speak HTTP; it lasts five minutes."""
    with online.open_connection() as http:
        http.base_url = identity
        own = zone_keys.read_private_key(key)
        token, _ = service_tokens.ServiceLoginClient(http, own, online.utc_now).token("gateway")
    typer.echo(token)


@source_app.command("show")
@explain_errors
def show(
    name: NameArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List what a source sent, and which sequences never came, as an operator."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", f"/v1/sources/{name}/batches")
        gaps = call("gateway", "GET", f"/v1/sources/{name}/gaps")
        notices = call("gateway", "GET", f"/v1/sources/{name}/notices")
    receipts = [messages.BatchReceipt.parse(one["body"]) for one in found]
    sent = [receipt.model_dump() for receipt in receipts]
    document = {"batches": sent, "gaps": gaps, "notices": notices}

    def tell(console: Console) -> None:
        _list(receipts, gaps, console)
        for notice in notices:
            due = f", again {to_the_minute(notice['due_at'])}" if notice["due_at"] else ""
            tried = f", failed attempts {notice['attempts']:,}" if notice["attempts"] else ""
            console.print(f"Notice of {notice['month']}: {notice['state']}{tried}{due}")

    print_result(document, output, show=tell)


def _tell(status: BatchStatus) -> None:
    """How far a batch is read that the gateway has on its disk."""
    Console(stderr=True).print(f"The batch is {status.state}: {status.readings:,} readings so far.")


def _tell_registered(source: dict[str, Any]) -> None:
    Console().print(
        f"Source {source['name']} is registered; its local times are of {source['timezone']}.\n"
        f"Its receipts are signed with the key {source['gateway_key']}.",
        soft_wrap=True,
    )
    for other in source["overlaps"]:
        Console(stderr=True).print(f"Source {other} may send readings of the same meter points.")


_STEPS: Final = {
    "billing": "wait for the bills of their month",
    "correction": "came after the bills of their month, and wait for its next correction",
}


def _show(became: Became, console: Console) -> None:
    receipt = became.receipt
    console.print(f"Batch {receipt.batch_id} is taken in: {receipt.readings:,} readings.")
    for rule, count in receipt.rejected.items():
        console.print(f"  {count:,} will not be billed: {rule}")
    for name, count in receipt.passed_over.items():
        console.print(f"  {count:,} values were passed over: {WORDS.get(name, name)}")
    for step, count in receipt.next_steps.items():
        console.print(f"  {count:,} {_STEPS[step]}")
    if receipt.without_contract:
        console.print(
            f"  {receipt.without_contract:,} of these are of meter points without a contract in"
            " the gateway's books. They are billed once there is one.",
            soft_wrap=True,
        )
    for month, state in became.months.items():
        console.print(f"  {month}: {state}")
        if month in became.counts:
            _show_counts(became.counts[month], console)


def _show_counts(counts: ReadingCounts, console: Console) -> None:
    for state in ("billed", "estimated", "quarantined", "waiting"):
        count, reasons = getattr(counts, state), counts.model_dump()["reasons"].get(state, {})
        why = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        if count:
            console.print(f"    {state}: {count:,}{f' ({why})' if why else ''}")


def _list(receipts: list[BatchReceipt], gaps: list[dict[str, Any]], console: Console) -> None:
    table = Table("batch", "from", "to", "taken in")
    for name in ("sequence", "readings", "rejected"):
        table.add_column(name, justify="right")
    for receipt in receipts:
        span = map(to_the_minute, (receipt.first, receipt.last, receipt.taken_in_at))
        counts = (receipt.sequence, receipt.readings, sum(receipt.rejected.values()))
        table.add_row(receipt.batch_id[:24], *span, *(f"{count:,}" for count in counts))
    console.print(table)
    for gap in gaps:
        first, last = gap["first"], gap["last"]
        console.print(f"Never came: {first}" if first == last else f"Never came: {first} to {last}")
