"""Routes for the keys that meter-data systems sign in with; an operator's.

What a system may send is declared at its gateway.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.identity.enrolments.source_keys import (
    KeyOrder,
    SourceKey,
    list_keys,
    register_key,
    withdraw_key,
)
from gridsecure.wire.identity import SourceKeyShown, SourceKeyWithdrawn
from gridsecure_api.deps import require
from gridsecure_api.identity_zone import Body, Zone
from gridsecure_api.lists import KEPT_ANSWERS, answer_whole
from gridsecure_api.settings import PublicPoint, public_key

Operator = Annotated[TokenClaims, Depends(require("operator"))]

router = APIRouter(prefix="/source-keys", tags=["services"])


class KeyGiven(Body):
    """A source's public key; `replaces` is the thumbprint of the key that it had, if it had one."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    public_key: PublicPoint
    replaces: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


@router.post("")
def register_source_key(given: KeyGiven, zone: Zone, claims: Operator) -> SourceKeyShown:
    """Register the key of a meter-data system, in place of the one that it replaces.

    That one gets no token from now on, and can never be registered again.
    """
    order = KeyOrder(given.name, public_key(given.public_key), given.replaces)
    registered = register_key(
        zone.enrolments,
        order,
        others={**zone.desk.services, **zone.desk.people},
        actor=claims.subject,
        now=zone.clock(),
    )
    return _shown(registered)


@router.delete("/{thumbprint}")
def delete_source_key(
    thumbprint: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")], zone: Zone, claims: Operator
) -> SourceKeyWithdrawn:
    """Withdraw the key of a meter-data system for good."""
    was_there = withdraw_key(zone.enrolments, thumbprint, actor=claims.subject, now=zone.clock())
    return SourceKeyWithdrawn(withdrawn=was_there)


@router.get(
    "",
    dependencies=[Depends(require("operator"))],
    response_model=list[SourceKeyShown],
    responses=KEPT_ANSWERS,
)
async def read_source_keys(request: Request, zone: Zone) -> Response:
    """The keys that meter-data systems sign in with, by name."""
    return await answer_whole(request, lambda: [_shown(key) for key in list_keys(zone.enrolments)])


def _shown(key: SourceKey) -> SourceKeyShown:
    return SourceKeyShown(name=key.name, thumbprint=key.thumbprint, since=key.since.isoformat())
