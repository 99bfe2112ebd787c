"""Query grants at the key authority: no research without one, and each is good for one request.

The platform could say of any request that an analyst asked for it. So the checker looks at the
grant itself before it proves anything (`check_grant`):

1. it is the identity authority's, for this service, of now, and for the query that came with it;
2. the query asks for what the request asks for, and the request names the grant as who asked;
3. the grant was used for no other request.

It is bound to its request before anything is decrypted (`bind_grant`), and of a sealed query before
its question is opened. A request that failed for reasons not its own goes on with the grant it has,
also when that has expired meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlmodel import Session, col, or_, select

from gridsecure.credentials.access import check_query
from gridsecure.credentials.queries import RESULT_PURPOSE, parse_query, verify_grant_token
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    InvalidMessageError,
    NotFoundError,
    ReleaseRefusedError,
)
from gridsecure.key_authority.checker.noise_budgets import check_exact
from gridsecure.key_authority.checker.query_answers import find_answer
from gridsecure.key_authority.checker.tables import QueryGrantRow, ReleaseRow, SeedRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ReleaseRequest, Signed
from gridsecure.plans.purposes import RESEARCH, RESEARCH_PLANS, STAFF_PURPOSES
from gridsecure.released_values import SignedCertificate
from gridsecure.sealed_answers import pad_answer
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, keep

AUDIENCE: Final = "authority"
REFUSED: Final = "release.grant"
PURPOSE: Final = "release.purpose"


def check_purpose(zone: AuthorityZone, request: ReleaseRequest, *, now: datetime) -> None:
    """Refuse what the request's plan is not released for.

    Args:
        request: The platform's request, its signature verified.
        now: The present, aware.

    Raises:
        ReleaseRefusedError: Another purpose (`release.purpose`); research without a grant for it,
            or anything else with one (`release.grant`); or exact numbers, where analysts are told
            them with noise (`release.private`).
    """
    if request.purpose == RESEARCH and request.plan in RESEARCH_PLANS:
        check_grant(zone, request, now=now)
        if request.plan != "query":  # whether that asks for noise is sealed
            with read_session(zone.engine) as session:
                check_exact(session, zone.policy, request)
        return
    if request.purpose not in STAFF_PURPOSES[request.plan]:
        raise ReleaseRefusedError(
            "Results of this plan are not released for this purpose.", reason=PURPOSE
        )
    if request.query or request.grant:
        raise _refused("A staff request came with an analyst's grant.")


def check_grant(zone: AuthorityZone, request: ReleaseRequest, *, now: datetime) -> TokenClaims:
    """Check the grant of a query (steps 1 to 3).

    Args:
        request: As for `check_purpose`.
        now: The present, aware.

    Returns:
        What the grant says.

    Raises:
        ReleaseRefusedError: It does not hold (`release.grant`).
    """
    with read_session(zone.engine) as session:
        own = find(session, QueryGrantRow, request_id=request.request_id)
    # 1. a grant bound to this request is looked at as of then
    moment = own.at if own else now
    try:
        claims = verify_grant_token(
            request.grant,
            query=request.query,
            audience=AUDIENCE,
            trusted=zone.identity,
            now=moment,
        )
        query = parse_query(request.query)
    except (AuthenticityError, InvalidMessageError) as error:
        raise _refused("The request comes without a grant for its query.") from error
    # 2. what it is for
    said = (query.plan, query.start, query.end, query.purpose, claims.subject)
    wanted = (request.plan, request.start, request.end, request.purpose, request.requested_by)
    if said != wanted:
        raise _refused("The grant and the request are for different queries.")
    # 3. once
    entry = _entry(request, claims, at=moment)
    known = select(QueryGrantRow).where(
        or_(
            col(QueryGrantRow.request_id) == entry.request_id,
            col(QueryGrantRow.token) == entry.token,
        )
    )
    with read_session(zone.engine) as session:
        others = session.exec(known).all()
    if any((o.request_id, o.used) != (entry.request_id, entry.used) for o in others):
        raise _spent()
    return claims


def bind_grant(zone: AuthorityZone, request: ReleaseRequest, *, now: datetime) -> None:
    """Spend a research request's grant for it, before anything is decrypted; again is the same.

    A sealed query is bound as well, whatever grants there are for it: over other lists the same
    question would show, without any answer, how many it is about.

    Args:
        request: Checked by `check_purpose`.
        now: The present, aware.

    Raises:
        ReleaseRefusedError: It, or its sealed query, was used for another request
            (`release.grant`).
        StorageError: It cannot be written.
    """
    if request.purpose != RESEARCH:
        return
    claims = check_grant(zone, request, now=now)
    with write_session(zone.engine) as session:
        _bind(session, _entry(request, claims, at=now))
        if request.plan == "query":
            _bind(session, _asked_once(request, at=now))


def seal_result(zone: AuthorityZone, claims: TokenClaims, *, query: str, now: datetime) -> bytes:
    """The certificate that answers a query, sealed to the reader that the query names.

    What became of a sealed query is padded, so that its length tells neither reason nor answer.
    The platform has the grant's token too, because a request carries it; it is not the reader.

    Args:
        query: The query as it was sent.
        now: The present, aware.

    Raises:
        SignatureError: The grant is for another query (`authenticity.query`).
        InvalidMessageError: The query has another shape or spelling.
        NotFoundError: Nothing was released for it yet (`not-found.query-result`).
    """
    check_query(claims, query=query.encode())
    said = parse_query(query)
    reader = said.reader_key
    is_sealed = said.plan == "query"
    found = query_result(zone, subject=claims.subject, is_sealed=is_sealed)
    return seal_to(
        pad_answer(found) if is_sealed else found.model_dump_json().encode(),
        recipient=reader,
        purpose=RESULT_PURPOSE,
        owner=claims.subject,
        created_at=now,
    )


def query_result(
    zone: AuthorityZone, *, subject: str, is_sealed: bool = False
) -> SignedCertificate | Signed:
    """The certificate that answers a query, or what became of a sealed one.

    Args:
        subject: Of the grant's token, which names the query.

    Raises:
        NotFoundError: Nothing was released for it yet (`not-found.query-result`).
    """
    with read_session(zone.engine) as session:
        found = find(session, ReleaseRow, requested_by=subject, purpose=RESEARCH)
    if is_sealed and (answer := find_answer(zone, subject)) is not None:
        return answer
    if found is not None and not is_sealed:
        return found.certificate
    raise NotFoundError(
        "Nothing was released for this query yet.",
        reason="not-found.query-result",
        remedy="Wait for the key authority's next release round.",
    )


def _entry(request: ReleaseRequest, claims: TokenClaims, *, at: datetime) -> QueryGrantRow:
    parts = (request.query, request.grant, *(t.digest for t in request.transcripts))
    return QueryGrantRow(
        request_id=request.request_id,
        token=sm3_hex(frame_parts(claims.token_id)),
        used=sm3_hex(frame_parts(*parts)),
        at=at,
    )


def _asked_once(request: ReleaseRequest, *, at: datetime) -> SeedRow:
    return SeedRow(seed=f"query/{request.requested_by}", transcript=request.request_id, at=at)


def _bind(session: Session, entry: QueryGrantRow | SeedRow) -> None:
    try:
        keep(session, entry)
    except ConflictError as error:
        raise _spent() from error


def _spent() -> ReleaseRefusedError:
    return _refused("The grant was used for another request.")


def _refused(message: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        message,
        reason=REFUSED,
        remedy="Ask again as an analyst, with a grant of this month for this query.",
    )
