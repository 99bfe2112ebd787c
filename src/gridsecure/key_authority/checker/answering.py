"""The checker: decides whether a release request may be answered, and proves its figures.

1. the request is signed by the platform, its plan registered, its purpose allowed, with a grant if
   an analyst asks (`grants`), every transcript is about the request's plan and period, and all
   together about the uploads of one list that the billing office signed (`closings`);
2. officers approved it, as many as policy wants (`subjects`, `approvals`); until then it waits, and
   as long as the vault's folder is an older one than the log knows (`vault_counts`);
3. every transcript holds: signed inputs, and the same outputs when executed again (`verification`);
4. nothing in it was released before; what policy does not permit, and what cannot be told of its
   cells beside all that was told, is withheld (`ledger`);
5. the vault decrypts the checker's own outputs, never the platform's bytes;
6. the certificate is signed, kept, and entered in the evidence log, and the ledger with it.

Sealed queries have a way of their own (`sealed_queries`).

A refusal is entered as well. It names a reason code and nothing of the data. What fails for reasons
that are not the request's (vault down, platform out of reach, disk full), or as nobody foresaw, is
no refusal: the request waits, and is asked again. The requests behind it are answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, select

from gridsecure.approvals import EXPIRED, MISSING, REVOKED
from gridsecure.circulation import agreed_releases
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
from gridsecure.key_authority.checker.approvals import gather_approvals
from gridsecure.key_authority.checker.bill_versions import BillVersion, make_version
from gridsecure.key_authority.checker.budgets import check_budget
from gridsecure.key_authority.checker.closings import check_closing
from gridsecure.key_authority.checker.counted_places import CountedPlaces, name_limits
from gridsecure.key_authority.checker.grants import bind_grant, check_purpose
from gridsecure.key_authority.checker.held_policies import check_in_force
from gridsecure.key_authority.checker.key_sets import key_ring
from gridsecure.key_authority.checker.ledger import REPEATED, Giving, join_givings
from gridsecure.key_authority.checker.rebills import release_corrections
from gridsecure.key_authority.checker.releases import Granted, certify
from gridsecure.key_authority.checker.sealed_queries import release_query
from gridsecure.key_authority.checker.shadows import is_previewed, preview_shadow
from gridsecure.key_authority.checker.subjects import make_subject, refuse_subject
from gridsecure.key_authority.checker.tables import ReleasedTranscriptRow, ReleaseRow
from gridsecure.key_authority.checker.told_cells import (
    Prepared,
    prepare_bills,
    prepare_load_curve,
    settle_dominance,
)
from gridsecure.key_authority.checker.vault_counts import check_counts
from gridsecure.key_authority.checker.vault_orders import (
    BillOrder,
    order_bills,
    order_totals,
    tariff_texts,
)
from gridsecure.key_authority.checker.verification import Proven, prove_all
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import (
    Approved,
)
from gridsecure.messages import (
    CellTotal,
    PlanName,
    ReleaseCertificate,
    ReleaseRequest,
    ShadowRequest,
    Signed,
    Transcript,
    open_message,
    request_name,
    shadow_name,
)
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.cells import Minima
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION
from gridsecure.plans.transcript_inputs import PlatformView
from gridsecure.policy.language import Resolution
from gridsecure.released_values import SignedCertificate
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, load_row

PLAN_VERSIONS: Final[dict[PlanName, int]] = {
    "bill": BILL_PLAN_VERSION,
    "load-curve": LOAD_CURVE_PLAN_VERSION,
    "rebill": BILL_PLAN_VERSION,
}
RELEASED: Final = "released"
PREVIEWED: Final = "previewed"
REFUSED: Final = "refused"
FAILED: Final = "failed"
WAITING: Final = "waiting"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request was answered.

    Args:
        state: "released", "previewed" or "refused". What is "waiting" for approvals or "failed" is
            asked again.
        reason: Reason code of what was not released.
        earlier: The release that holds what was asked for again, if one does.
    """

    request_id: str
    state: str
    reason: str | None = None
    earlier: str | None = None


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
        if envelope.body_kind == ShadowRequest.kind:
            wanted = open_message(envelope, expect=ShadowRequest, trusted=zone.platform)
            return _answer_shadow(zone, wanted, view=view, clock=clock)
        request = open_message(envelope, expect=ReleaseRequest, trusted=zone.platform)
    except (AuthenticityError, InvalidMessageError) as error:
        _enter(zone, REFUSED, envelope.digest, error, at=clock())
        raise
    name = request.request_id
    try:
        _check_name(name, request_name(request))
        with _going_on(name):
            if request.plan == "query":
                # Which release answers it is the asker's: it says who asked the same before.
                release_query(zone, request, view=view, clock=clock)
                return Outcome(name, RELEASED)
            if not _is_released(zone, name):
                _release(zone, request, view=view, clock=clock)
    except GridSecureError as error:
        # Of two that answer one request at once, the slower finds it released by the faster.
        if name == request_name(request) and _is_released(zone, name):
            return Outcome(name, RELEASED)
        earlier = _released_before(zone, request) if error.reason == REPEATED else None
        state = _state(error)
        asked = {"purpose": request.purpose, "requested_by": request.requested_by}
        more = asked | ({"earlier": earlier} if earlier else {})
        _enter(zone, state, name, error, at=clock(), **more)
        return Outcome(name, state, error.reason, earlier)
    return Outcome(name, RELEASED)


