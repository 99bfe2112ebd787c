"""The whole month of a load curve: when it is high, for how long, and what each day came to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st

from gridsecure.analyst.load_curves import (
    LoadFigures,
    daily_figures,
    interval_totals,
    load_duration,
    load_figures,
)
from gridsecure_dashboard import figures
from gridsecure_dashboard.charts import duration_curve, heat_map
from gridsecure_dashboard.money_tiles import energy_tile
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import say, tell


@dataclass(frozen=True, slots=True, eq=False)
class MonthOfLoad:
    """A month of the zones and classes chosen.

    Args:
        figures: None if nothing is released of it.
        duration: Its load-duration curve.
    """

    totals: pd.DataFrame
    figures: LoadFigures | None
    days: dict[str, LoadFigures]
    duration: pd.DataFrame


def compute_month(rows: pd.DataFrame) -> MonthOfLoad:
    """What the page shows of a month.

    Args:
        rows: Released rows of a load-curve table: every day of the zones and classes chosen.
    """
    totals = interval_totals(rows)
    return MonthOfLoad(totals, load_figures(totals), daily_figures(totals), load_duration(totals))


def show_month(shown: MonthOfLoad) -> None:
    """Peak day and load factor, heat map, load-duration curve, and the table of days."""
    month, days = shown.figures, shown.days
    if month is None or len(days) < 2:
        return
    st.header(say("load_month"))
    key_figures(
        [
            energy_tile(month.energy_kwh),
            Tile(say("peak_day"), month.peak_start.strftime("%Y-%m-%d")),
            Tile(say("peak_kw"), figures.decimal(month.peak_kw, places=3), tell("peak_help")),
            Tile(say("load_factor"), figures.percent(month.load_factor), tell("load_factor_help")),
        ]
    )
    st.subheader(say("heat_map"))
    st.altair_chart(
        heat_map(
            shown.totals,
            clock_title=say("clock"),
            day_title=say("split_day"),
            power_title=say("power_kw"),
        ),
        width="stretch",
    )
    st.caption(tell("heat_map_how"))
    st.subheader(say("duration_curve"))
    st.altair_chart(
        duration_curve(
            shown.duration, hours_title=say("hours_at_least"), power_title=say("power_kw")
        ),
        width="stretch",
    )
    st.caption(tell("duration_how"))
    st.subheader(say("by_day"))
    _days(days)


def _days(days: dict[str, LoadFigures]) -> None:
    table = pd.DataFrame(
        {
            "split_day": list(days),
            "energy_kwh": [one.energy_kwh for one in days.values()],
            "peak_kw": [one.peak_kw for one in days.values()],
            "peak_at": [one.peak_start.strftime("%H:%M") for one in days.values()],
            "mean_kw": [one.mean_kw for one in days.values()],
            "load_factor": [one.load_factor for one in days.values()],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    power = partial(figures.decimal, places=3)
    formats = {"energy_kwh": power, "peak_kw": power, "mean_kw": power}
    show_table(table, titles=titles, formats=formats | {"load_factor": figures.percent})
