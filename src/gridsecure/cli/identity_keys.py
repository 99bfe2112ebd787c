"""The commands of `gridsecure identity` that sign: re-key orders, and sign-in codes."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.office_options import KeyOption, UrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, InvalidMessageError

with on_use():
    from gridsecure import identity_messages, messages
    from gridsecure.cli import office_client
    from gridsecure.cli import office_words as words
    from gridsecure.offices import files as office_files

if TYPE_CHECKING:
    from gridsecure.identity_messages import Audience

AUDIENCES: Final[tuple[Audience, ...]] = ("authority", "platform", "gateway", "identity")
OFFICES: Final = 2


@explain_errors
def rekey_order(  # noqa: PLR0913 - one parameter an option
    *,
    key: KeyOption,
    output: Annotated[Path, typer.Option(help="File to write.")],
    identity: Annotated[str | None, typer.Option(help="Whose key, as in the books.")] = None,
    old: Annotated[str | None, typer.Option(help="Its key now, 66 hexadecimal digits.")] = None,
    new: Annotated[str | None, typer.Option(help="Its new key.")] = None,
    reference: Annotated[str | None, typer.Option(help="The order's number.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="Sign what this order of the other office says.")
    ] = None,
) -> None:
    """Sign an order to give an identity a new key; the other office signs the same with --like."""
    said = (identity, old, new, reference)
    own = office_files.officer_key(key)
    if like is not None and said == (None,) * len(said):
        order = identity_messages.RekeyOrder.parsed(office_files.read_signed(like).body)
    elif like is None and None not in said:
        order = _new_order(*(text or "" for text in said))
    else:
        raise InputError(
            "Give either a new order or the one that the other office signed.",
            reason="office.options",
            remedy="Give --identity, --old, --new and --reference; or --like alone.",
        )
    console = Console()
    words.show_order(order, console)
    office_files.write_signed(output, messages.sign_message(order, key=own))
    words.say(console, f"Signed in {output}.")
    if like is None:
        words.say(
            console, f"Next: the other office: gridsecure identity rekey-order --like {output}"
        )
    else:
        words.say(console, f"Next: gridsecure identity rekey --order {like} --order {output}")


@explain_errors
def rekey(
    *,
    url: UrlOption,
    key: KeyOption,
    order: Annotated[list[Path], typer.Option(help="The order as one office signed it; twice.")],
) -> None:
    """Carry out a re-key order that both offices signed."""
    if len(order) != OFFICES:
        raise InputError(
            "A re-key needs the orders of both offices.",
            reason="office.options",
            remedy="Give --order twice.",
        )
    body = {"orders": [office_files.read_signed(path).model_dump(mode="json") for path in order]}
    with office_client.sign_in_officer(office_client.Services(url), key=key) as office:
        entry = office.call("POST", "/rekeys", json=body)
    console = Console()
    words.say(
        console, f"The key is replaced; entry {entry['index']} of the log of enrolments says so."
    )
    words.say(
        console,
        "What the old key registered still acts. Next: gridsecure identity revoke-person "
        "--replaced",
    )


@explain_errors
def sign_in(*, key: KeyOption) -> None:
    """Print a code to sign in at the dashboard: good once, for a minute."""
    own = office_files.officer_key(key)
    login = identity_messages.person_login(AUDIENCES, key=own, now=datetime.now(UTC))
    typer.echo(urlsafe_b64encode(login.model_dump_json().encode()).decode().rstrip("="))
    words.say(
        notes, "Paste it within a minute. Whoever has it first is signed in as you: show nobody."
    )


def add_key_commands(app: typer.Typer) -> None:
    """Add these commands.

    Args:
        app: `gridsecure identity`.
    """
    app.command("rekey-order")(rekey_order)
    app.command("rekey")(rekey)
    app.command("sign-in")(sign_in)


def _new_order(identity: str, old: str, new: str, reference: str) -> identity_messages.RekeyOrder:
    now = datetime.now(UTC).isoformat()
    try:
        return identity_messages.RekeyOrder(
            identity=identity, old=old, new=new, reference=reference, issued_at=now
        )
    except ValueError as error:
        raise InvalidMessageError(
            "The order is malformed.", remedy="A key has 66 hexadecimal digits."
        ) from error
