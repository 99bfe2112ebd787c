"""Revenue and energy of a month, beside another one, from the signed releases of bills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import REBILL, Release
from gridsecure.analyst.reports import (
    DOMINATED,
    PROTECTED,
    RELEASED,
    SUPPRESSED,
    WITHHELD,
    Dimension,
    bill_table,
    bill_totals,
)
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.billed_months import (
    BilledMonth,
    build_bridge,
    compare_months,
    correction_totals,
    earlier,
    find_month,
    list_names,
    select_part,
)
from gridsecure_dashboard.charts import bars, columns
from gridsecure_dashboard.chooser import fetch_months, show_gaps, show_source
from gridsecure_dashboard.export_files import show_exports
from gridsecure_dashboard.money_tiles import billed_tiles
from gridsecure_dashboard.reconciled import fetch_releases, show_reconciliation
from gridsecure_dashboard.tables import key_figures, show_table
from gridsecure_dashboard.wording import (
    class_name,
    class_names,
    joined_names,
    say,
    tell,
    zone_name,
    zone_names,
)

_CSV_COLUMNS: Final = (
    "zone", "customer_class", "start", "end", "bills", "energy_kwh", "amount_yuan",
    "average_yuan_per_kwh",
)  # fmt: skip
# What is exported, with its decimals.
_EXPORTED: Final = {
    "zone": 0, "customer_class": 0, "state": 0, "bills": 0, "energy_kwh": 3, "amount_yuan": 2,
    "average_yuan_per_kwh": 4,
}  # fmt: skip
_MEASURES: Final = ("amount_yuan", "energy_kwh", "bills")
_DIMENSIONS: Final[tuple[tuple[Dimension, str], ...]] = (
    ("zone", "by_zone"),
    ("customer_class", "by_class"),
)


def show() -> None:
    """A month's totals, what changed, charts and the table of groups."""
    session = access.enter(access.REVENUE)
    with access.explain_errors():
        months = fetch_months(session)
        if not months:
            st.info(tell("no_bill_release"))
            return
        month, then = _choose(months)
        show_source(*month.releases)
        tables = [bill_table(release) for release in month.releases]
        if not month.groups:
            withheld = any(bill_totals(table).withheld for table in tables)
            st.info(tell("no_role_values" if withheld else "nothing_visible"))
            return
        change = compare_months(month, then) if then else None
        key_figures(billed_tiles(month.total, change=change, than=then.name if then else ""))
        if change is not None:
            st.caption(tell("like_for_like", groups=change.groups, others=change.others))
        for table, release in zip(tables, month.releases, strict=True):
            show_gaps(table, release=release)
        show_reconciliation(session, bounds=month.bounds)
        _corrections(session, month)
        if then is not None:
            _bridge(month, then)
        _parts(month, then)
        _by_month(months)
        for table, release in zip(tables, month.releases, strict=True):
            _cells(session, table, release)
        st.caption(tell("not_in_releases"))


def _choose(months: Sequence[BilledMonth]) -> tuple[BilledMonth, BilledMonth | None]:
    """The month, and the one beside it if it was released."""
    first, second = st.columns(2)
    by_name = {month.name: month for month in months}
    name = first.selectbox(say("month"), list(by_name), key="revenue_month")
    offered = {"month_before": earlier(name, months=1), "year_before": earlier(name, months=12)}
    labels = {key: f"{say(key)} ({month})" for key, month in offered.items()}
    beside = second.segmented_control(
        say("compare_with"), list(offered), format_func=labels.__getitem__,
        default="month_before", required=True, key="compare_with",
    )  # fmt: skip
    then = find_month(months, offered[beside])
    if then is None:
        st.caption(tell("no_comparison", month=offered[beside]))
    return by_name[name], then


def _corrections(session: Session, month: BilledMonth) -> None:
    found = fetch_releases(session, plan=REBILL, bounds=month.bounds)
    if not found:
        return
    corrected = correction_totals(found, bounds=month.bounds)
    st.info(
        tell(
            "corrections_note",
            month=month.name,
            bills=figures.count(corrected.billed.bills),
            amount=figures.signed(corrected.billed.amount_yuan, places=2),
            kwh=figures.signed(corrected.billed.energy_kwh, places=3),
            withheld=figures.count(corrected.withheld),
        ),
        icon=":material/published_with_changes:",
    )


def _bridge(month: BilledMonth, then: BilledMonth) -> None:
    st.header(say("bridge", then=then.name, now=month.name))
    steps = build_bridge(month, then)
    names = {"then": then.name, "now": month.name}
    table = pd.DataFrame(
        {
            "step": [say(f"bridge_{key}", month=names.get(key, "")) for key in steps],
            "amount": list(steps.values()),
            "is_total": [key in names for key in steps],
        },
        dtype=object,
    )
    chart, numbers = st.columns([3, 2])
    chart.altair_chart(columns(table, name="step", value="amount", value_title=say("yuan_step")))
    with numbers:
        written = table.assign(
            amount=[
                figures.decimal(value, places=2) if total else figures.signed(value, places=2)
                for value, total in zip(table["amount"], table["is_total"], strict=True)
            ]
        )
        titles = {"step": say("step"), "amount": say("yuan_step")}
        show_table(written, titles=titles, formats={"amount": str}, whole=True)
        st.caption(tell("bridge_how"))


