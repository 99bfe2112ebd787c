"""Sealed queries: carried to the key authority, and nothing is run for them.

What is asked lies sealed in the query. So all that the platform does is the same for every question
of a period: it names what lies there of it, all rosters and uploads of the lists in force, and
keeps a release request that says so. The grant is spent in the transaction that keeps the request.
A period may be asked about any number of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.compute.closings import SignedClosing, find_in_force, run_empty
from gridsecure.compute.queries import AdmittedQuery, spend_for
from gridsecure.compute.requests import keep_request, request_state
from gridsecure.compute.tables import ClosingRow, QueryGrantRow, RosterRow, UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.sealed_questions import SEALED_QUERY_VERSION
from gridsecure.errors import NotFoundError
from gridsecure.messages import ClosingList, QueriedUploads, ReleaseRequest, request_name
from gridsecure.month_texts import read_moment
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, find_many

_LONGEST: Final = timedelta(days=40)
"""No list closes a period that began longer before."""


@dataclass(frozen=True, slots=True)
class SealedState:
    """Where a sealed query stands.

    Args:
        state: Of its release request: "waiting", "released" or "refused".
    """

    request_id: str
    state: str


def keep_query(zone: PlatformZone, wanted: AdmittedQuery, *, at: datetime) -> None:
    """Spend a query's grant, and keep the request that carries it to the key authority.

    Raises:
        NotFoundError: There are no data of the period, or they are not closed (`run.empty`).
        StaleMessageError: The grant was used for another request (`authenticity.spent`).
    """
    order = wanted.order
    with read_session(zone.engine) as session:
        queried = find_queried(session, start=order.start, end=order.end)
    request = ReleaseRequest(
        request_id="",
        plan="query",
        plan_version=SEALED_QUERY_VERSION,
        start=order.start,
        end=order.end,
        purpose=order.purpose,
        requested_by=order.requested_by,
        transcripts=[],
        seeds=[],
        query=order.query,
        grant=order.grant,
        queried=queried,
    )
    named = request.model_copy(update={"request_id": request_name(request)})
    spend = partial(spend_for, wanted=wanted, request_id=named.request_id, at=at)
    keep_request(zone, named, at=at, within=spend)


def find_queried(session: Session, *, start: str, end: str) -> QueriedUploads:
    """All that was closed of a period, whatever of it is asked about.

    Args:
        start: Of the period, which may be days of a month that was closed as a whole.

    Raises:
        NotFoundError: Nothing was (`run.empty`).
    """
    lists = _lists_about(session, start=start, end=end)
    names = sorted({digest for one in lists for digest in one.content.uploads})
    uploads = find_many(session, UploadRow, names, by="digest")
    rosters = find_many(
        session, RosterRow, [one.roster_id for one in uploads.values()], by="roster_id"
    )
    found = sorted(uploads.values(), key=lambda one: one.roster_id)
    if not found:
        raise run_empty()
    return QueriedUploads(
        closings=[one.envelope for one in lists],
        uploads=[one.digest for one in found],
        rosters=[rosters[one.roster_id].digest for one in found],
    )


def _lists_about(session: Session, *, start: str, end: str) -> list[SignedClosing]:
    """The lists in force of the one period that was closed and that these times lie in.

    A day that was sealed has a list of its own, and of what its month was closed with it is
    another: the period that was closed just so comes first.
    """
    moment = read_moment(start)
    if moment is None:
        raise run_empty()
    earliest = (moment - _LONGEST).isoformat()
    about = select(ClosingRow).where(
        # Texts of one local time, whose order is that of time.
        col(ClosingRow.start) > earliest,
        col(ClosingRow.start) <= start,
        col(ClosingRow.end) >= end,
    )
    rows = session.exec(about.order_by(col(ClosingRow.number))).all()
    if not rows:
        raise NotFoundError(
            "No list closes the period that the query is about.",
            reason="run.not-closed",
            remedy="Ask about days of one closed month, or about a day that was closed by itself.",
        )
    spans = {(row.start, row.end) for row in rows}
    chosen = (start, end) if (start, end) in spans else min(spans)
    envelopes = [row.envelope for row in rows if (row.start, row.end) == chosen]
    return find_in_force([SignedClosing(one, ClosingList.parse(one.body)) for one in envelopes])


def find_state(zone: PlatformZone, grant: str) -> SealedState | None:
    """Where the query of a grant stands; None if it was used for no sealed query.

    Args:
        grant: From `queries.grant_name`.
    """
    with read_session(zone.engine) as session:
        row = find(session, QueryGrantRow, grant_id=grant)
        if row is None or not row.request_id:
            return None
        return SealedState(row.request_id, request_state(session, row.request_id))
