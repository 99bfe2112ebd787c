"""`gridsecure vault`: the key that decrypts, split among custodians and put together for a time.

`init` runs on the vault's machine, as the vault's user. Everything else runs on a custodian's own
machine: the share is opened there, and leaves it sealed to the vault.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.known_vault import UNVERIFIED, KnownVaultOption, known_vault
from gridsecure.cli.office_options import AuthorityUrlOption, IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption

with on_use():
    from gridsecure.cli import online
    from gridsecure.key_authority.vault import ceremony
    from gridsecure.key_authority.vault import service as vault_service
    from gridsecure.offices import custodians as custodians_room
    from gridsecure.offices import files as office_files

if TYPE_CHECKING:
    from gridsecure.vault_messages import SecretShare, VaultStatus

vault_app = typer.Typer(
    help="Unlock the vault as a custodian, lock it, split its key.", no_args_is_help=True
)

CustodianOption = Annotated[
    list[str],
    typer.Option(help="Who keeps a share, as NAME=KEY or NAME=FILE (public SM2 key); repeat it."),
]
NeededOption = Annotated[int, typer.Option(min=2, help="How many custodians unlock the vault.")]
ShareOption = Annotated[Path, typer.Option(exists=True, help="Your own share, as it was made.")]
_USUALLY_NEEDED = 2


@vault_app.command("init")
@explain_errors
def init(
    folder: Annotated[Path, typer.Argument(exists=True, help="The vault's folder.")],
    *,
    custodian: CustodianOption,
    output: Annotated[Path, typer.Option(help="New folder for the custodians' share files.")],
    needed: NeededOption = _USUALLY_NEEDED,
    old_kek: Annotated[
        Path | None,
        typer.Option(help="Key file of an earlier release, which is taken over and destroyed."),
    ] = None,
) -> None:
    """Draw a vault's key and split it; no file holds it afterwards."""
    named = [custodians_room.read_custodian(text) for text in custodian]
    with vault_service.hold_folder(folder):
        made = ceremony.init_vault(
            folder, named, needed=needed, created_at=online.utc_now(), old_kek=old_kek
        )
    # The vault hands shares out itself until it is first unlocked: none is lost with this folder.
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, share in made.shares.items():
        office_files.write_signed(output / f"{name}.json", share)
    console = Console()
    if made.key_sets:
        console.print(f"{made.key_sets} key sets were sealed anew; the old key is destroyed.")
    console.print(f"The vault's key: {made.vault_key}", soft_wrap=True)
    for one in named:
        console.print(Text(f"A share is for {one.name}: {one.key.thumbprint}"), soft_wrap=True)
    console.print(
        f"{len(made.shares)} shares in {output}, each for its custodian alone; {needed} unlock it.",
        soft_wrap=True,
    )


@vault_app.command("status")
@explain_errors
def status(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    vault_key: KnownVaultOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show whether the vault is locked, who keeps shares, and until when it is open.

    It fails if the vault has less than the evidence log once had of it: an older folder.
    """
    known = known_vault(key, vault_key)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        told = custodians_room.read_status(call, known=known)
        is_verified = known is not None
        shown = told.model_dump() | {"is_verified": is_verified}
        print_result(
            shown, output, show=lambda console: _show(told, console, is_verified=is_verified)
        )
        custodians_room.check_counts(call, told)


@vault_app.command("unlock")
@explain_errors
def unlock(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    share: ShareOption,
) -> None:
    """Give your share to the vault; with the last one that is needed, it is unlocked."""
    own, secret = _own(key, share)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        told = custodians_room.give_share(call, secret, key=own, now=online.utc_now())
    _show(told, Console(), is_verified=True)


@vault_app.command("lock")
@explain_errors
def lock(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    vault_key: KnownVaultOption = None,
) -> None:
    """Have the vault forget its key at once."""
    known = known_vault(key, vault_key)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        custodians_room.lock_vault(call, known=known)
    typer.echo("The vault is locked." if known else f"The vault is locked. {UNVERIFIED}")


@vault_app.command("split")
@explain_errors
def split(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    share: ShareOption,
    custodian: CustodianOption,
    needed: NeededOption = _USUALLY_NEEDED,
) -> None:
    """Agree to a new key and new custodians; with the last agreement needed, it is split."""
    own, secret = _own(key, share)
    named = [custodians_room.read_custodian(text) for text in custodian]
    with online.person(identity, key=key, services={"authority": authority}) as call:
        told = custodians_room.give_share(
            call, secret, key=own, now=online.utc_now(), split=(named, needed)
        )
    console = Console()
    if told.splitting == secret.splitting:
        console.print("Agreed. Another custodian's agreement to the very same is needed.")
        return
    console.print(
        "The key is a new one, and so is the vault's own. Each custodian fetches the own share "
        "now; who has an older one names that instead of the key:",
        soft_wrap=True,
    )
    for name in told.uncollected:
        console.print(
            f"  gridsecure vault share {name} --output FILE --vault-key {told.vault_key} …",
            highlight=False,
        )
    console.print("Old shares open nothing that is sealed from now on. Give none of them any more.")


@vault_app.command("share")
@explain_errors
def fetch_share(
    name: Annotated[str, typer.Argument(help="The custodian whose share it is.")],
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    output: Annotated[Path, typer.Option(help="File to write.")],
    vault_key: KnownVaultOption = None,
) -> None:
    """Fetch your sealed share of the vault that you know, until you unlocked the vault by it."""
    known = known_vault(key, vault_key)
    if known is None:
        raise typer.BadParameter("Name the vault that you know by --vault-key.")
    own = office_files.officer_key(key)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        sealed = custodians_room.fetch_share(call, name, key=own, known=known)
    office_files.write_signed(output, sealed)
    typer.echo(f"Your share is in {output}. It opens with your key alone; keep them apart.")


def _own(key: Path, share: Path) -> tuple[Any, SecretShare]:
    own = office_files.officer_key(key)
    return own, custodians_room.open_share(office_files.read_signed(share), key=own)


def _show(told: VaultStatus, console: Console, *, is_verified: bool) -> None:
    lines: dict[str, str] = {"State": told.state}
    if told.until:
        lines["Until"] = told.until
    if told.given:
        lines["Given"] = f"{', '.join(told.given)}; {told.needed} are needed"
    lines["Shares"] = f"{', '.join(told.custodians)}; any {told.needed} unlock it"
    has = told.counts
    lines["Counts"] = f"{has.moves} moves of key sets, {has.policies} policies, "
    lines["Counts"] += f"{has.revocations} revocations"
    lines["Key"] = told.vault_key
    if not is_verified:
        lines["Note"] = UNVERIFIED
    for name, line in lines.items():
        console.print(Text(f"{name:<7} {line}"), soft_wrap=True)
