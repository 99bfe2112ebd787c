"""The checker: decides whether a release request may be answered, and proves its figures.

1. the request is signed by the platform, its plan registered, its purpose allowed;
2. every transcript is about the request's plan and period, and holds: signed inputs, and the same
   outputs when executed again (`verification`);
3. nothing in it was released before, and the claim to it is kept before anything is decrypted;
4. the vault decrypts the checker's own outputs, never the platform's bytes;
5. the certificate is signed, kept, and entered in the evidence log.

A refusal is entered as well. It names a reason code and nothing of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, GridSecureError, NotFoundError, ReleaseRefusedError
from gridsecure.key_authority.packages import CheckedBills, CheckedTotals
from gridsecure.key_authority.verification import (
    PlatformView,
    Proven,
    checked_object,
    current_evaluations,
    prove,
)
from gridsecure.key_authority.zone import AuthorityZone
from gridsecure.messages import (
    CellTotal,
    PlanName,
    ReleaseCertificate,
    ReleaseRequest,
    Signed,
    Transcript,
    opened,
    signed,
)
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION, MINIMUM_MEMBERS
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, fetch, listed, record

PURPOSES: Final[dict[PlanName, frozenset[str]]] = {
    "bill": frozenset({"billing"}),
    "load-curve": frozenset({"operations", "tariff-design"}),
}
PLAN_VERSIONS: Final[dict[PlanName, int]] = {
    "bill": BILL_PLAN_VERSION,
    "load-curve": LOAD_CURVE_PLAN_VERSION,
}
RELEASED: Final = "released"
REFUSED: Final = "refused"
REPEATED: Final = "release.repeated"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request was answered.

    Args:
        request_id: The request.
        state: "released" or "refused".
        reason: Reason code of a refusal.
    """

    request_id: str
    state: str
    reason: str | None = None


def answer_request(
    zone: AuthorityZone,
    envelope: Signed,
    *,
    view: PlatformView,
    clock: Callable[[], datetime],
) -> Outcome:
    """Answer one release request; the same request again is answered from the ledger.

    Raises:
        AuthenticityError: The request itself is not the platform's; nothing else is looked at.
        StorageError: The ledger cannot be written; nothing was released.
    """
    request = opened(envelope, expect=ReleaseRequest, trusted=zone.platform)
    with write_session(zone.engine) as session:
        known = [item.name for item in listed(session, kind="release")]
    if request.request_id in known:
        return Outcome(request.request_id, RELEASED)
    try:
        _release(zone, request, view=view, clock=clock)
    except GridSecureError as error:
        with write_session(zone.engine) as session:
            evidence.append(
                session,
                at=clock(),
                actor="checker",
                action="release.refused",
                detail={
                    "request": request.request_id,
                    "reason": error.reason,
                    "error": type(error).__name__,
                },
            )
        return Outcome(request.request_id, REFUSED, error.reason)
    return Outcome(request.request_id, RELEASED)


def released_certificates(zone: AuthorityZone) -> list[Signed]:
    """All certificates, oldest first."""
    with write_session(zone.engine) as session:
        return [Signed.parsed(item.text) for item in listed(session, kind="release")]


def released_certificate(zone: AuthorityZone, release_id: str) -> Signed:
    """A certificate by its release id.

    Raises:
        NotFoundError: Nothing was released under it.
    """
    with write_session(zone.engine) as session:
        return Signed.parsed(fetch(session, kind="release", name=release_id).text)


def sealed_statements(zone: AuthorityZone, release_id: str, roster_id: str) -> bytes:
    """A roster's statements, sealed to the billing office.

    Raises:
        NotFoundError: No such release or roster.
    """
    certificate = ReleaseCertificate.parsed(released_certificate(zone, release_id).body)
    digest = certificate.statements.get(roster_id)
    if digest is None:
        raise NotFoundError("The release holds no statements of this roster.")
    return zone.objects.get(digest)


def _release(
    zone: AuthorityZone,
    request: ReleaseRequest,
    *,
    view: PlatformView,
    clock: Callable[[], datetime],
) -> None:
    # 1. policy
    if request.purpose not in PURPOSES[request.plan]:
        raise ReleaseRefusedError(
            "The plan is not released for this purpose.", reason="release.purpose"
        )
    seeds = _seeds(request)
    evaluations = current_evaluations(zone)
    cells: list[CellTotal] = []
    statements: dict[str, str] = {}
    outputs: list[str] = []
    proven: list[Proven] = []
    claimed: set[str] = set()
    for transcript, seed in zip(request.transcripts, seeds, strict=True):
        # 2. proof
        part = prove(transcript, seed=seed, zone=zone, view=view, evaluations=evaluations)
        _same_run(request, part.transcript)
        outputs += [output.entry.digest for output in part.outputs.values()]
        # 3. once
        if claimed & set(part.claims):
            raise ReleaseRefusedError("A request asks for the same twice.", reason=REPEATED)
        claimed |= set(part.claims)
        _claim(zone, request.request_id, part.claims, at=clock())
        if request.plan == "bill":
            proven.append(part)
        else:
            # 4. decryption, day by day: a month of blinded columns need not be held at once
            cells += _totals(zone, part)
    if proven:
        cells, statements = _bills(zone, proven, view=view, at=clock())
    # 5. certificate
    digest = sm3_hex("".join(outputs).encode())
    _certify(zone, request, (cells, statements, digest), at=clock())


