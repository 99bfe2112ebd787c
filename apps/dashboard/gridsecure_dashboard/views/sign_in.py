"""Sign-in. Code and password go to the identity service and are kept nowhere."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from gridsecure.wire.sessions import Session
from gridsecure_dashboard import commands
from gridsecure_dashboard.access import explain_errors, keep_session, open_client
from gridsecure_dashboard.wording import say, tell

_LONGEST_CODE = 8192


def show() -> None:
    """Ask for a sign-in code, and for a password only where the identity service takes one."""
    _, middle, _ = st.columns([1, 3, 1])
    with middle:
        st.title("GridSecure")
        st.header(say("motto"))
        note = st.session_state.pop("note", None)
        if note is not None:
            st.warning(tell(note))
        _by_code()
        with explain_errors():
            if open_client().offers_passwords():
                _by_password()


def _by_code() -> None:
    with st.form("code", clear_on_submit=True):
        st.markdown(tell("code_how"))
        st.code(commands.SIGN_IN, language=None, wrap_lines=True)
        code = st.text_area(
            say("code"),
            placeholder=say("code_paste"),
            max_chars=_LONGEST_CODE,
        )
        submitted = st.form_submit_button(say("sign_in"), type="primary", width="stretch")
    if submitted and not code.strip():
        st.warning(tell("code_missing"))
    elif submitted:
        _sign_in(lambda: open_client().sign_in_by_code(code))
    st.caption(tell("code_note"))


def _by_password() -> None:
    st.divider()
    with st.form("password", clear_on_submit=True):
        st.markdown(f"**{say('password_title')}**")
        user = st.text_input(say("user"), autocomplete="username", max_chars=64).strip()
        password = st.text_input(
            say("password"), type="password", autocomplete="current-password", max_chars=200
        )
        submitted = st.form_submit_button(say("sign_in_password"), width="stretch")
    if submitted and not (user and password):
        st.warning(tell("sign_in_both"))
    elif submitted:
        asked_by = st.context.ip_address or ""
        _sign_in(lambda: open_client().sign_in(user, password=password, asked_by=asked_by))
    st.caption(tell("sign_in_demonstration"))


def _sign_in(attempt: Callable[[], Session]) -> None:
    with explain_errors():
        with st.spinner(say("working")):
            session = attempt()
        keep_session(session)
        st.rerun()


if __name__ == "__main__":
    show()
