"""What a request would have decrypted, as officers approve it: made once for a request and policy.

A subject is made before anything is proven, because proof is dear and officers take days. It names
what the transcripts name: cells and meter points by the rosters whose digests stand in them, and
rosters, tariffs and outputs by digest. Should the proof find something else, nothing is released.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from gridsecure.approvals import (
    APPROVER_ROLES,
    AskedCell,
    ReleaseSubject,
    list_digest,
    outputs_digest,
    roster_digest,
    subject_digest,
)
from gridsecure.errors import InvalidMessageError, ReleaseRefusedError
from gridsecure.key_authority.checker.bill_versions import find_released_version
from gridsecure.key_authority.checker.tables import SubjectRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import (
    Digest,
    ReleaseRequest,
    RosterManifest,
    ShadowOrder,
    ShadowRequest,
    SupplyTerms,
    Transcript,
    UploadManifest,
)
from gridsecure.plans.cells import Place, measures_of, roster_places
from gridsecure.plans.purposes import PREVIEW
from gridsecure.plans.transcript_inputs import PlatformView, fetch_message
from gridsecure.policy.decisions import asked_for, curve_resolution, find_approvals
from gridsecure.policy.language import RESOLUTIONS, Resolution
from gridsecure.policy.supply import check_supply, find_suppliers, list_terms
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import advance, find, keep

WAITING, REJECTED, REFUSED, RELEASED = "waiting", "rejected", "refused", "released"


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject and what it stands for.

    Args:
        text: Its exact text, of which `digest` is signed.
    """

    digest: Digest
    text: str
    message: ReleaseSubject


def make_subject(
    zone: AuthorityZone,
    request: ReleaseRequest | ShadowRequest,
    *,
    view: PlatformView,
    at: datetime,
) -> Subject:
    """The subject of a request under the policy that holds, made when it is first asked for.

    Args:
        request: As the platform signed it; its transcripts' signatures were verified.

    Raises:
        AuthenticityError: The platform sent another roster or upload than was named.
        InvalidMessageError: What it sent is none.
        ReleaseRefusedError: Nothing would be decrypted (`release.incomplete`); what a correction
            concerns was not released (`correction.unreleased`).
        GridSecureError: As `check_supply`.
        StorageError: It cannot be kept.
    """
    transcripts = [Transcript.parse(one.body) for one in request.transcripts]
    entries = [list(one.outputs.values()) for one in transcripts]
    if not any(entries):
        raise ReleaseRefusedError("The request is incomplete.", reason="release.incomplete")
    if (known := find_subject(zone, request.request_id)) is not None:
        return known
    plan = transcripts[0].plan
    resolutions = {
        curve_resolution(own) if plan == "load-curve" else "monthly" for own in entries if own
    }
    message = _message(
        zone,
        request,
        rosters=_read_rosters(zone, view, transcripts),
        resolutions=[name for name in RESOLUTIONS if name in resolutions],
        outputs=sorted(outputs_digest(own) for own in entries if own),
    )
    return keep_subject(zone, message, at=at)


def find_subject(zone: AuthorityZone, request_id: str) -> Subject | None:
    """The subject of a request under the policy that holds, if it was made; refused, it waits."""
    with read_session(zone.engine) as session:
        known = find(session, SubjectRow, request_id=request_id, policy=zone.policy.digest)
    if known is None:
        return None
    if known.state == REFUSED:  # asked once more, for what was wrong may have been mended
        _move(zone, known.digest, source=REFUSED, target=WAITING)
    return Subject(known.digest, known.text, ReleaseSubject.parse(known.text))


def keep_subject(zone: AuthorityZone, message: ReleaseSubject, *, at: datetime) -> Subject:
    """Keep what officers are asked.

    Raises:
        StorageError: It cannot be kept.
    """
    text = message.model_dump_json()
    subject = Subject(subject_digest(text), text, message)
    _keep(zone, subject, at=at)
    return subject


def refuse_subject(session: Session, request_id: str) -> None:
    """Let a request that was refused wait for approvals no more."""
    advance(session, SubjectRow, source=WAITING, target=REFUSED, request_id=request_id)


def _move(zone: AuthorityZone, digest: Digest, *, source: str, target: str) -> None:
    with write_session(zone.engine) as session:
        advance(session, SubjectRow, source=source, target=target, digest=digest)


