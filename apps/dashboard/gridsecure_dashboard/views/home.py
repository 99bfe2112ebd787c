"""The start: leads to the first page of the reader's roles, or says that they have none here."""

from __future__ import annotations

import streamlit as st

from gridsecure_dashboard import access
from gridsecure_dashboard.wording import say, tell


def show() -> None:
    """Go on to a page, or say where to go instead."""
    session = access.current_session()
    if session is None:
        st.rerun()
    allowed = access.pages_for(session)
    if allowed:
        st.switch_page(f"views/{allowed[0]}.py")
    st.title(say("page_no_page"))
    st.info(tell("no_page_here"))


if __name__ == "__main__":
    show()
