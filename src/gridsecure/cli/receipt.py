"""`gridsecure receipt`: whether a bill was made of the readings that the meter shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import GridSecureError, InputError, NotFoundError

with on_use():
    from gridsecure import bill_receipts
    from gridsecure.cli import analyst, online, receipt_check, statement, tariff_names
    from gridsecure.cli import verify as verify_room
    from gridsecure.crypto import sm3
    from gridsecure.gateway import meanings
    from gridsecure.portal import receipt_checks
    from gridsecure.tariffs import tariff as tariffs
    from gridsecure.transparency import inclusion_proofs, log_policies, notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridsecure.bill_receipts import DeliveredReceipt, ReadingsOpening
    from gridsecure.cli.receipt_check import CountedAgain
    from gridsecure.cli.verify import LogTrust
    from gridsecure.portal.receipt_checks import ReceiptMaterial
    from gridsecure.store.proved_entries import ProvedEntry
    from gridsecure.transparency.notes import NoteKey

receipt_app = typer.Typer(
    help="Check that a bill was made of the meter's readings.", no_args_is_help=True
)


@receipt_app.callback()
def receipt() -> None:
    """A receipt comes with the statement; what opens it comes with the readings."""


@receipt_app.command("open")
@explain_errors
def open_readings(
    month: Annotated[str, typer.Argument(help="The month, as 2026-07.")],
    *,
    meter: Annotated[str, typer.Option(help="The meter point.")],
    out: Annotated[Path, typer.Option(help="Where the opening goes; for the customer alone.")],
    identity: IdentityUrlOption,
    gateway: Annotated[str, typer.Option(help="Address of the gateway.", callback=without_slash)],
    key: Annotated[Path, typer.Option(help="An operator's key.")],
) -> None:
    """Fetch what opens the receipts of a meter point's month, as an operator of the gateway.

    It goes to whoever may read the meter point's readings, and to nobody else.
    """
    path = f"/months/{month}/readings-openings"
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", path, params={"meter_point": meter})
    statement.write_whole(out, json.dumps(found, ensure_ascii=False, indent=1).encode())
    typer.echo(f"{len(found)} versions: {out}")


@receipt_app.command()
@explain_errors
def verify(  # noqa: PLR0913 - one parameter an option
    receipt: Annotated[Path, typer.Argument(help="The receipt that came with the statement.")],
    *,
    opening: Annotated[Path, typer.Option(help="The opening that came with the readings.")],
    readings: Annotated[Path, typer.Option(help="The meter's readings, in any known format.")],
    tariff: Annotated[str, typer.Option(help="Tariff file, catalogue id, or id@version.")],
    gateway_key: Annotated[str, typer.Option(help="The gateway's key (130 digits).")],
    earlier: Annotated[
        Path | None,
        typer.Option(help="Receipt of the bill that this one cancels; a correction takes it."),
    ] = None,
    log_key: Annotated[
        list[str] | None,
        typer.Option(help="Another public key of its log (name+id+base64); repeat it."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Whose cosignatures are wanted (c2sp.org/tlog-policy).")
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(help="A proof in a later checkpoint, of `gridsecure log prove`.")
    ] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check offline that a bill was made of these readings, as the gateway committed to."""
    trust = verify_room.LogTrust(log_key or [], policy, proof)
    material = receipt_checks.ReceiptMaterial(
        receipt=_read(receipt),
        opening=_read(opening),
        readings=readings,
        tariff=_read(tariff_names.find_tariff(tariff)),
        earlier=None if earlier is None else _read(earlier),
    )
    document = check_material(material, gateway_key=gateway_key, trust=trust)
    print_result(document, output, show=lambda console: _show(document, console))


def check_material(
    material: ReceiptMaterial, *, gateway_key: str, trust: LogTrust
) -> dict[str, Any]:
    """Check a receipt, and say what was found.

    Raises:
        GridSecureError: As `receipt_check.prove_receipt` and `check_bill`, or a file is no receipt
            or opening (`receipt.file`).
    """
    delivered = _parse_receipt(material.receipt)
    entry, cosigners = _prove(delivered, gateway_key, trust)
    cancelled = None if material.earlier is None else _parse_receipt(material.earlier)
    text = material.tariff or _committed_tariff(delivered)
    own = receipt_check.CustomersFile(
        material.readings,
        meanings.Meaning(None, None, None, ""),
        text.decode("utf-8-sig", errors="replace"),
    )
    openings = _parse_openings(material.opening)
    counted = receipt_check.check_bill(delivered, openings, own=own, earlier=cancelled)
    return _document(delivered, counted, entry) | {"cosigners": cosigners}


