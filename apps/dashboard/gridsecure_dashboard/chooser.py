"""Choosing a release, and saying where the numbers of a page come from."""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import BILL, Release
from gridsecure.analyst.reports import DOMINATED, PROTECTED, SUPPRESSED
from gridsecure.wire.authority import ReleaseSummary
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import figures
from gridsecure_dashboard.access import fetch_release, fetch_releases, list_releases, local_timezone
from gridsecure_dashboard.billed_months import BilledMonth, billed_months
from gridsecure_dashboard.wording import plain, say, say_or, tell

_MOST_MONTHS: Final = 13


def choose_release(session: Session, *, plan: str | None, empty: str) -> Release | None:
    """Offer the releases of a plan, newest first; return the chosen one, verified.

    Args:
        plan: Only this plan; None offers all.
        empty: Key of what to do when there is none.

    Raises:
        GridSecureError: The list or the release cannot be fetched, or does not verify.
    """
    offered = [item for item in list_releases(session) if plan in (None, item.plan)]
    if not offered:
        st.info(tell(empty))
        return None
    labels = {item.release_id: _label(item) for item in offered}
    chosen = st.selectbox(say("choose_release"), list(labels), format_func=labels.__getitem__)
    return fetch_release(session, chosen)


def fetch_months(session: Session) -> tuple[BilledMonth, ...]:
    """The newest months of bills, verified: enough of them for the same month a year before.

    Raises:
        GridSecureError: The list or a release cannot be fetched, or does not verify.
    """
    listed = [item for item in list_releases(session) if item.plan == BILL]
    newest = sorted({(item.start, item.end) for item in listed}, reverse=True)[:_MOST_MONTHS]
    wanted = [item for item in listed if (item.start, item.end) in newest]
    return billed_months(fetch_releases(session, [item.release_id for item in wanted]))


def _label(item: ReleaseSummary) -> str:
    plan = say_or("plan", item.plan)
    released = figures.moment(item.released_at, zone=local_timezone())
    return f"{figures.period(item.start, item.end)} | {plan} | {released}"


def show_source(*releases: Release) -> None:
    """Say that everything below comes from these signed releases of a period; ids are to copy."""
    named = [
        f"{figures.period(release.start.isoformat(), release.end.isoformat())} · "
        f"{say_or('plan', release.plan)} · {say('released_at')} "
        f"{figures.moment(release.released_at, zone=local_timezone())}"
        for release in releases
    ]
    st.caption("  \n".join([tell("only_released"), *map(plain, named), say("signature_ok")]))
    with st.popover(say("release_ids"), icon=":material/fingerprint:"):
        for release in releases:
            st.caption(say("release_shown"))
            st.code(release.release_id, language=None, wrap_lines=True)
            st.caption(say("certificate_digest"))
            st.code(release.certificate_digest, language=None, wrap_lines=True)


def show_gaps(cells: pd.DataFrame, *, release: Release) -> None:
    """Say how many cells are missing from the sums, and why, and how many are several in one.

    Args:
        cells: One row a cell, with its `state` and `parts`.
    """
    minimum = release.largest_minimum
    counted = {
        "suppressed_note": int((cells["state"] == SUPPRESSED).sum()),
        "protected_note": int((cells["state"] == PROTECTED).sum()),
        "dominated_note": int((cells["state"] == DOMINATED).sum()),
    }
    limit = min((cell.limit for cell in release.cells if cell.is_dominated), default=0)
    notes = [
        tell(key, count=count, minimum=minimum, policy=release.policy or "–", limit=limit)
        for key, count in counted.items()
        if count
    ]
    if notes:
        st.warning("  \n".join(notes), icon=":material/visibility_off:")
    else:
        st.caption(tell("all_released_note", minimum=minimum))
    merged = sum(len(parts) > 1 for parts in cells["parts"])
    if merged:
        st.caption(tell("merged_note", count=merged, minimum=minimum))
