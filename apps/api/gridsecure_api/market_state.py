"""What the market's routes share: its zone, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gridsecure.circulation.documents import Member
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.market import members
from gridsecure.market.zone import MarketZone
from gridsecure.store.database import read_session
from gridsecure_api.deps import Clock, require


@dataclass(frozen=True, slots=True)
class MarketState:
    """What the routes need."""

    zone: MarketZone
    clock: Clock


async def _state(request: Request) -> MarketState:
    state: MarketState = request.app.state.market
    return state


State = Annotated[MarketState, Depends(_state)]
MemberClaims = Annotated[TokenClaims, Depends(require("member", "regulator"))]
"""Of members, and of regulators: what they read is for their organisation's record to say."""
_ReaderClaims = Annotated[TokenClaims, Depends(require("member", "regulator", "operator"))]


def read_member(claims: MemberClaims, state: State) -> Member:
    """Who asks, as the newest record of their organisation has them."""
    with read_session(state.zone.engine) as session:
        return members.find_person(session, claims.subject)


Reader = Annotated[Member, Depends(read_member)]


def read_reader(claims: _ReaderClaims, state: State) -> Member:
    """Who reads documents: a member, or the market's own staff, for the registration office."""
    return state.zone.registrar if "operator" in claims.roles else read_member(claims, state)


DocumentReader = Annotated[Member, Depends(read_reader)]
