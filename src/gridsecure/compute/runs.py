"""Runs: a plan over everything committed for a period, its transcripts, and the release request.

1. collect the committed uploads of the period that a closing list names together;
2. make one job a roster (bills) or a day (load curves), leaving out those already done;
3. run them in worker processes; sign and record a transcript as each finishes;
4. when all are done, sign one release request for the key authority to pull.

Killed anywhere, a run is started again and goes on where it was: transcripts are recorded once
under the job's name, and a job that runs twice writes the same files.

Bills and load curves are about first uploads, those of one closing list (`closings`) at a time. The
plan "rebill" bills the
corrections that were not released yet, one version of a roster after the other.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlmodel import Session

from gridsecure.compute.closings import find_next_list, run_empty
from gridsecure.compute.correction_uploads import ReadUpload, open_corrections
from gridsecure.compute.jobs import BillJob, Job, JobPool, JobResult, LoadCurveJob, run_jobs
from gridsecure.compute.key_sets import list_revoked_key_ids
from gridsecure.compute.received import as_signed
from gridsecure.compute.requests import keep_request
from gridsecure.compute.tables import JobSeedRow, RosterRow, SignedRow, TranscriptRow, UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, NotFoundError
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.messages import (
    PlanName,
    ReleaseRequest,
    RosterManifest,
    Signed,
    Transcript,
    UploadManifest,
    request_name,
    sign_message,
)
from gridsecure.month_texts import day_text
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.key_ring import revoked_key_set_error
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION
from gridsecure.plans.quantities import Family, find_family
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, find_many, keep
from gridsecure.version import VERSION

PLAN_VERSIONS: Final[Mapping[PlanName, int]] = {
    "bill": BILL_PLAN_VERSION,
    "load-curve": LOAD_CURVE_PLAN_VERSION,
    "rebill": BILL_PLAN_VERSION,
}

_MESSAGES: Final[Mapping[str, type[SignedRow]]] = {"roster": RosterRow, "upload": UploadRow}

Progress = Callable[[int, int], None]
"""Told how many jobs are done, of how many."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is asked of the platform.

    Args:
        start: Start of the billing period, ISO 8601.
        purpose: Why, for the certificate.
        query: An analyst's query as it was sent; empty for staff.
        grant: The grant for it, a token for the key authority.
    """

    plan: PlanName
    start: str
    end: str
    purpose: str
    requested_by: str
    query: str = ""
    grant: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Source:
    """A committed upload with its roster, as signed."""

    roster: Signed
    upload: Signed

    @property
    def roster_id(self) -> str:
        return RosterManifest.parse(self.roster.body).roster_id


def run_plan(
    zone: PlatformZone,
    order: RunOrder,
    *,
    pool: JobPool,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Signed:
    """Run a plan for a period and return the signed release request.

    Raises:
        NotFoundError: Nothing is committed for the period (`run.empty`), or as
            `closings.find_next_list`.
        InputError: Rosters with different interval grids in one load curve.
        GridSecureError: A job failed; the finished ones are kept.
    """
    # 1. collect
    closing, sources = _sources(zone, order)
    # 2. jobs
    seeds: dict[str, bytes] = {}
    stem = f"{order.plan}/{PLAN_VERSIONS[order.plan]}"
    if order.plan != "load-curve":
        jobs: list[Job] = [
            BillJob(f"{stem}/{s.roster_id}/{s.upload.digest}", s.roster.body, s.upload.body)
            for s in sources
        ]
    else:
        days = _days(sources)
        names = {day: f"{stem}/{_joined(sources)}/{day}" for day in days}
        seeds = {name: keep_job_seed(zone, name, at=clock()) for name in names.values()}
        jobs = [_load_curve_job(names[d], sources, days[d], seeds[names[d]]) for d in days]
    done = find_transcripts(zone, [job.name for job in jobs])
    open_jobs = [locate_inputs(zone, job) for job in jobs if job.name not in done]
    # 3. run
    progress(len(jobs) - len(open_jobs), len(jobs))
    by_upload = {s.upload.digest: s for s in sources}
    for count, result in enumerate(run_jobs(pool, open_jobs), len(jobs) - len(open_jobs) + 1):
        used = list(by_upload.values())
        if order.plan != "load-curve":
            used = [by_upload[result.name.rpartition("/")[2]]]
        transcript = _transcript(order, result, used, seed=seeds.get(result.name))
        done[result.name] = record_transcript(zone, transcript, result=result, at=clock())
        progress(count, len(jobs))
    # 4. request
    transcripts = [done[job.name] for job in jobs]
    request = _request(order, transcripts, list(seeds.values()), closing=closing)
    return keep_request(zone, request, at=clock())


def check_committed(zone: PlatformZone, order: RunOrder) -> None:
    """Refuse an order that there are no data for.

    Raises:
        NotFoundError: As `run_plan`.
    """
    _sources(zone, order)


def find_signed_message(zone: PlatformZone, *, kind: str, digest: str) -> Signed:
    """A roster's or upload's signed message by digest, for the checker.

    Raises:
        NotFoundError: There is none.
    """
    with read_session(zone.engine) as session:
        table = _MESSAGES.get(kind)
        found = None if table is None else find(session, table, digest=digest)
    if found is None:
        raise NotFoundError("There is no such message here.", reason=f"not-found.{kind}")
    return found.envelope


def _sources(zone: PlatformZone, order: RunOrder) -> tuple[Signed | None, list[_Source]]:
    with read_session(zone.engine) as session:
        closing = None
        if order.plan == "rebill":
            opened = open_corrections(session, start=order.start, end=order.end)
            pairs = _under_usable_keys(session, opened)
        else:
            found = find_next_list(session, plan=order.plan, start=order.start, end=order.end)
            closing = found.envelope
            uploads = find_many(session, UploadRow, found.content.uploads, by="digest")
            chosen = sorted(uploads.values(), key=lambda row: row.id or 0)
            envelopes = [row.envelope for row in chosen]
            pairs = [(one, UploadManifest.parse(one.body)) for one in envelopes]
            if len(_under_usable_keys(session, pairs)) < len(pairs):
                raise revoked_key_set_error()  # a new list leaves out what is under it
        names = [manifest.roster_id for _, manifest in pairs]
        rosters = find_many(session, RosterRow, names, by="roster_id")
        sources = [
            _Source(rosters[manifest.roster_id].envelope, upload) for upload, manifest in pairs
        ]
    if not sources:
        raise run_empty()
    return closing, sorted(sources, key=lambda source: source.roster_id)


def _under_usable_keys(session: Session, pairs: Sequence[ReadUpload]) -> list[ReadUpload]:
    """Leave out what is under a revoked key set, so that one gateway's does not stop the others.

    Raises:
        KeyMismatchError: That is all there is (`keys.revoked`).
    """
    revoked = list_revoked_key_ids(session)
    usable = [pair for pair in pairs if not any(c.key_id in revoked for c in pair[1].columns)]
    if pairs and not usable:
        raise revoked_key_set_error()
    return usable


def _days(sources: Sequence[_Source]) -> dict[str, tuple[str, ...]]:
    """Names of load columns by local day; all rosters must divide days alike."""
    grids = set()
    for source in sources:
        columns = UploadManifest.parse(source.upload.body).columns
        loads = (c for c in columns if find_family(c.quantity) is Family.INTERVALS)
        grids.add(tuple((c.quantity, c.start, c.end, c.intervals) for c in loads))
    if len(grids) != 1:
        raise InputError(
            "The rosters divide days into different intervals.",
            reason="load-curve.grid",
            remedy="Bring all meter points to one interval length.",
        )
    days: dict[str, list[str]] = defaultdict(list)
    for quantity, start, _end, _intervals in grids.pop():
        days[day_text(start)].append(quantity)
    return {day: tuple(quantities) for day, quantities in days.items()}


def _load_curve_job(
    name: str, sources: Sequence[_Source], quantities: tuple[str, ...], seed: bytes
) -> LoadCurveJob:
    rosters = tuple(source.roster.body for source in sources)
    uploads = tuple(_slim(source.upload.body, quantities) for source in sources)
    return LoadCurveJob(name, rosters, uploads, quantities, seed)


def locate_inputs(zone: PlatformZone, job: Job) -> Job:
    """Tell a job where its inputs lie."""
    uploads = (job.upload,) if isinstance(job, BillJob) else job.uploads
    digests = [column.digest for text in uploads for column in UploadManifest.parse(text).columns]
    return replace(job, extents=tuple(zone.objects.find_extents(digests).values()))


def _slim(upload: str, quantities: tuple[str, ...]) -> str:
    """The upload with only the columns a job reads: a day's worth travels to the worker."""
    manifest = UploadManifest.parse(upload)
    wanted = set(quantities)
    columns = [column for column in manifest.columns if column.quantity in wanted]
    return manifest.model_copy(update={"columns": columns}).model_dump_json()