def _answer_shadow(
    zone: AuthorityZone,
    request: ShadowRequest,
    *,
    view: PlatformView,
    clock: Callable[[], datetime],
) -> Outcome:
    """Answer a request for a preview; the same request again is answered by the one kept."""
    name = request.request_id
    try:
        _check_name(name, shadow_name(request))
        with _going_on(name):
            if not is_previewed(zone, name):
                preview_shadow(zone, request, view=view, clock=clock)
    except GridSecureError as error:
        state = _state(error)
        asked = {"requested_by": request.requested_by}
        _enter(zone, state, name, error, at=clock(), about="shadow", **asked)
        return Outcome(name, state, error.reason)
    return Outcome(name, PREVIEWED)


@contextmanager
def _going_on(name: str) -> Iterator[None]:
    """Have a request that fails as nobody foresaw wait, so that its round goes on to the next.

    The log has the type of what failed and not its message, which may hold what was asked.

    Raises:
        GridSecureError: Such a failure (`release.unexpected`); others as they are.
    """
    try:
        yield
    except GridSecureError:
        raise
    except Exception as error:  # noqa: BLE001 - askers find the kinds that nobody thought of
        _log.error("request %s failed unexpectedly: %s", name, type(error).__name__)
        raise GridSecureError(
            "A request failed in a way that nobody foresaw.",
            reason="release.unexpected",
            remedy="Send its maker the type of error that stands in the key authority's log; the"
            " other requests of the round are answered.",
        ) from None


def _check_name(name: str, expected: str) -> None:
    """Refuse a request under another name than its content's: it could hide behind an answer."""
    if name != expected:
        raise ReleaseRefusedError(
            "A request's name does not match its content.",
            reason="release.name",
            remedy="Run the same release of the software on platform and key authority.",
        )


def _state(error: GridSecureError) -> str:
    """What becomes of a request that met an error.

    A store or a process that is down, and damage in this zone, are not the request's fault.
    """
    if error.reason in {MISSING, EXPIRED, REVOKED, agreed_releases.MISSING}:
        return WAITING
    is_failure = type(error) is GridSecureError or isinstance(
        error, StorageError | AuditBrokenError
    )
    return FAILED if is_failure else REFUSED


