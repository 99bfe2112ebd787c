"""Granting a release: certificate, spent claims and evidence, in one transaction or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, insert

from gridsecure.approvals import ReleaseSubject, subject_digest
from gridsecure.key_authority.checker.agreements import spend_agreement
from gridsecure.key_authority.checker.approvals import settle_subject
from gridsecure.key_authority.checker.bill_versions import BillVersion, keep_versions
from gridsecure.key_authority.checker.budgets import spend_budget
from gridsecure.key_authority.checker.closings import keep_closing
from gridsecure.key_authority.checker.ledger import Giving, enter
from gridsecure.key_authority.checker.logged_messages import NOT_ENTERED, enter_message
from gridsecure.key_authority.checker.noise_budgets import mark_told
from gridsecure.key_authority.checker.tables import ReleasedTranscriptRow, ReleaseRow
from gridsecure.key_authority.checker.usage import GRANTED, released
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import Approved
from gridsecure.messages import (
    CellTotal,
    CountedPlace,
    Digest,
    ReleaseCertificate,
    ReleaseRequest,
)
from gridsecure.plans.cells import Minima
from gridsecure.policy.language import Policy, Resolution
from gridsecure.released_values import (
    ReleasedValues,
    SignedCertificate,
    detach_values,
    sign_certificate,
)
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.rows import find, keep
from gridsecure.store.usage import party_of


@dataclass(frozen=True, slots=True)
class Granted:
    """What a release gives out.

    Args:
        plan_version: Version of the plan that was executed again.
        cells: Control totals or load-curve totals.
        statements: Roster id -> digest of its sealed statements.
        outputs_digest: SM3 over the digests of all outputs.
        minima: What policy permitted, by resolution.
        places: The zones and classes that cells refer to.
        question: The salted digest of a sealed query's question; else empty.
    """

    plan_version: int
    cells: tuple[CellTotal, ...]
    statements: Mapping[str, Digest]
    outputs_digest: Digest
    giving: Giving
    minima: Mapping[Resolution, Minima]
    places: tuple[CountedPlace, ...]
    versions: tuple[BillVersion, ...] = ()
    question: Digest = ""


def certify(
    zone: AuthorityZone,
    request: ReleaseRequest,
    granted: Granted,
    *,
    approved: Approved,
    at: datetime,
    also: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Sign and keep a certificate, unless the request was answered while this one was at work.

    Args:
        approved: What officers approved, as the vault was shown it.
        also: What is kept with it, in the same transaction.

    Raises:
        ReleaseRefusedError, GridSecureError: Another request released part of it meanwhile, as
            `ledger.enter` and `mark_told`.
        StorageError: It cannot be kept; nothing is spent or entered.
    """
    with write_session(zone.engine) as session:
        name = request.request_id
        if find(session, ReleaseRow, release_id=name) is not None:
            return
        subject = ReleaseSubject.parse(approved.subject)
        spend_budget(session, zone.policy, subject, at=at)
        mark_told(session, zone.policy, subject, at=at)
        agreement = spend_agreement(session, zone, subject, shown=approved.agreement, at=at)
        settle_subject(session, subject_digest(approved.subject))
        unlogged = _unlogged(zone, request, granted, approved, at=at)
        unlogged = unlogged.model_copy(update={"agreement": agreement})
        bare, values = detach_values(unlogged)
        detail = _detail(zone, request, granted, approved) | _figures(bare, values)
        certificate = enter_message(session, zone, bare, about=(GRANTED, detail), at=at)
        # Before what refers to it: SQLite would look through all claims for those that wait for it.
        envelope = sign_certificate(certificate, values, key=zone.signing_key)
        _keep_certificate(session, certificate, envelope, at=at)
        enter(session, granted.giving, release_id=name, at=at)
        keep_closing(session, request, at=at)
        _enter_versions(session, granted.versions, release_id=name, at=at)
        also(session)


