"""The sections of the start page: what each role asks first, from releases, counts and states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import QUERY, Release
from gridsecure.circulation.trade import Agreement
from gridsecure.errors import InvalidMessageError, ReleaseRefusedError, SignatureError
from gridsecure.offices.warrants import office_of
from gridsecure.wire.authority import ReleaseSummary
from gridsecure.wire.gateway import ReadingException
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.billed_months import BilledMonth, compare_months, earlier, find_month
from gridsecure_dashboard.chooser import fetch_months
from gridsecure_dashboard.cycles import DONE, FAILED, count_points
from gridsecure_dashboard.money_tiles import billed_tiles
from gridsecure_dashboard.month_cycles import MonthCycle, fetch_cycles, fetch_runs, step_name
from gridsecure_dashboard.reconciled import show_reconciliation
from gridsecure_dashboard.side_by_side import ask_all
from gridsecure_dashboard.tables import Tile, key_figures, link_page, show_table
from gridsecure_dashboard.wording import say, say_or, tell

_NEWEST: Final = 6
# A month of load curves is tens of thousands of cells, which take seconds to verify.
_CELLS_OPENED: Final = 6000
_WHO_LETTERS: Final = 24  # a query is asked for by its digest, which needs no more here
_WITNESS: Final = "gridsecure log witness --help"
_WORKED_ON: Final = ("open", "assigned")
_TURNED_DOWN: Final = ("refused", "rejected")


def show_clerk(session: Session) -> None:
    """What is billed, whether it reconciles, and what is stuck."""
    months = fetch_months(session)
    if months and months[0].groups:
        _billed(months)
        show_reconciliation(session, bounds=months[0].bounds, with_energy=False)
    else:
        st.info(tell("start_none"))
    _cycle(session)


def _billed(months: Sequence[BilledMonth]) -> None:
    month = months[0]
    st.header(f"{month.name} · {say('plan_bill')}")
    before = find_month(months, earlier(month.name, months=1))
    change = compare_months(month, before) if before else None
    key_figures(billed_tiles(month.total, change=change, than=before.name if before else ""))
    last_year = find_month(months, earlier(month.name, months=12))
    if last_year is not None:
        beside = compare_months(month, last_year)
        st.markdown(
            f"{say('year_before')} ({last_year.name}): {say('plan_bill')} "
            f"**{figures.change(beside.amount)}** · {say('energy')} "
            f"**{figures.change(beside.energy)}**"
        )
    if change is not None:
        st.caption(tell("like_for_like", groups=change.groups, others=change.others))


def _cycle(session: Session) -> None:
    """The newest month's steps, and what waits for somebody."""
    months, runs = access.open_client().months(session), fetch_runs(session)
    cycles = fetch_cycles(session, [one.month for one in months[:2]], runs=runs)
    if cycles:
        # The newest month that is under way; if none is, the one that was finished last.
        shown = next((c for c in cycles if any(s.state != DONE for s in c.steps)), cycles[0])
        st.header(say("start_steps", month=shown.month))
        _steps(shown)
    st.header(say("start_todo"))
    failed = sum(step.state == FAILED for cycle in cycles for step in cycle.steps)
    lines = [tell("start_failed", count=failed)] if failed else []
    lines += _waiting(session)
    if access.EXCEPTIONS in access.pages_for(session):
        lines += _exceptions(session)
    _todo(lines)
    link_page(access.CYCLE)


def _steps(cycle: MonthCycle) -> None:
    counts = {
        "read": ("detail_not_billed", _not_billed(cycle)),
        "close": ("detail_open", cycle.open_uploads),
    }
    details = {name: say(key, count=f"{count:,}") for name, (key, count) in counts.items() if count}
    table = pd.DataFrame(
        {
            "step": [f"{number} · {step_name(one)}" for number, one in enumerate(cycle.steps, 1)],
            "state": [say(f"step_state_{one.state}") for one in cycle.steps],
            "detail": [one.reason or details.get(one.name, "") for one in cycle.steps],
        },
        dtype=object,
    )
    kept = [str(name) for name in table if any(table[name])]
    show_table(table, titles={name: say(name) for name in kept}, whole=True)


def _not_billed(cycle: MonthCycle) -> int:
    points = count_points(cycle.status)
    return points.held if points else 0


def _waiting(session: Session) -> list[str]:
    """What waits for approval, and whose approvals it lacks."""
    found = access.open_client().approvals(session, state="waiting")
    if not found:
        return []
    missing = sorted({role for one in found for role in one.missing})
    named = ", ".join(say_or("role", role) for role in missing)
    return [f"{say('start_waiting', count=len(found))} ({say('start_missing', roles=named)})"]


def _exceptions(session: Session) -> list[str]:
    client = access.open_client()
    asked = ask_all([partial(client.exceptions, session, state=state) for state in _WORKED_ON])
    found = [one for answer in asked for one in answer]
    if not found:
        return []
    today = datetime.now(access.local_timezone()).strftime("%Y-%m-%d")
    overdue = sum(_is_overdue(one, today) for one in found)
    held = sum(one.unbilled for one in found)
    line = say("start_exceptions", count=figures.count(len(found)))
    if overdue:
        line += f" ({say('start_overdue', count=figures.count(overdue))})"
    return [line, *([say("start_held", count=figures.count(held))] if held else [])]


def _is_overdue(one: ReadingException, today: str) -> bool:
    return bool(one.due) and one.due < today


