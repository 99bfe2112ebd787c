"""What both pages of the offices share."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from gridsecure.offices.warrants import office_of
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access
from gridsecure_dashboard.wording import colon, say, say_or, tell


def begin(session: Session) -> str:
    """Say where keys stay and for whom this person acts; return the office.

    Raises:
        AccessDeniedError: For none, or it has another role besides (`session.offices`).
    """
    st.info(tell("keys_stay"), icon=":material/key:")
    office = office_of(session)
    st.markdown(f"{say('your_office')}{colon()}**{say_or('office', office)}**")
    note = access.page_memory().pop("note", None)
    if note is not None:
        st.success(tell(note))
    if access.page_memory().pop("gone", False):
        st.info(tell("result_gone"), icon=":material/timer_off:")
    return office


def office_names(offices: Sequence[str]) -> str:
    """Offices in words; nobody if there are none."""
    return ", ".join(say_or("office", name) for name in offices) or say("offices_none")


def order_form(name: str, *, submit: str) -> tuple[str, str] | None:
    """Ask for a pseudonym and a reference; what was entered, once it was."""
    with st.form(name):
        wide, narrow = st.columns([2, 1])
        subject = wide.text_input(
            say("subject"), max_chars=80, placeholder=say("subject_help"), key=f"{name}_subject"
        )
        reference = narrow.text_input(
            say("reference"), max_chars=256, help=tell("reference_help"), key=f"{name}_reference"
        )
        submitted = st.form_submit_button(say(submit), type="primary", key=f"{name}_submit")
    return (subject, reference) if submitted else None
