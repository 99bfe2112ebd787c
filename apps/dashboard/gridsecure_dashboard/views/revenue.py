"""Revenue and energy by zone and class, from the newest signed release of a bill run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import BILL, Release
from gridsecure.analyst.reports import (
    DOMINATED,
    PROTECTED,
    RELEASED,
    SUPPRESSED,
    WITHHELD,
    BillTotals,
    Dimension,
    all_parts,
    bill_table,
    bill_totals,
    csv_bytes,
    totals_by,
)
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.charts import bars
from gridsecure_dashboard.chooser import choose_release, show_gaps, show_source
from gridsecure_dashboard.reconciled import show_reconciliation
from gridsecure_dashboard.tables import key_figures, show_table
from gridsecure_dashboard.wording import class_names, say, tell, zone_names

_CSV_COLUMNS: Final = (
    "zone", "customer_class", "start", "end", "bills", "energy_kwh", "amount_yuan",
    "average_yuan_per_kwh",
)  # fmt: skip
_MEASURES: Final = ("amount_yuan", "energy_kwh", "bills")


def show() -> None:
    """Control totals, charts and the table of cells."""
    session = access.enter(access.REVENUE)
    with access.explain_errors():
        release = choose_release(session, plan=BILL, empty="no_bill_release")
        if release is None:
            return
        show_source(release)
        table = bill_table(release)
        table["zone_shown"] = [zone_names(parts) for parts in table["parts"]]
        table["class_shown"] = [class_names(parts) for parts in table["parts"]]
        totals = bill_totals(table)
        if not totals.cells:
            st.info(tell("no_role_values" if totals.withheld else "nothing_visible"))
            return
        _key_figures(totals)
        show_gaps(table, release=release)
        show_reconciliation(session, bounds=(release.start.isoformat(), release.end.isoformat()))
        _charts(table)
        _cells(table, release)


def _key_figures(totals: BillTotals) -> None:
    key_figures(
        [
            (say("bills"), figures.count(totals.bills), None),
            (say("energy_kwh"), figures.decimal(totals.energy_kwh, places=3), None),
            (say("amount_yuan"), figures.decimal(totals.amount_yuan, places=2), None),
            (say("average"), figures.decimal(totals.average_yuan_per_kwh, places=4), None),
        ]
    )


def _charts(table: pd.DataFrame) -> None:
    labels = {name: say(name) for name in _MEASURES}
    measure = st.segmented_control(
        say("chart_shows"),
        _MEASURES,
        format_func=labels.__getitem__,
        default=_MEASURES[0],
        required=True,
    )
    dimensions: tuple[tuple[Dimension, str], ...] = (
        ("zone", "by_zone"),
        ("customer_class", "by_class"),
    )
    for dimension, title in dimensions:
        totals = totals_by(table, dimension)
        name_of = zone_names if dimension == "zone" else class_names
        totals["name"] = [name_of(all_parts(table, dimension, name)) for name in totals[dimension]]
        st.subheader(say(title))
        chart, numbers = st.columns([1, 3])
        with chart:
            st.altair_chart(
                bars(
                    totals[totals[measure].notna()],
                    name="name",
                    value=measure,
                    name_title=say(dimension),
                    value_title=say(measure),
                )
            )
        with numbers:
            _, formats = _figures_shown()
            titles = {"name": say(dimension)} | {name: say(name) for name in _MEASURES[::-1]}
            titles["left_out"] = say("cells_left_out")
            shown = {name: formats[name] for name in _MEASURES} | {"left_out": figures.count}
            show_table(totals, titles=titles, formats=shown, whole=True)


def _cells(table: pd.DataFrame, release: Release) -> None:
    st.subheader(say("all_cells"))
    titles, formats = _figures_shown()
    hidden = {
        RELEASED: say("state_released"),
        SUPPRESSED: say("fewer_than", minimum=release.largest_minimum),
        PROTECTED: say("state_protected"),
        DOMINATED: say("state_dominated"),
        WITHHELD: say("state_withheld"),
    }
    shown = table.assign(note=[hidden[state] for state in table["state"]])
    # The state stands before the figures: a narrow screen scrolls the last columns out of sight.
    places = {
        "zone_shown": say("zone"),
        "class_shown": say("customer_class"),
        "note": say("state"),
    }
    show_table(shown, titles=places | titles, formats=formats, whole=True)
    st.download_button(
        say("download_csv"),
        csv_bytes(table, release_id=release.release_id, columns=_CSV_COLUMNS),
        file_name=f"{release.release_id}.csv",
        mime="text/csv",
        icon=":material/download:",
    )


def _figures_shown() -> tuple[dict[str, str], dict[str, Callable[[Any], str]]]:
    titles = {
        "bills": say("bills"),
        "energy_kwh": say("energy_kwh"),
        "amount_yuan": say("amount_yuan"),
        "average_yuan_per_kwh": say("average_short"),
    }
    formats: dict[str, Callable[[Any], str]] = {
        "bills": figures.count,
        "energy_kwh": lambda value: figures.decimal(value, places=3),
        "amount_yuan": lambda value: figures.decimal(value, places=2),
        "average_yuan_per_kwh": lambda value: figures.decimal(value, places=4),
    }
    return titles, formats


if __name__ == "__main__":
    show()
