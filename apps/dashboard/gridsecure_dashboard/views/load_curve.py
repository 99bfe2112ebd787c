"""The released load curve: mean power by interval, peak and load factor; then the whole month."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.load_curves import (
    LoadFigures,
    Split,
    choose_rows,
    curves,
    interval_totals,
    load_curve_table,
    load_figures,
    peak_day,
)
from gridsecure.analyst.releases import LOAD_CURVE, Release
from gridsecure.analyst.reports import RELEASED, WITHHELD, Dimension, all_parts
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.charts import load_curves
from gridsecure_dashboard.chooser import choose_release, show_gaps, show_source
from gridsecure_dashboard.export_files import show_exports
from gridsecure_dashboard.load_months import compute_month, show_month
from gridsecure_dashboard.load_outlook import compute_outlook, show_outlook
from gridsecure_dashboard.money_tiles import energy_tile
from gridsecure_dashboard.reconciled import show_reconciliation
from gridsecure_dashboard.tables import Tile, key_figures
from gridsecure_dashboard.wording import class_names, say, tell, zone_names

# What is exported, with its decimals.
_EXPORTED: Final = {"zone": 0, "customer_class": 0, "start": 0, "energy_kwh": 3}
_SPLITS: Final[tuple[Split, ...]] = ("day", "zone", "customer_class")
_CSV_COLUMNS: Final = ("zone", "customer_class", "start", "end", "energy_kwh")


@dataclass(frozen=True, slots=True)
class _Cells:
    zones: list[str] | None
    classes: list[str] | None


def show() -> None:
    """Choose days and cells, then draw their curve."""
    session = access.enter(access.LOAD_CURVE)
    with access.explain_errors():
        release = choose_release(session, plan=LOAD_CURVE, empty="no_curve_release")
        if release is None:
            return
        show_source(release)
        table = _table(release)
        if not (table["state"] == RELEASED).any():
            withheld = bool((table["state"] == WITHHELD).any())
            st.info(tell("no_role_values" if withheld else "nothing_visible"))
            return
        cells = _choose_cells(table)
        st.fragment(_days)(release, table, cells)
        chosen = (release.release_id, tuple(cells.zones or ()), tuple(cells.classes or ()))
        every_day = partial(choose_rows, table, zones=cells.zones, classes=cells.classes)
        show_month(access.remember(chosen, lambda: compute_month(every_day())))
        outlook = access.remember((release.release_id, "outlook"), lambda: compute_outlook(release))
        show_outlook(outlook)
        show_gaps(table.drop_duplicates(["zone", "customer_class"]), release=release)
        show_reconciliation(session, bounds=(release.start.isoformat(), release.end.isoformat()))


def _days(release: Release, table: pd.DataFrame, cells: _Cells) -> None:
    """Some days' curve. Other days are drawn without the month's charts being drawn again."""
    session = access.current_session()
    if session is None:
        st.rerun()
    days, split = _choose_days(table, release)
    if not days:
        st.info(tell("choose_days"))
        return
    rows = choose_rows(table, days=days, zones=cells.zones, classes=cells.classes)
    figures_shown = load_figures(interval_totals(rows))
    if figures_shown is None:
        st.info(tell("nothing_chosen"))
        return
    _key_figures(figures_shown)
    _chart(rows, split, days=len(days))
    _export(session, rows, release)


def _table(release: Release) -> pd.DataFrame:
    """The release's table; a month of half-hours is laid out once a session."""
    kept: dict[str, pd.DataFrame] = st.session_state.setdefault("load_curve_tables", {})
    if release.release_id not in kept:
        kept[release.release_id] = load_curve_table(release)
    return kept[release.release_id]


def _choose_cells(table: pd.DataFrame) -> _Cells:
    released = choose_rows(table)
    first, second = st.columns(2)
    everything = say("all")
    name_of = partial(_name, table.drop_duplicates(["zone", "customer_class"]))
    zone = first.selectbox(
        say("zone"),
        [everything, *sorted(set(released["zone"]))],
        format_func=lambda name: name_of("zone", name),
    )
    kind = second.selectbox(
        say("customer_class"),
        [everything, *sorted(set(released["customer_class"]))],
        format_func=lambda name: name_of("customer_class", name),
    )
    return _Cells(
        zones=None if zone == everything else [zone],
        classes=None if kind == everything else [kind],
    )


def _choose_days(table: pd.DataFrame, release: Release) -> tuple[list[str], Split]:
    days = access.remember((release.release_id, "days"), lambda: _released_days(table))
    peak = access.remember((release.release_id, "peak"), lambda: peak_day(table))
    picked = st.multiselect(
        say("days"), days, default=[peak] if peak else days[:1], help=tell("days_help")
    )
    labels = {name: say(f"split_{name}") for name in _SPLITS}
    split = st.segmented_control(
        say("split"),
        _SPLITS,
        format_func=labels.__getitem__,
        default="day",
        required=True,
    )
    return picked, split


def _released_days(table: pd.DataFrame) -> list[str]:
    return sorted(set(choose_rows(table)["day"]))


def _name(cells: pd.DataFrame, dimension: Dimension, name: str) -> str:
    """A zone or class of the table as the reader calls it; what is none of them as it is."""
    parts = all_parts(cells, dimension, name)
    if not parts:
        return name
    return zone_names(parts) if dimension == "zone" else class_names(parts)


def _key_figures(shown: LoadFigures) -> None:
    key_figures(
        [
            energy_tile(shown.energy_kwh),
            Tile(say("peak_kw"), figures.decimal(shown.peak_kw, places=3), tell("peak_help")),
            Tile(say("peak_at"), shown.peak_start.strftime("%m-%d %H:%M")),
            Tile(say("mean_kw"), figures.decimal(shown.mean_kw, places=3)),
            Tile(say("load_factor"), figures.percent(shown.load_factor), tell("load_factor_help")),
        ]
    )


def _chart(rows: pd.DataFrame, split: Split, *, days: int) -> None:
    st.altair_chart(
        load_curves(
            curves(rows, split=split),
            clock_title=say("clock"),
            power_title=say("power_kw"),
            curve_title=say(f"split_{split}"),
        ),
        width="stretch",
    )
    if split != "day":
        st.caption(tell("mean_over_days", count=days))


def _export(session: Session, rows: pd.DataFrame, release: Release) -> None:
    zone = access.local_timezone()
    read = [
        {
            "zone": zone_names(row["parts"]),
            "customer_class": class_names(row["parts"]),
            "start": figures.moment(row["start"], zone=zone),
            "energy_kwh": row["energy_kwh"],
        }
        for row in rows.to_dict("records")
    ]
    show_exports(session, release, shown=(_EXPORTED, read), csv=(rows, _CSV_COLUMNS))


if __name__ == "__main__":
    show()
