"""Analysts' queries at the key authority: the key that questions are sealed to, and the answers.

Nobody says a name here. A grant's token is for one query, and what is answered is sealed to the
reader that the query names.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gridsecure.credentials.access import GRANT_ROLE
from gridsecure.credentials.queries import LONGEST_QUERY
from gridsecure.credentials.sealed_questions import SIZES, QueryKeyNotice
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.key_authority.checker.grants import seal_result
from gridsecure.messages import Signed, sign_message
from gridsecure_api.authority_state import State
from gridsecure_api.deps import require
from gridsecure_api.serving import OCTETS, binary

QUERY_KEY: Final = "/query-key"
"""Whoever reads it is about to ask without a name, and has no token yet."""

Grantee = Annotated[TokenClaims, Depends(require(GRANT_ROLE))]

router = APIRouter(tags=["queries"])


class QueryAsked(BaseModel):
    """A query as the analyst spelled it."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    query: str = Field(min_length=2, max_length=LONGEST_QUERY)


@router.get(QUERY_KEY)
def read_query_key(state: State) -> Signed:
    """The key that questions are sealed to, and their public sizes, signed by this authority.

    Needs no token: whoever asks for it is about to ask without a name.
    """
    point = state.zone.query_key.public_key.point.hex()
    return sign_message(QueryKeyNotice(point=point, sizes=list(SIZES)), key=state.zone.signing_key)


@router.post(
    "/query-results",
    response_class=Response,
    responses={200: binary(OCTETS)},
)
def read_query_result(asked: QueryAsked, state: State, bearer: Grantee) -> Response:
    """The signed certificate that answers a query, sealed to the reader that the query names."""
    sealed = seal_result(state.zone, bearer, query=asked.query, now=state.clock())
    return Response(sealed, media_type=OCTETS)
