"""Key sets of gateways: their states and generations, and who may move them how.

Keys are moved by custodians' signatures, on their own machines. No key comes to this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.key_sets import STATES, KeySetShown
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import say, say_or, tell

_CUSTODIANS: Final = frozenset({"custodian"})
# Which commands a state leaves; what cannot be undone is in the documents and not offered here.
_MOVES: Final = {"in-force": ("suspend", "rotate"), "suspended": ("resume",)}


def show() -> None:
    """The list, one key set, and the table of states."""
    session = access.enter(access.KEYS)
    with access.explain_errors():
        found = access.open_client().key_sets(session)
        if not found:
            st.info(tell("keys_none"))
        else:
            counts = {state: sum(one.state == state for one in found) for state in STATES}
            key_figures(
                [
                    Tile(say(f"key_{state}"), figures.count(number))
                    for state, number in counts.items()
                    if number or state == STATES[0]
                ]
            )
            _table(session, found)
            names = {one.key_id: _name(one) for one in found}
            chosen = st.selectbox(
                say("choose_key_set"), list(names)[::-1], format_func=names.__getitem__,
                key="key_set",
            )  # fmt: skip
            one = next(item for item in found if item.key_id == chosen)
            _one(one, may_move=bool(session.roles & _CUSTODIANS))
        _states()


def _name(one: KeySetShown) -> str:
    return (
        f"{say_or('parameters', one.parameters)} · {one.generation} · {figures.short(one.key_id)}"
    )


def _table(session: Session, found: Sequence[KeySetShown]) -> None:
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "key_id": [figures.short(one.key_id) for one in found],
            "gateway": [figures.short(one.gateway) for one in found],
            "parameters": [one.parameters for one in found],
            "generation": [one.generation for one in found],
            "state": [say_or("key", one.state) for one in found],
            "created_at": [figures.moment(one.created_at, zone=zone) for one in found],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats={"generation": figures.count})
    # A file has the ids whole: nobody can ask it for the rest.
    shown = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    rows = [
        row | {"key_id": one.key_id, "gateway": one.gateway}
        for row, one in zip(shown, found, strict=True)
    ]
    show_plain_exports(
        session,
        name="key-sets",
        title=say("page_keys"),
        columns=dict.fromkeys(titles, 0),
        rows=rows,
        facts={"usage_source": tell("keys_source").replace("  \n", " ")},
    )


def _one(one: KeySetShown, *, may_move: bool) -> None:
    st.header(_name(one))
    st.markdown(f"**{say_or('key', one.state)}** · {tell(f'key_{one.state}_means')}")
    if one.earlier_until:
        until = figures.moment(one.earlier_until, zone=access.local_timezone())
        st.caption(tell("key_earlier_until", until=until))
    for key, text in (("key_id", one.key_id), ("gateway_key", one.gateway)):
        st.caption(say(key))
        st.code(text, language=None, wrap_lines=True)
    if not may_move:
        st.caption(tell("keys_custodians"))
        return
    st.markdown(tell("keys_how"))
    own = load_settings()
    for move in ("show", *_MOVES.get(one.state, ())):
        command = commands.move_keys(
            one.key_id, move=move, identity=own.identity_url, authority=own.authority_url
        )
        st.code(command, language=None, wrap_lines=True)


def _states() -> None:
    st.header(say("key_states"))
    table = pd.DataFrame(
        {
            "state": [say(f"key_{state}") for state in STATES],
            "key_does": [say(f"key_{state}_means") for state in STATES],
            "key_moved_by": [say(f"key_{state}_by") for state in STATES],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, wide=("key_does",), whole=True)


if __name__ == "__main__":
    show()
