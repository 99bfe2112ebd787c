"""Corrections 退补: what was ordered, what became of it, and what was released of a month.

Orders and counts come from the gateway; totals from signed releases, for who sees their values. No
single bill, reading or amount comes to this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import REBILL, Release
from gridsecure.analyst.reports import (
    DOMINATED,
    PROTECTED,
    RELEASED,
    SUPPRESSED,
    WITHHELD,
    correction_table,
)
from gridsecure.analyst.runs import month_bounds
from gridsecure.wire.gateway import CorrectionOrder, CorrectionStatus
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.billed_months import correction_totals
from gridsecure_dashboard.chooser import show_gaps, show_source
from gridsecure_dashboard.export_files import show_exports
from gridsecure_dashboard.reconciled import fetch_releases
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import Tile, counts_table, key_figures, show_table
from gridsecure_dashboard.wording import (
    class_names,
    large,
    plain,
    say,
    say_or,
    tell,
    zone_names,
)

_WAITING: Final = frozenset({"pending", "approved"})
_EXPORTED: Final = {
    "zone": 0, "customer_class": 0, "state": 0, "bills": 0, "energy_change": 3, "amount_change": 2,
}  # fmt: skip
_CSV_COLUMNS: Final = (
    "zone", "customer_class", "start", "end", "bills", "energy_kwh", "amount_yuan",
)  # fmt: skip


def show() -> None:
    """A month's orders, its corrections, and what was released of them."""
    session = access.enter(access.CORRECTIONS)
    with access.explain_errors():
        client = access.open_client()
        orders = client.correction_orders(session)
        months = [one.month for one in client.months(session)]
        months += sorted({one.month for one in orders} - set(months), reverse=True)
        if not months:
            st.info(tell("board_none"))
            return
        latest = max((one.month for one in orders), default=months[0])
        month = st.selectbox(
            say("month"), months, index=months.index(latest), key="correction_month"
        )
        set_up = load_settings()
        bounds = month_bounds(month, timezone=set_up.timezone, cycle_day=set_up.cycle_day)
        made = client.corrections(session, month=month)
        asked = [one for one in orders if one.month == month]
        released = (
            fetch_releases(session, plan=REBILL, bounds=bounds)
            if access.sees_values(session)
            else None
        )
        _key_figures(session, (asked, made), released, bounds=bounds)
        _orders(asked)
        _made(made)
        _released(session, released)


def _key_figures(
    session: Session,
    told: tuple[Sequence[CorrectionOrder], Sequence[CorrectionStatus]],
    released: tuple[Release, ...] | None,
    *,
    bounds: tuple[str, str],
) -> None:
    """Waiting, billed anew, released: each where the role may know it."""
    asked, made = told
    waiting = access.open_client().approvals(session, state="waiting")
    mine = [
        one
        for one in waiting
        if one.subject.plan == REBILL and (one.subject.start, one.subject.end) == bounds
    ]
    corrected = sum(one.report.corrected for one in made if one.report is not None)
    tiles = [
        Tile(say("correction_waiting"), figures.count(sum(o.state in _WAITING for o in asked))),
        Tile(say("correction_billed"), figures.count(corrected), tell("correction_billed_help")),
        Tile(say("correction_asked"), figures.count(len(mine))),
    ]
    if released is not None:
        totals = correction_totals(released, bounds=bounds).billed
        full = figures.signed(totals.amount_yuan, places=2)
        tiles += [
            Tile(say("correction_released"), figures.count(totals.bills)),
            Tile(
                say("amount_change"),
                large(totals.amount_yuan, places=2),
                tell("full_value", value=full),
            ),
        ]
    key_figures(tiles)