def _enter(
    zone: AuthorityZone,
    state: str,
    name: str,
    error: GridSecureError,
    *,
    at: datetime,
    about: str = "release",
    **more: str,
) -> None:
    """Enter a refusal or failure in the evidence log; that it waits for approvals is there."""
    if error.reason in {MISSING, agreed_releases.MISSING}:
        return
    detail = {"request": name, "reason": error.reason, "error": type(error).__name__, **more}
    with write_session(zone.engine) as session:
        evidence.append(session, at=at, actor="checker", action=f"{about}.{state}", detail=detail)
        if state == REFUSED:
            refuse_subject(session, name)


def _is_released(zone: AuthorityZone, name: str) -> bool:
    with read_session(zone.engine) as session:
        return find(session, ReleaseRow, release_id=name) is not None


def _released_before(zone: AuthorityZone, request: ReleaseRequest) -> str | None:
    """The first release that holds a transcript of this request."""
    asked = [transcript.digest for transcript in request.transcripts]
    found = (
        select(ReleaseRow.release_id)
        .join(ReleasedTranscriptRow)
        .where(col(ReleasedTranscriptRow.transcript).in_(asked))
        .order_by(col(ReleaseRow.id))
    )
    with read_session(zone.engine) as session:
        return session.exec(found).first()


def list_certificates(zone: AuthorityZone) -> list[SignedCertificate]:
    """All certificates, oldest first."""
    with read_session(zone.engine) as session:
        releases = session.exec(select(ReleaseRow).order_by(col(ReleaseRow.id)))
        return [row.certificate for row in releases]


def find_certificate(zone: AuthorityZone, release_id: str) -> SignedCertificate:
    """A certificate by its release id.

    Raises:
        NotFoundError: Nothing was released under it.
    """
    with read_session(zone.engine) as session:
        return load_row(session, ReleaseRow, release_id=release_id).certificate


def read_sealed_statements(zone: AuthorityZone, release_id: str, roster_id: str) -> bytes:
    """A roster's statements, sealed to the billing office.

    Raises:
        NotFoundError: No such release or roster.
    """
    certificate = ReleaseCertificate.parse(find_certificate(zone, release_id).body)
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
    pairs = _allowed(zone, request, now=clock())
    # 2. approvals
    subject = make_subject(zone, request, view=view, at=clock())
    with read_session(zone.engine) as session:
        check_budget(session, zone.policy, subject.message, at=clock())
    approved = gather_approvals(zone, subject, now=clock())
    check_counts(zone, at=clock())
    keys = key_ring(zone)
    # 3. to 5.
    if request.plan == "rebill":
        granted = release_corrections(zone, request, approved, view=view, keys=keys, clock=clock)
    else:
        purpose = request.purpose
        with closing(prove_all(pairs, purpose=purpose, zone=zone, view=view, keys=keys)) as proofs:
            granted = _granted(zone, request, approved, proofs=proofs, view=view, clock=clock)
    # 6. certificate
    certify(zone, request, granted, approved=approved, at=clock())


def _granted(
    zone: AuthorityZone,
    request: ReleaseRequest,
    approved: Approved,
    *,
    proofs: Iterator[Proven],
    view: PlatformView,
    clock: Callable[[], datetime],
) -> Granted:
    """Steps 3 to 5."""
    groups = _groups(request, proofs)
    cells, givings, counted = list[CellTotal](), list[Giving](), CountedPlaces()
    digests, versions = list[str](), list[BillVersion]()
    statements, minima = dict[str, str](), dict[Resolution, Minima]()
    prepared: Prepared | None = None
    for group in groups:
        # 4. once, before the first part is decrypted: its grant is then spent for all of them
        if prepared is None:
            bind_grant(zone, request, now=clock())
        now = clock()
        resolution = group[0].resolution
        own = minima[resolution] = zone.find_minima(request.purpose, resolution=resolution)
        if request.plan == "bill":  # 5. decryption
            prepared, more, statements = _bill(zone, group, approved, minima=own, view=view, at=now)
            versions += [make_version(part) for part in group]
        else:
            prepared = prepare_load_curve(zone, group[0], minima=own, before=prepared, at=now)
            more = order_totals(zone, group[0], approved, view=view, prepared=prepared)
        cells += counted.refer(name_limits(more, prepared), prepared)
        givings.append(prepared.giving)
        digests += [out.entry.digest for part in group for out in part.outputs.values()]
    return Granted(
        plan_version=PLAN_VERSIONS[request.plan],
        cells=tuple(cells),
        statements=statements,
        outputs_digest=sm3_hex("".join(digests).encode()),
        giving=join_givings(givings),
        minima=minima,
        places=tuple(counted.places),
        versions=tuple(versions),
    )


