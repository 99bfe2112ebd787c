"""What waits to be released: what it is, who has still to approve it, and the command for that.

Keys are on officers' own machines. The page shows what the text says whose digest they sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from gridsecure.wire.asked_releases import AskedRelease
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import class_name, listed, say, say_or, tell, zone_name


def show() -> None:
    """The list of what waits, then one request."""
    session = access.enter(access.APPROVALS)
    st.caption(tell("approvals_note"))
    with access.explain_errors():
        found = access.open_client().approvals(session, state="waiting")
        if not found:
            st.info(tell("approvals_none"))
            return
        mine = sum(bool(session.roles & set(one.missing)) for one in found)
        if mine:
            st.warning(tell("approvals_yours", count=mine), icon=":material/approval:")
        _table(found)
        names = {one.digest: _name(one) for one in found}
        digest = st.selectbox(
            say("choose_asked"), list(names), format_func=names.__getitem__, key="asked"
        )
        _one(session, next(one for one in found if one.digest == digest))


def _name(one: AskedRelease) -> str:
    asked = one.subject
    month = figures.month(asked.start, asked.end)
    return f"{say_or('plan', asked.plan)} · {month} · {figures.short(one.digest)}"


def _table(found: Sequence[AskedRelease]) -> None:
    table = pd.DataFrame(
        {
            "plan": [say_or("plan", one.subject.plan) for one in found],
            "period": [_period(one) for one in found],
            "purpose": [say_or("purpose", one.subject.purpose) for one in found],
            "missing": [_roles(one.missing) for one in found],
            "requested_by": [one.subject.requested_by[:24] for one in found],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table})


def _period(one: AskedRelease) -> str:
    zone = access.local_timezone()
    return " – ".join(figures.moment(at, zone=zone) for at in (one.subject.start, one.subject.end))


def _roles(roles: Sequence[str]) -> str:
    return listed(say_or("role", role) for role in roles) or say("nobody")


def _one(session: Session, one: AskedRelease) -> None:
    asked = one.subject
    st.header(_name(one))
    if asked.question:
        st.info(tell("asked_question"), icon=":material/lock:")
    smallest = min((cell.meter_points for cell in asked.cells), default=None)
    key_figures(
        [
            Tile(say("asked_groups"), figures.count(len(asked.cells))),
            Tile(say("asked_points"), figures.count(smallest)),
        ]
    )
    fields = {
        "asked_resolutions": ", ".join(say_or("resolution", name) for name in asked.resolutions),
        "asked_measures": ", ".join(say_or("measure", name) for name in asked.measures),
        "asked_policy": f"{asked.policy_name} {asked.policy_version}",
        "missing": _roles(one.missing),
        "decided": figures.count(len(one.decisions)),
        "asked_subject": one.digest,
    }
    table = pd.DataFrame({"field": [say(name) for name in fields], "value": list(fields.values())})
    show_table(table, titles={"field": say("field"), "value": say("value")}, wide=("value",))
    _cells(one)
    if session.roles & access.APPROVERS:
        st.markdown(tell("approvals_how"))
        own = load_settings()
        for decision in ("show", "sign", "reject"):
            command = commands.decide(
                one.digest,
                decision=decision,
                identity=own.identity_url,
                authority=own.authority_url,
            )
            st.code(command, language=None, wrap_lines=True)


def _cells(one: AskedRelease) -> None:
    table = pd.DataFrame(
        {
            "zone": [zone_name(cell.zone) for cell in one.subject.cells],
            "customer_class": [class_name(cell.customer_class) for cell in one.subject.cells],
            "meter_points": [figures.count(cell.meter_points) for cell in one.subject.cells],
        },
        dtype=object,
    )
    with st.expander(f"{say('cells')} ({len(table)})"):
        titles = {str(name): say(str(name)) for name in table}
        show_table(table, titles=titles, formats={"meter_points": str})


if __name__ == "__main__":
    show()