def _message(
    zone: AuthorityZone,
    request: ReleaseRequest | ShadowRequest,
    *,
    rosters: _Rosters,
    resolutions: Sequence[Resolution],
    outputs: list[Digest],
) -> ReleaseSubject:
    asked = _asked(request)
    check_supply(zone.policy, rosters.supplied)
    classes = {name for _, name in rosters.cells}
    needed = find_approvals(
        zone.policy,
        [asked_for(asked["purpose"], resolution=one) for one in resolutions],
        classes=classes,
    )
    return ReleaseSubject(
        request_id=request.request_id,
        requested_by=request.requested_by,
        resolutions=list(resolutions),
        measures=list(measures_of(asked["plan"])),
        cells=[
            AskedCell(zone=place[0], customer_class=place[1], meter_points=count)
            for place, count in sorted(rosters.cells.items())
        ],
        transcripts=list_digest(one.digest for one in request.transcripts),
        outputs=outputs,
        rosters=sorted(rosters.digests),
        tariffs=sorted(rosters.tariffs),
        policy=zone.policy.digest,
        policy_name=zone.policy.name,
        policy_version=zone.policy.version,
        needed=[role for role in APPROVER_ROLES if role in needed.roles],
        standing=[role for role in APPROVER_ROLES if role in needed.standing],
        suppliers=find_suppliers(rosters.supplied),
        **asked,
    )


def _asked(request: ReleaseRequest | ShadowRequest) -> dict[str, Any]:
    """Plan, time and purpose of a request; a shadow run's stand in the office's order."""
    if isinstance(request, ReleaseRequest):
        purpose, of = request.purpose, request
        return {"plan": of.plan, "start": of.start, "end": of.end, "purpose": purpose}
    order = ShadowOrder.parse(request.order.body)
    return {"plan": order.plan, "start": order.start, "end": order.end, "purpose": PREVIEW}


@dataclass(frozen=True, slots=True)
class _Rosters:
    """What the rosters say that the vault would be handed.

    Args:
        cells: Meter points by cell, of every roster that is told of, each once.
        digests: Of all rosters' texts, those of earlier and tried versions too.
        tariffs: Digests of their tariffs.
        supplied: The terms of their owners, each once.
    """

    cells: Counter[Place]
    digests: set[Digest]
    tariffs: set[Digest]
    supplied: list[SupplyTerms]


def _read_rosters(
    zone: AuthorityZone, view: PlatformView, transcripts: Sequence[Transcript]
) -> _Rosters:
    found = _Rosters(Counter(), set(), set(), [])
    tried = {name: one.tariff for one in transcripts for name in one.rosters}
    for name, tariff in tried.items():
        roster = _read_roster(view, name)
        found.cells.update(roster_places(roster))
        _add(found, roster)
        if tariff:
            _add(found, roster.model_copy(update={"tariff": tariff}))
    for name in _earlier_rosters(zone, view, transcripts):
        _add(found, _read_roster(view, name))
    return found


def _add(found: _Rosters, roster: RosterManifest) -> None:
    found.digests.add(roster_digest(roster))
    found.tariffs.add(roster.tariff)
    found.supplied.extend(one for one in list_terms([roster]) if one not in found.supplied)


def _earlier_rosters(
    zone: AuthorityZone, view: PlatformView, transcripts: Sequence[Transcript]
) -> set[Digest]:
    """Those of the bills that some corrections cancel."""
    uploads = [
        UploadManifest.parse(fetch_message(view, "upload", name).body)
        for one in transcripts
        for name in one.uploads
        if one.plan == "rebill"
    ]
    with read_session(zone.engine) as session:
        # Whoever has a first upload corrected hears so from the proof.
        corrected = [one.corrects for one in uploads if one.corrects]
        return {find_released_version(session, name).roster for name in corrected}


def _read_roster(view: PlatformView, digest: Digest) -> RosterManifest:
    envelope = fetch_message(view, "roster", digest)
    if envelope.body_kind != RosterManifest.kind:
        raise InvalidMessageError("A transcript names a roster that is none.")
    return RosterManifest.parse(envelope.body)


def _keep(zone: AuthorityZone, subject: Subject, *, at: datetime) -> None:
    message = subject.message
    row = SubjectRow(
        digest=subject.digest,
        request_id=message.request_id,
        policy=message.policy,
        text=subject.text,
        state=WAITING,
        at=at,
    )
    with write_session(zone.engine) as session:
        if keep(session, row):
            _enter(session, subject, at=at)


def _enter(session: Session, subject: Subject, *, at: datetime) -> None:
    message = subject.message
    detail: dict[str, evidence.JSON] = {
        "request": message.request_id,
        "subject": subject.digest,
        "policy": message.policy,
        "needed": list(message.needed),
    }
    evidence.append(session, at=at, actor="checker", action="approval.asked", detail=detail)
