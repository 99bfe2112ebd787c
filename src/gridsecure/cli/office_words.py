"""How the offices' commands tell people what happened and who is next."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridsecure.cli.output import to_the_minute
from gridsecure.identity_messages import RekeyOrder
from gridsecure.offices.officers import VerifiedLog
from gridsecure.offices.order_steps import ComputedShare

PEOPLE: Final = {"utility": "the utility (custodian)", "regulator": "the regulator"}


def who(waiting: list[str]) -> str:
    """Whom an order waits for."""
    return " and ".join(PEOPLE[name] for name in waiting) or "nobody"


def say(console: Console, text: str) -> None:
    """Print a line that quotes names: no markup, not cut."""
    console.print(escape(text), soft_wrap=True, highlight=False)


def show_warrant(warrant: dict[str, Any], console: Console) -> None:
    """Say where an order to open stands, and who is next."""
    name = warrant["entry"]["hash"]
    say(console, f"order      {name}")
    say(console, f"pseudonym  {warrant['subject']}")
    say(console, f"reference  {warrant['reference']}")
    if warrant["waiting_for"]:
        say(console, f"Next: {who(warrant['waiting_for'])}: gridsecure identity share {name}")
    else:
        say(console, f"Opened. Both offices read it now: gridsecure identity result {name}")


def show_checked(computed: ComputedShare, console: Console) -> None:
    """Say what a share was computed for, and since when its escrow is in the log.

    A service that lies could log a registration only for an order to come; one that was there
    when the office looked the last time was not made for this order.
    """
    show_log(computed.log, console, name="registrations")
    said, entry = computed.warrant, computed.registered
    say(console, f"It orders to open {said['subject']} by {said['reference']}.")
    say(console, f"Its escrow is in the log since {entry.at:%Y-%m-%d %H:%M} UTC, {entry.index}.")
    if not computed.is_witnessed:
        say(console, "  That is newer than what this office kept: compare with the other office.")


def show_warrants(warrants: list[dict[str, Any]], console: Console) -> None:
    """A table of all orders to open."""
    table = Table(title="Orders to open", title_justify="left")
    for column in ("order", "logged", "by", "reference", "opened", "waits for"):
        table.add_column(column, overflow="fold")
    for one in warrants:
        entry = one["entry"]
        table.add_row(
            entry["hash"],
            to_the_minute(entry["at"]),
            escape(entry["actor"]),
            escape(one["reference"]),
            str(one["opened"]),
            who(one["waiting_for"]),
        )
    console.print(table)


def show_result(result: dict[str, Any], console: Console) -> None:
    """Who a pseudonym is."""
    say(console, f"pseudonym    {result['subject']}")
    say(console, f"identity     {result['identity']}")
    account = result["account"]
    if account is None:
        say(console, "It is not in the utility's books.")
    else:
        say(console, f"meter point  {account['meter_point_id']}")
        say(console, f"name         {account['name']}")
        say(console, f"address      {account['address']}")
    say(console, f"The service forgets this at {result['expires_at']}.")


def show_search(state: dict[str, Any], console: Console) -> None:
    """Say where a search by person stands, and whose turn is next."""
    name = state["entry"]["hash"]
    say(console, f"search     {name}")
    say(console, f"decided    {state['tested']} of {state['total']}")
    for subject in state["found"]:
        say(console, f"revoked    {subject}")
    if state["waiting_for"]:
        say(
            console,
            f"Next: {who(state['waiting_for'])}: gridsecure identity revoke-person "
            f"--continue {name}",
        )
    else:
        say(
            console, f"Over: {len(state['found'])} found and revoked, the others unknown as before."
        )


def show_log(log: VerifiedLog, console: Console, *, name: str) -> None:
    """Say what was verified, and against what."""
    if not log.entries:
        say(console, f"{name}: empty.")
        return
    say(console, f"{name}: {log.tree.size} entries hold, under the root {log.tree.root.hex()}")
    if log.witnessed is None:
        say(console, "  Nothing was kept before to compare with; this is kept from now on.")
    else:
        say(console, f"  The {log.witnessed.size} entries seen the last time are in it unchanged.")


def show_order(order: RekeyOrder, console: Console) -> None:
    """What a re-key order says: read it before you sign the other office's."""
    say(console, f"identity   {order.identity}")
    say(console, f"old key    {order.old}")
    say(console, f"new key    {order.new}")
    say(console, f"reference  {order.reference}")
    say(console, f"issued     {order.issued_at}")
