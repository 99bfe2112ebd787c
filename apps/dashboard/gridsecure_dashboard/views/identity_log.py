"""Disclosures, searches and revocations as the identity service logged them; no pseudonym."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.offices.warrants import LoggedEntry, office_of
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import say, tell

# What was done to a pseudonym or person, and what alarms; registrations are thousands, and routine.
_ACTIONS: Final = (
    "warrant", "share", "share-refused", "opened", "revoked", "search", "searched",
    "search-refused", "clone-alarm",
)  # fmt: skip
_MOST: Final = 20_000
_COLUMNS: Final = {
    "entry_index": 0, "logged_at": 0, "logged_action": 0, "person": 0, "entry_hash": 0,
}  # fmt: skip


def show() -> None:
    """What was done to pseudonyms and people, newest first."""
    session = access.enter(access.IDENTITY_LOG)
    with access.explain_errors():
        office_of(session)  # who acts for nobody sees nothing
        kinds = {f"identity.{name}": name for name in _ACTIONS}
        found = access.open_offices().logged(session, actions=list(kinds), most=_MOST)[::-1]
        if len(found) >= _MOST:
            st.warning(tell("identity_log_more", count=figures.count(len(found))))
        if not found:
            st.info(tell("identity_log_none"))
            return
        _show(session, [(kinds[one.action], one) for one in found])


def _show(session: Session, found: Sequence[tuple[str, LoggedEntry]]) -> None:
    """Counts by kind, then the entries of one kind or of all."""
    counts = {name: sum(kind == name for kind, _ in found) for name in _ACTIONS}
    counts = {name: number for name, number in counts.items() if number}
    key_figures([Tile(say(f"logged_{name}"), figures.count(n)) for name, n in counts.items()])
    labels = {"": say("all")} | {name: say(f"logged_{name}") for name in counts}
    wanted = st.selectbox(
        say("logged_action"), list(labels), format_func=labels.__getitem__, key="logged"
    )
    zone = access.local_timezone()
    rows: list[dict[str, object]] = [
        {
            "entry_index": one.index,
            "logged_at": figures.moment(one.at, zone=zone),
            "logged_action": say(f"logged_{kind}"),
            "person": one.actor,
            "entry_hash": one.hash,
        }
        for kind, one in found
        if wanted in {"", kind}
    ]
    show_table(
        pd.DataFrame(rows, dtype=object),
        titles={key: say(key) for key in _COLUMNS},
        formats={"entry_index": str},
        wide=("entry_hash",),
    )
    st.caption(tell("identity_log_how"))
    show_plain_exports(
        session,
        name="identity-log",
        title=say("page_identity_log"),
        columns=_COLUMNS,
        rows=rows,
        facts={"usage_source": tell("identity_log_how").replace("  \n", " ")},
    )


if __name__ == "__main__":
    show()
