"""`gridsecure eaas`: the encryption service: managed keys, and what is done under them.

All of it goes through `gridsecure.client.encryption`. Files are read, digested, encrypted and
opened on this machine; the service is shown digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption
from gridsecure.errors import InputError, StorageError

with on_use():
    from gridsecure import whole_files
    from gridsecure.cli import online
    from gridsecure.cli import verify as verify_room
    from gridsecure.client import encryption
    from gridsecure.crypto import sm3
    from gridsecure.homomorphic import column_files

if TYPE_CHECKING:
    from gridsecure.client.encryption import EncryptionService

eaas_app = typer.Typer(
    help="The encryption service: managed SM2, HMAC-SM3 and SM4 keys, and columns encrypted here.",
    no_args_is_help=True,
)

UrlOption = Annotated[
    str,
    typer.Option("--encryption", help="Address of the encryption service.", callback=without_slash),
]
KeyArgument = Annotated[str, typer.Argument(help="The managed key's id.")]
FileArgument = Annotated[Path, typer.Argument(help="The file.")]
OutputOption = Annotated[Path, typer.Option("--output", help="File that is written.")]


class KeyAlgorithm(StrEnum):
    """What a key is of."""

    SM2 = "sm2"
    HMAC_SM3 = "hmac-sm3"
    SM4 = "sm4"


class KeyTarget(StrEnum):
    """A key's state."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


@contextmanager
def _service(url: str, identity: str, key: Path) -> Iterator[EncryptionService]:
    with encryption.EncryptionService(
        url,
        identity=identity,
        key=key,
        clock=online.utc_now,
        open_connection=online.open_connection,
    ) as service:
        yield service


