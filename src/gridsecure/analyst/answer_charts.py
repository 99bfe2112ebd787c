"""Charts of answers. Drawing needs binary numbers: they are made here and nowhere else.

A page holds the figures and loads what draws them from a public host when it is opened; its policy
forbids every other connection.
"""

from __future__ import annotations

from typing import Final

import altair as alt
import pandas as pd

from gridsecure.errors import InputError
from gridsecure.queries.lines import TOLD

_HOST: Final = "https://cdn.jsdelivr.net"
_POLICY: Final = (
    '<head>\n  <meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    f"script-src 'unsafe-inline' 'unsafe-eval' {_HOST}; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; base-uri 'none'\">"
)
_WIDTH: Final = 640
_HEIGHT: Final = 320
_FIGURES: Final = frozenset({"start", "end", "quantity", "value", "unit", "meter_points", "state"})


def plot_answer(answer: pd.DataFrame) -> alt.VConcatChart:
    """A chart for each quantity: lines over steps, or bars of groups where there is one step.

    Times are drawn as written: a time axis would be shifted to the reader's own zone.

    Args:
        answer: As `queries.answers.answer_question` gives it.

    Raises:
        InputError: No number of it is told (`query.nothing-told`).
    """
    told = answer[answer["state"] == TOLD]
    if told.empty:
        raise InputError(
            "No number of the answer is told, so there is nothing to draw.",
            reason="query.nothing-told",
            remedy="Ask about larger groups, or longer steps.",
        )
    names = [column for column in answer.columns if column not in _FIGURES]
    groups = told[names].astype(str).agg(" · ".join, axis=1) if names else "all"
    drawn = pd.DataFrame(
        {
            # A name ends up inside a script of the page, which no tag may end.
            "group": pd.Series(groups, index=told.index).str.replace("<", "‹"),
            "start": told["start"],
            "quantity": told["quantity"].str.replace("<", "‹"),
            "value": [float(value) for value in told["value"]],
            "unit": told["unit"].str.replace("<", "‹"),
        }
    )
    parts = [_plot(part) for _, part in drawn.groupby("quantity", sort=False)]
    chart: alt.VConcatChart = alt.vconcat(*parts).resolve_scale(color="shared")
    return chart


def _plot(drawn: pd.DataFrame) -> alt.Chart:
    quantity, unit = drawn["quantity"].iloc[0], drawn["unit"].iloc[0]
    value = alt.Y("value:Q", title=f"{quantity} [{unit}]" if unit else quantity)
    color = alt.Color("group:N", title=None)
    tips = [alt.Tooltip(f"{name}:N") for name in ("group", "start", "quantity", "unit")]
    chart = alt.Chart(drawn)
    if drawn["start"].nunique() > 1:
        encoded = chart.mark_line(interpolate="step-after").encode(
            x=alt.X("start:O", title=None, axis=alt.Axis(labelOverlap=True)),
            y=value, color=color, tooltip=[*tips, alt.Tooltip("value:Q")],
        )  # fmt: skip
    else:
        encoded = chart.mark_bar().encode(
            x=alt.X("group:N", title=None, sort=None),
            y=value, color=color, tooltip=[*tips, alt.Tooltip("value:Q")],
        )  # fmt: skip
    plotted: alt.Chart = encoded.properties(width=_WIDTH, height=_HEIGHT)
    return plotted


def chart_page(answer: pd.DataFrame) -> str:
    """The chart as a page of HTML.

    Raises:
        InputError: As `plot_answer`.
    """
    with alt.data_transformers.enable("default", max_rows=None):
        page: str = plot_answer(answer).to_html()
    return page.replace("<head>", _POLICY, 1)
