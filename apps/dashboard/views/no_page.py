"""Shown to a role that has no page here: roles are denied by default."""

from __future__ import annotations

import streamlit as st

from apps.dashboard.wording import say, tell


def show() -> None:
    """Say that there is nothing, and where to go instead."""
    st.title(say("page_no_page"))
    st.info(tell("no_page_here"))


if __name__ == "__main__":
    show()
