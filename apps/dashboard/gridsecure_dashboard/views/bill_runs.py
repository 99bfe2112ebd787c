"""Bill-run control: the month at the gateway, its closing, runs on the platform, release rounds.

Counts, states and times only. A step is offered when the one before it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.closings import EMPTY, NOT_CLOSED, READY, RELEASED, MonthClosing
from gridsecure.analyst.releases import BILL, LOAD_CURVE
from gridsecure.analyst.runs import RunOrder, month_bounds
from gridsecure.errors import NotFoundError
from gridsecure.wire.authority import RoundOutcome
from gridsecure.wire.gateway import MonthReport, MonthStatus
from gridsecure.wire.platform import RunStatus
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.closed_months import show_closing
from gridsecure_dashboard.cycles import keep_published
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.reconciled import show_reconciliation
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import Tile, counts_table, key_figures, show_table
from gridsecure_dashboard.wording import colon, plain, say, say_or, tell

_EVERY: Final = "2s"
_RUNNING: Final = "running"
_MONTHS_OFFERED: Final = 12
_PLANS: Final = (BILL, LOAD_CURVE)
# What the key authority releases each plan for.
_PURPOSES: Final = {"bill": "billing", "load-curve": "operations"}
_NOT_OFFERED: Final = {
    EMPTY: "start_needs_month",
    NOT_CLOSED: "start_needs_closing",
    RELEASED: "start_released",
}
_COUNTS_SHOWN: Final = (
    "meters", "billed_meters", "readings", "estimated", "quarantined", "rosters", "columns",
)  # fmt: skip
_BUSINESS: Final = 5  # of them; the rest is machinery


def show() -> None:
    """The four steps of a month, then what was released."""
    session = access.enter(access.BILL_RUNS)
    with access.explain_errors():
        every = access.open_client().runs(session)
        runs = keep_published(every)
        month = _choose_month(runs, billed=_billed(session, runs))
        set_up = load_settings()
        bounds = month_bounds(month, timezone=set_up.timezone, cycle_day=set_up.cycle_day)
        status = _gateway(session, month)
        runs = tuple(run for run in runs if run.start == bounds[0])
        st.header(f"2 · {say('close_month')}")
        closing = access.open_client().closing(session, bounds=bounds)
        show_closing(session, closing, month=month)
        _platform(session, bounds, closing=closing, runs=runs)
        _authority(session, is_ready=any(run.request_id for run in every))
        if access.RELEASES in access.pages_for(session):
            show_reconciliation(session, bounds=bounds, status=status)


def _billed(session: Session, runs: Sequence[RunStatus]) -> set[str]:
    """Months that have bills, as far as the reader may see that."""
    found = [(run.plan, run.start, run.end) for run in runs]
    if access.RELEASES in access.pages_for(session):
        found += [(one.plan, one.start, one.end) for one in access.list_releases(session)]
    return {figures.month(start, end) for plan, start, end in found if plan == BILL}


def _choose_month(runs: Sequence[RunStatus], *, billed: set[str]) -> str:
    """Months in order, opened on the newest one with bills, else on the newest one with runs.

    Where nothing ran yet, it is the last whole month.
    """
    first = datetime.now(UTC).replace(day=1)
    recent = []
    for _ in range(_MONTHS_OFFERED):
        first = (first - timedelta(days=1)).replace(day=1)
        recent.append(first.strftime("%Y-%m"))
    ran = {figures.month(run.start, run.end) for run in runs}
    offered = sorted({*ran, *billed, *recent}, reverse=True)
    newest = max(billed or ran or recent)
    chosen: str | None = st.selectbox(
        say("month"), offered, index=offered.index(newest), accept_new_options=True,
        help=tell("month_help"), key="month",
    )  # fmt: skip
    return chosen or newest


def _gateway(session: Session, month: str) -> MonthStatus | None:
    st.header(f"1 · {say('gateway_month')}")
    try:
        status = access.open_client().month(session, month=month)
    except NotFoundError:
        st.info(tell("month_missing"))
        return None
    if status.state == _RUNNING:
        st.fragment(_watch_month, run_every=_EVERY)(session, month)
    elif status.report is not None:
        _month_report(status.report)
    else:
        _month_start(session, month, status)
    return status


def _watch_month(session: Session, month: str) -> None:
    """Follow the month without loading the page anew; when it stops, load it once more."""
    with access.explain_errors():
        now = access.open_client().month(session, month=month)
        if now.state != _RUNNING:
            st.rerun()
        stage = plain(say_or("stage", now.stage))
        text = f"{say_or('state', now.state)}{colon()}{stage} {now.done:,} / {now.of:,}"
        st.progress(min(now.done / now.of, 1.0) if now.of else 0.0, text=text)


def _month_start(session: Session, month: str, status: MonthStatus) -> None:
    """What keeps a month from going on; operators, and only they, may start it."""
    if status.state == "failed":
        st.error(f"**{say('state_failed')}**  \n{plain(status.message or '')}  \n`{status.reason}`")
    else:
        st.info(tell(f"month_{status.state}"))
    allowed = bool(session.roles & access.MONTH_STARTERS)
    note = None if allowed else tell("month_operator")
    if st.button(
        say("start_month"), key="start_month", disabled=not allowed, help=note, type="primary",
        icon=":material/play_arrow:",
    ):  # fmt: skip
        access.open_client().start_month(session, month=month)
        st.rerun()


def _month_report(report: MonthReport) -> None:
    shown = [Tile(say(name), figures.count(getattr(report, name))) for name in _COUNTS_SHOWN]
    uploaded = figures.bytes_text(report.bytes_uploaded)
    business, machinery = shown[:_BUSINESS], shown[_BUSINESS:]
    key_figures(business)
    with st.expander(say("machinery")):
        key_figures([*machinery, Tile(say("bytes_uploaded"), uploaded)])
    lists = (
        ("excluded", "exclusion_reason", "excluded", report.excluded),
        ("problems", "rule", "rule", report.problems),
    )
    columns = st.columns(3)
    for column, (title, name, codes, counts) in zip(columns, lists, strict=False):
        with column:
            st.markdown(f"**{say(title)}**")
            if counts:
                written = {
                    say_or(codes, key): figures.count(number) for key, number in counts.items()
                }
                counts_table(written, name=say(name), value=say("count"))
            else:
                st.caption(say("none_found"))
    with columns[2]:
        st.markdown(f"**{say('stages')}**")
        # In the order of the work; the service sends them by name.
        known = [name.removeprefix("stage_") for name in PHRASES if name.startswith("stage_")]
        ordered = sorted(report.seconds, key=lambda key: known.index(key) if key in known else -1)
        seconds = {say_or("stage", key): f"{report.seconds[key]:,.1f}" for key in ordered}
        counts_table(seconds, name=say("stage"), value=say("seconds"))


def _platform(
    session: Session,
    bounds: tuple[str, str],
    *,
    closing: MonthClosing,
    runs: Sequence[RunStatus],
) -> None:
    st.header(f"3 · {say('compute_runs')}")
    for column, plan in zip(st.columns(2), _PLANS, strict=True):
        note = _why_not(plan, closing=closing, runs=runs)
        if column.button(
            say(f"start_{plan}"), key=f"start_{plan}", disabled=note is not None, help=note,
            type="primary", width="stretch", icon=":material/play_arrow:",
        ):  # fmt: skip
            order = RunOrder(plan, *bounds, purpose=_PURPOSES[plan])
            run_id = access.open_client().start_run(session, order)
            st.session_state["started"] = run_id
            st.rerun()
        if note is not None:
            column.caption(note)
    started = st.session_state.pop("started", None)
    if started is not None:
        st.toast(say("run_started", run=started))
    if not runs:
        st.caption(tell("runs_empty"))
    elif any(run.state == _RUNNING for run in runs):
        st.fragment(_watch_runs, run_every=_EVERY)(session, [run.run_id for run in runs])
    else:
        _runs_table(runs)


def _why_not(plan: str, *, closing: MonthClosing, runs: Sequence[RunStatus]) -> str | None:
    """Why a run of a plan is not offered; the platform knows, whatever the reader may see."""
    if any(run.plan == plan and run.state == _RUNNING for run in runs):
        return tell("start_running")
    reason = closing.next_runs[plan]
    if reason == RELEASED and closing.open_count:
        return tell("start_released_open")
    return None if reason == READY else tell(_NOT_OFFERED.get(reason, "start_refused"))


def _watch_runs(session: Session, run_ids: Sequence[str]) -> None:
    """Follow runs without loading the page anew; when all are done, load it once more."""
    with access.explain_errors():
        known = keep_published(access.open_client().runs(session))
        now = [run for run in known if run.run_id in run_ids]
        if not any(run.state == _RUNNING for run in now):
            st.rerun()
        _runs_table(now)


def _runs_table(runs: Sequence[RunStatus]) -> None:
    table = pd.DataFrame(
        {
            "plan": [say_or("plan", run.plan) for run in runs],
            "state": [say_or("state", run.state) for run in runs],
            "progress": [f"{run.done:,} / {run.of:,}" for run in runs],
            "exclusion_reason": [run.message or run.reason or figures.NOTHING for run in runs],
            "run": [run.run_id for run in runs],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table})


def _authority(session: Session, *, is_ready: bool) -> None:
    st.header(f"4 · {say('release_rounds')}")
    st.caption(tell("round_help"))
    if st.button(
        say("start_round"), key="start_round", disabled=not is_ready, type="primary",
        help=None if is_ready else tell("round_needs_run"), icon=":material/verified_user:",
    ):  # fmt: skip
        with st.spinner(say("working")):
            access.page_memory()["outcomes"] = access.open_client().start_release_round(session)
        st.rerun()  # the list below and the steps above are of before the round
    if "outcomes" in access.page_memory():
        _outcomes(access.page_memory()["outcomes"])
    if access.RELEASES in access.pages_for(session):
        _releases(session)


def _outcomes(outcomes: Sequence[RoundOutcome]) -> None:
    if not outcomes:
        st.info(tell("round_empty"))
        return
    table = pd.DataFrame(
        {
            "state": [say_or("state", item.state) for item in outcomes],
            "exclusion_reason": [item.reason or figures.NOTHING for item in outcomes],
            "release": [item.release_id or figures.NOTHING for item in outcomes],
            "request": [item.request_id for item in outcomes],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table})


def _releases(session: Session) -> None:
    st.markdown(f"**{say('releases_listed')}**")
    listed = access.list_releases(session)
    if not listed:
        st.caption(tell("no_release"))
        return
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "period": [figures.period(item.start, item.end) for item in listed],
            "plan": [say_or("plan", item.plan) for item in listed],
            "released_at": [figures.moment(item.released_at, zone=zone) for item in listed],
            "values_listed": [item.cells for item in listed],
            "suppressed": [item.suppressed for item in listed],
            "release": [item.release_id for item in listed],
        },
        dtype=object,
    )
    show_table(
        table,
        titles={str(name): say(str(name)) for name in table},
        formats={"values_listed": figures.count, "suppressed": figures.count},
    )


if __name__ == "__main__":
    show()
