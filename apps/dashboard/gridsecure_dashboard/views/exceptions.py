"""The work list of exceptions: which readings somebody has to look at, and what becomes of them.

Meter points and reasons only: no reading and no amount comes to this page.
"""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.wire.gateway import ExceptionStatus, ReadingException
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import say, say_or, tell

_STATES: Final = ("open", "assigned", "resolved", "waived")
_AT_WORK: Final = frozenset({"open", "assigned"})
# What is done -> the state that it leads to; a note leads to none.
_ACTS: Final = {
    "assign": "assigned",
    "note": None,
    "resolve": "resolved",
    "waive": "waived",
    "reopen": "open",
}
_CLOSING: Final = frozenset({"resolve", "waive"})


def show() -> None:
    """The list of one state, then one exception of it."""
    session = access.enter(access.EXCEPTIONS)
    if access.page_memory().pop("saved", False):
        st.success(tell("saved"))
    with access.explain_errors():
        states = {one: say(f"exception_{one}") for one in _STATES}
        state = st.segmented_control(
            say("state"), _STATES, default=_STATES[0], key="exception_state",
            format_func=states.__getitem__,
        ) or _STATES[0]  # fmt: skip
        found = access.open_client().exceptions(session, state=state)
        if not found:
            st.info(tell("exceptions_none"))
            return
        _table(found)
        names = {one.id: f"{one.id} · {one.month} · {one.meter_point_id}" for one in found}
        number = st.selectbox(
            say("choose_exception"), list(names), format_func=names.__getitem__, key="exception"
        )
        _one(session, access.open_client().exception(session, number=number))


def _table(found: tuple[ReadingException, ...]) -> None:
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "exception": [one.id for one in found],
            "month": [one.month for one in found],
            "meter_point_id": [one.meter_point_id for one in found],
            "rule": [say_or("rule", one.rule) for one in found],
            "intervals": [figures.count(one.intervals) for one in found],
            "first": [figures.moment(one.first, zone=zone) if one.first else "" for one in found],
            "unbilled": [say("unbilled_yes") if one.unbilled else "" for one in found],
            "owner": [one.owner for one in found],
            "due": [one.due for one in found],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats={"intervals": str})


def _one(session: Session, status: ExceptionStatus) -> None:
    one, zone = status.exception, access.local_timezone()
    st.header(f"{say('exception')} {one.id}")
    if status.notes:
        table = pd.DataFrame(
            {
                "at": [figures.moment(note.at, zone=zone) for note in status.notes],
                "person": [note.person for note in status.notes],
                "said": [note.text for note in status.notes],
            },
            dtype=object,
        )
        st.markdown(f"**{say('history')}**")
        show_table(table, titles={str(name): say(str(name)) for name in table}, wide=("said",))
    acts = [name for name in _ACTS if (name == "reopen") != (one.state in _AT_WORK)]
    labels = {name: say(f"act_{name}") for name in acts}
    with st.form("change"):
        act = st.selectbox(say("act"), acts, format_func=labels.__getitem__, key="act")
        owner, due = st.columns(2)
        named = owner.text_input(say("owner"), value=one.owner, max_chars=100, key="owner")
        day = due.text_input(say("due_day"), value=one.due, max_chars=10, key="due")
        note = st.text_area(say("note"), max_chars=1000, key="note")
        st.caption(tell("act_help"))
        wanted = st.form_submit_button(say("save"), type="primary", key="save")
    # The run that a click starts reads the exception anew; what counts is what was on the screen.
    seen: dict[int, int] = access.page_memory().setdefault("seen", {})
    if wanted:
        shown = seen.pop(one.id, one.revision)
        _save(
            session, (one.id, shown), act=act, note=note.strip(), named=(named.strip(), day.strip())
        )
    else:
        seen[one.id] = one.revision


def _save(
    session: Session, one: tuple[int, int], *, act: str, note: str, named: tuple[str, str]
) -> None:
    """Have the gateway change it; what somebody else changed meanwhile is refused there.

    Args:
        one: Its number, and the revision that was on the screen.
        named: Owner and due day.
    """
    if act in _CLOSING | {"note"} and not note:
        st.warning(tell("needs_note"))
        return
    if act == "assign" and not named[0]:
        st.warning(tell("needs_owner"))
        return
    change: dict[str, object] = {"note": note, "revision": one[1]}
    if _ACTS[act] is not None:
        change["state"] = _ACTS[act]
    if act == "assign":
        change |= {"owner": named[0], "due": named[1]}
    access.open_client().change_exception(session, number=one[0], change=change)
    access.page_memory()["saved"] = True
    st.rerun()


if __name__ == "__main__":
    show()