def _committed_tariff(delivered: DeliveredReceipt) -> bytes:
    """The edition of the catalogue that a bill was made by.

    Raises:
        NotFoundError: The catalogue has none that the gateway committed to (`receipt.tariff`).
    """
    wanted = delivered.receipt.commitment.tariff
    for path in (path for editions in tariffs.catalogue_paths().values() for path in editions):
        content = _read(path)
        if sm3.sm3_hex(content.decode("utf-8-sig").encode()) == wanted:
            return content
    raise NotFoundError(
        "The catalogue has no such edition of the bill's tariff.",
        reason="receipt.tariff",
        remedy="Give the file of the tariff that the statement names.",
    )


def _prove(
    delivered: DeliveredReceipt, gateway: str, trust: LogTrust
) -> tuple[ProvedEntry, list[str]]:
    """The entry in the gateway's log, and who cosigned its checkpoint."""
    keys = _log_keys(gateway, trust.keys)
    wanted = log_policies.read_policy(_read(trust.policy)) if trust.policy else None
    if wanted is not None:
        keys = list(dict.fromkeys([*keys, *wanted.keys_of(keys[0].name)]))
    later = _read(trust.proof).decode(errors="replace") if trust.proof else ""
    entry = receipt_check.prove_receipt(delivered, keys=keys, proof=later)
    if wanted is None:
        return entry, []
    shown = inclusion_proofs.read_proof(later or delivered.receipt.log_proof)
    cosigners = wanted.find_cosigners(shown.checkpoint)
    wanted.check_quorum(cosigners)
    return entry, cosigners


def _document(
    delivered: DeliveredReceipt, counted: CountedAgain, entry: ProvedEntry
) -> dict[str, Any]:
    commitment = delivered.receipt.commitment
    return {
        "meter_point_id": commitment.meter_point_id,
        "start": commitment.start,
        "end": commitment.end,
        "version": commitment.version,
        "total": delivered.period.get("total"),
        "adjustment": (delivered.period.get("adjustment") or {}).get("total"),
        "readings": counted.readings,
        "estimated": counted.estimated,
        "facts": counted.facts.model_dump(),
        "unchecked": list(counted.unchecked),
        "commitment": commitment.digest,
        "corrects": commitment.corrects,
        "log": entry.checkpoint.origin,
        "entry": entry.index,
        "logged_at": entry.at,
        "checkpoint_size": entry.checkpoint.size,
        "checkpoint_root": entry.checkpoint.root.hex(),
    }


def _show(document: dict[str, Any], console: Console) -> None:
    facts = [f"    {name:<20} {value}" for name, value in document["facts"].items() if value != ""]
    if document["adjustment"] is not None:
        refund = f"  differs by {document['adjustment']} from the bill of the earlier receipt; "
        facts.append(f"{refund}verify that one by itself, with the readings of then")
    if document["unchecked"]:
        facts.append(f"  not checked: {', '.join(document['unchecked'])}")
    for line in (
        f"Bill of {document['meter_point_id']}, {document['start']} to {document['end']}, "
        f"version {document['version']}: {document['total']}",
        "  computed by these facts; compare them with the contract, the receipt cannot:",
        *facts,
        f"  made of    {document['readings']} readings, {document['estimated']} of them estimated",
        f"  committed  {document['commitment']}",
        f"  corrects   {document['corrects'] or 'none'}",
        f"  logged as  entry {document['entry']} of {document['log']} at {document['logged_at']}",
        f"  proved in  {document['checkpoint_size']} entries under {document['checkpoint_root']}",
        f"  cosigned   by {', '.join(document['cosigners']) or 'no witness that was asked for'}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _log_keys(gateway: str, others: Sequence[str]) -> list[NoteKey]:
    key = analyst.parse_point(gateway, option="--gateway-key")
    own = notes.NoteKey(f"gridsecure/gateway/{key.thumbprint}", "sm2", key.point)
    return [own, *map(notes.read_key, others)]


def _parse_receipt(content: bytes) -> DeliveredReceipt:
    try:
        return bill_receipts.DeliveredReceipt.parse(content)
    except GridSecureError as error:
        raise InputError(
            "This is no receipt of a bill.",
            reason="receipt.file",
            remedy="Take the file that came with the statement, as it is.",
        ) from error


def _parse_openings(content: bytes) -> list[ReadingsOpening]:
    try:
        return bill_receipts.read_openings(content)
    except ValueError as error:
        raise InputError(
            "This opens no receipt.",
            reason="receipt.file",
            remedy="Take the file that `gridsecure receipt open` wrote, as it is.",
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="receipt.missing",
            remedy="Check its path and permissions.",
        ) from error