def _joined(sources: Sequence[_Source]) -> str:
    return sm3_hex("".join(source.upload.digest for source in sources).encode())


def _transcript(
    order: RunOrder, result: JobResult, used: Sequence[_Source], *, seed: bytes | None
) -> Transcript:
    return Transcript(
        plan=order.plan,
        plan_version=PLAN_VERSIONS[order.plan],
        start=order.start,
        end=order.end,
        rosters=[source.roster.digest for source in used],
        uploads=[source.upload.digest for source in used],
        inputs=dict(result.inputs),
        outputs=dict(result.outputs),
        seed_commitment=None if seed is None else sm3_hex(seed),
        release=VERSION,
    )


def _request(
    order: RunOrder, transcripts: list[Signed], seeds: list[bytes], *, closing: Signed | None
) -> ReleaseRequest:
    request = ReleaseRequest(
        request_id="",
        plan=order.plan,
        plan_version=PLAN_VERSIONS[order.plan],
        start=order.start,
        end=order.end,
        purpose=order.purpose,
        requested_by=order.requested_by,
        transcripts=transcripts,
        seeds=[seed.hex() for seed in seeds],
        closing=closing,
        query=order.query,
        grant=order.grant,
    )
    return request.model_copy(update={"request_id": request_name(request)})


def keep_job_seed(zone: PlatformZone, name: str, *, at: datetime) -> bytes:
    """The job's blinding seed: drawn once, kept, so that a restarted job blinds alike."""
    fresh = secrets.token_bytes(SEED_SIZE)
    with write_session(zone.engine) as session:
        known = find(session, JobSeedRow, job=name)
        if known is not None:
            return known.seed
        keep(session, JobSeedRow(job=name, seed=fresh, at=at))
    return fresh


def find_transcripts(zone: PlatformZone, jobs: Sequence[str]) -> dict[str, Signed]:
    """The transcripts of those of some jobs that are done, by job name."""
    with read_session(zone.engine) as session:
        found = find_many(session, TranscriptRow, jobs, by="job")
    return {name: row.envelope for name, row in found.items()}


def record_transcript(
    zone: PlatformZone, transcript: Transcript, *, result: JobResult, at: datetime
) -> Signed:
    """Sign and keep a job's transcript, and name the outputs that it is about.

    Raises:
        StorageError: The outputs were swept meanwhile (`storage.swept`): run the job again.
    """
    envelope = sign_message(transcript, key=zone.signing_key)
    with write_session(zone.engine) as session:
        zone.objects.name_extents(session, result.extents)
        keep(session, TranscriptRow(**as_signed(envelope, at=at), job=result.name))
        evidence.append(
            session,
            at=at,
            actor="platform",
            action="plan.run",
            detail={"job": result.name, "transcript": envelope.digest},
        )
    return envelope
