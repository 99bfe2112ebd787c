"""Charts of released figures. Drawing needs binary numbers: they are made here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd
from altair.utils.schemapi import disable_debug_mode

# Parts of a chart are checked when it is written, once: not when each is made, too.
disable_debug_mode()

_BAR_HEIGHT = 34
_CURVE_HEIGHT = 380
_COLUMN_HEIGHT = 260
_DAY_HEIGHT = 14
_FEWEST_DAYS = 6
_NAME_LIMIT = 150  # pixels: two zones and how many more
_END_OF_DAY = "24:00"
_MINUTES_OF_DAY = 24 * 60
_THEME_COLORS = 7
# Longer names lean, or they would stand on each other where a window is narrow.
_UPRIGHT_LETTERS = 8
# They differ in lightness as well, and stand out on white as on black.
_TOTAL = "#2f78ab"
_DIFFERENCE = "#d98324"


def bars(
    table: pd.DataFrame, *, name: str, value: str, name_title: str, value_title: str
) -> alt.Chart:
    """Horizontal bars, one a row, in the order of the table; the table spells long names out.

    Args:
        table: Rows with a name and a Decimal or int value.
        value_title: What the values are, with the unit.
    """
    drawn = pd.DataFrame(
        {"name": table[name].astype(str), "value": [float(number) for number in table[value]]}
    )
    bar = alt.Chart(drawn).mark_bar(cornerRadiusEnd=2, color=_TOTAL)
    chart: alt.Chart = bar.encode(
        x=alt.X("value:Q", title=value_title, axis=alt.Axis(format=",~f", tickCount=5)),
        y=alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=_NAME_LIMIT)),
        tooltip=[
            alt.Tooltip("name:N", title=name_title),
            alt.Tooltip("value:Q", title=value_title, format=",.4~f"),
        ],
    ).properties(height=max(len(drawn), 2) * _BAR_HEIGHT + 50)
    return chart


def columns(table: pd.DataFrame, *, name: str, value: str, value_title: str) -> alt.Chart:
    """Upright bars, in the order of the table; totals and differences have their own colours.

    Args:
        table: Rows with a name, a Decimal value and `is_total`.
        value_title: What the values are, with the unit.
    """
    drawn = pd.DataFrame(
        {
            "name": table[name].astype(str),
            "value": [float(number) for number in table[value]],
            "is_total": [bool(total) for total in table["is_total"]],
        }
    )
    begins, level = [], 0.0
    for number, total in zip(drawn["value"], drawn["is_total"], strict=True):
        level = 0.0 if total else level
        begins.append(level)
        level += number
    drawn["begin"] = begins
    drawn["end"] = drawn["begin"] + drawn["value"]
    angle = 0 if drawn["name"].str.len().max() <= _UPRIGHT_LETTERS else -35
    names = alt.Axis(labelAngle=angle, labelLimit=110, labelOverlap=False)
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_bar(cornerRadius=2)
        .encode(
            x=alt.X("name:N", title=None, sort=None, axis=names),
            y=alt.Y("begin:Q", title=value_title, axis=alt.Axis(format=",~f", tickCount=5)),
            y2="end:Q",
            color=alt.Color(
                "is_total:N",
                legend=None,
                scale=alt.Scale(domain=[True, False], range=[_TOTAL, _DIFFERENCE]),
            ),
            tooltip=[
                alt.Tooltip("name:N", title=" "),
                alt.Tooltip("value:Q", title=value_title, format=",.2f"),
            ],
        )
        .properties(height=_COLUMN_HEIGHT)
    )
    return chart


def _to_the_end(drawn: pd.DataFrame) -> pd.DataFrame:
    """The same lines, with the day's last interval drawn to its end as all others are."""
    clocks = sorted(set(drawn["clock"]))
    minutes = [int(clock[:2]) * 60 + int(clock[3:]) for clock in clocks[-2:]]
    if len(minutes) < 2 or 2 * minutes[1] - minutes[0] != _MINUTES_OF_DAY:
        return drawn
    last = drawn[drawn["clock"] == clocks[-1]]
    longer: pd.DataFrame = pd.concat([drawn, last.assign(clock=_END_OF_DAY)], ignore_index=True)
    return longer


def _curve_colors(curves: int, title: str) -> alt.Color:
    """The theme's colours; where they would repeat, a scale on which days follow one another."""
    if curves <= _THEME_COLORS:
        return alt.Color("curve:N", title=title, legend=alt.Legend(orient="bottom", labelLimit=220))
    return alt.Color(
        "curve:N",
        title=title,
        scale=alt.Scale(scheme="viridis"),
        legend=alt.Legend(orient="bottom", columns=8, symbolLimit=curves),
    )


def _hour_ticks(clocks: pd.Series) -> list[str]:
    """Every second full hour that occurs."""
    return [c for c in sorted(set(clocks)) if c.endswith(":00") and int(c[:2]) % 2 == 0]


