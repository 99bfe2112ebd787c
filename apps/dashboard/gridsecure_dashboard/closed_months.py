"""The step between gateway and platform: which uploads of a month are billed together.

The billing office signs that list with a key that is on its own machine and on no server. So the
page shows what is in, and the command that closes the month; it cannot close one itself.
"""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.closings import MonthClosing
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import say, say_or, tell

_DIGEST_DIGITS: Final = 64


def show_closing(session: Session, closing: MonthClosing, *, month: str) -> None:
    """Show a month's uploads, by closing list, and how the next list is signed.

    Args:
        session: Who reads; the command is for members of the billing office.
    """
    if not closing.uploads:
        st.caption(tell("closing_empty"))
        return
    _uploads(closing)
    count = closing.open_count
    if not count:
        st.caption(tell("closing_done"))
        return
    st.info(tell("closing_open", count=figures.count(count)), icon=":material/lock_open:")
    if session.roles & access.MONTH_CLOSERS:
        settings = load_settings()
        st.markdown(tell("closing_how"))
        command = commands.close_month(
            month,
            identity=settings.identity_url,
            platform=settings.platform_url,
            timezone=settings.timezone,
            cycle_day=settings.cycle_day,
        )
        st.code(command, language=None, wrap_lines=True)
    if st.button(say("refresh"), icon=":material/refresh:", key="refresh_closing"):
        st.rerun()


def _short(gateway_id: str) -> str:
    """The whole name, unless it is a digest: the upload beside it is the one to copy."""
    if not gateway_id:
        return figures.NOTHING
    return figures.short(gateway_id) if len(gateway_id) >= _DIGEST_DIGITS else gateway_id


def _uploads(closing: MonthClosing) -> None:
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "closing_list": [str(item.number or figures.NOTHING) for item in closing.uploads],
            "state": [say_or("closing_state", item.state) for item in closing.uploads],
            "gateway": [_short(item.gateway_id) for item in closing.uploads],
            "closed_at": [
                figures.moment(item.closed_at, zone=zone) if item.closed_at else figures.NOTHING
                for item in closing.uploads
            ],
            "upload": [item.upload for item in closing.uploads],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table}, whole=True)
