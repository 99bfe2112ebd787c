"""The market (数据市场): what is offered and looked for, and one's own agreements to their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.market_reader import MarketPaper
from gridsecure.circulation.trade import Agreement, Need, Offer, OfferRequest
from gridsecure.circulation.uses import MeteredUse, SettlementStatement
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.side_by_side import ask_all
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import in_language, say, say_or, tell

Column = Callable[[MarketPaper], str]


def _yuan(fen: str) -> str:
    """Fen as yuan, exactly."""
    return f"{int(fen) // 100:,}.{int(fen) % 100:02}"


def _until(paper: MarketPaper) -> str:
    return figures.moment(paper.text("valid_until"), zone=access.local_timezone())


def _at(paper: MarketPaper) -> str:
    return figures.moment(paper.told.at, zone=access.local_timezone())


def _title(paper: MarketPaper) -> str:
    return in_language(paper.text("title_zh"), paper.text("title"))


def _uses(paper: MarketPaper) -> str:
    return f"{paper.told.uses or 0} / {paper.text('uses')}"


_TABLES: Final[Mapping[str, Mapping[str, Column]]] = {
    Offer.kind: {
        "product": lambda one: one.text("product"),
        "version": lambda one: one.text("version"),
        "organisation": lambda one: one.told.organisation,
        "price": lambda one: _yuan(one.text("price_fen")),
        "valid_until": _until,
    },
    Need.kind: {
        "need": _title,
        "organisation": lambda one: one.told.organisation,
        "valid_until": _until,
    },
    OfferRequest.kind: {
        "organisation": lambda one: one.told.organisation,
        "counterpart": lambda one: one.told.counterpart,
        "uses": lambda one: one.text("uses"),
        "state": lambda one: say_or("paper_state", one.told.state),
        "at": _at,
    },
    Agreement.kind: {
        "product": lambda one: one.text("product"),
        "provider": lambda one: one.text("provider"),
        "consumer": lambda one: one.text("consumer"),
        "price": lambda one: _yuan(one.text("price_fen")),
        "used": _uses,
        "state": lambda one: say_or("paper_state", one.told.state),
        "digest": lambda one: one.told.digest,
    },
    MeteredUse.kind: {
        "consumer": lambda one: one.told.organisation,
        "provider": lambda one: one.told.counterpart,
        "release": lambda one: one.told.name,
        "at": _at,
    },
    SettlementStatement.kind: {
        "month": lambda one: one.text("month"),
        "provider": lambda one: one.text("provider"),
        "consumer": lambda one: one.text("consumer"),
        "total": lambda one: _yuan(one.text("total_fen")),
    },
}
_OF_EVERYBODY: Final = (Offer.kind, Need.kind)


def show() -> None:
    """Each kind of document, the newest first."""
    session = access.enter(access.MARKET)
    with access.explain_errors():
        market = access.open_market()
        asked = ask_all(
            [
                partial(market.documents, session, kind, side="everybody")
                if kind in _OF_EVERYBODY
                else partial(market.concerning, session, kind)
                for kind in _TABLES
            ]
        )
        found = dict(zip(_TABLES, asked, strict=True))
        key_figures(
            [
                Tile(say(f"kind_{kind}"), figures.count(len(papers)))
                for kind, papers in found.items()
            ]
        )
        for kind, papers in found.items():
            st.header(say(f"kind_{kind}"))
            if papers:
                _table(_TABLES[kind], papers)
            else:
                st.caption(tell("market_none"))
        _commands()


def _table(columns: Mapping[str, Column], papers: Sequence[MarketPaper]) -> None:
    table = pd.DataFrame(
        {name: [tell_of(one) for one in papers] for name, tell_of in columns.items()}, dtype=object
    )
    numbers = {name: str for name in ("price", "total", "uses", "used") if name in columns}
    titles = {name: say(f"paper_{name}") for name in columns}
    show_table(table, titles=titles, formats=numbers)


def _commands() -> None:
    settings = load_settings()
    st.header(say("market_sign"))
    st.markdown(tell("market_sign_how"))
    for command in commands.trade(identity=settings.identity_url, market=settings.market_url):
        st.code(command, language=None, wrap_lines=True)


if __name__ == "__main__":
    show()
