"""The checker: decides whether a release request may be answered, and proves its figures.

1. the request is signed by the platform, its plan registered, its purpose allowed, and every
   transcript is about the request's plan and period;
2. every transcript holds: signed inputs, and the same outputs when executed again (`verification`);
3. nothing in it was released before, and the claim to it is kept before anything is decrypted
   (`ledger`);
4. the vault decrypts the checker's own outputs, never the platform's bytes;
5. the certificate is signed, kept, and entered in the evidence log.

A refusal is entered as well. It names a reason code and nothing of the data. What fails for reasons
that are not the request's (vault down, platform out of reach, disk full) is no refusal: the request
waits, and asked again it goes on with the claims it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuditBrokenError,
    AuthenticityError,
    GridSecureError,
    InvalidMessageError,
    NotFoundError,
    ReleaseRefusedError,
    StorageError,
)
from gridsecure.key_authority.ledger import REPEATED, claim
from gridsecure.key_authority.packages import CheckedBills, CheckedTotals
from gridsecure.key_authority.releases import Granted, certify
from gridsecure.key_authority.verification import (
    PlatformView,
    Proven,
    current_evaluations,
    prove,
    tariff_text,
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
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.records import fetch, listed

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
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request was answered.

    Args:
        request_id: The request.
        state: "released", "refused", or "failed": not answered, to be asked again.
        reason: Reason code of a refusal or failure.
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
        InvalidMessageError: It is the platform's, but no request.
        StorageError: The ledger cannot be written; nothing was released.
    """
    try:
        request = opened(envelope, expect=ReleaseRequest, trusted=zone.platform)
    except (AuthenticityError, InvalidMessageError) as error:
        _enter(zone, REFUSED, envelope.digest, error, at=clock())
        raise
    try:
        if not _is_released(zone, request):
            _release(zone, request, view=view, clock=clock)
    except GridSecureError as error:
        state = FAILED if _is_failure(error) else REFUSED
        _enter(zone, state, request.request_id, error, at=clock())
        return Outcome(request.request_id, state, error.reason)
    return Outcome(request.request_id, RELEASED)


def _is_failure(error: GridSecureError) -> bool:
    """Not the request's fault: a store or a process that is down, or damage in this zone."""
    return type(error) is GridSecureError or isinstance(error, StorageError | AuditBrokenError)


def _enter(
    zone: AuthorityZone, state: str, name: str, error: GridSecureError, *, at: datetime
) -> None:
    """Enter a refusal or failure in the evidence log."""
    detail = {"request": name, "reason": error.reason, "error": type(error).__name__}
    with write_session(zone.engine) as session:
        evidence.append(session, at=at, actor="checker", action=f"release.{state}", detail=detail)


def _is_released(zone: AuthorityZone, request: ReleaseRequest) -> bool:
    """Say whether this very request was released; another one under its name is refused."""
    try:
        found = ReleaseCertificate.parsed(released_certificate(zone, request.request_id).body)
    except NotFoundError:
        return False
    if found.transcripts != [transcript.digest for transcript in request.transcripts]:
        raise ReleaseRefusedError(
            "Another request was released under this name.",
            reason=REPEATED,
            remedy="Name a request by what it asks for.",
        )
    return True


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
    pairs = _allowed(zone, request)
    evaluations = current_evaluations(zone)
    # 2. proof
    proof = partial(prove, zone=zone, view=view, evaluations=evaluations)
    proofs = (proof(transcript, seed=seed) for transcript, seed in pairs)
    # Bills are all or nothing: a roster that cannot be proven leaves the others unclaimed. Load
    # curves go day by day: a month of blinded columns need not be held at once.
    groups = iter([list(proofs)]) if request.plan == "bill" else ([part] for part in proofs)
    cells: list[CellTotal] = []
    statements: dict[str, str] = {}
    digests: list[str] = []
    claims: list[str] = []
    for group in groups:
        # 3. once
        claim(zone.engine, group, at=clock())
        # 4. decryption
        if request.plan == "bill":
            more, statements = _bills(zone, group, view=view, at=clock())
        else:
            more = _totals(zone, group[0])
        cells += more
        digests += [out.entry.digest for part in group for out in part.outputs.values()]
        claims += [name for part in group for name in part.claims]
    # 5. certificate
    granted = Granted(
        plan_version=PLAN_VERSIONS[request.plan],
        cells=tuple(cells),
        statements=statements,
        outputs_digest=sm3_hex("".join(digests).encode()),
        claims=tuple(claims),
    )
    certify(zone, request, granted, at=clock())


def _allowed(zone: AuthorityZone, request: ReleaseRequest) -> list[tuple[Signed, bytes | None]]:
    """The request's transcripts with their seeds, if policy allows what it asks for."""
    if request.purpose not in PURPOSES[request.plan]:
        raise ReleaseRefusedError(
            "The plan is not released for this purpose.", reason="release.purpose"
        )
    pairs = list(zip(request.transcripts, _seeds(request), strict=True))
    for transcript in request.transcripts:
        _same_run(request, opened(transcript, expect=Transcript, trusted=zone.platform))
    if len({transcript.digest for transcript in request.transcripts}) != len(pairs):
        raise ReleaseRefusedError("A request asks for the same twice.", reason=REPEATED)
    return pairs


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


def _totals(zone: AuthorityZone, part: Proven) -> list[CellTotal]:
    quantities = sorted({name.split("/", 1)[1] for name in part.outputs})
    order = CheckedTotals(
        rosters=part.rosters,
        quantities=quantities,
        outputs={name: output.entry for name, output in part.outputs.items()},
        highs={
            f"{data.roster.roster_id}/{quantity}": data.entry(quantity).high
            for data in part.datas
            for quantity in quantities
        },
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
        tariffs={digest: tariff_text(view, digest) for digest in sorted(tariffs)},
        outputs=[{name: out.entry for name, out in part.outputs.items()} for part in proven],
    )
    files = [output.data for part in proven for output in part.outputs.values()]
    answer, sealed = zone.vault.release_bills(signed(order, key=zone.signing_key), files)
    digests = [zone.objects.put(data) for data in sealed]
    return answer.cells, dict(zip(answer.statements, digests, strict=True))
