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

import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.compute.closings import find_next_list, run_empty
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.correction_uploads import ReadUpload, open_corrections
from gridsecure.compute.jobs import (
    BillJob,
    Job,
    JobPool,
    JobResult,
    JobSpec,
    LoadCurveJob,
    run_jobs,
)
from gridsecure.compute.key_sets import list_revoked_key_ids
from gridsecure.compute.received import as_signed
from gridsecure.compute.requests import keep_request
from gridsecure.compute.shadows import keep_shadow_request, list_uploads, read_order
from gridsecure.compute.tables import JobSeedRow, RosterRow, SignedRow, TranscriptRow, UploadRow
from gridsecure.compute.usage import BOOK, COMPUTED, computed
from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, NotFoundError
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.messages import (
    PlanName,
    ReleaseRequest,
    RunKind,
    Signed,
    Transcript,
    UploadManifest,
    request_name,
    sign_message,
)
from gridsecure.month_texts import day_text
from gridsecure.periods import is_day
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.cells import Minima
from gridsecure.plans.key_ring import revoked_key_set_error
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION
from gridsecure.plans.quantities import Family, find_family
from gridsecure.policy.decisions import asked_for, curve_resolution, find_minima
from gridsecure.policy.language import Policy, Resolution
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, find_many, keep
from gridsecure.store.usage import party_of
from gridsecure.version import VERSION

PLAN_VERSIONS: Final[Mapping[PlanName, int]] = {
    "bill": BILL_PLAN_VERSION,
    "load-curve": LOAD_CURVE_PLAN_VERSION,
    "rebill": BILL_PLAN_VERSION,
}
"""Of the plans that are run; of a sealed query nothing is."""

SHADOW: Final = "shadow"

