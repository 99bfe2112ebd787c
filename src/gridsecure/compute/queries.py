"""Queries of analysts: one grant starts one run, and nobody learns whose it is.

1. the bearer's grant is for this very query, and so is the one for the key authority;
2. the same request again, after a lost answer, is answered with the same run;
3. data of the period are here, and nobody asked for this plan and period before, because a release
   of it is given once: a grant is not taken for what cannot be answered;
4. the grant is spent in the transaction that records the run (`spend`), or neither happens.

A sealed query starts no run and may ask about the same period again (`sealed_queries`).

Staff order runs without a grant, and never for research.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, or_, select

from gridsecure.compute.closings import find_next_list
from gridsecure.compute.requests import REFUSED, request_state
from gridsecure.compute.runs import RunOrder, check_committed
from gridsecure.compute.tables import QueryGrantRow, ReleaseRequestRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.access import check_query
from gridsecure.credentials.queries import parse_query, verify_grant_token
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import ConflictError, InputError, NotFoundError, StaleMessageError
from gridsecure.messages import PlanName
from gridsecure.plans.purposes import RESEARCH, STAFF_PURPOSES
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, keep

_RUN_ID_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class AdmittedQuery:
    """A query with the grant it came with.

    Args:
        order: The run it asks for.
    """

    order: RunOrder
    grant: str

    @property
    def used(self) -> str:
        """A digest of what the grant is used for."""
        return sm3_hex(frame_parts(self.order.query, self.order.grant))


def admit_query(
    zone: PlatformZone, claims: TokenClaims, *, query: str, grant: str, now: datetime
) -> AdmittedQuery:
    """Check a query, its bearer, and the grant for the key authority (step 1).

    Args:
        claims: The bearer's, verified for this service.
        query: The query as it was sent.
        grant: The same grant's token for the key authority.
        now: The present, aware.

    Raises:
        AuthenticityError: A grant is for another query, or is none (`authenticity.query`).
        InvalidMessageError: The query has another shape or spelling.
    """
    check_query(claims, query=query.encode())
    said = parse_query(query)
    verify_grant_token(grant, query=query, audience="authority", trusted=zone.identity, now=now)
    order = RunOrder(
        plan=said.plan,
        start=said.start,
        end=said.end,
        purpose=said.purpose,
        requested_by=claims.subject,
        query=query,
        grant=grant,
    )
    return AdmittedQuery(order, grant_name(claims))


def grant_name(claims: TokenClaims) -> str:
    """What a grant is called here: its token's id may hold anything, this is 64 digits."""
    return sm3_hex(frame_parts(claims.token_id))


def run_name(grant: str) -> str:
    """The id of a grant's run: it follows from the grant, so a lost answer loses no run.

    Args:
        grant: From `grant_name`.
    """
    return sm3_hex(frame_parts(grant, "0"))[:_RUN_ID_DIGITS]


def is_spent(zone: PlatformZone, wanted: AdmittedQuery) -> bool:
    """Say whether the grant was used for this request before (step 2).

    Raises:
        StaleMessageError: It was used for another (`authenticity.spent`).
    """
    with read_session(zone.engine) as session:
        found = find(session, QueryGrantRow, grant_id=wanted.grant)
    if found is not None and found.used != wanted.used:
        raise _spent()
    return found is not None


def check_answerable(zone: PlatformZone, wanted: AdmittedQuery) -> None:
    """Refuse what no run can answer (step 3).

    Raises:
        NotFoundError: No data of the period (`run.empty`).
        ConflictError: It was asked for before (`conflict.asked`).
    """
    with read_session(zone.engine) as session:
        _refuse_asked(session, wanted.order)
    check_committed(zone, wanted.order)


def spend(session: Session, wanted: AdmittedQuery, *, at: datetime) -> None:
    """Spend the grant, in the transaction that records the run (step 4).

    Raises:
        ConflictError: Somebody else asked for it meanwhile (`conflict.asked`).
        StaleMessageError: The grant was used for another request (`authenticity.spent`).
    """
    _refuse_asked(session, wanted.order)
    spend_for(session, wanted, request_id="", at=at)


def spend_for(session: Session, wanted: AdmittedQuery, *, request_id: str, at: datetime) -> None:
    """Spend the grant for a release request, in the transaction that keeps it.

    Args:
        request_id: Empty where a run is still to make the request.

    Raises:
        StaleMessageError: The grant was used for another request (`authenticity.spent`).
    """
    row = QueryGrantRow(grant_id=wanted.grant, used=wanted.used, request_id=request_id, at=at)
    try:
        keep(session, row)
    except ConflictError as error:
        raise _spent() from error


def answer_state(zone: PlatformZone, request_id: str | None) -> str | None:
    """Where a run's release request stands: "waiting", "released" or "refused"."""
    if request_id is None:
        return None
    with read_session(zone.engine) as session:
        return request_state(session, request_id)


def check_staff_purpose(plan: PlanName, *, purpose: str) -> None:
    """Refuse a purpose that staff may not order a plan for, before anything is computed.

    Raises:
        InputError: The key authority would release nothing for it (`run.purpose`).
    """
    allowed = STAFF_PURPOSES[plan]
    if purpose not in allowed:
        named = " or ".join(sorted(allowed)) or "nothing: analysts ask such questions"
        raise InputError(
            "The plan is not released for this purpose.",
            reason="run.purpose",
            remedy=f"Request it for {named}; research needs an analyst's query grant.",
        )


def _refuse_asked(session: Session, order: RunOrder) -> None:
    """Refuse what was asked for before, of the uploads that are closed together."""
    try:
        wanted = find_next_list(session, plan=order.plan, start=order.start, end=order.end)
        closing = wanted.envelope.digest
    except NotFoundError:
        closing = None  # nothing to run over, which `check_answerable` says, or all is released
    row = ReleaseRequestRow
    about = select(row.state).where(
        row.plan == order.plan, row.start == order.start, row.end == order.end
    )
    if closing is not None:  # a later list of the month was not asked for yet
        about = about.where(or_(row.closing == closing, col(row.closing).is_(None)))
    # refused research, such as a grant that expired before a release round: nothing came of it
    about = about.where(or_(row.state != REFUSED, row.purpose != RESEARCH))
    state = session.exec(about.order_by(col(row.id)).limit(1)).first()
    if state is not None:
        raise ConflictError(
            f"The release of this plan and period was asked for before; it is {state}.",
            reason="conflict.asked",
            remedy="Your grant is not used. Read the existing release at the key authority, "
            "or ask about another period.",
        )


def _spent() -> StaleMessageError:
    return StaleMessageError(
        "A query grant was used before, for another request.",
        reason="authenticity.spent",
        remedy="Use another grant of this month, if any is left.",
    )
