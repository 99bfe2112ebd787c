"""The workshop (数据工坊): a product's file, what is proven of it, and its sample.

The file is the market's to compute with and keeps no trace there. It is designed, reviewed and
published by documents, each signed on its person's own machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.products.checks import PartCheck, Refusal
from gridsecure.products.designs import read_design
from gridsecure.products.previews import SampledPart
from gridsecure.wire.sessions import Session
from gridsecure.wire.workshop import ProductProven
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.product_form import by_sort, compose_file
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import class_name, colon, in_language, plain, say, say_or, tell

_PERIOD: Final = "2026-07"
_FORM: Final = "form"
_TEXT: Final = "text"
_WAYS: Final = (_FORM, _TEXT)
_LINES: Final = 420  # height of the field with the file [pixels]


def show() -> None:
    """A product, and what comes of it."""
    session = access.enter(access.WORKSHOP)
    with access.explain_errors():
        _form(session)
        _found(session)


def _form(session: Session) -> None:
    """A product's file, composed in a form or written by hand, and what is to be done with it."""
    market = access.open_market()
    ships = access.remember(("products",), lambda: market.products(session).products)
    titles = {one.name: in_language(one.title_zh, one.title) for one in ships}
    files = {one.name: one.file for one in ships}
    begun = st.selectbox(
        say("workshop_begin"), list(titles), format_func=titles.__getitem__, key="workshop_begin"
    )
    way = st.segmented_control(
        say("workshop_by"), _WAYS, format_func=lambda way: say(f"workshop_by_{way}"),
        default=_FORM, key="workshop_by",
    )  # fmt: skip
    if way != _TEXT:
        library = access.remember(("components",), lambda: market.components(session).cards)
        cards = by_sort([one.card for one in library])
        file = compose_file(read_design(files[begun]), cards)
        with st.expander(say("workshop_file")):
            st.code(file, language="toml", wrap_lines=True)
            st.download_button(say("workshop_save"), file, f"{begun}.toml", "application/toml")
    else:
        file = st.text_area(
            say("workshop_file"), files[begun], height=_LINES, key=f"workshop_{begun}"
        )
    period = st.text_input(say("workshop_period"), _PERIOD, max_chars=10, key="workshop_period")
    with st.container(horizontal=True):
        is_checked = st.button(say("workshop_check"), type="primary")
        is_previewed = st.button(say("workshop_preview"))
    if is_checked or is_previewed:
        step = "check" if is_checked else "preview"
        access.page_memory()["composed"] = (step, file, period)


def _found(session: Session) -> None:
    composed = access.page_memory().get("composed")
    if composed is None:
        st.caption(tell("workshop_how"))
        return
    step, file, period = composed
    if step == "preview":
        sample = access.open_market().preview(session, file, period=period).sample
        st.info(tell("workshop_synthetic"), icon=":material/science:")
        for sampled in sample.parts:
            _sample(sampled)
        return
    proven = access.open_market().check(session, file, period=period)
    refusals = proven.check.refusals
    for refusal in refusals:
        _refusal(refusal)
    for part in proven.check.parts:
        _part(part)
    if not refusals:
        _next(proven)


def _refusal(one: Refusal) -> None:
    lines = [f"`{one.field}`", plain(one.message), plain(one.remedy), f"`{one.reason}`"]
    st.error("  \n".join(lines), icon=":material/block:")


def _part(part: PartCheck) -> None:
    st.subheader(plain(part.name))
    key_figures(
        [
            Tile(say("proof_columns"), figures.count(part.columns)),
            Tile(say("proof_operations"), figures.count(sum(part.operations.values()))),
            Tile(say("card_depth"), figures.count(part.depth)),
            Tile(say("proof_margin"), figures.count(part.margin_bits)),
        ]
    )
    approvals = ", ".join(say_or("role", role) for role in part.approvals)
    if approvals:
        st.caption(f"{say('policy_approvals')}{colon()}{approvals}")
    table = pd.DataFrame(
        {
            "groups": [" · ".join(map(class_name, one.values)) for one in part.groups],
            "customers": [one.customers for one in part.groups],
            "minimum": [_fewest(one.minimum) for one in part.groups],
            "is_told": [say("group_told" if one.is_told else "withheld") for one in part.groups],
        },
        dtype=object,
    )
    titles = {str(name): say(f"proof_{name}") for name in table}
    show_table(table, titles=titles, formats={"customers": figures.count}, whole=True)


def _fewest(number: int | None) -> str:
    return figures.NOTHING if number is None else figures.count(number)


def _sample(part: SampledPart) -> None:
    st.subheader(plain(part.name))
    rows: Sequence[Sequence[str]] = part.rows
    names = {name: say_or("column", name) for name in part.columns}
    table = pd.DataFrame(rows, columns=part.columns, dtype=object)
    show_table(table, titles=names)
    st.caption(tell("sample_rows", shown=len(rows), rows=figures.count(part.of)))


def _next(proven: ProductProven) -> None:
    """How the file becomes a design that somebody else reviews."""
    settings = load_settings()
    st.header(say("workshop_next"))
    st.markdown(tell("workshop_next_how"))
    st.caption(say("workshop_digest"))
    st.code(proven.digest, language=None, wrap_lines=True)
    for command in commands.propose_design(
        identity=settings.identity_url, market=settings.market_url
    ):
        st.code(command, language=None, wrap_lines=True)


if __name__ == "__main__":
    show()