_MESSAGES: Final[Mapping[str, type[SignedRow]]] = {
    "roster": RosterRow,
    "upload": UploadRow,
    "transcript": TranscriptRow,
}

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
        kind: A shadow run is for a preview, and nothing of it is released.
        shadow: Digest of a shadow run's signed order.
    """

    plan: PlanName
    start: str
    end: str
    purpose: str
    requested_by: str
    query: str = ""
    grant: str = field(default="", repr=False)
    kind: RunKind = "published"
    shadow: str = ""


@dataclass(frozen=True, slots=True)
class _Source:
    """A committed upload as signed, with its roster's id and digest."""

    roster_id: str
    roster: str
    upload: Signed


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What a run is made of: its jobs, and what its transcripts and its request will name.

    Args:
        order: What was asked for.
        closing: The closing list it is about; None for corrections and shadow runs.
        sources: The uploads, by digest, in the order of their rosters.
        specs: Its jobs, by name.
        seeds: The blinding seeds of those that blind.
    """

    order: RunOrder
    closing: Signed | None
    sources: Mapping[str, _Source] = field(repr=False)
    specs: Mapping[str, JobSpec]
    seeds: Mapping[str, bytes] = field(repr=False)


def run_plan(
    zone: PlatformZone,
    order: RunOrder,
    *,
    pool: JobPool,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Signed:
    """Run a plan for a period in this process and return the signed release request.

    Raises:
        NotFoundError: As `plan_run`.
        InputError: As `plan_run`.
        GridSecureError: A job failed; the finished ones are kept.
    """
    run = plan_run(zone, order, at=clock())
    waiting = find_open_jobs(zone, run)
    done, of = len(run.specs) - len(waiting), len(run.specs)
    progress(done, of)
    jobs = load_jobs(zone.engine, zone.objects, waiting)
    for count, result in enumerate(run_jobs(pool, jobs), done + 1):
        record_result(zone, run, result, at=clock())
        progress(count, of)
    return conclude_run(zone, run, at=clock())


def plan_run(zone: PlatformZone, order: RunOrder, *, at: datetime) -> PlannedRun:
    """Collect what a run is over and say which jobs that makes (steps 1 and 2).

    Raises:
        NotFoundError: Nothing is committed for the period (`run.empty`), or as
            `closings.find_next_list`.
        InputError: Rosters with different interval grids in one load curve (`load-curve.grid`), or
            no columns for one because their days were sealed (`load-curve.by-day`); or bills of a
            day (`run.day`).
        KeyMismatchError: What there is is under revoked key sets (`keys.revoked`).
    """
    if order.plan != "load-curve" and is_day(order.start, order.end):
        raise _no_bills_of_days()
    closing, tariff, sources = _sources(zone, order)
    uploads = tuple(source.upload.digest for source in sources)
    stem = f"{order.plan}/{PLAN_VERSIONS[order.plan]}"
    seeds: dict[str, bytes] = {}
    if order.plan != "load-curve":
        by = f"{tariff}/" if tariff else ""  # the roster's own is known by the roster
        specs = [
            JobSpec(f"{stem}/{by}{source.roster_id}/{upload}", (upload,), tariff=tariff)
            for source, upload in zip(sources, uploads, strict=True)
        ]
    else:
        together = sm3_hex("".join(uploads).encode())
        specs = [
            JobSpec(
                f"{stem}/{together}/{day.text}/{held}",
                uploads,
                day.quantities,
                policy=zone.policy.terms_digest,
                minima=minima,
            )
            for day in _days(sources)
            for minima, held in [_find_minima(zone.policy, order, day)]
        ]
        seeds = {spec.name: keep_job_seed(zone, spec.name, at=at) for spec in specs}
    return PlannedRun(
        order=order,
        closing=closing,
        sources=dict(zip(uploads, sources, strict=True)),
        specs={spec.name: spec for spec in specs},
        seeds=seeds,
    )


def find_open_jobs(zone: PlatformZone, run: PlannedRun) -> list[JobSpec]:
    """The jobs of a run whose transcripts are not there yet."""
    with read_session(zone.engine) as session:
        done = find_many(session, TranscriptRow, list(run.specs), by="job")
    return [spec for name, spec in run.specs.items() if name not in done]


def load_jobs(engine: Engine, objects: PlatformObjects, specs: Sequence[JobSpec]) -> list[Job]:
    """Read what jobs compute on, as a worker is given it; the files stay in the object store.

    Args:
        engine: The platform's database.

    Raises:
        NotFoundError: An upload, a roster or a seed is not here.
    """
    digests = sorted({upload for spec in specs for upload in spec.uploads})
    with read_session(engine) as session:
        uploads = find_many(session, UploadRow, digests, by="digest")
        names = sorted({row.roster_id for row in uploads.values()})
        rosters = find_many(session, RosterRow, names, by="roster_id")
        seeds = find_many(session, JobSeedRow, [s.name for s in specs if s.quantities], by="job")
    if len(uploads) < len(digests):
        raise NotFoundError("A job's upload is not here.", reason="not-found.upload")
    bodies = {
        digest: (rosters[row.roster_id].envelope.body, row.envelope.body)
        for digest, row in uploads.items()
    }
    jobs: list[Job] = []
    for spec in specs:
        pairs = [bodies[digest] for digest in spec.uploads]
        if not spec.quantities:
            jobs.append(BillJob(spec.name, *pairs[0], tariff=spec.tariff))
        else:
            jobs.append(_load_curve_job(spec, pairs, seed=seeds[spec.name].seed))
    return [locate_inputs(objects, job) for job in jobs]


def record_result(
    zone: PlatformZone,
    run: PlannedRun,
    result: JobResult,
    *,
    at: datetime,
    within: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Sign and keep the transcript of a run's job (step 3); one that is kept stays as it is.

    Args:
        within: Done in the same transaction.

    Raises:
        StorageError: The outputs were swept meanwhile (`storage.swept`): run the job again.
    """
    spec = run.specs[result.name]
    rosters = [run.sources[upload].roster for upload in spec.uploads]
    made = _transcript(run.order, result, (rosters, spec.uploads), seed=run.seeds.get(result.name))
    transcript = made.model_copy(update={"tariff": spec.tariff, "policy": spec.policy})
    envelope = sign_message(transcript, key=zone.signing_key)
    with write_session(zone.engine) as session:
        zone.objects.name_extents(session, result.extents)
        if keep(session, TranscriptRow(**as_signed(envelope, at=at), job=result.name)):
            BOOK.enter(
                session,
                at=at,
                actor="platform",
                action=COMPUTED,
                detail={
                    "job": result.name,
                    "transcript": envelope.digest,
                    "party": party_of(run.order.requested_by, purpose=run.order.purpose),
                    **computed(transcript),
                },
            )
        within(session)


def conclude_run(zone: PlatformZone, run: PlannedRun, *, at: datetime) -> Signed:
    """Sign one request over a run's transcripts, all of which are kept (step 4).

    It is a release request, or for a shadow run a request for a preview.
    """
    with read_session(zone.engine) as session:
        found = find_many(session, TranscriptRow, list(run.specs), by="job")
    transcripts = [found[name].envelope for name in run.specs]
    if run.order.kind == SHADOW:
        by = run.order.requested_by
        return keep_shadow_request(zone, run.order.shadow, transcripts, requested_by=by, at=at)
    seeds = [run.seeds[name] for name in run.specs if name in run.seeds]
    return keep_request(zone, _request(run.order, transcripts, seeds, closing=run.closing), at=at)


def check_committed(zone: PlatformZone, order: RunOrder) -> None:
    """Refuse an order that there are no data for.

    Raises:
        NotFoundError, InputError: As `plan_run`.
    """
    _, _, sources = _sources(zone, order)
    if order.plan == "load-curve":
        _days(sources)


def find_signed_message(zone: PlatformZone, *, kind: str, digest: str) -> Signed:
    """A signed roster, upload or transcript by digest, for whoever executes plans again.

    Raises:
        NotFoundError: There is none.
    """
    with read_session(zone.engine) as session:
        table = _MESSAGES.get(kind)
        found = None if table is None else find(session, table, digest=digest)
    if found is None:
        raise NotFoundError("There is no such message here.", reason=f"not-found.{kind}")
    return found.envelope


