"""The component library (数据组件库): what products are composed of, and what each tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from gridsecure.wire.workshop import ComponentTold
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import class_name, in_language, plain, say, say_or, tell


def show() -> None:
    """All cards, and one of them in full."""
    session = access.enter(access.COMPONENTS)
    with access.explain_errors():
        cards = access.open_market().components(session).cards
        _table(cards)
        _one(cards)


def _table(cards: Sequence[ComponentTold]) -> None:
    table = pd.DataFrame(
        {
            "sort": [say(f"sort_{one.card.sort}") for one in cards],
            "name": [one.card.name for one in cards],
            "title": [_title(one) for one in cards],
            "depth": [one.depth for one in cards],
            "operations": [_operations(one) for one in cards],
            "version": [figures.short(one.version) for one in cards],
        },
        dtype=object,
    )
    titles = {str(name): say(f"card_{name}") for name in table}
    numbers = {"depth": figures.count, "operations": figures.count}
    show_table(table, titles=titles, formats=numbers)


def _title(one: ComponentTold) -> str:
    return in_language(one.card.title_zh, one.card.title)


def _operations(one: ComponentTold) -> int:
    """On ciphertexts, of the costliest roster."""
    return max((sum(found.operations.values()) for found in one.card.references), default=0)


def _one(cards: Sequence[ComponentTold]) -> None:
    labels = {
        number: f"{say(f'sort_{card.sort}')} · {card.name}"
        for number, card in enumerate(one.card for one in cards)
    }
    chosen = cards[
        st.selectbox(
            say("choose_component"), list(labels), format_func=labels.__getitem__, key="component"
        )
    ]
    st.subheader(plain(_title(chosen)))
    st.markdown(f"**{say('card_leaks')}**")
    st.markdown(plain(in_language(chosen.card.leaks_zh, chosen.card.leaks)))
    st.markdown(f"**{say('card_minimum')}**")
    _minima(chosen.card.minimum)
    st.caption(tell("component_version"))
    st.code(chosen.version, language=None, wrap_lines=True)


def _minima(minimum: Mapping[str, Mapping[str, int | None]]) -> None:
    """The fewest customers by policy and class; a dash where nothing is permitted."""
    classes = sorted({name for by_class in minimum.values() for name in by_class})
    table = pd.DataFrame(
        {"policy": [say_or("pack", pack) for pack in minimum]}
        | {
            name: [_fewest(by_class.get(name)) for by_class in minimum.values()] for name in classes
        },
        dtype=object,
    )
    titles = {"policy": say("card_policy")} | {name: _class(name) for name in classes}
    show_table(table, titles=titles, whole=True)


def _class(name: str) -> str:
    return say("class_others") if name == "*" else class_name(name)


def _fewest(number: int | None) -> str:
    return figures.NOTHING if number is None else figures.count(number)


if __name__ == "__main__":
    show()