def _parts(month: BilledMonth, then: BilledMonth | None) -> None:
    labels = {name: say(name) for name in _MEASURES}
    measure = st.segmented_control(
        say("chart_shows"), _MEASURES, format_func=labels.__getitem__, default=_MEASURES[0],
        required=True,
    )  # fmt: skip
    for dimension, title in _DIMENSIONS:
        st.header(say(title))
        table = _part_table(month, then, dimension)
        chart, numbers = st.columns([1, 3])
        with chart:
            st.altair_chart(
                bars(
                    table[table[measure].notna()],
                    name="name",
                    value=measure,
                    name_title=say(dimension),
                    value_title=say(measure),
                )
            )
        with numbers:
            titles, formats = _figures_shown()
            if then is not None:
                titles |= {"change": f"{say('change')} {say('against', month=then.name)}",
                           "average_then": say("average_then")}  # fmt: skip
                formats |= {"change": figures.change, "average_then": _average}
            titles = {"name": say(dimension)} | titles | {"left_out": say("cells_left_out")}
            formats["left_out"] = figures.count
            show_table(table, titles=titles, formats=formats, whole=True)


def _part_table(month: BilledMonth, then: BilledMonth | None, dimension: Dimension) -> pd.DataFrame:
    """One row a zone or class, the largest amount first; without a figure where none is shown."""
    rows = []
    name_of = zone_name if dimension == "zone" else class_name
    for names in list_names(month, dimension):
        part = select_part(month, dimension, names)
        before = select_part(then, dimension, names) if then else None
        beside = compare_months(part, before) if before else None
        total = part.total if part.groups else None
        rows.append(
            {
                "name": joined_names(names, name_of),
                "bills": total and total.bills,
                "energy_kwh": total and total.energy_kwh,
                "amount_yuan": total and total.amount_yuan,
                "average_yuan_per_kwh": total and total.average,
                "change": beside and beside.amount,
                "average_then": beside.then.average if beside and beside.groups else None,
                "left_out": len(part.withheld),
            }
        )
    return pd.DataFrame(rows, dtype=object)


def _by_month(months: Sequence[BilledMonth]) -> None:
    if len(months) < 2:
        return
    st.header(say("by_month"))
    rows = []
    for month in months:
        then = find_month(months, earlier(month.name, months=1))
        change = compare_months(month, then) if then else None
        total = month.total if month.groups else None
        rows.append(
            {
                "name": month.name,
                "bills": total and total.bills,
                "energy_kwh": total and total.energy_kwh,
                "amount_yuan": total and total.amount_yuan,
                "average_yuan_per_kwh": total and total.average,
                "change": change and change.amount,
                "is_total": True,
            }
        )
    table = pd.DataFrame(rows, dtype=object)
    drawn = table[table["amount_yuan"].notna()].iloc[::-1]
    st.altair_chart(columns(drawn, name="name", value="amount_yuan", value_title=say("yuan_step")))
    titles, formats = _figures_shown()
    titles = (
        {"name": say("month")} | titles | {"change": f"{say('change')} ({say('month_before')})"}
    )
    show_table(table, titles=titles, formats=formats | {"change": figures.change}, whole=True)


def _cells(session: Session, table: pd.DataFrame, release: Release) -> None:
    st.header(say("all_cells"))
    titles, formats = _figures_shown()
    hidden = {
        RELEASED: say("state_released"),
        SUPPRESSED: say("fewer_than", minimum=release.largest_minimum),
        PROTECTED: say("state_protected"),
        DOMINATED: say("state_dominated"),
        WITHHELD: say("state_withheld"),
    }
    shown = table.assign(
        zone_shown=[zone_names(parts) for parts in table["parts"]],
        class_shown=[class_names(parts) for parts in table["parts"]],
        note=[hidden[state] for state in table["state"]],
    )
    # The state stands before the figures: a narrow screen scrolls the last columns out of sight.
    places = {
        "zone_shown": say("zone"),
        "class_shown": say("customer_class"),
        "note": say("state"),
    }
    show_table(shown, titles=places | titles, formats=formats, whole=True)
    named = {"zone": "zone_shown", "customer_class": "class_shown", "state": "note"}
    read = [
        {key: row[named.get(key, key)] for key in _EXPORTED} for row in shown.to_dict("records")
    ]
    show_exports(session, release, shown=(_EXPORTED, read), csv=(table, _CSV_COLUMNS))


_average: Final = partial(figures.decimal, places=4)


def _figures_shown() -> tuple[dict[str, str], dict[str, Callable[[Any], str]]]:
    titles = {
        "bills": say("bills"),
        "energy_kwh": say("energy_kwh"),
        "amount_yuan": say("amount_yuan"),
        "average_yuan_per_kwh": say("average_short"),
    }
    formats: dict[str, Callable[[Any], str]] = {
        "bills": figures.count,
        "energy_kwh": partial(figures.decimal, places=3),
        "amount_yuan": partial(figures.decimal, places=2),
        "average_yuan_per_kwh": _average,
    }
    return titles, formats


if __name__ == "__main__":
    show()
