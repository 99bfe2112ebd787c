"""The cycle board: each month's meter points from due to released, and what runs now.

Counts and states only. Zones are known from releases; before one, services count by gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.wire.gateway import MonthOnBoard
from gridsecure.wire.platform import RunStatus
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.billed_months import BilledMonth, find_month, list_names, select_part
from gridsecure_dashboard.chooser import fetch_months
from gridsecure_dashboard.cycles import RUNNING, count_points
from gridsecure_dashboard.month_cycles import MonthCycle, fetch_cycles, fetch_runs, step_name
from gridsecure_dashboard.tables import link_page, show_table
from gridsecure_dashboard.wording import joined_names, plain, say, say_or, tell, zone_name

_EVERY: Final = "2s"
_MOST_MONTHS: Final = 6


def show() -> None:
    """Months, what is at work, then one month by zone."""
    session = access.enter(access.CYCLE)
    with access.explain_errors():
        months = access.open_client().months(session)
        runs = fetch_runs(session)
        _jobs(session, months, runs)
        st.header(say("board_months"))
        if not months:
            st.info(tell("board_none"))
            return
        shown = [one.month for one in months[:_MOST_MONTHS]]
        cycles = fetch_cycles(session, shown, runs=runs)
        billed = fetch_months(session) if access.sees_values(session) else ()
        _board(months, cycles, billed)
        link_page(access.BILL_RUNS)
        if billed:
            _by_zone(billed)
        else:
            st.caption(tell("board_zones_later"))


def _jobs(session: Session, months: Sequence[MonthOnBoard], runs: Sequence[RunStatus]) -> None:
    """What runs now: followed without loading the page anew, and loaded once more at its end."""
    st.header(say("board_jobs"))
    at_work = [one.month for one in months if one.state == RUNNING]
    at_work_runs = [run.run_id for run in runs if run.state == RUNNING]
    if not at_work and not at_work_runs:
        st.caption(tell("board_no_jobs"))
        return
    st.fragment(_watch, run_every=_EVERY)(session, at_work, at_work_runs)


def _watch(session: Session, months: Sequence[str], run_ids: Sequence[str]) -> None:
    with access.explain_errors():
        client = access.open_client()
        shown = 0
        for name in months:
            month = client.month(session, month=name)
            if month.state == RUNNING:
                shown += 1
                stage = plain(say_or("stage", month.stage))
                _bar(f"{name} · {say('gateway_month')} · {stage}", month.done, month.of)
        for run in fetch_runs(session):
            if run.run_id in run_ids and run.state == RUNNING:
                shown += 1
                period = figures.month(run.start, run.end)
                _bar(f"{period} · {say_or('plan', run.plan)}", run.done, run.of)
        if shown < len(months) + len(run_ids):
            st.rerun()


def _bar(text: str, done: int, of: int) -> None:
    part = min(done / of, 1.0) if of else 0.0
    st.progress(part, text=f"{text}: {figures.count(done)} / {figures.count(of)}")


def _board(
    months: Sequence[MonthOnBoard], cycles: Sequence[MonthCycle], billed: Sequence[BilledMonth]
) -> None:
    rows = []
    for one, cycle in zip(months, cycles, strict=False):
        points = count_points(cycle.status)
        released = find_month(billed, one.month)
        row: dict[str, object] = {"month": one.month}
        row |= {
            "due_points": points and points.due,
            "read_points": points and points.read,
            "billed_points": points and points.billable,
            "held_points": points and points.held,
            "released_points": released and released.total.bills,
        }
        row |= {f"step_{step.name}": say(f"step_state_{step.state}") for step in cycle.steps}
        row["board_late"] = say("board_late_yes") if one.late_readings else ""
        row["board_due_at"] = (
            figures.moment(one.due_at, zone=access.local_timezone()) if one.due_at else ""
        )
        rows.append(row)
    table = pd.DataFrame(rows, dtype=object)
    empty = [name for name in ("board_late", "board_due_at") if not any(table[name])]
    table = table.drop(columns=[*empty, *([] if billed else ["released_points"])])
    counted = [name for name in table if str(name).endswith("_points")]
    show_table(
        table,
        titles={str(name): say(str(name)) for name in table},
        formats={str(name): figures.count for name in counted},
        whole=True,
    )
    for cycle in cycles:
        for step in cycle.steps:
            if step.reason:
                st.warning(f"{cycle.month} · {step_name(step)}: `{step.reason}`")


def _by_zone(billed: Sequence[BilledMonth]) -> None:
    month = billed[0]
    st.header(say("board_by_zone", month=month.name))
    rows = []
    for names in list_names(month, "zone"):
        part = select_part(month, "zone", names)
        rows.append(
            {
                "zone": joined_names(names, zone_name),
                "released_points": part.total.bills,
                "groups_shown": len(part.groups.keys() - part.withheld),
                "groups_withheld": len(part.withheld),
            }
        )
    table = pd.DataFrame(rows, dtype=object)
    titles = {str(name): say(str(name)) for name in table}
    formats = dict.fromkeys(list(titles)[1:], figures.count)
    show_table(table, titles=titles, formats=formats, whole=True)
    st.caption(tell("board_zones_later"))


if __name__ == "__main__":
    show()