def _sources(zone: PlatformZone, order: RunOrder) -> tuple[Signed | None, str, list[_Source]]:
    """The list in force, the tariff of a shadow run, and the uploads with their rosters."""
    with read_session(zone.engine) as session:
        closing, tariff = None, ""
        if order.kind == SHADOW:
            content = read_order(session, order.shadow)
            tariff = content.tariff
            pairs = _under_usable_keys(session, list_uploads(session, content))
        elif order.plan == "rebill":
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
            _Source(manifest.roster_id, rosters[manifest.roster_id].digest, upload)
            for upload, manifest in pairs
        ]
    if not sources:
        raise run_empty()
    return closing, tariff, sorted(sources, key=lambda source: source.roster_id)


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


class _Grid(NamedTuple):
    """How a load column divides its day."""

    quantity: str
    start: str
    end: str
    intervals: int


@dataclass(frozen=True, slots=True)
class _Day:
    """A local day of load curves.

    Args:
        text: YYYY-MM-DD.
        quantities: Names of its columns.
    """

    text: str
    quantities: tuple[str, ...]
    resolution: Resolution


def _find_minima(policy: Policy, order: RunOrder, day: _Day) -> tuple[Minima, str]:
    """What policy permits of a day, and what a job is called by it.

    The same day under another policy, or for a purpose with other minima, is another job: its cells
    are laid out otherwise.
    """
    minima = find_minima(policy, asked_for(order.purpose, resolution=day.resolution))
    said = json.dumps([policy.terms_digest, minima.as_message()], sort_keys=True)
    return minima, sm3_hex(said.encode())


def _days(sources: Sequence[_Source]) -> list[_Day]:
    """The local days of which all rosters have load columns, divided alike."""
    found: list[dict[str, list[_Grid]]] = []
    for source in sources:
        of_day: dict[str, list[_Grid]] = defaultdict(list)
        for column in UploadManifest.parse(source.upload.body).columns:
            if find_family(column.quantity) is Family.INTERVALS:
                grid = _Grid(column.quantity, column.start, column.end, column.intervals)
                of_day[day_text(column.start)].append(grid)
        found.append(of_day)
    shared = [day for day in found[0] if all(day in of_day for of_day in found)]
    if not shared:
        raise InputError(
            "No day has the intervals of all rosters: days of some were sealed one by one.",
            reason="load-curve.by-day",
            remedy="Close the days, and run load curves of days: gridsecure period close --day.",
        )
    if any(of_day[day] != found[0][day] for of_day in found for day in shared):
        raise InputError(
            "The rosters divide days into different intervals.",
            reason="load-curve.grid",
            remedy="Bring all meter points to one interval length.",
        )
    return [
        _Day(
            text=day,
            quantities=tuple(grid.quantity for grid in found[0][day]),
            resolution=curve_resolution(found[0][day]),
        )
        for day in shared
    ]


def _no_bills_of_days() -> InputError:
    return InputError(
        "A day has load curves, and no bills.",
        reason="run.day",
        remedy="Run bills over the month: give its first and its last moment.",
    )


def _load_curve_job(
    spec: JobSpec, pairs: Sequence[tuple[str, str]], *, seed: bytes
) -> LoadCurveJob:
    return LoadCurveJob(
        name=spec.name,
        rosters=tuple(roster for roster, _ in pairs),
        uploads=tuple(_slim(upload, spec.quantities) for _, upload in pairs),
        quantities=spec.quantities,
        minima=spec.minima,
        seed=seed,
    )


def locate_inputs(objects: PlatformObjects, job: Job) -> Job:
    """Tell a job where its inputs lie."""
    uploads = (job.upload,) if isinstance(job, BillJob) else job.uploads
    digests = [column.digest for text in uploads for column in UploadManifest.parse(text).columns]
    return replace(job, extents=tuple(objects.find_extents(digests).values()))


def _slim(upload: str, quantities: tuple[str, ...]) -> str:
    """The upload with only the columns a job reads: a day's worth travels to the worker."""
    manifest = UploadManifest.parse(upload)
    wanted = set(quantities)
    columns = [column for column in manifest.columns if column.quantity in wanted]
    return manifest.model_copy(update={"columns": columns}).model_dump_json()


def _transcript(
    order: RunOrder,
    result: JobResult,
    used: tuple[Sequence[str], Sequence[str]],
    *,
    seed: bytes | None,
) -> Transcript:
    """What a job's run consumed and produced; `used` are digests of rosters and uploads."""
    return Transcript(
        plan=order.plan,
        plan_version=PLAN_VERSIONS[order.plan],
        start=order.start,
        end=order.end,
        rosters=list(used[0]),
        uploads=list(used[1]),
        inputs=dict(result.inputs),
        outputs=dict(result.outputs),
        steps=dict(result.steps),
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
