"""Queries of analysts at the platform: a grant instead of a name.

The bearer's token is for one query and says nothing of who asks. What these routes answer is about
that query alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from gridsecure.compute import queries, sealed_queries
from gridsecure.compute.desk import RunDesk
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.access import GRANT_ROLE
from gridsecure.credentials.queries import LONGEST_QUERY
from gridsecure.crypto.tokens import MAX_TOKEN_BYTES, TokenClaims
from gridsecure.errors import AccessDeniedError, NotFoundError
from gridsecure.wire.platform import QueryState, RunStarted
from gridsecure_api.deps import Clock, require

Bearer = Annotated[TokenClaims, Depends(require(GRANT_ROLE))]


class QueryWanted(BaseModel):
    """A query as the analyst spelled it, and the grant's token for the key authority."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    query: str = Field(min_length=2, max_length=LONGEST_QUERY)
    grant: str = Field(min_length=1, max_length=MAX_TOKEN_BYTES, repr=False)


@dataclass(frozen=True, slots=True)
class QueryDesk:
    """Takes queries and says where they stand.

    Args:
        runs: Runs in the background.
    """

    zone: PlatformZone
    runs: RunDesk
    clock: Clock

    def ask(self, claims: TokenClaims, wanted: QueryWanted) -> str:
        """Start the run of a query, or find the one that its grant started.

        A sealed query starts none: what carries it to the key authority is kept.

        Raises:
            AuthenticityError: The grant is for another query, or was used for another request.
            InvalidMessageError: The query has another shape or spelling.
            NotFoundError: There are no data of the period.
            ConflictError: It was asked for before, or is being run. The grant is not used then.
        """
        now = self.clock()
        asked = queries.admit_query(
            self.zone, claims, query=wanted.query, grant=wanted.grant, now=now
        )
        run_id = queries.run_name(asked.grant)
        if queries.is_spent(self.zone, asked):
            return run_id
        if asked.order.plan == "query":
            sealed_queries.keep_query(self.zone, asked, at=now)
        else:
            queries.check_answerable(self.zone, asked)
            spend = partial(queries.spend, wanted=asked, at=now)
            self.runs.start(asked.order, run_id=run_id, within=spend)
        return run_id

    def state(self, claims: TokenClaims) -> QueryState:
        """Where the bearer's query stands.

        Raises:
            NotFoundError: Its grant started no run (`not-found.query`).
        """
        grant = queries.grant_name(claims)
        sealed = sealed_queries.find_state(self.zone, grant)
        if sealed is not None:
            return QueryState(
                run_id=queries.run_name(grant),
                state="done",
                done=0,
                of=0,
                reason=None,
                message=None,
                request_id=sealed.request_id,
                request_state=sealed.state,
            )
        try:
            run = self.runs.status(queries.run_name(grant))
        except NotFoundError as error:
            raise NotFoundError(
                "No run was started with this grant.",
                reason="not-found.query",
                remedy="Send the query with it first.",
            ) from error
        return QueryState(
            run_id=run.run_id,
            state=run.state,
            done=run.done,
            of=run.of,
            reason=run.reason,
            message=run.message,
            request_id=run.request_id,
            request_state=queries.answer_state(self.zone, run.request_id),
        )


def _desk(request: Request) -> QueryDesk:
    desk: QueryDesk = request.app.state.queries
    return desk


Desk = Annotated[QueryDesk, Depends(_desk)]

router = APIRouter(tags=["queries"])


@router.post("/queries", status_code=202)
def ask_query(wanted: QueryWanted, claims: Bearer, desk: Desk) -> RunStarted:
    """Start the run of a query; the same request again gives the same run."""
    return RunStarted(run_id=desk.ask(claims, wanted))


@router.get("/queries/{digest}")
def read_query(digest: str, claims: Bearer, desk: Desk) -> QueryState:
    """Where a query's run and release request stand, for the bearer of its grant."""
    if claims.subject != f"query/{digest}":
        raise AccessDeniedError("The grant is for another query.", reason="authenticity.query")
    return desk.state(claims)
