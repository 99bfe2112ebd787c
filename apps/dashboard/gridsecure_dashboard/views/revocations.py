"""Revocations: a pseudonym at once, after a confirmation; a person by a search of both offices.

The identity searched for is entered in the command on the office's own machine, never here.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from gridsecure.offices.warrant_states import PersonSearch
from gridsecure.offices.warrants import check_order
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.offices import begin, office_names, order_form
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import colon, plain, say, say_or, tell


def show() -> None:
    """Revoke a pseudonym, then the searches by person."""
    session = access.enter(access.REVOCATIONS)
    with access.explain_errors():
        office = begin(session)
        st.header(say("revoke_subject"))
        st.caption(tell("revoke_help"))
        count = access.page_memory().pop("revoked", None)
        if count is not None:
            st.success(tell("revoked_some", count=count) if count else tell("revoked_none"))
        if "revocation" in access.page_memory():
            _confirm(session, access.page_memory()["revocation"])
        else:
            _ask()
        st.header(say("person_searches"))
        st.caption(tell("search_help"))
        st.markdown(tell("search_order"))
        command = commands.order_search(url=load_settings().identity_url)
        st.code(command, language=None, wrap_lines=True)
        _searches(session, office)


def _ask() -> None:
    asked = order_form("revocation", submit="revoke_next")
    if asked is None:
        return
    with access.explain_errors():
        access.page_memory()["revocation"] = check_order(subject=asked[0], reference=asked[1])
        st.rerun()


def _confirm(session: Session, order: dict[str, str]) -> None:
    """Show once more what will be revoked; it happens on a second button only."""
    st.warning(
        f"**{tell('revoke_check')}**  \n{say('subject')}{colon()}`{order['subject']}`  \n"
        f"{say('reference')}{colon()}{plain(order['reference'])}",
        icon=":material/warning:",
    )
    yes, no, _ = st.columns([1, 1, 2])
    confirmed = yes.button(say("revoke_confirm"), key="revoke", type="primary", width="stretch")
    if no.button(say("cancel"), key="cancel", width="stretch"):
        del access.page_memory()["revocation"]
        st.rerun()
    if confirmed:
        with access.explain_errors():
            # Taken away first: a second click, or a failure, begins with the form again.
            del access.page_memory()["revocation"]
            count = access.open_offices().revoke(session, **order)
            access.page_memory()["revoked"] = count
            st.rerun()


def _searches(session: Session, office: str) -> None:
    searches = access.open_offices().searches(session)
    if searches is None:
        st.info(tell("searches_by_command"))
        return
    if not searches:
        st.info(tell("no_searches"))
        return
    _table(searches)
    if st.button(say("refresh"), icon=":material/refresh:", key="refresh"):
        st.rerun()
    by_hash = {item.hash: item for item in searches}
    chosen = by_hash[st.selectbox(say("choose_search"), list(by_hash), key="search")]
    if office in chosen.waiting_for:
        st.markdown(tell("search_your_turn"))
        command = commands.work(chosen.hash, url=load_settings().identity_url)
        st.code(command, language=None, wrap_lines=True)
    elif chosen.waiting_for:
        st.info(tell("search_others_turn", office=office_names(chosen.waiting_for)))
    else:
        st.info(tell("search_finished"))


def _table(searches: Sequence[PersonSearch]) -> None:
    table = pd.DataFrame(
        {
            "search": [figures.short(item.hash) for item in searches],
            "state": [_state(item) for item in searches],
            "turn_of": [office_names(item.waiting_for) for item in searches],
            "progress": [f"{item.done:,} / {item.of:,}" for item in searches],
            "found": [item.found for item in searches],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats={"found": figures.count})


def _state(search: PersonSearch) -> str:
    return say_or("state", search.state or ("running" if search.waiting_for else "done"))


if __name__ == "__main__":
    show()