def _unlogged(
    zone: AuthorityZone,
    request: ReleaseRequest,
    granted: Granted,
    approved: Approved,
    *,
    at: datetime,
) -> ReleaseCertificate:
    """A certificate before it is entered in the log, with its values."""
    return ReleaseCertificate(
        release_id=request.request_id,
        plan=request.plan,
        plan_version=granted.plan_version,
        start=request.start,
        end=request.end,
        purpose=request.purpose,
        requested_by=request.requested_by,
        released_at=at.isoformat(),
        transcripts=[transcript.digest for transcript in request.transcripts],
        outputs_digest=granted.outputs_digest,
        **rules_of(zone.policy, granted.minima, approved=approved),
        places=list(granted.places),
        cells=list(granted.cells),
        statements=dict(granted.statements),
        evidence_head=NOT_ENTERED,
        question=granted.question,
    )


def _figures(certificate: ReleaseCertificate, values: ReleasedValues | None) -> dict[str, int]:
    """What the log counts of a release: of a question that it is one, and not how much it told."""
    return released([], None) if certificate.question else released(certificate.cells, values)


def _detail(
    zone: AuthorityZone, request: ReleaseRequest, granted: Granted, approved: Approved
) -> dict[str, evidence.JSON]:
    """What the evidence log has of a release."""
    return {
        "request": request.request_id,
        "party": party_of(request.requested_by, purpose=request.purpose),
        "plan": request.plan,
        "purpose": request.purpose,
        "outputs": granted.outputs_digest,
        "closing": request.closing.digest if request.closing else None,
        **_closings(request),
        "policy": zone.policy.digest,
        "subject": subject_digest(approved.subject),
        "approvals": [one.digest for one in approved.grounds],
    }


def _closings(request: ReleaseRequest) -> dict[str, evidence.JSON]:
    if request.queried is None:
        return {}
    return {"closings": [closing.digest for closing in request.queried.closings]}


def rules_of(
    policy: Policy, minima: Mapping[Resolution, Minima], *, approved: Approved
) -> dict[str, Any]:
    """What a certificate or a preview says of the policy and the approvals it rests on."""
    return {
        "minimum_members": min((own.least for own in minima.values()), default=0),
        "policy": policy.digest,
        "policy_name": policy.name,
        "policy_version": policy.version,
        "minima": {name: own.as_message() for name, own in minima.items()},
        "subject": approved.subject,
        "approvals": list(approved.grounds),
        "level": approved.level,
        "merging": {name: own.merging for name, own in minima.items()},
        "dominance": {name: dict(own.dominance) for name, own in minima.items() if own.dominance},
    }


def _keep_certificate(
    session: Session, certificate: ReleaseCertificate, envelope: SignedCertificate, *, at: datetime
) -> None:
    """Keep a certificate, and which transcripts it rests on."""
    name = certificate.release_id
    row = ReleaseRow(
        release_id=name,
        digest=envelope.digest,
        message=envelope.model_dump_json(),
        plan=certificate.plan,
        purpose=certificate.purpose,
        requested_by=certificate.requested_by,
        start=certificate.start,
        end=certificate.end,
        released_at=certificate.released_at,
        cells=_figures(certificate, None)["told"],
        suppressed=_figures(certificate, None)["withheld"],
        at=at,
    )
    keep(session, row)
    transcripts = dict.fromkeys(certificate.transcripts)
    rows = [{"transcript": digest, "release_id": name} for digest in transcripts]
    if rows:
        session.execute(insert(ReleasedTranscriptRow), rows)


def _enter_versions(
    session: Session, versions: Sequence[BillVersion], *, release_id: str, at: datetime
) -> None:
    """Keep versions, and say in the evidence log which bills take the place of which."""
    keep_versions(session, versions, release_id=release_id, at=at)
    for version in versions:
        if version.corrects is None:
            continue
        detail: dict[str, evidence.JSON] = {
            "request": release_id,
            "upload": version.upload,
            "corrects": version.corrects,
            "revision": version.revision,
            "tariff": version.tariff,
            "corrected": version.corrected,
        }
        evidence.append(
            session, at=at, actor="checker", action="correction.released", detail=detail
        )
