"""Days of a released load curve that are unlike their kind, and what the next day may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.outlook_alarms import AlarmRules, watch
from gridsecure.analyst.outlook_forecasts import forecast
from gridsecure.analyst.outlook_series import UNITS, OutlookSeries, read_series
from gridsecure.analyst.releases import Release
from gridsecure_dashboard import figures
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import class_names, say, tell, zone_names

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadOutlook:
    """What the page shows of a release's days.

    Args:
        alarms: A row of each day and group that is unlike its kind.
        forecasts: A row of each group whose next day there are days enough for.
    """

    alarms: list[Row]
    forecasts: list[Row]


def compute_outlook(release: Release) -> LoadOutlook:
    """Alarms by the rules that the command has where nothing is said, and forecasts."""
    series = read_series([release])
    alarms = [
        _label(one.series)
        | {
            "split_day": one.at.isoformat(),
            "energy_kwh": _kwh(one.series, Fraction(one.number)),
            "outlook_median": _kwh(one.series, one.expected),
            "outlook_off": _ratio(one.percent),
        }
        for one in watch(series, AlarmRules()).alarms
    ]
    forecasts = [
        _label(one.series)
        | {
            "split_day": one.at.isoformat(),
            "outlook_expected": _kwh(one.series, one.number),
            "outlook_error": _ratio(one.error.percent),
            "outlook_naive": _ratio(one.error.naive_percent),
        }
        for one in forecast(series)
        if one.number is not None
    ]
    return LoadOutlook(alarms, forecasts)


def show_outlook(shown: LoadOutlook) -> None:
    """Both tables, or that there is nothing for one."""
    st.header(say("outlook"))
    st.caption(tell("outlook_how"))
    if shown.alarms:
        _table(shown.alarms)
    else:
        st.caption(tell("outlook_no_alarm"))
    if shown.forecasts:
        st.subheader(say("outlook_next"))
        st.caption(tell("outlook_next_how"))
        _table(shown.forecasts)


def _table(rows: list[Row]) -> None:
    table = pd.DataFrame(rows, dtype=object)
    table["zone"] = [zone_names(parts) for parts in table["parts"]]
    table["customer_class"] = [class_names(parts) for parts in table["parts"]]
    names = ["split_day", "zone", "customer_class", *(n for n in rows[0] if n in _FORMATS)]
    formats = {name: _FORMATS[name] for name in names if name in _FORMATS}
    show_table(table, titles={name: say(name) for name in names}, formats=formats)


_ENERGY = partial(figures.decimal, places=3)
_FORMATS: Final[Mapping[str, Callable[[Any], str]]] = {
    "energy_kwh": _ENERGY,
    "outlook_median": _ENERGY,
    "outlook_expected": _ENERGY,
    "outlook_off": figures.percent,
    "outlook_error": figures.percent,
    "outlook_naive": figures.percent,
}


def _label(series: OutlookSeries) -> Row:
    return {"parts": series.parts}


def _kwh(series: OutlookSeries, number: Fraction) -> Decimal:
    exact = number / UNITS[series.measure][1]
    return Decimal(exact.numerator) / exact.denominator


def _ratio(percent: Fraction | None) -> Decimal | None:
    if percent is None:
        return None
    ratio = percent / 100
    return Decimal(ratio.numerator) / ratio.denominator
