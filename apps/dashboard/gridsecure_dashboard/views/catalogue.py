"""The market's catalogue (数据目录): what was released of which dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gridsecure.products.datasets import DatasetCard, Search, search
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import (
    class_name,
    in_language,
    joined_names,
    say,
    say_or,
    tell,
    zone_name,
)


def show() -> None:
    """Cards that match what is looked for."""
    session = access.enter(access.CATALOGUE)
    with access.explain_errors():
        cards = [one.card for one in access.open_market().catalogue(session)]
        if not cards:
            st.info(tell("catalogue_none"))
            return
        found = search(cards, _wanted(cards))
        _table(found)
        st.caption(tell("catalogue_how"))


def _wanted(cards: Sequence[DatasetCard]) -> Search:
    """What is looked for; there is no field for a person, and no card has one."""
    places = st.columns(4)
    kind = _choose(places[0], "customer_class", (name for card in cards for name in card.classes))
    zone = _choose(places[1], "zone", (name for card in cards for name in card.zones))
    month = _choose(places[2], "usage_month", (card.start[:7] for card in cards))
    measure = _choose(places[3], "measure", (name for card in cards for name in card.measures))
    return Search(kind, zone, month, measure)


def _choose(place: DeltaGenerator, name: str, words: Iterable[str]) -> str:
    spelled = {"customer_class": class_name, "zone": zone_name, "measure": _measure}.get(name, str)
    labels = {"": say("catalogue_any")} | {word: spelled(word) for word in sorted(set(words))}
    chosen: str = place.selectbox(
        say(name), list(labels), format_func=labels.__getitem__, key=f"catalogue_{name}"
    )
    return chosen


def _measure(word: str) -> str:
    return say_or("measure", word)


def _table(cards: Sequence[DatasetCard]) -> None:
    table = pd.DataFrame(
        {
            "dataset": [in_language(one.title_zh, one.title) for one in cards],
            "owner": [one.owner for one in cards],
            "zone": [joined_names(one.zones, zone_name) for one in cards],
            "customer_class": [joined_names(one.classes, class_name) for one in cards],
            "grade": [one.grade for one in cards],
            "told": [one.told for one in cards],
            "withheld": [one.withheld for one in cards],
            "measured": [_measured(one) for one in cards],
            "price_yuan": [one.price_yuan for one in cards],
            "measure": [joined_names(one.measures, _measure) for one in cards],
        },
        dtype=object,
    )
    titles = {str(name): say(f"card_{name}") for name in table}
    numbers = dict.fromkeys(("grade", "told", "withheld"), figures.count)
    show_table(table, titles=titles, formats=numbers, whole=True)


def _measured(card: DatasetCard) -> str:
    return figures.NOTHING if card.quality is None else f"{card.quality.measured_percent}%"


if __name__ == "__main__":
    show()
