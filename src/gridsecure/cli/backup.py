"""`gridsecure backup`, `verify-backup` and `restore`: a zone copied, looked at, and put back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.init import SetOption, read_own
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import InputError

with on_use():
    from gridsecure import zone_keys
    from gridsecure.cli import online, zone_backups, zone_setup
    from gridsecure.crypto import sm2

if TYPE_CHECKING:
    from gridsecure.cli.zone_backups import BackupManifest

BackupArgument = Annotated[Path, typer.Argument(help="The backup's folder.")]
KeyOption = Annotated[
    str, typer.Option("--key", help="The zone's public key, as its card has it (130 digits).")
]


@explain_errors
def backup(
    folder: Annotated[Path, typer.Argument(help="The zone's folder.")],
    target: Annotated[Path, typer.Argument(help="New folder for the backup.")],
    *,
    recovery: Annotated[
        str, typer.Option(help="Public key that the zone's keys are sealed to (130 digits).")
    ] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Copy a zone while it runs: databases, objects, files, and keys sealed to a recovery key."""
    sealed_to = _known(recovery)
    now = online.utc_now()
    _tell(zone_backups.make_backup(folder, target, recovery=sealed_to, now=now), output)


@explain_errors
def verify_backup(
    backup: BackupArgument, *, key: KeyOption = "", output: FormatOption = OutputFormat.TABLE
) -> None:
    """Check a backup: who signed it, every file, every database and its evidence log."""
    _tell(zone_backups.verify_backup(backup, key=_known(key)), output)


@explain_errors
def restore(  # noqa: PLR0913 - one parameter an option
    backup: BackupArgument,
    folder: Annotated[Path, typer.Argument(help="Folder for the zone, empty or not there.")],
    *,
    key: KeyOption = "",
    recovery_key: Annotated[
        Path | None, typer.Option(help="The key that the zone's keys were sealed to.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Folder with the zone's keys, where the backup has none.")
    ] = None,
    witnessed: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that a witness saw; repeat it.")
    ] = None,
    own: SetOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Put a backup's zone into an empty folder, and hold its log to what witnesses saw."""
    order = zone_backups.RestoreOrder(
        None if recovery_key is None else zone_keys.read_private_key(recovery_key),
        keys,
        tuple(witnessed or ()),
        read_own(own),
    )
    zone_backups.restore_backup(backup, folder, order, key=_known(key))
    done = zone_setup.join_cards(folder, [], {}, now=online.utc_now())
    told = zone_setup.describe(done)
    print_result(told, output, show=lambda console: _show_restored(told, console))


def _known(key: str) -> Any:
    if not key:
        return None
    try:
        point = bytes.fromhex(key)
    except ValueError as error:
        raise InputError(
            "The public key is no hexadecimal digits.",
            reason="backup.public-key",
            remedy="Give the 130 digits that `gridsecure card show` prints.",
        ) from error
    return sm2.Sm2PublicKey(point)


def _tell(manifest: BackupManifest, output: OutputFormat) -> None:
    told = {
        "zone": manifest.zone,
        "made_at": manifest.made_at,
        "public_key": manifest.public_key,
        "files": len(manifest.files),
        "bytes": sum(one.size for one in manifest.files),
        "logs": {one.name: one.size for one in manifest.databases},
        "sealed_to": manifest.sealed_to,
        "left_out": list(manifest.left_out),
    }
    print_result(told, output, show=lambda console: _show(told, console))


def _show(told: dict[str, Any], console: Console) -> None:
    lines = [f"The {told['zone']} as of {told['made_at']}: {told['files']:,} files, "]
    lines[0] += f"{told['bytes']:,} bytes."
    lines += [f"Log of {name}: {size:,} entries." for name, size in told["logs"].items()]
    if told["sealed_to"]:
        lines.append(f"Keys are sealed to {told['sealed_to']}.")
    lines += [f"Not in it: {one}." for one in told["left_out"]]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _show_restored(told: dict[str, Any], console: Console) -> None:
    console.print(Text(f"The {told['zone']} is in {told['folder']}."), soft_wrap=True)
    console.print(Text(f"Next       gridsecure doctor {told['folder']}"), soft_wrap=True)
