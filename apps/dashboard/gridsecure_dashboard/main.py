"""What every page shares: `server.py` beside it runs this for each of them.

All pages have an address for everybody, so that a link leads somewhere: signed out, to sign-in and
then to the page itself; with another role, to a sentence that says so. The menu shows the pages of
the user's roles and no other.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.views import sign_in
from gridsecure_dashboard.wording import choose_language, hold_language, language_tag, say, say_or

VIEWS = Path(__file__).parent / "views"
# A file of our own: a named icon would be fetched from the internet.
ICON = Path(__file__).parent / "icon.svg"
SIDEBAR_WIDTH = 330  # pixels, so that a page's name is shown whole in both languages
# Streamlit leaves five characters empty at each side, which tables with two languages need; its
# captions have less contrast than 4.5:1.
LOOKS = """<style>
.stMainBlockContainer { padding-left: 2rem; padding-right: 2rem; padding-top: 3.5rem }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem }
  [data-testid="stMetricValue"] { font-size: 1.3rem }
  [data-testid="stElementContainer"]:has(> [data-testid="stMetric"]) {
    flex: 1 1 calc(50% - 1rem); min-width: calc(50% - 1rem); width: auto
  }
  [data-testid="stMetric"] { width: 100%; height: 100% }
  [data-testid="stMetricDelta"] { height: auto }
  [data-testid="stMetricLabel"] p, [data-testid="stMetricDelta"] p { white-space: normal }
}
[data-testid="stCaptionContainer"], [data-testid="stMetricDelta"] { opacity: 1; color: inherit }
[data-testid="stCaptionContainer"] p { opacity: 0.85 }
[data-testid="stButtonGroup"] [role="radiogroup"] { flex-wrap: wrap }
button[data-variant="segmented_control"][aria-checked="true"] { color: inherit !important }
</style>"""
# A screen reader speaks a page in the language that its root element names.
LANGUAGE = "<script>document.documentElement.lang = 'TAG';</script>"
# The path is of `server.KEEP_PATH`; the ticket has letters, digits, hyphens and underscores only.
KEEP = """<script>
fetch("/keep-sign-in", {method: "POST", body: "TICKET", credentials: "same-origin"});
</script>"""
ICONS = {
    "home": ":material/home:",
    "cycle": ":material/view_kanban:",
    "bill_runs": ":material/play_circle:",
    "exceptions": ":material/rule:",
    "losses": ":material/electric_meter:",
    "approvals": ":material/approval:",
    "revenue": ":material/payments:",
    "corrections": ":material/published_with_changes:",
    "load_curve": ":material/monitoring:",
    "releases": ":material/verified:",
    "policy": ":material/policy:",
    "level": ":material/shield:",
    "keys": ":material/key:",
    "usage": ":material/data_usage:",
    "tariffs": ":material/request_quote:",
    "openings": ":material/person_search:",
    "revocations": ":material/block:",
    "identity_log": ":material/history:",
    "catalogue": ":material/menu_book:",
    "components": ":material/widgets:",
    "workshop": ":material/construction:",
    "products": ":material/inventory_2:",
    "market": ":material/storefront:",
    "encryption": ":material/enhanced_encryption:",
    "supervision": ":material/visibility:",
}


def show() -> None:
    """Lay out what every page shares, then run the page."""
    st.set_page_config(
        page_title="GridSecure",
        page_icon=str(ICON),
        layout="wide",
        initial_sidebar_state=SIDEBAR_WIDTH,
    )
    st.html(LOOKS)
    st.html(LANGUAGE.replace("TAG", language_tag()), unsafe_allow_javascript=True)
    session = access.current_session()
    page = _navigation(session)
    with st.sidebar:
        choose_language()
        hold_language()
        if session is not None:
            access.note_language()
            _signed_in(session)
            _keep_sign_in()
    if session is None:
        sign_in.show()
    else:
        page.run()


def _navigation(session: Session | None) -> StreamlitPage:
    allowed = access.pages_for(session) if session else ()
    pages = [
        st.Page(
            VIEWS / f"{name}.py",
            title=say(f"page_{name}"),
            icon=ICONS[name],
            default=name == access.HOME,
            visibility="visible" if name in allowed else "hidden",
        )
        for name in access.ROLES
    ]
    # All pages of a role: by itself, the sidebar shows ten and folds the others away.
    return st.navigation(pages, position="sidebar" if allowed else "hidden", expanded=True)


def _keep_sign_in() -> None:
    """Let the browser fetch the cookie of a new sign-in; until it has, once a run."""
    ticket = access.ticket()
    if ticket is not None:
        st.html(KEEP.replace("TICKET", ticket), unsafe_allow_javascript=True)


def _signed_in(session: Session) -> None:
    st.divider()
    st.markdown(f"**{say('signed_in_as')}**")
    roles = ", ".join(say_or("role", role) for role in sorted(session.roles))
    st.text(f"{session.user} ({roles})")
    st.caption(
        f"{say('session_until')} {figures.moment(session.expires_at, zone=access.local_timezone())}"
    )
    if st.button(say("sign_out"), icon=":material/logout:", width="stretch"):
        access.sign_out()
        st.rerun()


if __name__ == "__main__":
    show()