@eaas_app.command("keys")
@explain_errors
def list_keys(
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List your organisation's keys and their states."""
    with _service(url, identity, key) as service:
        found = service.keys()
    print_result({"keys": found}, output, show=lambda console: _show_keys(found, console))


@eaas_app.command("uses")
@explain_errors
def list_uses(
    key_id: KeyArgument,
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List what was done under a key: by whom, when, of which kind."""
    with _service(url, identity, key) as service:
        found = service.uses(key_id)
    print_result({"uses": found}, output, show=lambda console: _show_uses(found, console))


@eaas_app.command("create")
@explain_errors
def create(
    name: Annotated[str, typer.Argument(help="A name in your organisation.")],
    algorithm: Annotated[KeyAlgorithm, typer.Argument(help="What the key is of.")],
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Make a key, as an officer."""
    with _service(url, identity, key) as service:
        made = service.create_key(name, algorithm.value)
    print_result(made, output, show=lambda console: _show_keys([made], console))


@eaas_app.command("move")
@explain_errors
def move(
    key_id: KeyArgument,
    target: Annotated[KeyTarget, typer.Argument(help="The state it is to have.")],
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Suspend, resume, deactivate, distrust or destroy a key, as an officer."""
    with _service(url, identity, key) as service:
        moved = service.move_key(key_id, target.value)
    print_result(moved, output, show=lambda console: _show_keys([moved], console))


@eaas_app.command("rotate")
@explain_errors
def rotate(
    key_id: KeyArgument,
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Make the next generation of a key, as an officer; the old one checks and opens on."""
    with _service(url, identity, key) as service:
        made = service.rotate_key(key_id)
    print_result(made, output, show=lambda console: _show_keys([made], console))


@eaas_app.command("usage")
@explain_errors
def usage(
    *,
    month: Annotated[str, typer.Option(help="The month of UTC, YYYY-MM.")],
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what your organisation used in a month."""
    with _service(url, identity, key) as service:
        found = service.usage(month)
    print_result(found, output, show=lambda console: _show_usage(found, console))


@eaas_app.command("digest")
@explain_errors
def digest(file: FileArgument) -> None:
    """Print the SM3 digest of a file."""
    typer.echo(sm3.sm3_hex(verify_room.read_file(file)))


@eaas_app.command("sign")
@explain_errors
def sign(
    key_id: KeyArgument,
    file: FileArgument,
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
) -> None:
    """Print an SM2 signature of a file's digest."""
    with _service(url, identity, key) as service:
        typer.echo(service.sign(key_id, verify_room.read_file(file)))


@eaas_app.command("check")
@explain_errors
def check(
    file: FileArgument,
    *,
    signature: Annotated[str, typer.Option(help="As `sign` printed it.")],
    public_key: Annotated[str, typer.Option(help="The key's SM2 point (130 digits).")],
) -> None:
    """Check a signature of a file; no service is asked."""
    data = verify_room.read_file(file)
    _say(encryption.check_signature(data, signature=signature, public_key=public_key))


@eaas_app.command("mac")
@explain_errors
def mac(
    key_id: KeyArgument,
    file: FileArgument,
    *,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
) -> None:
    """Print HMAC-SM3 of a file's digest."""
    with _service(url, identity, key) as service:
        typer.echo(service.mac(key_id, verify_room.read_file(file)))


@eaas_app.command("check-mac")
@explain_errors
def check_mac(
    key_id: KeyArgument,
    file: FileArgument,
    *,
    given: Annotated[str, typer.Option("--mac", help="As `mac` printed it.")],
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
) -> None:
    """Check a MAC of a file."""
    with _service(url, identity, key) as service:
        _say(service.check_mac(key_id, verify_room.read_file(file), mac=given))


@eaas_app.command("seal")
@explain_errors
def seal(
    key_id: KeyArgument,
    file: FileArgument,
    *,
    output: OutputOption,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
) -> None:
    """Encrypt a file on this machine under an SM4 key."""
    with _service(url, identity, key) as service:
        _write(output, service.seal(key_id, verify_room.read_file(file)))


@eaas_app.command("open")
@explain_errors
def open_(
    key_id: KeyArgument,
    file: FileArgument,
    *,
    output: OutputOption,
    identity: IdentityUrlOption,
    url: UrlOption,
    key: PersonOption,
) -> None:
    """Open on this machine what was encrypted under an SM4 key."""
    with _service(url, identity, key) as service:
        _write(output, service.open(key_id, verify_room.read_file(file)))


@eaas_app.command("encrypt-column")
@explain_errors
def encrypt_column(  # noqa: PLR0913 - one parameter an option
    file: Annotated[Path, typer.Argument(help="Whole numbers, one a line.")],
    *,
    notice: Annotated[Path, typer.Option(help="The key set's signed notice (JSON).")],
    public_key: Annotated[Path, typer.Option(help="The public key that it names.")],
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    quantity: Annotated[str, typer.Option(help="What the numbers are, as total.")],
    unit: Annotated[str, typer.Option(help="Of one count, as Wh.")],
    roster: Annotated[str, typer.Option(help="Id of the roster whose slots they are.")],
    start: Annotated[str, typer.Option(help="Start of the period, ISO 8601.")],
    end: Annotated[str, typer.Option(help="Its end.")],
    high: Annotated[int, typer.Option(min=1, help="Largest value that a slot may hold.")],
    output: OutputOption,
) -> None:
    """Encrypt a column of numbers on this machine, under a gateway's public key set.

    Length: one parameter for each part of a column's public label.
    """
    try:
        values = [int(line) for line in verify_room.read_file(file).decode().split()]
    except ValueError as error:
        raise InputError(
            f"{file.name} does not hold whole numbers, one a line.",
            reason="column.values",
            remedy="Write one number a line, without units or separators.",
        ) from error
    label = column_files.ColumnLabel(quantity, unit, roster, start, end, len(values), high)
    keys = encryption.open_key_set(
        verify_room.read_file(notice),
        verify_room.read_file(public_key),
        authority_key=authority_key,
    )
    column = encryption.encrypt_column(values, label=label, key_set=keys)
    _write(output, column)
    typer.echo(sm3.sm3_hex(column))


def _write(path: Path, data: bytes) -> None:
    """Write a file for its owner alone."""
    try:
        whole_files.replace_file(path, [data])
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written.",
            reason="eaas.file",
            remedy="Check its path, its permissions and the space.",
        ) from error


def _say(is_good: bool) -> None:
    typer.echo("good" if is_good else "not good")
    if not is_good:
        raise typer.Exit(1)


def _show_usage(found: dict[str, Any], console: Console) -> None:
    table = Table("measure", "amount", title=found["month"])
    for one in found["used"]:
        table.add_row(one["measure"], str(one["amount"]))
    console.print(table)


def _show_uses(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("at", "of", "by")
    for row in rows:
        table.add_row(*map(Text, (row["at"], row["operation"], row["person"])))
    console.print(table)


def _show_keys(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("id", "name", "generation", "of", "state")
    for row in rows:
        words = (row["key_id"], row["name"], str(row["generation"]), row["algorithm"], row["state"])
        table.add_row(*map(Text, words))
    console.print(table)
    for row in rows:
        if row["public_key"]:
            console.print(Text(f"{row['name']} {row['public_key']}"), soft_wrap=True)
