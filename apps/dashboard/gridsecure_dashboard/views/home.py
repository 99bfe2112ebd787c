"""The start page: for each of the reader's roles, its first question answered."""

from __future__ import annotations

import streamlit as st

from gridsecure_dashboard import access
from gridsecure_dashboard.starts import SECTIONS
from gridsecure_dashboard.wording import say, tell


def show() -> None:
    """The sections of the reader's roles, or where to go instead."""
    session = access.current_session()
    if session is None:
        st.rerun()
    if not access.pages_for(session):
        st.title(say("page_no_page"))
        st.info(tell("no_page_here"))
        return
    session = access.enter(access.HOME)
    for roles, section in SECTIONS:
        if roles & session.roles:
            with access.explain_errors():
                section(session)


if __name__ == "__main__":
    show()
