"""Sign-in. The password goes to the identity service and is kept nowhere."""

from __future__ import annotations

import streamlit as st

from apps.dashboard.access import client, explained, keep_session
from apps.dashboard.wording import say, tell


def show() -> None:
    """Ask for name and password; keep the session if the identity service agrees."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title("GridSecure")
        st.subheader(say("motto"))
        note = st.session_state.pop("note", None)
        if note is not None:
            st.warning(tell(note))
        with st.form("sign_in", clear_on_submit=True):
            user = st.text_input(say("user"), autocomplete="username", max_chars=64)
            password = st.text_input(
                say("password"), type="password", autocomplete="current-password", max_chars=200
            )
            submitted = st.form_submit_button(say("sign_in"), type="primary", width="stretch")
        if submitted:
            _sign_in(user.strip(), password)
        st.caption(tell("sign_in_demonstration"))


def _sign_in(user: str, password: str) -> None:
    if not user or not password:
        st.warning(tell("sign_in_both"))
        return
    with explained():
        with st.spinner(say("working")):
            session = client().sign_in(user, password=password)
        keep_session(session)
        st.rerun()


if __name__ == "__main__":
    show()
