"""Granting a release: certificate, spent claims and evidence, in one transaction or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gridsecure.key_authority.ledger import spend
from gridsecure.key_authority.zone import AuthorityZone
from gridsecure.messages import (
    CellTotal,
    Digest,
    ReleaseCertificate,
    ReleaseRequest,
    signed,
)
from gridsecure.plans.load_curve import MINIMUM_MEMBERS
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, listed, record


@dataclass(frozen=True, slots=True)
class Granted:
    """What a release gives out.

    Args:
        plan_version: Version of the plan that was executed again.
        cells: Control totals or load-curve totals.
        statements: Roster id -> digest of its sealed statements.
        outputs_digest: SM3 over the digests of all outputs.
        claims: What it spends.
    """

    plan_version: int
    cells: tuple[CellTotal, ...]
    statements: Mapping[str, Digest]
    outputs_digest: Digest
    claims: tuple[str, ...]


def certify(
    zone: AuthorityZone, request: ReleaseRequest, granted: Granted, *, at: datetime
) -> None:
    """Sign and keep a certificate, unless the request was answered while this one was at work.

    Raises:
        ReleaseRefusedError: Another request released part of it meanwhile (`release.repeated`).
        StorageError: It cannot be kept; nothing is spent or entered.
    """
    with write_session(zone.engine) as session:
        if any(item.name == request.request_id for item in listed(session, kind="release")):
            return
        spend(session, granted.claims)
        entry = evidence.append(
            session,
            at=at,
            actor="checker",
            action="release.granted",
            detail={
                "request": request.request_id,
                "plan": request.plan,
                "purpose": request.purpose,
                "outputs": granted.outputs_digest,
            },
        )
        certificate = ReleaseCertificate(
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
            minimum_members=MINIMUM_MEMBERS,
            cells=list(granted.cells),
            statements=dict(granted.statements),
            evidence_head=entry.hash,
        )
        envelope = signed(certificate, key=zone.signing_key)
        name, text = request.request_id, envelope.model_dump_json()
        record(session, Record("release", name, name, envelope.digest, "", text), at=at)
