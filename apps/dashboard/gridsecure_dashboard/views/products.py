"""Products (数据产品库): every version that the reader may see, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from gridsecure.analyst.market_reader import MarketPaper
from gridsecure.circulation.products import ProductDesign, ProductStep
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import colon, in_language, listed, plain, say, say_or, tell


def show() -> None:
    """Versions, and one of them with its steps."""
    session = access.enter(access.PRODUCTS)
    with access.explain_errors():
        market = access.open_market()
        found = {
            paper.told.digest: paper
            for paper in (
                *market.concerning(session, ProductDesign.kind),
                *market.documents(session, ProductDesign.kind, side="everybody"),
            )
        }
        if not found:
            st.info(tell("products_none"))
            return
        papers = list(found.values())
        _table(papers)
        _one(session, papers)


def _table(papers: Sequence[MarketPaper]) -> None:
    table = pd.DataFrame(
        {
            "product": [_title(one) for one in papers],
            "version": [one.text("version") for one in papers],
            "organisation": [one.told.organisation for one in papers],
            "state": [say(f"product_{one.told.state}") for one in papers],
            "recipe": [_recipe(one) for one in papers],
            "purpose": [say_or("purpose", one.text("purpose")) for one in papers],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(f"paper_{name}") for name in table}, whole=True)


def _design(paper: MarketPaper) -> ProductDesign:
    if not isinstance(paper.said, ProductDesign):
        raise TypeError("designs are asked for by their kind")
    return paper.said


def _title(paper: MarketPaper) -> str:
    design = _design(paper)
    return in_language(design.title_zh, design.title)


def _recipe(paper: MarketPaper) -> str:
    recipe = _design(paper).recipe
    return f"{say(f'recipe_{recipe.recipe}')} {recipe.name}"


def _one(session: Session, papers: Sequence[MarketPaper]) -> None:
    by_digest = {one.told.digest: one for one in papers}
    labels = {digest: f"{_title(one)} · {one.text('version')}" for digest, one in by_digest.items()}
    chosen = by_digest[
        st.selectbox(
            say("choose_product"), list(labels), format_func=labels.__getitem__, key="product"
        )
    ]
    design = _design(chosen)
    st.header(plain(_title(chosen)))
    if design.summary:
        st.markdown(plain(design.summary))
    measures = listed(say_or("measure", one) for one in design.measures)
    st.markdown(f"{say('measure')}{colon()}{plain(measures)}")
    st.caption(say("workshop_digest"))
    st.code(design.recipe.digest, language=None, wrap_lines=True)
    _steps(session, chosen)
    settings = load_settings()
    st.caption(tell("products_sign"))
    command = commands.show_document(
        chosen.told.digest, identity=settings.identity_url, market=settings.market_url
    )
    st.code(command, language=None, wrap_lines=True)


def _steps(session: Session, chosen: MarketPaper) -> None:
    """The steps of a version that the reader may see; a chain, each by a person of its own."""
    found = [
        one
        for one in access.open_market().concerning(session, ProductStep.kind)
        if one.text("design") == chosen.told.digest
    ]
    zone = access.local_timezone()
    rows = [(say("product_step_design"), chosen)] + [
        (say(f"product_step_{one.text('step')}"), one) for one in reversed(found)
    ]
    table = pd.DataFrame(
        {
            "step": [name for name, _ in rows],
            "organisation": [one.text("organisation") for _, one in rows],
            "person": [one.text("person") for _, one in rows],
            "at": [figures.moment(one.told.at, zone=zone) for _, one in rows],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(f"paper_{name}") for name in table}, whole=True)


if __name__ == "__main__":
    show()
