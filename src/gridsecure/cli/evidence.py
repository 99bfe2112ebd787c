"""`gridsecure evidence`: what a certificate can be replayed from, fetched by a regulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import (
    AuthorityUrlOption,
    IdentityUrlOption,
    KeyOption,
    PlatformUrlOption,
)
from gridsecure.cli.on_use import on_use
from gridsecure.errors import StorageError

with on_use():
    from gridsecure import messages, released_values, whole_files
    from gridsecure.analyst import replay_material
    from gridsecure.cli import online
    from gridsecure.cli import replay as replay_room

if TYPE_CHECKING:
    from gridsecure.identity_messages import Audience

evidence_app = typer.Typer(
    help="Fetch what certificates can be replayed from.", no_args_is_help=True
)


@evidence_app.callback()
def evidence() -> None:
    """A regulator's work, signed in."""


@evidence_app.command()
@explain_errors
def export(  # noqa: PLR0913 - one parameter an option
    release: Annotated[str, typer.Argument(help="Id of the release.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the certificate and the messages.")],
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
    objects: Annotated[
        str,
        typer.Option(help="Folder or URL of an object store for the objects; else OUT/objects."),
    ] = "",
) -> None:
    """Fetch a certificate and all that its plans can be executed again from.

    What is there already and sound is not fetched again. The messages are written last, so that an
    export that was interrupted is known, and is gone on with by the same command.
    """
    store = replay_room.open_store(objects or str(out / "objects"))
    services: dict[Audience, str] = {"platform": platform, "authority": authority}
    with online.person(identity, key=key, services=services) as call:
        answer = call("authority", "GET", f"/releases/{quote(release, safe='')}")
        envelope = released_values.SignedCertificate.model_validate(answer)
        certificate = messages.ReleaseCertificate.parse(envelope.body)
        found = replay_material.gather_material(certificate, call=call, store=store)
    bare = envelope.without_values().model_dump_json().encode()
    _write(out / replay_room.CERTIFICATE, bare)
    _write(out / replay_room.MESSAGES, replay_material.write_messages(found))
    typer.echo(f"{len(found)} signed messages: {out / replay_room.MESSAGES}")
    typer.echo(f"Replay it: gridsecure replay {out / replay_room.CERTIFICATE} --objects …")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_files.replace_file(path, [content], mode=0o644)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written.",
            reason="replay.file",
            remedy="Check its path, space and permissions, and run the command again.",
        ) from error
