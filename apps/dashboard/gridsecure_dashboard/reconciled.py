"""The line that joins a month's figures: taken in, shown, withheld, not released, not billed."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from gridsecure.analyst.reconciled_words import line_terms
from gridsecure.analyst.reconciliation import (
    Accounts,
    Cell,
    EnergyCheck,
    Intake,
    reconcile_month,
    releases_of_month,
)
from gridsecure.analyst.releases import BILL, LOAD_CURVE, Release
from gridsecure.errors import NotFoundError
from gridsecure.wire.gateway import MonthStatus
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.wording import class_names, colon, plain, say, say_or, tell, zone_names


def show_reconciliation(
    session: Session,
    *,
    bounds: tuple[str, str],
    status: MonthStatus | None = None,
    with_energy: bool = True,
) -> None:
    """Show the line of accounts, where the role may see the gateway's report, and that of energy.

    Args:
        bounds: Start and end of the month, ISO 8601 with offset.
        status: The gateway's month, if it was fetched already.
        with_energy: Whether load curves are compared: a month of them takes a second to verify.
    """
    bills = fetch_releases(session, plan=BILL, bounds=bounds)
    curves = fetch_releases(session, plan=LOAD_CURVE, bounds=bounds) if with_energy else ()
    intake = _intake(session, bounds, status)
    line = reconcile_month(intake, bills=bills, curves=curves)
    if line.accounts is not None:
        _accounts(line.accounts)
    if line.energy is not None and session.roles & access.ROLES[access.REVENUE]:
        _energy(line.energy)


def fetch_releases(session: Session, *, plan: str, bounds: tuple[str, str]) -> tuple[Release, ...]:
    """The verified releases of a plan over exactly a period."""
    wanted = [datetime.fromisoformat(moment) for moment in bounds]
    listed = [
        item
        for item in access.list_releases(session)
        if item.plan == plan
        and [datetime.fromisoformat(moment) for moment in (item.start, item.end)] == wanted
    ]
    found = access.fetch_releases(session, [item.release_id for item in listed])
    return releases_of_month(found, plan=plan, bounds=bounds)


def _intake(session: Session, bounds: tuple[str, str], status: MonthStatus | None) -> Intake | None:
    if status is None and session.roles & access.ROLES[access.BILL_RUNS]:
        try:
            status = access.open_client().month(session, month=figures.month(*bounds))
        except NotFoundError:
            return None
    if status is None or status.report is None:
        return None
    return Intake(status.report.meters, status.report.excluded, status.report.rosters)


def _accounts(line: Accounts) -> None:
    if line.rosters_of_others:
        st.info(tell("line_of_others", count=line.rosters_of_others))
        return
    text = tell("line", **line_terms(line))
    reasons = [
        f"{plain(say_or('excluded', name))} {figures.count(number)}"
        for name, number in sorted(line.not_billed.items())
    ]
    if reasons:
        text += f"  \n{say('excluded')}{colon()}{' · '.join(reasons)}"
    if line.closes:
        st.success(text, icon=":material/balance:")
    else:
        st.error(f"{tell('line_open')}  \n{text}", icon=":material/error:")


def _energy(check: EnergyCheck) -> None:
    kwh = {
        "bills": figures.decimal(check.bills_kwh, places=3),
        "curves": figures.decimal(check.curves_kwh, places=3),
    }
    if check.agrees:
        st.success(tell("energy_agrees", kwh=kwh["bills"]), icon=":material/balance:")
    else:
        named = _cells(check.different)
        st.warning(tell("energy_differs", cells=named, **kwh), icon=":material/difference:")
    for key, cells in (
        ("energy_only_bills", check.only_bills),
        ("energy_only_curves", check.only_curves),
    ):
        if cells:
            st.caption(tell(key, cells=_cells(cells)))


def _cells(cells: tuple[Cell, ...]) -> str:
    return ", ".join(plain(f"{zone_names(cell)} / {class_names(cell)}") for cell in cells)