def _todo(lines: Sequence[str]) -> None:
    if lines:
        st.warning("  \n".join(lines), icon=":material/pending_actions:")
    else:
        st.success(tell("start_nothing"), icon=":material/task_alt:")


def show_officer(session: Session) -> None:
    """What waits for this officer's approval."""
    found = access.open_client().approvals(session, state="waiting")
    mine = [one for one in found if session.roles & set(one.missing)]
    st.header(say("start_todo"))
    if not mine:
        _todo([])
        return
    _todo([tell("approvals_yours", count=len(mine))])
    table = pd.DataFrame(
        {
            "period": [figures.period(one.subject.start, one.subject.end) for one in mine],
            "plan": [say_or("plan", one.subject.plan) for one in mine],
            "purpose": [say_or("purpose", one.subject.purpose) for one in mine],
            "asked_groups": [figures.count(len(one.subject.cells)) for one in mine],
            "asked_policy": [
                f"{one.subject.policy_name} {one.subject.policy_version}" for one in mine
            ],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table})
    link_page(access.APPROVALS)


def show_regulator(session: Session) -> None:
    """What was released and for whom, what was refused, and where alarms of the logs are."""
    client = access.open_client()
    listed = access.list_releases(session)
    small = [item for item in listed if item.cells + item.suppressed <= _CELLS_OPENED][:_NEWEST]
    opened, forged = _open_releases(session, small)
    st.header(say("start_alarms"))
    asked = ask_all([partial(client.approvals, session, state=state) for state in _TURNED_DOWN])
    refused = {
        f"alarm_{state}": len(found) for state, found in zip(_TURNED_DOWN, asked, strict=True)
    }
    counts = {"alarm_forged": forged} | refused
    key_figures([Tile(say(name), figures.count(number)) for name, number in counts.items()])
    st.markdown(tell("start_witness"))
    st.code(_WITNESS, language=None, wrap_lines=True)
    _todo(_waiting(session))
    st.header(say("latest_releases"))
    _released(opened)
    if any(item not in small for item in listed[:_NEWEST]):
        st.caption(tell("start_unread"))
    link_page(access.RELEASES)


def _open_releases(session: Session, listed: Sequence[ReleaseSummary]) -> tuple[list[Release], int]:
    """Those that verify, and how many do not."""
    opened, forged = [], 0
    for item in listed:
        try:
            opened.append(access.fetch_release(session, item.release_id))
        except (SignatureError, InvalidMessageError, ReleaseRefusedError):
            forged += 1
    return opened, forged


def _released(releases: Sequence[Release]) -> None:
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "period": [
                figures.period(one.start.isoformat(), one.end.isoformat()) for one in releases
            ],
            "plan": [say_or("plan", one.plan) for one in releases],
            "purpose": [say_or("purpose", one.purpose) for one in releases],
            "requested_by": [one.requested_by[:_WHO_LETTERS] for one in releases],
            "released_at": [figures.moment(one.released_at, zone=zone) for one in releases],
            "certificate_digest": [one.certificate_digest for one in releases],
        },
        dtype=object,
    )
    show_table(table, titles={str(name): say(str(name)) for name in table}, whole=True)


def show_office(session: Session) -> None:
    """What waits for this office's share of a disclosure."""
    office = office_of(session)
    warrants = access.open_offices().warrants(session)
    mine = sum(office in one.waiting_for for one in warrants)
    st.header(say("page_openings"))
    key_figures([Tile(say("start_warrants"), figures.count(mine))])
    link_page(access.OPENINGS)


def show_analyst(session: Session) -> None:
    """What was released last, what of it are answers, and where budgets are."""
    months = fetch_months(session)
    if months and months[0].groups:
        _billed(months)
    else:
        st.info(tell("start_none"))
    listed = access.list_releases(session)
    st.header(say("latest_releases"))
    opened, _ = _open_releases(
        session,
        [one for one in listed if one.cells + one.suppressed <= _CELLS_OPENED][:_NEWEST],
    )
    _released(opened)
    answered = sum(item.plan == QUERY for item in listed)
    terms = access.open_client().grant_terms()
    key_figures(
        [
            Tile(say("start_queries"), figures.count(answered)),
            Tile(say("start_grants", epoch=terms.epoch), figures.count(terms.limit)),
        ]
    )
    st.caption(tell("start_budget"))
    link_page(access.REVENUE)


def show_member(session: Session) -> None:
    """Agreements that wait for the other side's signature, and where everything is."""
    found = access.open_market().concerning(session, Agreement.kind)
    proposed = sum(one.told.state == "proposed" for one in found)
    st.header(say("start_market"))
    key_figures(
        [
            Tile(say("kind_agreement"), figures.count(len(found))),
            Tile(say("paper_state_proposed"), figures.count(proposed)),
        ]
    )
    for page in (access.CATALOGUE, access.WORKSHOP, access.PRODUCTS, access.MARKET):
        link_page(page)


# Roles, and what they are shown, in the order of a page of somebody with several.
SECTIONS: Final[tuple[tuple[frozenset[str], Callable[[Session], None]], ...]] = (
    (access.APPROVERS, show_officer),
    (frozenset({"billing"}), show_clerk),
    (frozenset({"operator"}), _cycle),
    (frozenset({"analyst"}), show_analyst),
    (frozenset({"regulator"}), show_regulator),
    (frozenset({"custodian", "regulator"}), show_office),
    (frozenset({"member"}), show_member),
)