def load_curves(
    table: pd.DataFrame, *, clock_title: str, power_title: str, curve_title: str
) -> alt.Chart:
    """Lines of mean power over the clock.

    The clock is drawn as written, as an ordered label: a time axis would be shifted to the time
    zone of the reader's browser.

    Args:
        table: Frame with `curve`, `clock` and `power_kw`.
        power_title: What the y axis shows, with the unit.
    """
    drawn = table.assign(power_kw=[float(power) for power in table["power_kw"]])
    drawn = _to_the_end(drawn)
    ticks = _hour_ticks(drawn["clock"])
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("clock:O", title=clock_title, axis=alt.Axis(values=ticks, labelAngle=0)),
            y=alt.Y("power_kw:Q", title=power_title, axis=alt.Axis(format=",~f")),
            color=_curve_colors(drawn["curve"].nunique(), curve_title),
            tooltip=[
                alt.Tooltip("curve:N", title=curve_title),
                alt.Tooltip("clock:O", title=clock_title),
                alt.Tooltip("power_kw:Q", title=power_title, format=",.3f"),
            ],
        )
        .properties(height=_CURVE_HEIGHT)
    )
    return chart


def heat_map(
    table: pd.DataFrame, *, clock_title: str, day_title: str, power_title: str
) -> alt.Chart:
    """Mean power by day and clock; what was not released has no colour.

    Args:
        table: Frame with `day`, `clock` and `power_kw`.
        power_title: What the colours show, with the unit.
    """
    drawn = table[["day", "clock"]].assign(power_kw=[float(power) for power in table["power_kw"]])
    days = max(drawn["day"].nunique(), _FEWEST_DAYS)
    axis = alt.Axis(values=_hour_ticks(drawn["clock"]), labelAngle=0, labelOverlap=True)
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_rect()
        .encode(
            x=alt.X("clock:O", title=clock_title, axis=axis),
            y=alt.Y("day:O", title=None, axis=alt.Axis(labelOverlap=True)),
            color=alt.Color(
                "power_kw:Q",
                title=power_title,
                scale=alt.Scale(scheme="viridis"),
                legend=alt.Legend(orient="bottom", format=",~f", gradientLength=240),
            ),
            tooltip=[
                alt.Tooltip("day:O", title=day_title),
                alt.Tooltip("clock:O", title=clock_title),
                alt.Tooltip("power_kw:Q", title=power_title, format=",.3f"),
            ],
        )
        .properties(height=days * _DAY_HEIGHT + 130)
    )
    return chart


def duration_curve(table: pd.DataFrame, *, hours_title: str, power_title: str) -> alt.Chart:
    """Power over the hours for which it was at least so large.

    Args:
        table: Frame with `hours` and `power_kw`, the largest power first.
        hours_title: What the x axis shows, with the unit.
        power_title: What the y axis shows, with the unit.
    """
    drawn = pd.DataFrame({name: [float(number) for number in table[name]] for name in table})
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_area(interpolate="step-after", color=_TOTAL, opacity=0.35, line={"color": _TOTAL})
        .encode(
            x=alt.X(
                "hours:Q",
                title=hours_title,
                scale=alt.Scale(nice=False),
                axis=alt.Axis(format=",~f"),
            ),
            y=alt.Y("power_kw:Q", title=power_title, axis=alt.Axis(format=",~f")),
            tooltip=[
                alt.Tooltip("hours:Q", title=hours_title, format=",.2f"),
                alt.Tooltip("power_kw:Q", title=power_title, format=",.3f"),
            ],
        )
        .properties(height=_COLUMN_HEIGHT)
    )
    return chart


# From the dearest hours to the cheapest; other labels take the theme's order.
_PERIOD_COLORS = {
    "sharp": "#b23a48",
    "peak": "#d98324",
    "flat": "#c2a83e",
    "valley": "#2f78ab",
    "deep-valley": "#6b5fa8",
}
_SPARE_COLORS = ("#3b8a5a", "#8e4585", "#5b7083")
_STRIP_HEIGHT = 44


def hour_strips(
    table: pd.DataFrame, *, labels: Mapping[str, str], hour_title: str, label_title: str
) -> alt.Chart:
    """The hours of a day as a strip, one for each type of day.

    Args:
        table: Frame with `day`, `label`, `begin` and `end` [hours], and `hours` as text.
        labels: Label as tariffs have it -> as the reader reads it, in the legend's order.
    """
    drawn = table.assign(begin=table["begin"].astype(float), end=table["end"].astype(float))
    spare = iter(_SPARE_COLORS * len(labels))
    colors = [_PERIOD_COLORS.get(label) or next(spare) for label in labels]
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_bar(height=_STRIP_HEIGHT - 12)
        .encode(
            x=alt.X(
                "begin:Q",
                title=hour_title,
                scale=alt.Scale(domain=[0, 24], nice=False),
                axis=alt.Axis(values=list(range(0, 25, 2))),
            ),
            x2="end:Q",
            y=alt.Y("day:N", title=None, sort=None, axis=alt.Axis(labelLimit=140)),
            color=alt.Color(
                "label:N",
                title=label_title,
                scale=alt.Scale(domain=list(labels.values()), range=colors),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[
                alt.Tooltip("day:N", title=" "),
                alt.Tooltip("label:N", title=label_title),
                alt.Tooltip("hours:N", title=hour_title),
            ],
        )
        .properties(height=table["day"].nunique() * _STRIP_HEIGHT + 130)
    )
    return chart
