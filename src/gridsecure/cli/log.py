"""`gridsecure log`: what anybody can find out about a zone's log, from outside."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, NotFoundError, StorageError

with on_use():
    from gridsecure import whole_files, zone_keys
    from gridsecure.cli import online
    from gridsecure.crypto import ed25519
    from gridsecure.offices import log_copies, log_witness
    from gridsecure.transparency import notes
    from gridsecure.wire import client as clients
    from gridsecure.wire import services, words

log_app = typer.Typer(help="Watch the logs of services from outside.", no_args_is_help=True)

KeysOption = Annotated[
    list[str], typer.Option("--key", help="Public key of the log (name+id+base64); repeat it.")
]


@log_app.callback()
def log() -> None:
    """Needs no token and no secret key."""


@log_app.command("keys")
@explain_errors
def list_keys(url: Annotated[str, typer.Argument(help="Address of a service.")]) -> None:
    """Print the public keys that a service states for its logs.

    Pin them only after comparing them with what the owner says by another way.
    """
    with online.open_connection() as http:
        client = clients.Client(http, words.PeopleWords("service"), url=url)
        about = client.read(client.get("/about"), services.About)
    for path, keys in about.logs.items():
        for key in keys:
            typer.echo(f"{path} {key}")


@log_app.command()
@explain_errors
def witness(
    url: Annotated[str, typer.Argument(help="Address of a log, as http://host:port/log.")],
    *,
    key: KeysOption,
    copy: Annotated[Path, typer.Option(help="Folder of your copy of this log.")],
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoint, proof or certificate that somebody else was given."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Look at this checkpoint, which another witness cosigned."),
    ] = None,
) -> None:
    """Fetch what is new of a log, check that nothing that was seen is gone or another, keep it.

    Run it again and again. It ends with an error when the log was truncated or rewritten, or told
    different things to different people.
    """
    given = None if checkpoint is None else _read_file(checkpoint)
    keys = [notes.read_key(one) for one in key]
    texts = [(path.name, _read_checkpoint(path)) for path in compare or ()]
    kept = log_copies.LogCopy(copy)
    with online.open_connection() as http:
        client = clients.Client(http, words.PeopleWords("log"), url=url)
        seen = log_witness.witness_log(client, kept, keys=keys, given=given)
    console = Console(soft_wrap=True, highlight=False)
    root = seen.checkpoint.root.hex()
    console.print(f"{seen.checkpoint.origin}: {seen.checkpoint.size} entries, root {root}")
    if seen.before:
        console.print(f"  It begins with the {seen.before} entries seen before.")
    else:
        console.print("  Nothing was seen before to compare with; this is kept from now on.")
    for named, text in texts:
        same = log_witness.compare_checkpoint(kept, text, keys=keys)
        console.print(f"  {named}: the same log, at {same.size} entries.", markup=False)


@log_app.command("new-witness")
@explain_errors
def new_witness(
    key: Annotated[Path, typer.Argument(help="Where the new key goes.")],
    *,
    name: Annotated[str, typer.Option(help="The witness's name, as example.org/office.")],
) -> None:
    """Make a witness's key and print the public key that others put into their policies."""
    typer.echo(_witness_key(name, zone_keys.load_secret(key, ed25519.generate_seed)).text)


@log_app.command()
@explain_errors
def cosign(
    *,
    copy: Annotated[Path, typer.Option(help="Folder of your copy of the log.")],
    key: Annotated[Path, typer.Option(help="The witness's key file.")],
    name: Annotated[str, typer.Option(help="The witness's name.")],
    out: Annotated[Path, typer.Option(help="Where the cosigned checkpoint goes.")],
) -> None:
    """Cosign the newest checkpoint that you looked at; lines of other witnesses stay in it."""
    seed, kept = zone_keys.load_secret(key, _no_witness_key), log_copies.LogCopy(copy)
    own = _witness_key(name, seed)
    at = int(datetime.now(UTC).timestamp())
    _write(out, log_witness.cosign_checkpoint(kept, name=own.name, seed=seed, at=at))
    said = f"{kept.origin}: {kept.tree.size} entries, cosigned as {own.name}: {out}"
    Console(soft_wrap=True, highlight=False).print(said, markup=False)


@log_app.command()
@explain_errors
def prove(
    certificate: Annotated[Path, typer.Argument(help="Certificate or bill receipt of the log.")],
    *,
    copy: Annotated[Path, typer.Option(help="Folder of your copy of this log.")],
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, as witnesses cosigned it.")],
    out: Annotated[Path, typer.Option(help="Where the proof goes.")],
) -> None:
    """Prove from your copy that a certificate's entry is in a cosigned checkpoint."""
    proof = log_witness.prove_again(
        log_copies.LogCopy(copy), _read_checkpoint(certificate), _read_file(checkpoint)
    )
    _write(out, proof.encode())
    Console().print(f"Proved: {out}", soft_wrap=True)


def _witness_key(name: str, seed: bytes) -> notes.NoteKey:
    return notes.NoteKey(name, "cosignature", ed25519.public_key_of(seed))


def _no_witness_key() -> bytes:
    raise NotFoundError(
        "There is no such key of a witness.",
        reason="witness.key",
        remedy="Make one first: `gridsecure log new-witness FILE --name NAME`.",
    )


def _read_file(path: Path) -> bytes:
    return _read_text(path).encode()


def _write(path: Path, content: bytes) -> None:
    try:
        whole_files.replace_file(path, [content], mode=0o644)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written.",
            reason="witness.file",
            remedy="Check its path, space and permissions.",
        ) from error


def _read_checkpoint(path: Path) -> str:
    """A checkpoint or proof in a file, or the proof in a certificate or a bill's receipt."""
    text = _read_text(path)
    if not text.lstrip().startswith("{"):
        return text
    try:
        content = json.loads(text)
        carrier = content["receipt"] if "receipt" in content else json.loads(content["body"])
        return str(carrier["log_proof"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path.name} holds no proof of an entry.",
            reason="witness.certificate",
            remedy="Give a checkpoint, a proof, or a certificate or receipt as it was sent.",
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="witness.file",
            remedy="Check its path and permissions.",
        ) from error
