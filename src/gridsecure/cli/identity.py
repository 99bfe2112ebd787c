"""`gridsecure identity`: what the offices do, each on its own machine with its own keys.

Opening a pseudonym, revoking one or a person, and giving somebody a new key. The half of the
opening key never leaves this machine: it is used here, on an order that was found in a log whose
tree holds and begins with what this office saw of it.

Zone, class, customer and owner are certified from the utility's books, so cells are made of them
and not of what a gateway says. Both files of books are CSV with the columns of `docs/formats.md`.
"""

from __future__ import annotations

import csv
from base64 import urlsafe_b64encode
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.office_options import (
    DenyListOption,
    IdentityOption,
    KeyOption,
    OpenerKeyOption,
    ReferenceOption,
    SubjectOption,
    UrlOption,
    WitnessOption,
)
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError

with on_use():
    from gridsecure import identity_messages, messages
    from gridsecure.cli import office_words as words
    from gridsecure.cli import online
    from gridsecure.offices import files as office_files
    from gridsecure.offices import officers, order_steps, rekey_orders

if TYPE_CHECKING:
    from gridsecure.identity_messages import Audience


identity_app = typer.Typer(
    help="Open and revoke pseudonyms, two offices together.", no_args_is_help=True
)
AUDIENCES: Final[tuple[Audience, ...]] = (
    "authority", "platform", "gateway", "identity", "market", "encryption",
)  # fmt: skip
OFFICES: Final = 2
ACCOUNT_COLUMNS: Final = (
    "meter_point_id", "gateway", "name", "address", "customer_id", "zone", "customer_class",
)  # fmt: skip
DAY_COLUMNS: Final = ("valid_from", "valid_to")
"""Columns of accounts that may be left out: the days on which the gateway has the meter point."""
GATEWAY_COLUMNS: Final = ("gateway", "owner")
MAX_ROWS: Final = 4096
"""Rows of one request. If one fails, the earlier ones are entered, and repeating is harmless."""


@identity_app.command("rekey-order")
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
        order = identity_messages.RekeyOrder.parse(office_files.read_signed(like).body)
    elif like is None and identity and old and new and reference:
        order = rekey_orders.make_rekey_order(
            identity, old=old, new=new, reference=reference, now=online.utc_now()
        )
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


@identity_app.command("rekey")
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
    with online.officer(url, key=key) as office:
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


@identity_app.command("sign-in")
@explain_errors
def sign_in(*, key: KeyOption) -> None:
    """Print a code to sign in at the dashboard: good once, for a minute."""
    own = office_files.officer_key(key)
    login = identity_messages.person_login(AUDIENCES, key=own, now=online.utc_now())
    typer.echo(urlsafe_b64encode(login.model_dump_json().encode()).decode().rstrip("="))
    words.say(
        notes, "Paste it within a minute. Whoever has it first is signed in as you: show nobody."
    )


@identity_app.command("books")
@explain_errors
def books(
    *,
    url: UrlOption,
    key: KeyOption,
    accounts: Annotated[
        Path | None, typer.Option(help="CSV file of meter points, customers, zones and classes.")
    ] = None,
    gateways: Annotated[
        Path | None, typer.Option(help="CSV file of gateways and who runs each.")
    ] = None,
) -> None:
    """Enter meter points and gateways in the identity authority's books, as an operator."""
    if accounts is None and gateways is None:
        raise InputError(
            "There is nothing to enter.",
            reason="office.options",
            remedy="Give --accounts, --gateways or both.",
        )
    wanted = [
        ("/books", _rows(accounts, ACCOUNT_COLUMNS, DAY_COLUMNS)),
        ("/books/gateways", _rows(gateways, GATEWAY_COLUMNS)),
    ]
    with online.person(url, key=key, services={"identity": url}) as call:
        for path, unordered in wanted:
            # Accounts that end come first: another gateway's begin where they end.
            rows = sorted(unordered, key=lambda row: not row.get("valid_to"))
            for start in range(0, len(rows), MAX_ROWS):
                call("identity", "PUT", path, json=rows[start : start + MAX_ROWS])
    named = zip(("meter points", "gateways"), wanted, strict=True)
    counts = [f"{len(rows)} {what}" for what, (_, rows) in named if rows]
    typer.echo(f"Entered {' and '.join(counts)}. Certified with the next credential of each.")


def _rows(
    path: Path | None, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> list[dict[str, str]]:
    """The rows of a file, whole before anything is sent; none without a file.

    Args:
        optional: Columns that the file may have besides.

    Raises:
        InputError: It cannot be read, lacks a column, is empty (`books.file`), or names something
            twice (`books.twice`).
    """
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (lines.fieldnames or ())]
            if missing:
                raise _unreadable(path, f"it lacks the column {missing[0]}")
            read = (*columns, *(name for name in optional if name in (lines.fieldnames or ())))
            rows = [_row(line, read, path, lines.line_num) for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, "it is no readable CSV file in UTF-8") from error
    if not rows:
        raise _unreadable(path, "it has no row")
    (name, count), *_ = Counter(row[columns[0]] for row in rows).most_common(1)
    if count > 1:
        raise InputError(
            f"{path.name} has {count} rows of {name}.",
            reason="books.twice",
            remedy="Leave one; nothing was entered.",
        )
    return rows


def _row(
    line: dict[str | None, str | None], columns: tuple[str, ...], path: Path, number: int
) -> dict[str, str]:
    if None in line or None in line.values():
        raise _unreadable(path, f"line {number} does not have as many fields as the header")
    return {name: (line[name] or "").strip() for name in columns}


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} cannot be entered: {why}.",
        reason="books.file",
        remedy="Correct the file; nothing was entered.",
    )


