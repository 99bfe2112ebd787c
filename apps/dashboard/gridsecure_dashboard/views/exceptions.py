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
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import say, say_or, tell

_STATES: Final = ("open", "assigned", "resolved", "waived")
_AT_WORK: Final = frozenset({"open", "assigned"})
# What is done -> the state that it leads to; a note, and what is done to readings, lead to none.
_ACTS: Final = {
    "assign": "assigned",
    "note": None,
    "confirm": None,
    "order": None,
    "estimate": "resolved",
    "resolve": "resolved",
    "waive": "waived",
    "reopen": "open",
}
_NEED_NOTE: Final = frozenset({"note", "confirm", "order", "estimate", "resolve", "waive"})
_OF_READINGS: Final = frozenset({"confirm", "order"})
_FILTERS: Final = ("month", "rule", "owner")
_EXPORTED: Final = {
    "exception": 0, "month": 0, "meter_point_id": 0, "rule": 0, "intervals": 0, "first": 0,
    "unbilled": 0, "owner": 0, "due": 0,
}  # fmt: skip


def show() -> None:
    """The list of one state, then one exception of it."""
    session = access.enter(access.EXCEPTIONS)
    saved = access.page_memory().pop("saved", None)
    if saved is not None:
        st.success(tell(saved))
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
        found = _filter(found)
        if not found:
            st.info(tell("exceptions_filtered"))
            return
        _table(session, found, state=state)
        names = {one.id: f"{one.id} · {one.month} · {one.meter_point_id}" for one in found}
        number = st.selectbox(
            say("choose_exception"), list(names), format_func=names.__getitem__, key="exception"
        )
        _one(session, access.open_client().exception(session, number=number))


def _filter(found: tuple[ReadingException, ...]) -> tuple[ReadingException, ...]:
    """Those of a month, rule and owner, and of meter points whose number holds a text."""
    every = say("all")
    chosen: dict[str, str] = {}
    columns = st.columns(4)
    for column, name in zip(columns, _FILTERS, strict=False):
        values = sorted({str(getattr(one, name)) for one in found if getattr(one, name)})
        labels = {"": every} | {one: say_or("rule", one) for one in values}
        chosen[name] = column.selectbox(
            say(f"filter_{name}"),
            list(labels),
            format_func=labels.__getitem__,
            key=f"filter_{name}",
        )
    text = columns[3].text_input(say("meter_point_id"), max_chars=100, key="filter_point").strip()
    return tuple(
        one
        for one in found
        if text.lower() in one.meter_point_id.lower()
        and all(not value or getattr(one, name) == value for name, value in chosen.items())
    )


def _table(session: Session, found: tuple[ReadingException, ...], *, state: str) -> None:
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
    with st.expander(say("export")):
        show_plain_exports(
            session,
            name=f"exceptions-{state}",
            title=f"{say('page_exceptions')} · {say(f'exception_{state}')}",
            columns=_EXPORTED,
            rows=_rows(table, found),
            facts={"state": say(f"exception_{state}")},
        )


def _rows(table: pd.DataFrame, found: tuple[ReadingException, ...]) -> list[dict[str, object]]:
    """The table's rows, with counts as numbers."""
    return [
        {str(name): row[name] for name in table} | {"intervals": one.intervals}
        for row, one in zip(table.to_dict("records"), found, strict=True)
    ]


def _history(status: ExceptionStatus) -> None:
    if not status.notes:
        return
    zone = access.local_timezone()
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


def _one(session: Session, status: ExceptionStatus) -> None:
    one = status.exception
    st.header(f"{say('exception')} {one.id}")
    _history(status)
    acts = _acts(one)
    labels = {name: say(f"act_{name}") for name in acts}
    if one.unbilled:
        labels |= {"waive": say("act_release")}
    with st.form("change"):
        act = st.selectbox(say("act"), acts, format_func=labels.__getitem__, key="act")
        owner, due = st.columns(2)
        named = owner.text_input(say("owner"), value=one.owner, max_chars=100, key="owner")
        day = due.text_input(say("due_day"), value=one.due, max_chars=10, key="due")
        note = st.text_area(say("note"), max_chars=1000, key="note")
        last = ""
        if not _OF_READINGS.isdisjoint(acts):
            last = st.text_input(
                say("confirm_last"), value=_shown(one.first), max_chars=40, key=f"last_{one.id}"
            )
        st.caption(tell("act_help"))
        wanted = st.form_submit_button(say("save"), type="primary", key="save")
    # The run that a click starts reads the exception anew; what counts is what was on the screen.
    seen: dict[int, int] = access.page_memory().setdefault("seen", {})
    if wanted:
        shown = seen.pop(one.id, one.revision)
        if act in _NEED_NOTE and not note.strip():
            st.warning(tell("needs_note"))
        elif act in _OF_READINGS:
            _edit(session, one, act=act, last=last.strip(), note=note.strip())
        else:
            named_until = (named.strip(), day.strip())
            _save(session, (one.id, shown), act=act, note=note.strip(), named=named_until)
    else:
        seen[one.id] = one.revision


def _acts(one: ReadingException) -> list[str]:
    """What can be done to it as it stands; to readings only where intervals are meant."""
    if one.state not in _AT_WORK:
        return ["reopen"]
    acts = [name for name in _ACTS if name != "reopen"]
    return acts if one.first else [name for name in acts if name not in _OF_READINGS]


def _shown(moment: str) -> str:
    return figures.moment(moment, zone=access.local_timezone())


def _edit(session: Session, one: ReadingException, *, act: str, last: str, note: str) -> None:
    """Let readings count that were set aside, or have some estimated.

    The exception stays until the month is validated.
    """
    span = (one.first, last.replace(" ", "T", 1).replace(" ", "") or one.first)
    client = access.open_client()
    if act == "confirm":
        edit = client.confirm_readings(session, one, span=span, reason=note)
    else:
        edit = client.order_estimate(session, one, span=span, reason=note)
    access.page_memory()["saved"] = f"edited_{edit.state.replace('-', '_')}"
    st.rerun()


def _save(
    session: Session, one: tuple[int, int], *, act: str, note: str, named: tuple[str, str]
) -> None:
    """Have the gateway change it; what somebody else changed meanwhile is refused there.

    Args:
        one: Its number, and the revision that was on the screen.
        named: Owner and due day.
    """
    if act == "assign" and not named[0]:
        st.warning(tell("needs_owner"))
        return
    change: dict[str, object] = {"note": note, "revision": one[1]}
    if _ACTS[act] is not None:
        change["state"] = _ACTS[act]
    if act == "assign":
        change |= {"owner": named[0], "due": named[1]}
    access.open_client().change_exception(session, number=one[0], change=change)
    access.page_memory()["saved"] = "saved"
    st.rerun()


if __name__ == "__main__":
    show()
