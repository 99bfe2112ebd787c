"""The policy that holds at the key authority: not before its day, and no older, looser one after.

The service says at its start which policy holds. What held before is kept, so that a policy which
is looser takes its place only under a version larger than every one before, and every change is in
the evidence log with how many cases it decides looser. A setting that was lost means the strict
policy, or a refusal; the newest of all that held may come back after it.

What was released before there were policies was of 15 customers at least (`uniform-15`).

Not handled: who changed the setting. Whoever can restart the service can name a new version.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.errors import GridSecureError, InputError
from gridsecure.key_authority.checker.tables import PolicyRow, ToldSetRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.policy.decisions import compare_policies
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.packs import UNIFORM, load_pack
from gridsecure.store import evidence
from gridsecure.store.database import write_session


def hold_policy(engine: Engine, policy: Policy, *, at: datetime) -> None:
    """Let a policy hold from now on; the one that holds already stays as it is.

    Raises:
        InputError: A policy of this name and version had another text (`policy.altered`); or it is
            looser than the one that holds, and older than one that held (`policy.rollback`).
        StorageError: It cannot be kept.
    """
    with write_session(engine) as session:
        held = session.exec(select(PolicyRow).order_by(col(PolicyRow.id).desc()).limit(1)).first()
        if held is not None and held.digest == policy.digest:
            return
        before = _before_policies(session) if held is None else parse_policy(held.text)
        alike = select(PolicyRow.digest).where(
            PolicyRow.name == policy.name, PolicyRow.version == policy.version
        )
        if any(digest != policy.digest for digest in session.exec(alike)):
            raise InputError(
                f"The policy {policy.name!r}, version {policy.version}, once had another text.",
                reason="policy.altered",
                remedy="Give the changed policy a larger version.",
            )
        looser = 0 if before is None else _count_looser(before, policy)
        if looser and policy.version <= (newest := _newest_version(session, policy, before)):
            raise InputError(
                f"The policy {policy.name!r} decides {looser} cases looser than the one that holds,"
                f" and its version {policy.version} is no larger than {newest}.",
                reason="policy.rollback",
                remedy="Name the policy that held before. Or, to release more from now on, give a"
                " copy of the new one a larger version.",
            )
        row = PolicyRow(
            digest=policy.digest, name=policy.name, version=policy.version, text=policy.text, at=at
        )
        session.add(row)
        detail: dict[str, evidence.JSON] = {
            "policy": policy.digest,
            "name": policy.name,
            "version": policy.version,
            "replaces": held.digest if held else None,
            "looser": looser,
        }
        evidence.append(session, at=at, actor="checker", action="policy.held", detail=detail)


def _count_looser(before: Policy, policy: Policy) -> int:
    """How many cases a policy decides looser than another one."""
    return sum(change.is_looser for change in compare_policies(before, policy))


def _before_policies(session: Session) -> Policy | None:
    """What held before policies were kept, where anything was released then."""
    is_new = session.exec(select(ToldSetRow.name).limit(1)).first() is None
    return None if is_new else load_pack(UNIFORM)


def _newest_version(session: Session, policy: Policy, before: Policy | None) -> int:
    """The largest version that held, but for this very policy's own; 0 if it is the largest."""
    rows = session.exec(select(PolicyRow.version, PolicyRow.digest)).all()
    versions = [version for version, digest in rows if digest != policy.digest]
    newest = max([*versions, before.version if before else 0])
    is_known = len(versions) < len(rows)
    return 0 if is_known and policy.version > newest else newest


def check_in_force(zone: AuthorityZone, *, now: datetime) -> None:
    """Let requests wait until the policy is in force.

    Raises:
        GridSecureError: It is not yet (`policy.early`); nothing is refused meanwhile.
    """
    if now < zone.policy.in_force_from:
        raise GridSecureError(
            "The release policy is not in force yet, so nothing is released.",
            reason="policy.early",
            remedy="Start the key authority with the policy that holds until then.",
        )