@identity_app.command()
@explain_errors
def warrant(
    *, url: UrlOption, key: KeyOption, subject: SubjectOption, reference: ReferenceOption
) -> None:
    """Order to open one pseudonym."""
    with online.officer(url, key=key) as office:
        body = {"subject": subject, "reference": reference}
        words.show_warrant(office.call("POST", "/warrants", json=body), Console())


@identity_app.command()
@explain_errors
def warrants(*, url: UrlOption, key: KeyOption) -> None:
    """List every order to open and whom it waits for."""
    with online.officer(url, key=key) as office:
        words.show_warrants(office.call("GET", "/warrants"), Console())


@identity_app.command()
@explain_errors
def share(
    order: Annotated[str, typer.Argument(help="Hash of the order's log entry.")],
    *,
    url: UrlOption,
    key: KeyOption,
    opener_key: OpenerKeyOption,
    witness: WitnessOption,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the share for the dashboard; send nothing.")
    ] = False,
) -> None:
    """Check an order in the log and give this office's share."""
    with online.officer(url, key=key) as office:
        computed = order_steps.compute_share(
            office, order, tools=order_steps.Tools(opener_key, witness)
        )
        words.show_checked(computed, notes)
        if only_print:
            typer.echo(computed.share.hex())
            return
        body = {"opener": office.opener, "share": computed.share.hex()}
        given = office.call("POST", f"/warrants/{order}/shares", json=body)
        console = Console()
        words.say(console, f"The share of the {office.opener} is given.")
        words.show_warrant(given, console)


@identity_app.command()
@explain_errors
def result(
    order: Annotated[str, typer.Argument(help="Hash of the order's log entry.")],
    *,
    url: UrlOption,
    key: KeyOption,
) -> None:
    """Read who a pseudonym is, after both shares, for a quarter of an hour."""
    with online.officer(url, key=key) as office:
        words.show_result(office.call("GET", f"/warrants/{order}/result"), Console())


@identity_app.command()
@explain_errors
def revoke(
    *,
    url: UrlOption,
    key: KeyOption,
    subject: SubjectOption,
    reference: ReferenceOption,
    platform_url: DenyListOption = "",
) -> None:
    """Revoke one pseudonym at once. The person behind it stays unknown, and is not blocked."""
    with online.officer(url, key=key, platform=platform_url) as office:
        body = {"subject": subject, "reference": reference}
        done = office.call("POST", "/revocations", json=body)
        console = Console()
        words.say(console, f"{done['revoked']} pseudonyms that were active are revoked.")
        _deliver(office, console)


@identity_app.command("revoke-person")
@explain_errors
def revoke_person(  # noqa: PLR0913 - one parameter an option
    *,
    url: UrlOption,
    key: KeyOption,
    identity: Annotated[str | None, typer.Option(help="Whom, as in the books.")] = None,
    reference: Annotated[str | None, typer.Option(help="The order's number.")] = None,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Only what a replaced key had; block nobody.")
    ] = False,
    search: Annotated[
        str | None, typer.Option("--continue", help="Do this office's steps of a search.")
    ] = None,
    opener_key: Annotated[Path | None, typer.Option(help="Half of the opening key.")] = None,
    witness: Annotated[Path | None, typer.Option(help="Heads of the log kept here.")] = None,
    platform_url: DenyListOption = "",
) -> None:
    """Order to find and revoke all a person has, or do this office's steps of such an order."""
    is_order = search is None
    if is_order == (identity is None or reference is None) or (not is_order and replaced):
        raise _either()
    if not is_order and (opener_key is None or witness is None):
        raise _either()
    with online.officer(url, key=key, platform=platform_url) as office:
        console = Console()
        if search is None or opener_key is None or witness is None:
            body = {"identity": identity, "reference": reference, "replaced": replaced}
            words.show_search(office.call("POST", "/person-searches", json=body), console)
            return
        tools = order_steps.Tools(opener_key, witness)
        state = order_steps.search_steps(
            office, search, tools=tools, report=lambda text: words.say(notes, text)
        )
        words.show_search(state, console)
        if not state["waiting_for"]:
            _deliver(office, console)


@identity_app.command()
@explain_errors
def block(
    *, url: UrlOption, key: KeyOption, identity: IdentityOption, reference: ReferenceOption
) -> None:
    """Give an identity no new credential; what it has ends with its period."""
    with online.officer(url, key=key) as office:
        body = {"identity": identity, "reference": reference}
        is_new = office.call("POST", "/blocks", json=body)["blocked"]
        words.say(Console(), "Blocked from now on." if is_new else "It was blocked before.")


@identity_app.command("verify-log")
@explain_errors
def verify_log(*, url: UrlOption, key: KeyOption, witness: WitnessOption) -> None:
    """Recompute both evidence logs against what this office saw of them, and keep what it sees."""
    with online.officer(url, key=key) as office:
        for name in office_files.LOGS:
            log = officers.fetch_verified_log(office, name, witness=witness)
            words.show_log(log, Console(), name=name)


def _deliver(office: officers.Office, console: Console) -> None:
    """Bring the deny list to the platform, if one was named."""
    if not office.services.platform:
        words.say(console, "Next: bring the deny list to the platform: --platform-url.")
        return
    known = office.deliver("/deny-lists", office.call("GET", "/deny-list"))
    words.say(console, f"The platform refuses {known['subjects']} pseudonyms now.")


def _either() -> InputError:
    return InputError(
        "Give either a new order or one already under way.",
        reason="office.options",
        remedy="Give --identity and --reference, or --continue with --opener-key and --witness.",
    )