def _orders(asked: Sequence[CorrectionOrder]) -> None:
    st.header(say("correction_orders"))
    if not asked:
        st.caption(tell("correction_orders_none"))
        return
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "correction_order": [one.id for one in asked],
            "state": [say(f"correction_{one.state}") for one in asked],
            "correction_by": [_by(one) for one in asked],
            "meter_points": [one.meter_points for one in asked],
            "intervals": [one.intervals for one in asked],
            "exclusion_reason": [one.reason for one in asked],
            "ordered_by": [one.person for one in asked],
            "ordered_at": [figures.moment(one.at, zone=zone) for one in asked],
            "correction_decided_by": [one.approver for one in asked],
            "correction_decision": [one.decision for one in asked],
        },
        dtype=object,
    )
    counts = dict.fromkeys(("meter_points", "intervals"), figures.count)
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats=counts, whole=True)
    pending = [one.id for one in asked if one.state == "pending"]
    if pending:
        own = load_settings()
        st.markdown(tell("correction_decide"))
        command = commands.decide_correction(
            pending[0], identity=own.identity_url, gateway=own.gateway_url
        )
        st.code(command, language=None, wrap_lines=True)


def _by(order: CorrectionOrder) -> str:
    """What an order corrects by."""
    counts = {"readings": len(order.readings), "tariffs": len(order.tariffs)}
    named = [f"{say(f'correction_by_{key}')} × {n}" for key, n in counts.items() if n]
    named += [say("correction_by_rules")] if order.rules else []
    named += [say("correction_by_books", revision=order.books)] if order.books else []
    return ", ".join(named)


def _made(made: Sequence[CorrectionStatus]) -> None:
    st.header(say("corrections_made"))
    if not made:
        st.caption(tell("corrections_none"))
        return
    reports = [one.report for one in made]
    table = pd.DataFrame(
        {
            "correction_number": [one.number for one in made],
            "state": [say(f"correction_{one.state}") for one in made],
            "correction_order": [one.order for one in made],
            "correction_billed": [report and report.corrected for report in reports],
            "first_billed": [report and report.first_billed for report in reports],
            "correction_left_out": [sum(one.left_out.values()) for one in made],
            "reason_code": [one.reason or "" for one in made],
        },
        dtype=object,
    )
    counted = [str(n) for n in table if n not in {"state", "reason_code"}]
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats=dict.fromkeys(counted, figures.count), whole=True)
    left_out: dict[str, int] = {}
    for one in made:
        for reason, number in one.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + number
    if left_out:
        st.subheader(say("correction_left_out"))
        named = {_left_out(code): figures.count(n) for code, n in sorted(left_out.items())}
        counts_table(named, name=say("exclusion_reason"), value=say("meters"))
        st.caption(tell("correction_left_out_help"))


def _left_out(code: str) -> str:
    """Why a correction left somebody out: a reason of months, or a rule of validation."""
    named = say_or("excluded", code)
    return plain(say_or("rule", code) if named == code else named)


def _released(session: Session, released: tuple[Release, ...] | None) -> None:
    st.header(say("correction_totals"))
    if released is None:
        st.info(tell("correction_no_values"), icon=":material/visibility_off:")
        return
    if not released:
        st.info(tell("correction_none_released"))
        return
    show_source(*released)
    hidden = {
        RELEASED: say("state_released"),
        PROTECTED: say("state_protected"),
        DOMINATED: say("state_dominated"),
        WITHHELD: say("state_withheld"),
    }
    energy, amount = (partial(_signed, places=places) for places in (3, 2))
    for release in released:
        table = correction_table(release)
        show_gaps(table, release=release)
        hidden[SUPPRESSED] = say("fewer_than", minimum=release.largest_minimum)
        rows = [
            {
                "zone": zone_names(row["parts"]),
                "customer_class": class_names(row["parts"]),
                "state": hidden[row["state"]],
                "bills": row["bills"],
                "energy_change": row["energy_kwh"],
                "amount_change": row["amount_yuan"],
            }
            for row in table.to_dict("records")
        ]
        shown = pd.DataFrame(rows, dtype=object)
        show_table(
            shown,
            titles={key: say(key) for key in _EXPORTED},
            formats={"bills": figures.count, "energy_change": energy, "amount_change": amount},
            whole=True,
        )
        show_exports(session, release, shown=(_EXPORTED, rows), csv=(table, _CSV_COLUMNS))
    st.caption(tell("correction_totals_how"))


def _signed(number: object, *, places: int) -> str:
    if number is None:
        return figures.NOTHING
    return figures.signed(Decimal(str(number)), places=places)


if __name__ == "__main__":
    show()
