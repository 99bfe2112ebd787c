"""Routes of query grants. Who asks is an analyst with a credential; which one, nobody can tell."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import Field

from gridsecure.credentials.grants import Question, trial_quota
from gridsecure.credentials.returned_grants import GrantOrder, hidden_digest, returned_quota
from gridsecure.errors import SignatureError
from gridsecure.messages import Signed, open_message
from gridsecure.wire.identity import Grant, Hex32, Terms, TrialPass
from gridsecure_api.identity_zone import Body, Zone

PUBLIC_PATHS: Final = frozenset({"/grants", "/grants/terms", "/grants/returned", "/grants/trials"})
AUDIENCE: Final = "platform"
"""Whom a grant request is proved for."""
TRIAL_AUDIENCE: Final = "authority"
"""Whom a request for a pass is proved for."""

router = APIRouter(tags=["grants"])


class GrantWanted(Body):
    """A grant request for one query."""

    digest: Hex32
    request: str = Field(pattern=r"^(?:[0-9a-f]{2})+$", max_length=16_384)


class ReturnedWanted(GrantWanted):
    """A grant request under the quota of returned grants, and the key authority's order for it.

    The order names the query under the salt.
    """

    order: Signed
    salt: Hex32


@router.get("/grants/terms")
def read_terms(zone: Zone) -> Terms:
    """Which credential a grant needs, and how many there are in which time. Public."""
    quota = zone.quota(zone.clock())
    return Terms(period=quota.context.period, epoch=quota.epoch, limit=quota.limit)


@router.post("/grants")
def give_grant(wanted: GrantWanted, zone: Zone) -> Grant:
    """Turn a request into tokens for one query, good for a day. Public; the body proves itself."""
    now = zone.clock()
    question = Question(zone.quota(now), AUDIENCE, bytes.fromhex(wanted.digest))
    given = zone.tokens.grant(bytes.fromhex(wanted.request), question=question, now=now)
    return Grant(tokens=given.tokens, expires_at=given.expires_at.isoformat())


@router.post("/grants/returned")
def give_returned_grant(wanted: ReturnedWanted, zone: Zone) -> Grant:
    """Give a grant once more, as the key authority orders it for a query. Public."""
    now = zone.clock()
    order = open_message(wanted.order, expect=GrantOrder, trusted=zone.authorities)
    hidden = hidden_digest(bytes.fromhex(wanted.digest), salt=bytes.fromhex(wanted.salt))
    if order.digest != hidden.hex():
        raise SignatureError(
            "The key authority ordered a grant for another query.", reason="authenticity.query"
        )
    quota = returned_quota(zone.quota(now))
    question = Question(quota, AUDIENCE, bytes.fromhex(wanted.digest))
    given = zone.tokens.grant(bytes.fromhex(wanted.request), question=question, now=now)
    return Grant(tokens=given.tokens, expires_at=given.expires_at.isoformat())


@router.post("/grants/trials")
def give_trial_pass(wanted: GrantWanted, zone: Zone) -> TrialPass:
    """Turn a request into a pass for some trials of questions, good for a day. Public."""
    now = zone.clock()
    quota = trial_quota(zone.quota(now))
    question = Question(quota, TRIAL_AUDIENCE, bytes.fromhex(wanted.digest))
    given = zone.tokens.trial_pass(bytes.fromhex(wanted.request), question=question, now=now)
    return TrialPass(token=given.token, expires_at=given.expires_at.isoformat())
