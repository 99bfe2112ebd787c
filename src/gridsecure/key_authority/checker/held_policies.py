"""The policy that holds at the key authority: put in force by officers, told to the vault first.

Vault, checker and platform each take a policy in for themselves, by officers' keys of their own
settings. The vault comes first: were it last, and down, the checker would ask for what the vault
refuses. A policy that the vault has and the checker does not is put in force once more.

What was released before there were policies was of 15 customers at least (`uniform-15`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.approvals import Approvers
from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.tables import ApproverRevocationRow, PolicyRow, ToldSetRow
from gridsecure.key_authority.checker.vault_counts import follow_counts
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.policy.decisions import Change
from gridsecure.policy.language import Policy
from gridsecure.policy.levels import Level
from gridsecure.policy.packs import UNIFORM, load_pack
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.store.database import read_session
from gridsecure.store.held_policies import PolicyShelf

ACTOR = "checker"


def policy_shelf(engine: Engine, level: Level | None = None) -> PolicyShelf:
    """The checker's policies.

    Args:
        level: What those that are taken in are held to.
    """
    return PolicyShelf(engine, PolicyRow, actor=ACTOR, first=_before_policies, level=level)


def put_policy(
    zone: AuthorityZone, document: SignedPolicy, *, by: str, now: datetime
) -> list[Change]:
    """Have the vault take a policy in, then take it in here; the same again changes nothing.

    Args:
        by: Who brings it.

    Returns:
        The cases that it decides looser.

    Raises:
        GridSecureError: As `PolicyShelf.hold`; or the vault refuses it or is down, and nothing is
            taken in.
    """
    shelf = policy_shelf(zone.engine, zone.level)
    officers = unrevoked_officers(zone.engine, zone.approvers)
    shelf.check(document, approvers=officers, now=now)
    zone.vault.hold_policy(document)
    looser = shelf.hold(document, approvers=officers, now=now, by=by)
    follow_counts(zone, at=now)
    return looser


def unrevoked_officers(engine: Engine, approvers: Approvers) -> Approvers:
    """The officers whose keys were not revoked."""
    with read_session(engine) as session:
        revoked = set(session.exec(select(col(ApproverRevocationRow.signer))))
    return {signer: one for signer, one in approvers.items() if signer not in revoked}


def under_policy(zone: AuthorityZone, *, now: datetime) -> AuthorityZone:
    """A zone with the policy that holds at a moment, for one piece of work from its begin to end.

    Raises:
        StorageError: That a policy took over cannot be kept.
    """
    policy = policy_shelf(zone.engine).stand(now=now).policy
    return zone if policy is None else replace(zone, policy=policy.at(now))


def _before_policies(session: Session) -> Policy | None:
    """What held before policies were kept, where anything was released then."""
    is_new = session.exec(select(ToldSetRow.name).limit(1)).first() is None
    return None if is_new else load_pack(UNIFORM)


def check_in_force(zone: AuthorityZone, *, now: datetime) -> None:
    """Let requests wait while no policy is in force.

    Raises:
        GridSecureError: It is not yet (`policy.early`) or no longer (`policy.expired`); nothing is
            refused meanwhile.
    """
    if zone.policy.expires is not None and now >= zone.policy.expires:
        raise GridSecureError(
            "The release policy has expired, so nothing is released.",
            reason="policy.expired",
            remedy="Put another one in force (gridsecure policy put).",
        )
    if now < zone.policy.in_force_from:
        raise GridSecureError(
            "The release policy is not in force yet, so nothing is released.",
            reason="policy.early",
            remedy="Wait for its day, or put one in force that holds until then.",
        )