def _seeds(request: ReleaseRequest) -> list[bytes | None]:
    """One seed a transcript for blinded plans, none for bills."""
    count = len(request.transcripts)
    if request.plan == "bill" and count and not request.seeds:
        return [None] * count
    try:
        seeds: list[bytes | None] = [bytes.fromhex(seed) for seed in request.seeds]
    except ValueError:
        seeds = []
    if request.plan == "bill" or not count or len(seeds) != count:
        raise ReleaseRefusedError("The request is incomplete.", reason="release.incomplete")
    return seeds


def _same_run(request: ReleaseRequest, transcript: Transcript) -> None:
    asked = (request.plan, PLAN_VERSIONS[request.plan], request.start, request.end)
    if (transcript.plan, transcript.plan_version, transcript.start, transcript.end) != asked:
        raise ReleaseRefusedError(
            "A transcript is about another run than requested.", reason="release.transcript"
        )


def _claim(zone: AuthorityZone, request_id: str, claims: Sequence[str], *, at: datetime) -> None:
    """Spend what is about to be released. A restarted request finds its own claims again."""
    try:
        with write_session(zone.engine) as session:
            for claim in claims:
                record(session, Record("claim", claim, claim, request_id, "", ""), at=at)
    except ConflictError as error:
        raise ReleaseRefusedError(
            "Part of this was released before, in another request.",
            reason=REPEATED,
            remedy="Use the earlier release.",
        ) from error


def _totals(zone: AuthorityZone, part: Proven) -> list[CellTotal]:
    quantities = sorted({name.split("/", 1)[1] for name in part.outputs})
    order = CheckedTotals(
        rosters=part.rosters,
        quantities=quantities,
        outputs={name: output.entry for name, output in part.outputs.items()},
    )
    files = [
        part.outputs[f"{roster.roster_id}/{quantity}"].data
        for quantity in quantities
        for roster in part.rosters
    ]
    return zone.vault.release_totals(signed(order, key=zone.signing_key), files).cells


def _bills(
    zone: AuthorityZone, proven: Sequence[Proven], *, view: PlatformView, at: datetime
) -> tuple[list[CellTotal], dict[str, str]]:
    rosters = [roster for part in proven for roster in part.rosters]
    tariffs = {roster.tariff for roster in rosters}
    order = CheckedBills(
        start=proven[0].transcript.start,
        end=proven[0].transcript.end,
        created_at=at.isoformat(),
        rosters=rosters,
        tariffs={digest: checked_object(view, digest).decode() for digest in sorted(tariffs)},
        outputs=[{name: out.entry for name, out in part.outputs.items()} for part in proven],
    )
    files = [output.data for part in proven for output in part.outputs.values()]
    answer, sealed = zone.vault.release_bills(signed(order, key=zone.signing_key), files)
    digests = [zone.objects.put(data) for data in sealed]
    return answer.cells, dict(zip(answer.statements, digests, strict=True))


def _certify(
    zone: AuthorityZone,
    request: ReleaseRequest,
    result: tuple[list[CellTotal], dict[str, str], str],
    *,
    at: datetime,
) -> None:
    cells, statements, outputs_digest = result
    with write_session(zone.engine) as session:
        entry = evidence.append(
            session,
            at=at,
            actor="checker",
            action="release.granted",
            detail={
                "request": request.request_id,
                "plan": request.plan,
                "purpose": request.purpose,
                "outputs": outputs_digest,
            },
        )
        certificate = ReleaseCertificate(
            release_id=request.request_id,
            plan=request.plan,
            plan_version=PLAN_VERSIONS[request.plan],
            start=request.start,
            end=request.end,
            purpose=request.purpose,
            requested_by=request.requested_by,
            released_at=at.isoformat(),
            transcripts=[transcript.digest for transcript in request.transcripts],
            outputs_digest=outputs_digest,
            minimum_members=MINIMUM_MEMBERS,
            cells=cells,
            statements=statements,
            evidence_head=entry.hash,
        )
        envelope = signed(certificate, key=zone.signing_key)
        name, text = request.request_id, envelope.model_dump_json()
        record(session, Record("release", name, name, envelope.digest, "", text), at=at)
