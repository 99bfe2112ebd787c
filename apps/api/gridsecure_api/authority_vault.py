"""The vault's lock: custodians unlock it by their shares, which this service cannot read.

A token says who brings something; what counts is the custodian's own signature and share, which the
vault checks. Whoever pinned the vault's key checks what is answered here.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.key_authority.checker import vault_lock
from gridsecure.key_authority.checker.vault_counts import read_logged
from gridsecure.messages import Signed
from gridsecure.store.database import read_session
from gridsecure.vault_messages import Purpose, VaultCounts
from gridsecure_api.authority_state import State
from gridsecure_api.deps import require

Reader = Depends(require(*APPROVER_ROLES, "billing", "custodian", "operator", "regulator"))
Keeper = Annotated[TokenClaims, Depends(require("custodian"))]
Locker = Annotated[TokenClaims, Depends(require("custodian", "operator"))]

Nonce = Annotated[str, Query(pattern=r"^[0-9a-f]{0,64}$")]
"""It is in the vault's answer, which then is no older than it."""

router = APIRouter(prefix="/vault", tags=["vault"])


class ChallengeAsked(BaseModel):
    """What a share is to be given for."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    purpose: Purpose


@router.get("", dependencies=[Reader])
def read_vault(state: State, nonce: Nonce = "") -> Signed:
    """Whether the vault is locked, who keeps shares, and until when it is open: its own word."""
    return vault_lock.read_status(state.zone, nonce=nonce)


@router.get("/policy", dependencies=[Reader])
def read_vault_policy(state: State, nonce: Nonce = "") -> Signed:
    """Which release policy the vault holds to, and which wait there: its own word."""
    return state.zone.vault.read_policy(nonce)


@router.get("/counts", dependencies=[Reader])
def read_vault_counts(state: State) -> VaultCounts:
    """What the evidence log has of the vault: one that says less has an older folder."""
    with read_session(state.zone.engine) as session:
        return read_logged(session)


@router.post("/challenges")
def state_challenge(asked: ChallengeAsked, keeper: Keeper, state: State) -> Signed:
    """A challenge of the vault's for one share, signed by the vault."""
    return state.zone.vault.state_challenge(asked.purpose, asker=keeper.subject)


@router.post("/shares")
def give_share(given: Signed, keeper: Keeper, state: State) -> Signed:
    """Hand on a custodian's share, sealed to the challenge's key; how the vault stands then."""
    return vault_lock.give_share(state.zone, given, actor=keeper.subject, at=state.clock())


@router.get("/shares/{name}")
def read_share(name: str, _keeper: Keeper, state: State) -> Signed:
    """A custodian's share, sealed to its owner's key, until the owner unlocked the vault by it."""
    return state.zone.vault.hand_out_share(name)


@router.post("/lock")
def lock_vault(locker: Locker, state: State, nonce: Nonce = "") -> Signed:
    """Have the vault forget its key at once; how it stands then."""
    actor, at = locker.subject, state.clock()
    return vault_lock.lock_vault(state.zone, actor=actor, at=at, nonce=nonce)
