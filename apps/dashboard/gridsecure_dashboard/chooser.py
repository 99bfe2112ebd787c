"""Choosing a release, and saying where the numbers of a page come from."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import Release
from gridsecure.analyst.reports import DOMINATED, PROTECTED, SUPPRESSED
from gridsecure.wire.authority import ReleaseSummary
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import figures
from gridsecure_dashboard.access import fetch_release, local_timezone, open_client
from gridsecure_dashboard.wording import plain, say, say_or, tell


def choose_release(session: Session, *, plan: str | None, empty: str) -> Release | None:
    """Offer the releases of a plan, newest first; return the chosen one, verified.

    Args:
        plan: Only this plan; None offers all.
        empty: Key of what to do when there is none.

    Raises:
        GridSecureError: The list or the release cannot be fetched, or does not verify.
    """
    offered = [item for item in open_client().releases(session) if plan in (None, item.plan)]
    if not offered:
        st.info(tell(empty))
        return None
    labels = {item.release_id: _label(item) for item in offered}
    chosen = st.selectbox(say("choose_release"), list(labels), format_func=labels.__getitem__)
    return fetch_release(session, chosen)


def _label(item: ReleaseSummary) -> str:
    plan = say_or("plan", item.plan)
    released = figures.moment(item.released_at, zone=local_timezone())
    return f"{figures.period(item.start, item.end)} | {plan} | {released}"


def show_source(release: Release) -> None:
    """Say that everything below comes from this signed release."""
    st.caption(
        f"{tell('only_released')}  \n{say('release_shown')}: **{plain(release.release_id)}** · "
        f"{say('period')}: {figures.date(release.start)} – {figures.date(release.end)} · "
        f"{say('signature_ok')}"
    )


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
