"""Grants as the identity service gives them, without the proof before it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta

from gridsecure.credentials.access import GRANT_ROLE, ISSUER, query_subject
from gridsecure.credentials.queries import Query, load_curve_query, sealed_query
from gridsecure.credentials.sealed_questions import SealedQuestion, seal_question, write_question
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.crypto.tokens import TokenClaims, issue_token
from tests.grid_simulator import NOW, GridSimulator, grid_keys


def query_of(grid: GridSimulator, *, reader: Sm2PublicKey | None = None) -> Query:
    """The grid's month, to be read with the session's holder key unless told otherwise."""
    start, end = grid.period.start.isoformat(), grid.period.end.isoformat()
    return load_curve_query(start, end, reader=reader or grid_keys().holder.public_key)


def sealed_query_of(
    grid: GridSimulator,
    question: str,
    *,
    reader: Sm2PublicKey | None = None,
    size: int = 0,
    **changes: str,
) -> tuple[Query, SealedQuestion]:
    """A question about the grid's month, sealed, and what lies in it."""
    key = reader or grid_keys().holder.public_key
    content = write_question(question, reader=key)
    sealed = seal_question(content, recipient=grid_keys().query.public_key, size=size)
    span = {"start": grid.period.start.isoformat(), "end": grid.period.end.isoformat()}
    return sealed_query(**span | changes, reader=key, sealed=sealed), content


def grant_claims(query: str, *, audience: str = "platform", **changes: object) -> TokenClaims:
    """What a grant's token says."""
    claims = TokenClaims(
        subject=query_subject(sm3_digest(query.encode())),
        roles=(GRANT_ROLE,),
        audience=audience,
        issuer=ISSUER,
        issued_at=NOW,
        expires_at=NOW + timedelta(days=1),
        token_id=secrets.token_hex(16),
    )
    return replace(claims, **changes)


def grant_token(
    query: str, *, audience: str = "authority", key: Sm2PrivateKey | None = None, **changes: object
) -> str:
    """A grant's token."""
    claims = grant_claims(query, audience=audience, **changes)
    return issue_token(claims, key=key or grid_keys().identity)
