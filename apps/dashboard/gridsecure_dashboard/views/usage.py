"""What each party used of platform and key authority in a month: jobs, bytes, cells told."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.wire.sessions import AUTHORITY, PLATFORM, Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.billed_months import earlier
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.side_by_side import ask_all
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import say, say_or, tell

_MONTHS: Final = 13
_DIGEST_LETTERS: Final = 64  # a gateway is named by the thumbprint of its key
_TILES: Final = ("uploads", "jobs", "releases", "cells_told")
_COLUMNS: Final = {
    "usage_zone": 0, "usage_party": 0, "usage_measure": 0, "usage_amount": 0, "unit": 0,
}  # fmt: skip


def show() -> None:
    """A month, what it comes to, and each party's use of each service."""
    session = access.enter(access.USAGE)
    with access.explain_errors():
        newest = f"{datetime.now(UTC):%Y-%m}"
        months = [earlier(newest, months=number) for number in range(_MONTHS)]
        month = st.selectbox(say("usage_month"), months, key="usage_month")
        used = _fetch(session, month)
        if not used:
            st.info(tell("usage_none"))
            return
        totals = {
            measure: sum(amount for *_, name, amount in used if name == measure)
            for measure in _TILES
        }
        key_figures(
            [
                Tile(say(f"usage_{measure}"), figures.count(amount))
                for measure, amount in totals.items()
            ]
        )
        _table(session, used, month)


def _fetch(session: Session, month: str) -> list[tuple[str, str, str, int]]:
    """Service, party, measure and amount, of each service that the session has a token for."""
    client = access.open_client()
    services = [service for service in (PLATFORM, AUTHORITY) if service in session.tokens]
    asked = ask_all(
        [partial(client.usage, session, service=service, month=month) for service in services]
    )
    return [
        (service, one.party, one.measure, one.amount)
        for service, answer in zip(services, asked, strict=True)
        for one in answer.used
    ]


def _table(session: Session, used: list[tuple[str, str, str, int]], month: str) -> None:
    table = pd.DataFrame(
        {
            "usage_measure": [say_or("usage", measure) for *_, measure, _ in used],
            "usage_amount": [_amount(measure, amount) for *_, measure, amount in used],
            "usage_party": [_party(party) for _, party, *_ in used],
            "usage_zone": [say(f"service_{service}") for service, *_ in used],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats={"usage_amount": str}, whole=True)
    st.caption(tell("usage_how"))
    rows: list[dict[str, object]] = [
        {
            "usage_zone": service,
            "usage_party": party,
            "usage_measure": measure,
            "usage_amount": amount,
            "unit": "B" if _is_bytes(measure) else "",
        }
        for service, party, measure, amount in used
    ]
    show_plain_exports(
        session,
        name=f"usage-{month}",
        title=f"{month} {say('page_usage')}",
        columns=_COLUMNS,
        rows=rows,
        facts={"usage_month": month, "usage_source": tell("usage_how").replace("  \n", " ")},
    )


def _party(party: str) -> str:
    named = say_or("party", party)
    return figures.short(named) if len(named) == _DIGEST_LETTERS else named


def _is_bytes(measure: str) -> bool:
    return measure.startswith("bytes")


def _amount(measure: str, amount: int) -> str:
    return figures.bytes_text(amount) if _is_bytes(measure) else figures.count(amount)


if __name__ == "__main__":
    show()
