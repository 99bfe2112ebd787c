"""Standing authorisations as the checker keeps them: taken in from officers, found, revoked.

An officer may approve in advance what is in a scope: everything, a domain, or one purpose. Where
policy lets it stand, it is shown to the vault in place of an approval, and the vault checks it like
one. Revoked, it is refused at the vault from the next column on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from gridsecure.approvals import (
    SKEW,
    ReleaseAuthorisation,
    ReleaseSubject,
    check_authorisation,
    open_authorisation,
    revoked_error,
)
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker.tables import ApproverRevocationRow, AuthorisationRow
from gridsecure.key_authority.checker.vault_counts import follow_counts
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import GroundRevocation
from gridsecure.messages import Digest, Signed, sign_message
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, newest, read_page
from gridsecure.store.rows import advance, find, keep, load_row

IN_FORCE, REVOKED = "in-force", "revoked"


@dataclass(frozen=True, slots=True)
class KeptAuthorisation:
    """A standing authorisation.

    Args:
        state: "in-force", "expired" or "revoked".
    """

    envelope: Signed
    state: str


def record_authorisation(
    zone: AuthorityZone, envelope: Signed, *, bearer: str, now: datetime
) -> None:
    """Keep an officer's standing authorisation; the same again changes nothing.

    Args:
        bearer: Who sends it; only officers themselves do.

    Raises:
        SignatureError, InvalidMessageError: As `open_authorisation`.
        ReleaseRefusedError: Its key was revoked (`approval.revoked`); another officer sends it
            (`approval.role`); it is of another policy than holds (`approval.policy`); it has
            expired, or is dated in the future (`approval.expired`); or as `open_authorisation`.
    """
    standing = open_authorisation(envelope, approvers=zone.approvers)
    if bearer != standing.person:
        raise _refused("An authorisation is sent by another person than signed it", "role")
    if standing.policy != zone.policy.digest:
        raise _refused("An authorisation is of another policy than holds", "policy")
    begins, expires = map(datetime.fromisoformat, (standing.issued_at, standing.expires_at))
    if not begins - SKEW <= now < expires:
        raise _refused("An authorisation has expired, or is dated in the future", "expired")
    row = AuthorisationRow(
        signer=envelope.signer,
        expires_at=expires,
        state=IN_FORCE,
        digest=envelope.digest,
        message=envelope.model_dump_json(),
        at=now,
    )
    with write_session(zone.engine) as session:
        if find(session, ApproverRevocationRow, signer=envelope.signer) is not None:
            raise revoked_error()
        if find(session, AuthorisationRow, digest=envelope.digest) is None:
            keep(session, row)
            _enter(session, "authorisation.given", envelope.digest, standing, now)


def find_standing(
    zone: AuthorityZone, subject: ReleaseSubject, *, roles: Iterable[str], now: datetime
) -> list[Signed]:
    """One authorisation in force for each of some roles that has one a subject falls under."""
    wanted, found = set(roles), dict[str, Signed]()
    if not wanted:
        return []
    with read_session(zone.engine) as session:
        in_force = select(AuthorisationRow).where(
            AuthorisationRow.state == IN_FORCE, col(AuthorisationRow.expires_at) > now
        )
        rows = session.exec(in_force.order_by(col(AuthorisationRow.id))).all()
        revoked = set(session.exec(select(col(ApproverRevocationRow.signer))))
    for row in rows:
        officer = zone.approvers.get(row.signer)
        if officer is None or row.signer in revoked or officer.role not in wanted:
            continue
        try:
            standing = open_authorisation(row.envelope, approvers=zone.approvers)
            check_authorisation(standing, subject, now=now)
        except ReleaseRefusedError:
            continue  # of another scope or policy, or from when the officer had another name
        found.setdefault(standing.role, row.envelope)
    return list(found.values())


def revoke_authorisation(zone: AuthorityZone, digest: Digest, *, actor: str, at: datetime) -> None:
    """Let an authorisation count no more, also for what is being released; again changes nothing.

    The vault is told first: once this returns, it decrypts nothing more by it.

    Raises:
        NotFoundError: There is none (`not-found.authorisation`).
        GridSecureError: The vault cannot be reached (`vault.down`); nothing is revoked.
    """
    with read_session(zone.engine) as session:
        row = load_row(session, AuthorisationRow, digest=digest)
    zone.vault.revoke_ground(sign_message(GroundRevocation(name=digest), key=zone.signing_key))
    follow_counts(zone, at=at)
    standing = ReleaseAuthorisation.parse(row.envelope.body)
    with write_session(zone.engine) as session:
        if advance(session, AuthorisationRow, source=IN_FORCE, target=REVOKED, digest=digest):
            _enter(session, "authorisation.revoked", digest, standing, at, actor=actor)


def read_authorisations(
    session: Session, asked: PageAsked, *, now: datetime
) -> tuple[list[KeptAuthorisation], int | None]:
    """A page of authorisations, oldest first, and where it ends if more come."""
    page = read_page(session, select(AuthorisationRow), key=AuthorisationRow.id, asked=asked)
    return [_kept(row, now) for row in page.rows], page.after


def read_revision(session: Session) -> tuple[int, int]:
    """Differs whenever the list does, but for what time alone changes: they come, and are revoked.

    Not the log's head: with every entry of any kind the list would have to be read anew.
    """
    left = select(func.count()).where(AuthorisationRow.state == IN_FORCE)
    return newest(session, AuthorisationRow.id), session.exec(left).one()


def read_authorisation(zone: AuthorityZone, digest: Digest, *, now: datetime) -> KeptAuthorisation:
    """One authorisation.

    Raises:
        NotFoundError: There is none (`not-found.authorisation`).
    """
    with read_session(zone.engine) as session:
        return _kept(load_row(session, AuthorisationRow, digest=digest), now)


def _kept(row: AuthorisationRow, now: datetime) -> KeptAuthorisation:
    is_over = row.state == IN_FORCE and now >= row.expires_at
    return KeptAuthorisation(row.envelope, "expired" if is_over else row.state)


def _enter(
    session: Session,
    action: str,
    digest: Digest,
    standing: ReleaseAuthorisation,
    at: datetime,
    *,
    actor: str = "",
) -> None:
    detail: dict[str, evidence.JSON] = {
        "authorisation": digest,
        **standing.model_dump(include={"person", "role", "scope", "domain", "purpose", "policy"}),
        "expires_at": standing.expires_at,
    }
    by = actor or standing.person
    evidence.append(session, at=at, actor=by, action=action, detail=detail)


def _refused(message: str, code: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"{message}.",
        reason=f"approval.{code}",
        remedy="Give it anew (gridsecure authorisation give).",
    )
