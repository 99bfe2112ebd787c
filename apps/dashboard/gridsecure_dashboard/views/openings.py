"""Openings under dual control: order a warrant, give this office's share, read the result.

Shares are computed on the office's own machine. The result is asked for each time it is drawn, kept
nowhere, and leaves the screen when the service forgets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.offices.warrant_states import Opening, WarrantState
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.offices import begin, office_names, order_form
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import say, say_or, tell

_EVERY: Final = "5s"
_LONGEST_SHARE: Final = 1000


def show() -> None:
    """Orders, then the chosen one and the step it waits for."""
    session = access.enter(access.OPENINGS)
    with access.explain_errors():
        office = begin(session)
        st.caption(tell("dual_control"))
        _order(session)
        st.header(say("warrants"))
        warrants = access.open_offices().warrants(session)
        if not warrants:
            st.info(tell("no_warrants"))
            return
        _table(warrants)
        warrant = _choose(warrants)
        _facts(warrant)
        if warrant.is_open:
            _result(session, warrant)
        elif office in warrant.waiting_for:
            _share(session, warrant)
        else:
            st.fragment(_watch, run_every=_EVERY)(session, warrant)


def _order(session: Session) -> None:
    st.header(say("order_warrant"))
    ordered = order_form("opening", submit="order_warrant_submit")
    if ordered is None:
        return
    with access.explain_errors():
        warrant = access.open_offices().order_opening(
            session, subject=ordered[0], reference=ordered[1]
        )
        st.session_state["warrant"] = warrant.hash
        access.page_memory()["note"] = "warrant_ordered"
        st.rerun()


def _table(warrants: Sequence[WarrantState]) -> None:
    table = pd.DataFrame(
        {
            "reference": [item.reference for item in warrants],
            "state": [say_or("warrant_state", item.state) for item in warrants],
            "missing_share": [office_names(item.waiting_for) for item in warrants],
            "subject": [figures.short(item.subject) for item in warrants],
            "ordered_at": [_ordered_at(item) for item in warrants],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table})
    if st.button(say("refresh"), icon=":material/refresh:", key="refresh"):
        st.rerun()


def _choose(warrants: Sequence[WarrantState]) -> WarrantState:
    by_hash = {item.hash: item for item in warrants}
    labels = {
        item.hash: f"{item.reference} | {_ordered_at(item)} | {figures.short(item.subject)}"
        for item in warrants
    }
    chosen = st.selectbox(
        say("choose_warrant"), list(labels), format_func=labels.__getitem__, key="warrant"
    )
    return by_hash[chosen]


def _ordered_at(warrant: WarrantState) -> str:
    return figures.moment(warrant.ordered_at, zone=access.local_timezone())


def _facts(warrant: WarrantState) -> None:
    facts = {
        "entry_hash": warrant.hash,
        "entry_index": str(warrant.index),
        "subject": warrant.subject,
        "reference": warrant.reference,
        "ordered_at": _ordered_at(warrant),
        "ordered_by": warrant.ordered_by,
        "opened_times": str(warrant.opened),
        "missing_share": office_names(warrant.waiting_for),
    }
    table = pd.DataFrame({"field": [say(key) for key in facts], "value": list(facts.values())})
    show_table(table, titles={"field": say("field"), "value": say("value")}, wide=("value",))


def _share(session: Session, warrant: WarrantState) -> None:
    """The command for this office's share, and where to paste what it printed."""
    st.header(say("your_share"))
    st.markdown(tell("share_how"))
    command = commands.share(warrant.hash, url=load_settings().identity_url)
    st.code(command, language=None, wrap_lines=True)
    st.markdown(tell("share_paste"))
    with st.form("share", clear_on_submit=True):
        share = st.text_area(say("share"), max_chars=_LONGEST_SHARE, help=tell("share_help"))
        submitted = st.form_submit_button(say("give_share"), type="primary")
    if submitted and not share.strip():
        st.warning(tell("share_missing"))
    elif submitted:
        with access.explain_errors():
            access.open_offices().give_share(session, name=warrant.hash, share=share)
            access.page_memory()["note"] = "share_given"
            st.rerun()


def _watch(session: Session, warrant: WarrantState) -> None:
    """Wait for the other office; when something changed, load the page once more."""
    with access.explain_errors():
        now = access.open_offices().warrant(session, name=warrant.hash)
        if now.waiting_for != warrant.waiting_for:
            st.rerun()
        other = office_names(now.waiting_for)
        st.info(tell("share_waiting", office=other), icon=":material/hourglass_empty:")


def _result(session: Session, warrant: WarrantState) -> None:
    st.header(say("result"))
    if access.page_memory().get("shown") == warrant.hash:
        st.fragment(_who, run_every=_EVERY)(session, warrant.hash)
        if st.button(say("hide_result"), key="hide_result"):
            del access.page_memory()["shown"]
            st.rerun()
        return
    st.success(tell("result_ready"))
    if st.button(say("show_result"), key="show_result", type="primary"):
        access.page_memory()["shown"] = warrant.hash
        st.rerun()


def _who(session: Session, name: str) -> None:
    """Who it is, as long as the service says so: asked again and again, so that it ends in time."""
    with access.explain_errors():
        opening = access.open_offices().result(session, name=name)
        if opening is None:
            access.page_memory().pop("shown", None)
            access.page_memory()["gone"] = True
            st.rerun()
        _card(opening)


def _card(opening: Opening) -> None:
    """As text and not as a table, which a browser would offer to download."""
    in_books = bool(opening.meter_point_id)
    shown = {"subject": opening.subject, "identity": opening.identity}
    if in_books:
        shown |= {
            "meter_point_id": opening.meter_point_id,
            "name": opening.name,
            "address": opening.address,
        }
    with st.container(border=True):
        for key, text in shown.items():
            label, value = st.columns([1, 3])
            label.markdown(f"**{say(key)}**")
            value.text(text)
    if not in_books:
        st.info(tell("not_in_books"))
    until = figures.moment(opening.expires_at, zone=access.local_timezone())
    st.warning(tell("result_until", until=until), icon=":material/timer:")


if __name__ == "__main__":
    show()
