"""`gridsecure log`: what anybody can find out about a zone's log, from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, NotFoundError

with on_use():
    from gridsecure.cli import online
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
) -> None:
    """Fetch what is new of a log, check that nothing that was seen is gone or another, keep it.

    Run it again and again. It ends with an error when the log was truncated or rewritten, or told
    different things to different people.
    """
    keys = [notes.read_key(one) for one in key]
    texts = [(path.name, _read_checkpoint(path)) for path in compare or ()]
    kept = log_copies.LogCopy(copy)
    with online.open_connection() as http:
        client = clients.Client(http, words.PeopleWords("log"), url=url)
        seen = log_witness.witness_log(client, kept, keys=keys)
    console = Console(soft_wrap=True, highlight=False)
    root = seen.checkpoint.root.hex()
    console.print(f"{seen.checkpoint.origin}: {seen.checkpoint.size} entries, root {root}")
    if seen.before:
        console.print(f"  It begins with the {seen.before} entries seen before.")
    else:
        console.print("  Nothing was seen before to compare with; this is kept from now on.")
    for name, text in texts:
        same = log_witness.compare_checkpoint(kept, text, keys=keys)
        console.print(f"  {name}: the same log, at {same.size} entries.", markup=False)


def _read_checkpoint(path: Path) -> str:
    """A checkpoint or proof in a file, or the proof in a certificate."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="witness.file",
            remedy="Check its path and permissions.",
        ) from error
    if not text.lstrip().startswith("{"):
        return text
    try:
        return str(json.loads(json.loads(text)["body"])["log_proof"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path.name} is no certificate with a proof inside.",
            reason="witness.certificate",
            remedy="Give a checkpoint, a proof, or a certificate as the key authority sent it.",
        ) from error
