"""The dashboard's entry: `streamlit run apps/dashboard/main.py`.

Signed out there is one page, sign-in; signed in, the pages of the user's roles and no other.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from apps.dashboard.access import current_session, pages_for, sign_out
from apps.dashboard.figures import moment
from apps.dashboard.wording import choose_language, say
from gridsecure.analyst.sessions import Session

VIEWS = Path(__file__).parent / "views"
# A file of our own: a named icon would be fetched from the internet.
ICON = Path(__file__).parent / "icon.svg"
SIDEBAR_WIDTH = 330  # pixels, so that a page's name is shown whole in both languages
# Streamlit leaves five characters empty at each side; tables with two languages need the room.
MARGINS = "<style>.stMainBlockContainer { padding-left: 2rem; padding-right: 2rem }</style>"
ICONS = {
    "bill_runs": ":material/play_circle:",
    "revenue": ":material/payments:",
    "load_curve": ":material/monitoring:",
    "releases": ":material/verified:",
    "openings": ":material/person_search:",
    "revocations": ":material/block:",
}


def show() -> None:
    """Lay out what every page shares, then run the page."""
    st.set_page_config(
        page_title="GridSecure",
        page_icon=str(ICON),
        layout="wide",
        initial_sidebar_state=SIDEBAR_WIDTH,
    )
    st.html(MARGINS)
    session = current_session()
    if session is None:
        page = st.navigation([st.Page(VIEWS / "sign_in.py", title=say("page_sign_in"))])
        with st.sidebar:
            choose_language()
        page.run()
        return
    allowed = pages_for(session) or ("no_page",)
    page = st.navigation(
        [
            st.Page(VIEWS / f"{name}.py", title=say(f"page_{name}"), icon=ICONS.get(name))
            for name in allowed
        ]
    )
    with st.sidebar:
        _sidebar(session)
    page.run()


def _sidebar(session: Session) -> None:
    choose_language()
    st.divider()
    st.markdown(f"**{say('signed_in_as')}**")
    st.text(f"{session.user} ({', '.join(sorted(session.roles))})")
    st.caption(f"{say('session_until')} {moment(session.expires_at.astimezone())}")
    if st.button(say("sign_out"), icon=":material/logout:", width="stretch"):
        sign_out()
        st.rerun()


if __name__ == "__main__":
    show()
