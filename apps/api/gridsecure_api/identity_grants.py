"""Routes of query grants. Who asks is an analyst with a credential; which one, nobody can tell."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import Field

from gridsecure.credentials.grants import Question
from gridsecure.wire.identity import Grant, Hex32, Terms
from gridsecure_api.identity_zone import Body, Zone

PUBLIC_PATHS: Final = frozenset({"/grants", "/grants/terms"})
AUDIENCE: Final = "platform"
"""Whom a grant request is proved for."""

router = APIRouter(tags=["grants"])


class GrantWanted(Body):
    """A grant request for one query."""

    digest: Hex32
    request: str = Field(pattern=r"^(?:[0-9a-f]{2})+$", max_length=16_384)


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
