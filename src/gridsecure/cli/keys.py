"""`gridsecure keys`: a custodian's work on the key sets of gateways.

A gateway is given its key sets when it asks, so there is nothing to create here. A custodian signs
each move with the own key, and the vault makes it. A revocation is carried on to the platform in
the same step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.known_vault import KnownVaultOption, known_vault
from gridsecure.cli.office_options import (
    AuthorityUrlOption,
    IdentityUrlOption,
    KeyOption,
    PlatformUrlOption,
)
from gridsecure.cli.on_use import on_use

with on_use():
    from gridsecure.cli import online
    from gridsecure.offices import custodians, key_moves
    from gridsecure.offices import files as office_files

if TYPE_CHECKING:
    from pathlib import Path

    from gridsecure.identity_messages import Audience
    from gridsecure.vault_messages import KeyLife

keys_app = typer.Typer(
    help="List gateways' key sets, and move them through their states.", no_args_is_help=True
)

KeyIdArgument = Annotated[str, typer.Argument(help="Key id of the key set.")]


@keys_app.command("list")
@explain_errors
def list_key_sets(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
    gateway: Annotated[str, typer.Option(help="Only of this gateway (thumbprint).")] = "",
    vault_key: KnownVaultOption = None,
) -> None:
    """List key sets with the gateway whose they are, and their state.

    It fails if the vault knows fewer moves of them than the evidence log: an older folder.
    """
    known = known_vault(key, vault_key)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        rows = call("authority", "GET", "/gateway-key-sets", params={"gateway": gateway})
        _show_key_sets(rows)
        custodians.check_counts(call, custodians.read_status(call, known=known))


def _show_key_sets(rows: list[dict[str, str]]) -> None:
    table = Table("key id", "gateway", "parameters", "generation", "state", "created")
    for row in rows:
        table.add_row(
            row["key_id"], row["gateway"], row["parameters"], str(row["generation"]), row["state"],
            row["created_at"],
        )  # fmt: skip
    Console().print(table)


@keys_app.command()
@explain_errors
def rotate(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
    until: Annotated[
        str,
        typer.Option(help="When platforms begin no more uploads under it, with an offset."),
    ] = "",
) -> None:
    """Deactivate a key set; the gateway is given the next one when it asks."""
    wanted = key_moves.Wanted("deactivated", until)
    life = _move(key_id, wanted, urls=(identity, authority), key=key)
    typer.echo("What is under it can still be billed and corrected.")
    if life.until:
        typer.echo(f"No upload under it begins from {life.until} on.")


@keys_app.command()
@explain_errors
def show(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
) -> None:
    """Show a key set's state at the vault, since when, and who moved it."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        life = key_moves.read_life(call, key_id)
    typer.echo(f"{key_id} is {life.state}" + (f" since {life.since}." if life.since else "."))
    for signed in life.moves:
        target = key_moves.target_of(signed[0])
        typer.echo(f"  {target}, signed by {', '.join(one.signer[:12] for one in signed)}")
    for one in life.waiting:
        typer.echo(f"  {one.signer[:12]} wants it {key_moves.target_of(one)}")


@keys_app.command()
@explain_errors
def suspend(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
) -> None:
    """Have nothing decrypted under a key set until custodians resume it."""
    _move(key_id, key_moves.Wanted("suspended"), urls=(identity, authority), key=key)


@keys_app.command()
@explain_errors
def resume(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
) -> None:
    """Let a suspended key set decrypt again; as many custodians as unlock the vault."""
    _move(key_id, key_moves.Wanted("active"), urls=(identity, authority), key=key)


@keys_app.command()
@explain_errors
def destroy(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
) -> None:
    """Overwrite a deactivated or revoked key set for good; as many custodians as unlock."""
    _move(key_id, key_moves.Wanted("destroyed"), urls=(identity, authority), key=key)


def _move(key_id: str, wanted: key_moves.Wanted, *, urls: tuple[str, str], key: Path) -> KeyLife:
    identity, authority = urls
    own = office_files.officer_key(key)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        life = key_moves.move_key_set(call, key_id, wanted, key=own, now=online.utc_now())
    if life.state == wanted.target:
        typer.echo(f"Key set {key_id} is {life.state}.")
    else:
        typer.echo(f"Signed. Key set {key_id} is {life.state} until another custodian signs too.")
    return life


@keys_app.command()
@explain_errors
def revoke(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    platform: PlatformUrlOption,
    key: KeyOption,
) -> None:
    """Withdraw a key set for good: nothing under it is computed on or decrypted any more."""
    services: dict[Audience, str] = {"authority": authority, "platform": platform}
    own = office_files.officer_key(key)
    with online.person(identity, key=key, services=services) as call:
        key_moves.revoke_key_set(call, key_id, key=own, now=online.utc_now())
    typer.echo(f"Key set {key_id} is revoked at the key authority and at the platform.")
