"""`gridsecure keys`: a custodian's work on the key sets of gateways.

A gateway is given its key sets when it asks, so there is nothing to create here. What is done is
done at the key authority; a revocation is carried on to the platform in the same step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from apps.cli.explained import explained
from apps.cli.office_client import TIMEOUT, asked
from apps.cli.office_files import officer_key
from apps.cli.office_options import KeyOption
from apps.http_clients import new_client
from gridsecure.identity.person_login import person_login

keys_app = typer.Typer(help="List, rotate and revoke gateways' key sets.", no_args_is_help=True)

IdentityUrlOption = Annotated[
    str, typer.Option("--identity", help="Address of the identity service.")
]
AuthorityUrlOption = Annotated[
    str, typer.Option("--authority", help="Address of the key authority.")
]
KeyIdArgument = Annotated[str, typer.Argument(help="Key id of the key set.")]


@dataclass(frozen=True, slots=True)
class Custodian:
    """A signed-in custodian.

    Args:
        http: The client; closed by whoever made it.
        authority: Address of the key authority.
        tokens: By audience.
    """

    http: httpx.Client = field(repr=False)
    authority: str
    tokens: dict[str, str] = field(repr=False)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the key authority; its JSON answer.

        Raises:
            GridSecureError: It refused, or cannot be reached (`office.connection`).
        """
        return asked(
            self.http, method, self.authority + path, headers=self._bearer("authority"), **options
        )

    def deliver(self, platform: str, path: str, body: object) -> Any:
        """Post to the platform; its JSON answer.

        Raises:
            GridSecureError: As for `call`.
        """
        headers = self._bearer("platform")
        return asked(self.http, "POST", platform + path, headers=headers, json=body)

    def _bearer(self, audience: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[audience]}"}


def utc_clock() -> datetime:
    """The present."""
    return datetime.now(UTC)


def connection() -> httpx.Client:
    """The client that everything is sent with."""
    return new_client(timeout=TIMEOUT)


@contextmanager
def custodian(identity: str, authority: str, *, key: Path) -> Iterator[Custodian]:
    """A custodian signed in with a key, until the block ends.

    Raises:
        StorageError: The key cannot be used.
        GridSecureError: A service refused.
    """
    login = person_login(("authority", "platform"), key=officer_key(key), now=utc_clock())
    with connection() as http:
        given = asked(http, "POST", f"{identity}/person-tokens", json=login.model_dump())
        yield Custodian(http, authority, given["tokens"])


@keys_app.command("list")
@explained
def list_key_sets(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
    gateway: Annotated[str, typer.Option(help="Only of this gateway (thumbprint).")] = "",
) -> None:
    """List key sets with the gateway whose they are, and their state."""
    with custodian(identity, authority, key=key) as office:
        rows = office.call("GET", "/gateway-key-sets", params={"gateway": gateway})
    table = Table("key id", "gateway", "parameters", "generation", "state", "created")
    for row in rows:
        table.add_row(
            row["key_id"], row["gateway"], row["parameters"], str(row["generation"]), row["state"],
            row["created_at"],
        )  # fmt: skip
    Console().print(table)


@keys_app.command()
@explained
def rotate(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: KeyOption,
) -> None:
    """Retire a key set in force; the gateway is given the next one when it asks."""
    with custodian(identity, authority, key=key) as office:
        office.call("POST", f"/gateway-key-sets/{key_id}/rotate")
    typer.echo(f"Key set {key_id} is retired; what is under it can still be billed and corrected.")


@keys_app.command()
@explained
def revoke(
    key_id: KeyIdArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    platform: Annotated[str, typer.Option("--platform", help="Address of the platform.")],
    key: KeyOption,
) -> None:
    """Withdraw a key set for good: nothing under it is computed on or decrypted any more."""
    with custodian(identity, authority, key=key) as office:
        revocation = office.call("POST", f"/gateway-key-sets/{key_id}/revoke")
        office.deliver(platform, "/key-revocations", revocation)
    typer.echo(f"Key set {key_id} is revoked at the key authority and at the platform.")
