"""Managed keys of one's organisation at the encryption service: states, uses, what was used.

No plaintext and no key comes to this page, nor to the service. Keys are moved and used by command,
with the own key of an officer or a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.wire.encryption import NEXT_STATES, KeyUseTold, ManagedKeyTold
from gridsecure.wire.services import MonthUsage
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.billed_months import earlier
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import plain, say, say_or, tell

_MONTHS: Final = 13
_COLUMNS: Final = ("managed_name", "generation", "managed_algorithm", "state", "created_at")


def show() -> None:
    """The keys, one of them, the states, and a month's uses by kind."""
    session = access.enter(access.ENCRYPTION)
    with access.explain_errors():
        found = access.open_encryption().keys(session)
        if found:
            counts = {state: sum(one.state == state for one in found) for state in NEXT_STATES}
            key_figures(
                [
                    Tile(say(f"managed_{state}"), figures.count(number))
                    for state, number in counts.items()
                    if number or state == "active"
                ]
            )
            _table(session, found)
            _one(session, found)
        else:
            st.info(tell("managed_none"))
            _show_commands([commands.make_managed_key(**_places())])
        _usage(session)
        _states()


def _places() -> dict[str, str]:
    own = load_settings()
    return {"identity": own.identity_url, "encryption": own.encryption_url}


def _show_commands(texts: Sequence[str]) -> None:
    for text in texts:
        st.code(text, language=None, wrap_lines=True)


def _table(session: Session, found: Sequence[ManagedKeyTold]) -> None:
    zone = access.local_timezone()
    rows: list[dict[str, object]] = [
        {
            "managed_name": one.name,
            "generation": one.generation,
            "managed_algorithm": say(f"managed_{one.algorithm}"),
            "state": say(f"managed_{one.state}"),
            "created_at": figures.moment(one.created_at, zone=zone),
            "key_id": one.key_id,
        }
        for one in found
    ]
    titles = {name: say(name) for name in _COLUMNS}
    table = pd.DataFrame(rows, dtype=object)
    show_table(table, titles=titles, formats={"generation": figures.count})
    show_plain_exports(
        session,
        name="managed-keys",
        title=say("page_encryption"),
        columns=dict.fromkeys((*_COLUMNS, "key_id"), 0),
        rows=rows,
        facts={"usage_source": tell("managed_source").replace("  \n", " ")},
    )


def _one(session: Session, found: Sequence[ManagedKeyTold]) -> None:
    by_id = {one.key_id: one for one in found}
    labels = {key_id: _name(one) for key_id, one in by_id.items()}
    chosen = by_id[
        st.selectbox(
            say("managed_choose"),
            list(labels)[::-1],
            format_func=labels.__getitem__,
            key="managed_key",
        )
    ]
    st.header(plain(_name(chosen)))
    st.markdown(f"**{say(f'managed_{chosen.state}')}** · {tell(f'managed_{chosen.state}_means')}")
    for title, text in (("key_id", chosen.key_id), ("managed_public", chosen.public_key)):
        if text:
            st.caption(say(title))
            st.code(text, language=None, wrap_lines=True)
    st.subheader(say("managed_uses"))
    uses = access.open_encryption().uses(session, chosen.key_id)
    if uses:
        _uses(uses)
    else:
        st.caption(tell("managed_unused"))
    _next(chosen)


def _name(one: ManagedKeyTold) -> str:
    return f"{one.name} · {one.generation} · {say(f'managed_{one.algorithm}')}"


def _uses(uses: Sequence[KeyUseTold]) -> None:
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "at": [figures.moment(one.at, zone=zone) for one in uses],
            "operation": [say_or("managed_use", one.operation) for one in uses],
            "person": [one.person for one in uses],
        },
        dtype=object,
    )
    titles = {name: say(f"managed_use_{name}") for name in ("at", "operation", "person")}
    show_table(table, titles=titles)
    st.caption(tell("managed_uses_how"))


def _next(one: ManagedKeyTold) -> None:
    """What its organisation's people do with it, each on the own machine."""
    uses = commands.use_managed_key(one.key_id, one.algorithm, **_places())
    moves = commands.move_managed_key(one.key_id, NEXT_STATES[one.state], **_places())
    with st.expander(say("managed_next")):
        if one.state == "active" or (one.state == "deactivated" and one.algorithm == "sm4"):
            st.markdown(tell("managed_next_users"))
            _show_commands(uses if one.state == "active" else uses[1:])
        if moves:
            st.markdown(tell("managed_next_officers"))
            _show_commands(moves)
        st.markdown(tell("managed_next_make"))
        _show_commands([commands.make_managed_key(**_places())])


def _usage(session: Session) -> None:
    st.header(say("managed_usage"))
    newest = f"{datetime.now(UTC):%Y-%m}"
    months = [earlier(newest, months=number) for number in range(_MONTHS)]
    month = st.selectbox(say("usage_month"), months, key="managed_month")
    found: MonthUsage = access.open_encryption().usage(session, month=month)
    if not found.used:
        st.caption(tell("usage_none"))
        return
    key_figures(
        [Tile(say_or("usage", one.measure), figures.count(one.amount)) for one in found.used]
    )


def _states() -> None:
    st.header(say("managed_states"))
    table = pd.DataFrame(
        {
            "state": [say(f"managed_{state}") for state in NEXT_STATES],
            "key_does": [say(f"managed_{state}_means") for state in NEXT_STATES],
        },
        dtype=object,
    )
    titles = {"state": say("state"), "key_does": say("key_does")}
    show_table(table, titles=titles, wide=("key_does",), whole=True)


if __name__ == "__main__":
    show()
