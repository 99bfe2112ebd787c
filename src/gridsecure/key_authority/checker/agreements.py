"""Agreements that releases are asked for under, where policy wants one; each use is counted.

A request waits until somebody of a consumer's has named an agreement for it, as it waits for
officers. What was named is verified when it comes, and once more when the release is made: time
passes, and another policy may hold. The vault is shown the same and verifies it with keys of its
own (`vault.gate`); uses are counted here. Denied by default: without an agreement nothing is
decrypted, and without the keys of registration office and market no agreement is one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import update
from sqlmodel import Session, col, func, select

from gridsecure.approvals import ReleaseSubject
from gridsecure.circulation.agreed_releases import (
    AgreementProof,
    ProvedAgreement,
    missing_error,
    open_proof,
    prove_asked,
    read_proof,
)
from gridsecure.errors import ConflictError, GridSecureError, ReleaseRefusedError
from gridsecure.key_authority.checker.tables import AgreedReleaseRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import Digest
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import advance, keep

NAMED: Final = "named"
SPENT: Final = "spent"
_MOST: Final = 16
"""Agreements that one consumer may name for one request: others' are not in its way."""
_MOST_OPEN: Final = 256
"""Requests, beyond its uses, that one agreement may be named for and that were not released: a
request that comes to nothing stays, and what is invented must not fill the database."""


def record_agreement(
    zone: AuthorityZone, proof: AgreementProof, *, bearer: str, now: datetime
) -> AgreedReleaseRow:
    """Keep under which agreement a release is asked for; the same again is proved anew.

    Args:
        bearer: Who sends it: whoever signed for the consumer.

    Raises:
        AuthenticityError, InvalidMessageError: As `open_proof`.
        ReleaseRefusedError: Another person sends it (`agreement.bearer`), or as `open_proof`.
        ConflictError: Too many were named for the request, or it for too many requests
            (`agreement.many`).
    """
    proved = open_proof(proof, by=zone.agreements_by, now=now)
    if bearer != proved.named.person:
        raise ReleaseRefusedError(
            "An agreement is named by another person than signed for it.",
            reason="agreement.bearer",
            remedy="Sign in as the person who signed for the consumer.",
        )
    row = AgreedReleaseRow(
        release_id=proved.named.release,
        agreement=proved.digest,
        state=NAMED,
        proof=proof.model_dump_json(),
        at=now,
    )
    with write_session(zone.engine) as session:
        known = _rows(session, row.release_id)
        if any(one.agreement == row.agreement for one in known):
            # Newer words of office and market take the place of older ones.
            same = {"release_id": row.release_id, "agreement": row.agreement, "state": NAMED}
            anew = update(AgreedReleaseRow).filter_by(**same)
            session.exec(anew.values(proof=row.proof, at=row.at))
            return row
        _check_open(session, proved)
        if sum(_consumer(one) == proved.agreement.consumer for one in known) >= _MOST:
            raise ConflictError(
                "Too many agreements were named for this request.",
                reason="agreement.many",
                remedy="Order the release anew, and name one agreement for it.",
            )
        keep(session, row)
        detail: dict[str, evidence.JSON] = {
            "request": row.release_id,
            "agreement": row.agreement,
            "person": bearer,
        }
        evidence.append(session, at=now, actor=bearer, action="agreement.named", detail=detail)
    return row


def _consumer(row: AgreedReleaseRow) -> str:
    return read_proof(AgreementProof.parse(row.proof)).agreement.consumer


def require_agreement(
    zone: AuthorityZone, subject: ReleaseSubject, *, now: datetime
) -> AgreementProof | None:
    """What shows the agreement that a release is under; None where policy wants none.

    Raises:
        ReleaseRefusedError: None was named, or none of them holds (`agreement.missing`).
    """
    with read_session(zone.engine) as session:
        row = _find(session, zone, subject, now=now)
    return None if row is None else AgreementProof.parse(row.proof)


def spend_agreement(
    session: Session,
    zone: AuthorityZone,
    subject: ReleaseSubject,
    *,
    shown: AgreementProof | None,
    at: datetime,
) -> Digest:
    """Count a release as a use of its agreement, in the transaction that keeps its certificate.

    Args:
        shown: What the vault was shown: no other agreement is used.

    Returns:
        The agreement; empty where policy wants none.

    Raises:
        ReleaseRefusedError: As `require_agreement`.
    """
    only = "" if shown is None else read_proof(shown).digest
    named = _find(session, zone, subject, only=only, now=at)
    if named is None:
        return ""
    agreement = named.agreement
    name = {"release_id": subject.request_id, "agreement": agreement}
    advance(session, AgreedReleaseRow, source=NAMED, target=SPENT, **name)
    return agreement


def _find(
    session: Session,
    zone: AuthorityZone,
    subject: ReleaseSubject,
    *,
    only: Digest | None = None,
    now: datetime,
) -> AgreedReleaseRow | None:
    """What was named for a release and holds; None where policy wants no agreement.

    Args:
        only: The one agreement that counts; any does with None.
    """
    if subject.purpose not in zone.policy.agreement:
        return None
    why = "none was named"
    for row in _rows(session, subject.request_id):
        if only is not None and row.agreement != only:
            continue
        proof = AgreementProof.parse(row.proof)
        try:
            proved = prove_asked(proof, subject, by=zone.agreements_by, now=now)
            _check_uses(session, proved)
        except GridSecureError as error:  # whatever one of them says, another may hold
            why = error.message
            continue
        return row
    raise missing_error(subject.purpose, why)


def _check_uses(session: Session, proved: ProvedAgreement) -> None:
    spent = select(func.count()).where(
        AgreedReleaseRow.agreement == proved.digest, AgreedReleaseRow.state == SPENT
    )
    if session.exec(spent).one() >= proved.agreement.uses:
        raise ReleaseRefusedError(
            f"All {proved.agreement.uses} uses of the agreement have been used.",
            reason="agreement.used",
            remedy="Agree on more.",
        )


def _check_open(session: Session, proved: ProvedAgreement) -> None:
    """Refuse an agreement that was named for many more requests than it could be used for."""
    named = select(func.count()).where(
        AgreedReleaseRow.agreement == proved.digest, AgreedReleaseRow.state == NAMED
    )
    if session.exec(named).one() >= proved.agreement.uses + _MOST_OPEN:
        raise ConflictError(
            "The agreement was named for too many requests that were not released.",
            reason="agreement.many",
            remedy="Agree anew, and name the agreement for requests that there are.",
        )


def _rows(session: Session, release_id: str) -> list[AgreedReleaseRow]:
    """What was named for a request, oldest first."""
    found = select(AgreedReleaseRow).where(AgreedReleaseRow.release_id == release_id)
    return list(session.exec(found.order_by(col(AgreedReleaseRow.id))))
