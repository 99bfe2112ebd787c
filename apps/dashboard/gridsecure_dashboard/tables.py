"""Tables: numbers right-aligned as text people read, sorted by the numbers behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from gridsecure_dashboard.wording import say

_ROW_HEIGHT = 35
_MOST_ROWS = 15


def show_table(
    table: pd.DataFrame,
    *,
    titles: Mapping[str, str],
    formats: Mapping[str, Callable[[Any], str]] | None = None,
    wide: Sequence[str] = (),
    whole: bool = False,
) -> None:
    """Show the titled columns of a table.

    Args:
        table: The rows; money and energy as Decimal.
        titles: Column to title, in the order shown; other columns are not sent to the browser.
        formats: How a column's values are written. Such a column is right-aligned.
        whole: Every row is in sight; else a long table scrolls within itself.
    """
    formats = formats or {}
    shown = table[list(titles)].copy()
    for name, write in formats.items():
        # Written here, as text: a number column would go through the browser's binary numbers.
        shown[name] = [write(value) for value in shown[name]]
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        height=_ROW_HEIGHT * (_rows(len(shown), whole) + 1) + 3,
        column_config={
            name: st.column_config.TextColumn(
                title,
                alignment="right" if name in formats else "left",
                width="large" if name in wide else None,
            )
            for name, title in titles.items()
        },
    )


def _rows(rows: int, whole: bool) -> int:
    return max(rows, 1) if whole else min(max(rows, 1), _MOST_ROWS)


class Tile(NamedTuple):
    """A figure on a card.

    Args:
        note: What is shown on hover: the full figure, or an explanation.
        change: A difference, signed; it has an arrow and no colour of good or bad.
    """

    label: str
    figure: str
    note: str | None = None
    change: str | None = None


def link_page(page: str) -> None:
    """A link to a page, by its name."""
    st.page_link(f"views/{page}.py", label=say(f"page_{page}"), icon=":material/arrow_forward:")


def key_figures(tiles: Sequence[Tile]) -> None:
    """Show figures in cards that flow on, so that none is ever cut."""
    with st.container(horizontal=True):
        for tile in tiles:
            st.metric(
                tile.label, tile.figure, tile.change, delta_color="off", border=True,
                delta_arrow="off" if (tile.change or "").startswith("0") else "auto",
                help=tile.note, width="content",
            )  # fmt: skip


def counts_table(counts: Mapping[str, object], *, name: str, value: str) -> None:
    """Show a small table of names and numbers already written as text."""
    table = pd.DataFrame({"name": list(counts), "value": list(counts.values())}, dtype=object)
    show_table(table, titles={"name": name, "value": value}, formats={"value": str})