def _groups(request: ReleaseRequest, proofs: Iterator[Proven]) -> Iterator[list[Proven]]:
    """What is decrypted at once.

    Bills are all or nothing; load curves go day by day, so that a month of blinded columns need not
    be held at once.
    """
    return iter([list(proofs)]) if request.plan == "bill" else ([part] for part in proofs)


def _bill(
    zone: AuthorityZone,
    group: Sequence[Proven],
    approved: Approved,
    *,
    minima: Minima,
    view: PlatformView,
    at: datetime,
) -> tuple[Prepared, list[CellTotal], dict[str, str]]:
    """What may be told of some rosters' bills, and what the vault made of them."""
    tariffs = tariff_texts(view, group)
    prepared = prepare_bills(zone, group, tariffs=tariffs, minima=minima, at=at)
    order = BillOrder(tariffs, prepared, approved)
    cells, statements = order_bills(zone, group, order, at=at)
    return settle_dominance(prepared, cells), cells, statements


def _allowed(
    zone: AuthorityZone, request: ReleaseRequest, *, now: datetime
) -> list[tuple[Signed, bytes | None]]:
    """The request's transcripts with their seeds, if policy allows what it asks for."""
    check_in_force(zone, now=now)
    if request.plan_version != PLAN_VERSIONS[request.plan]:
        raise ReleaseRefusedError(
            "A request is for another version of its plan.", reason="release.transcript"
        )
    check_purpose(zone, request, now=now)
    pairs = list(zip(request.transcripts, _seeds(request), strict=True))
    transcripts = [
        open_message(transcript, expect=Transcript, trusted=zone.platform)
        for transcript in request.transcripts
    ]
    for transcript in transcripts:
        _same_run(request, transcript)
    if len({transcript.digest for transcript in request.transcripts}) != len(pairs):
        raise ReleaseRefusedError("A request names the same transcript twice.", reason=REPEATED)
    check_closing(zone, request, transcripts=transcripts)
    return pairs


def _seeds(request: ReleaseRequest) -> list[bytes | None]:
    """One seed a transcript for blinded plans, none for bills."""
    count = len(request.transcripts)
    if request.plan != "load-curve" and count and not request.seeds:
        return [None] * count
    try:
        seeds: list[bytes | None] = [bytes.fromhex(seed) for seed in request.seeds]
    except ValueError:
        seeds = []
    if request.plan != "load-curve" or not count or len(seeds) != count:
        raise ReleaseRefusedError("The request is incomplete.", reason="release.incomplete")
    return seeds


def _same_run(request: ReleaseRequest, transcript: Transcript) -> None:
    asked = (request.plan, PLAN_VERSIONS[request.plan], request.start, request.end)
    if (transcript.plan, transcript.plan_version, transcript.start, transcript.end) != asked:
        raise ReleaseRefusedError(
            "A transcript belongs to another run than the requested one.",
            reason="release.transcript",
        )
    if transcript.tariff:
        raise ReleaseRefusedError(
            "A transcript of a shadow run is never released.",
            reason="release.shadow",
            remedy="Run the plan itself; its bills are by the tariffs that the rosters name.",
        )
