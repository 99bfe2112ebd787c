"""Analysts' queries at the key authority: the key that questions are sealed to, and the answers.

Nobody says a name here. A grant's token is for one query, and what is answered is sealed to the
reader that the query names.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gridsecure.credentials.access import GRANT_ROLE, TRIAL_ROLE
from gridsecure.credentials.queries import LONGEST_QUERY
from gridsecure.credentials.sealed_questions import SIZES, QueryKeyNotice
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.key_authority.checker.grants import seal_result
from gridsecure.key_authority.checker.query_trials import try_question
from gridsecure.key_authority.checker.returned_grants import order_grant, published_return_key
from gridsecure.messages import Signed, sign_message
from gridsecure.wire.identity import Hex32
from gridsecure_api.authority_state import State
from gridsecure_api.deps import require
from gridsecure_api.serving import OCTETS, binary

QUERY_KEY: Final = "/query-key"
"""Whoever reads it is about to ask without a name, and has no token yet."""

RETURNED: Final = "/returned-grants"
"""Whoever uses one shows that it has it, and no token."""

Grantee = Annotated[TokenClaims, Depends(require(GRANT_ROLE))]
Trying = Annotated[TokenClaims, Depends(require(TRIAL_ROLE))]

router = APIRouter(tags=["queries"])


class QueryAsked(BaseModel):
    """A query as the analyst spelled it."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    query: str = Field(min_length=2, max_length=LONGEST_QUERY)


class ReturnedGrantUsed(BaseModel):
    """A grant that was given back, and the query that it is used for, under a salt."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    seed: Hex32
    digest: Hex32
    code: Hex32


@router.get(QUERY_KEY)
def read_query_key(state: State) -> Signed:
    """The keys that questions are asked with, and their public sizes, signed by this authority.

    Needs no token: whoever asks for it is about to ask without a name.
    """
    point = state.zone.query_key.public_key.point.hex()
    notice = QueryKeyNotice(
        point=point, sizes=list(SIZES), returns=published_return_key(state.zone)
    )
    return sign_message(notice, key=state.zone.signing_key)


@router.post(RETURNED)
def use_returned_grant(used: ReturnedGrantUsed, state: State) -> Signed:
    """Have the identity service give a grant that came back with a refusal once more.

    Needs no token: the body proves itself, and nothing in it was seen before.
    """
    return order_grant(
        state.zone,
        seed=bytes.fromhex(used.seed),
        digest=bytes.fromhex(used.digest),
        code=used.code,
        now=state.clock(),
    )


@router.post(
    "/query-results",
    response_class=Response,
    responses={200: binary(OCTETS)},
)
def read_query_result(asked: QueryAsked, state: State, bearer: Grantee) -> Response:
    """The signed certificate that answers a query, sealed to the reader that the query names."""
    sealed = seal_result(state.zone, bearer, query=asked.query, now=state.clock())
    return Response(sealed, media_type=OCTETS)


@router.post(
    "/query-trials",
    response_class=Response,
    responses={200: binary(OCTETS)},
)
def try_query(asked: QueryAsked, state: State, bearer: Trying) -> Response:
    """What would become of a sealed question, sealed to the reader that the query names.

    Nothing is decrypted or spent but one of the pass's trials.
    """
    sealed = try_question(
        state.zone_now(),
        bearer,
        query=asked.query,
        view=state.pull,
        memory=state.trials,
        now=state.clock(),
    )
    return Response(sealed, media_type=OCTETS)
