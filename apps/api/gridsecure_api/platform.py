"""The compute platform's service: ciphertexts in, runs on them, release requests out.

It never holds a plaintext reading, an amount, a name or a homomorphic secret key. No route here
decrypts anything, and nothing imported here could.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gridsecure import frames
from gridsecure.compute import closings, intake, jobs, key_sets, seating, shadows, usage
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.desk import RunDesk, list_statuses, read_revision
from gridsecure.compute.held_policies import policy_shelf
from gridsecure.compute.job_engines import choose_engine
from gridsecure.compute.queries import check_staff_purpose
from gridsecure.compute.requests import list_waiting, read_waiting, record_answer
from gridsecure.compute.runs import SHADOW, RunOrder, find_signed_message
from gridsecure.compute.sealed_queries import find_queried
from gridsecure.compute.tables import SCHEMA
from gridsecure.compute.tallies import STORED_BYTES, read_tallies
from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import InvalidMessageError
from gridsecure.messages import PlanName, QueriedUploads, Signed
from gridsecure.policy.decisions import Change
from gridsecure.policy.levels import Level
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.store.database import open_database, read_session
from gridsecure.store.held_policies import PolicyShelf
from gridsecure.store.objects import open_objects
from gridsecure.store.schema import migrate
from gridsecure.wire.platform import (
    ClosingLists,
    DenyListKept,
    KeySetNamed,
    KeySetStatus,
    KnownKeySet,
    ObjectsReceived,
    PeriodClosed,
    PlatformCounts,
    RequestAnswered,
    RosterNamed,
    RunStarted,
    RunStatus,
    TariffKept,
    UploadStatus,
)
from gridsecure.worker_processes import load_ahead
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api import platform_queries, policies
from gridsecure_api.approver_settings import read_approvers
from gridsecure_api.deps import Clock, RawBody, require, utc_now
from gridsecure_api.lists import (
    KEPT_ANSWERS,
    PAGED,
    Paging,
    answer_page,
    answer_whole,
    join_texts,
)
from gridsecure_api.log_pages import LOG, open_log
from gridsecure_api.own_build import open_build
from gridsecure_api.readiness import database_check, disk_check
from gridsecure_api.serving import (
    FRAMES_BODY,
    ServiceDescription,
    binary,
    new_app,
)
from gridsecure_api.settings import PlatformSettings, key_registry, public_key
from gridsecure_api.signed_uploads import SignedBy
from gridsecure_api.start import start_app
from gridsecure_api.usage_pages import usage_router
from gridsecure_api.worker_sandboxes import enter_sandbox, hold_sandbox, state_job_sandbox

_ROSTER_PARTS: Final = 2
_RUNS: Final = TypeAdapter(list[RunStatus])
_SHADOW_PARTS: Final = 2
_RUN_ID_DIGITS: Final = 32
_TALLIES: Final = {
    "key_sets": "key-set",
    "rosters": "roster",
    "uploads": "upload",
    "committed_uploads": "upload.committed",
    "runs": "run",
    "stored_bytes": STORED_BYTES,
}
TEXT_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}
}

DESCRIPTION: Final = ServiceDescription(
    zone="platform",
    title="GridSecure compute platform",
    text="Takes in encrypted columns from gateways under pseudonyms, runs registered plans on them "
    "and asks the key authority to release the results. It holds ciphertexts, pseudonyms and "
    "public facts; it cannot decrypt.",
)


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What the routes need.

    Args:
        runs: Runs in the background.
        warm_up: Whether workers start when an upload begins.
    """

    zone: PlatformZone
    runs: RunDesk
    clock: Clock
    warm_up: bool = False


class RunWanted(BaseModel):
    """An order to run a plan over a billing period."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    plan: PlanName
    start: str = Field(min_length=10, max_length=40)
    end: str = Field(min_length=10, max_length=40)
    purpose: str = Field(min_length=1, max_length=200)


ANSWER_BYTES: Final = 32 << 20
"""Objects of an answer, but for the last one [bytes]."""


class ObjectsWanted(BaseModel):
    """Which objects are read."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    digests: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        min_length=1, max_length=1000
    )


class Answer(BaseModel):
    """What became of a release request, or of a shadow run's for a preview."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    state: Literal["released", "previewed", "refused"]


async def _state(request: Request) -> PlatformState:
    state: PlatformState = request.app.state.platform
    return state


State = Annotated[PlatformState, Depends(_state)]
Authority = Depends(require("authority"))
Span = Annotated[str, Query(min_length=10, max_length=40)]
Reexecutor = Depends(require("authority", "regulator"))
RevocationSender = Depends(require("authority", "custodian", "operator"))
KeyReader = Depends(require("authority", "custodian", "operator", "regulator"))
DenyListSender = Depends(require("operator", "custodian", "regulator", "authority"))
RunReader = Depends(require("billing", "operator", "regulator"))
StatusReader = Depends(require("billing", "operator", "regulator", "authority"))
Moment = Annotated[str, Query(min_length=10, max_length=40)]
Orderer = Annotated[TokenClaims, Depends(require("billing", "operator"))]

router = APIRouter()


@router.post("/key-sets", tags=["keys"], openapi_extra=FRAMES_BODY)
def install_key_set(body: RawBody, state: State, _gateway: SignedBy) -> KeySetStatus:
    """Take in a key set: the authority's signed notice, then the key objects it names.

    The notice alone asks which objects are needed; it names the gateway whose key set it is.
    """
    parts = frames.split_frames(body)
    if not parts:
        raise InvalidMessageError("A key set without its notice.")
    envelope = Signed.parse(parts[0])
    status = key_sets.install_key_set(state.zone, envelope, keys=tuple(parts[1:]), at=state.clock())
    return status


@router.post("/key-revocations", tags=["keys"], dependencies=[RevocationSender])
def install_revocation(envelope: Signed, state: State) -> KeySetNamed:
    """Compute on nothing more under a key set, as the key authority signed it."""
    revoked = key_sets.install_revocation(state.zone, envelope, at=state.clock())
    return KeySetNamed(key_id=revoked.key_id)


@router.get(
    "/key-sets",
    tags=["keys"],
    dependencies=[KeyReader],
    response_model=list[KnownKeySet],
    responses=KEPT_ANSWERS,
)
async def list_key_sets(request: Request, state: State) -> Response:
    """The gateways' key sets that were sent here, and whether each was revoked."""

    def read() -> list[KnownKeySet]:
        known = key_sets.read_known_keys(state.zone.engine)
        listed = [
            KnownKeySet(**notice.model_dump(), revoked=notice.key_id in known.revoked)
            for notice in known.notices
        ]
        return listed

    return await answer_whole(request, read)


@router.post("/tariffs", tags=["uploads"], openapi_extra=TEXT_BODY)
def install_tariff(body: RawBody, state: State, _gateway: SignedBy) -> TariffKept:
    """Keep a tariff file, which rosters name by its digest."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidMessageError("A tariff is not UTF-8 text.") from error
    return TariffKept(digest=intake.install_tariff(state.zone, text))


@router.post("/rosters", tags=["uploads"], openapi_extra=FRAMES_BODY)
def register_roster(body: RawBody, state: State, gateway: SignedBy) -> RosterNamed:
    """Register a roster: as its gateway signed it, then the seats it names."""
    parts = frames.split_frames(body)
    if len(parts) != _ROSTER_PARTS:
        raise InvalidMessageError("A roster comes with its seats.")
    envelope = Signed.parse(parts[0])
    gateway.check_signer(envelope)
    roster = intake.register_roster(state.zone, envelope, seats=parts[1], at=state.clock())
    return RosterNamed(roster_id=roster.roster_id)


@router.post("/deny-lists", tags=["uploads"], dependencies=[DenyListSender])
def install_deny_list(envelope: Signed, state: State) -> DenyListKept:
    """Put the identity authority's deny list in force; an earlier one changes nothing."""
    known = seating.install_deny_list(state.zone, envelope, at=state.clock())
    return DenyListKept(sequence=known.sequence, subjects=len(known.subjects))


@router.post("/uploads", tags=["uploads"])
def begin_upload(envelope: Signed, state: State, gateway: SignedBy) -> UploadStatus:
    """Step 1: the signed manifest; the answer names the objects still missing."""
    gateway.check_signer(envelope)
    status = intake.begin_upload(state.zone, envelope, at=state.clock())
    if state.warm_up:
        state.runs.warm_up()
    return status


@router.get("/uploads/{upload_id}", tags=["uploads"])
def read_upload(upload_id: str, state: State, gateway: SignedBy) -> UploadStatus:
    """Where an upload stands."""
    gateway.check_upload(state.zone, upload_id)
    return intake.read_upload_status(state.zone, upload_id)


@router.post("/uploads/{upload_id}/objects", tags=["uploads"], openapi_extra=FRAMES_BODY)
def receive_objects(
    upload_id: str, request: Request, body: RawBody, state: State, gateway: SignedBy
) -> ObjectsReceived:
    """Step 2: objects that the manifest names, any number at a time."""
    gateway.check_upload(state.zone, upload_id)
    if not request.state.objects:
        frames.split_frames(body)  # says what is wrong with it, unless there is nothing in it
    count = intake.receive_objects(state.zone, upload_id, objects=request.state.objects)
    return ObjectsReceived(received=count)


@router.post("/uploads/{upload_id}/commit", tags=["uploads"])
def commit_upload(upload_id: str, state: State, gateway: SignedBy) -> UploadStatus:
    """Step 3: all objects are here; from now on plans use them."""
    gateway.check_upload(state.zone, upload_id)
    return intake.commit_upload(state.zone, upload_id, at=state.clock())


@router.get(
    "/closing-lists",
    tags=["runs"],
    dependencies=[RunReader],
    response_model=ClosingLists,
    responses=KEPT_ANSWERS,
)
async def list_closing_lists(start: Span, end: Span, request: Request, state: State) -> Response:
    """A month's closing lists as signed, its committed uploads, and what a next run would meet.

    Open are the uploads that no list in force names.
    """
    month = {"start": start, "end": end}

    def read() -> ClosingLists:
        lists = closings.list_closings(state.zone, **month)
        return ClosingLists(
            closed=[item.envelope for item in lists],
            in_force=[item.envelope.digest for item in closings.find_in_force(lists)],
            uploads=closings.list_first_uploads(state.zone, **month),
            open=closings.open_uploads(state.zone, **month),
            next=dict(closings.next_runs(state.zone, **month)),
        )

    return await answer_whole(request, read)


@router.post("/closing-lists", tags=["runs"], status_code=201)
def close_period(envelope: Signed, state: State, _orderer: Orderer) -> PeriodClosed:
    """Close a month with a list that the billing office signed; plans run over one list each."""
    content = closings.close_period(state.zone, envelope, at=state.clock())
    return PeriodClosed(
        closing=envelope.digest, number=content.number, uploads=len(content.uploads)
    )


@router.post("/runs", tags=["runs"], status_code=202)
def start_run(wanted: RunWanted, claims: Orderer, state: State) -> RunStarted:
    """Start a run in the background; one at a time for a plan and period. Never for research."""
    check_staff_purpose(wanted.plan, purpose=wanted.purpose)
    order = RunOrder(
        plan=wanted.plan,
        start=wanted.start,
        end=wanted.end,
        purpose=wanted.purpose,
        requested_by=claims.subject,
    )
    return RunStarted(run_id=state.runs.start(order))


@router.post("/shadow-runs", tags=["runs"], status_code=202, openapi_extra=FRAMES_BODY)
def start_shadow_run(body: RawBody, claims: Orderer, state: State) -> RunStarted:
    """Start a shadow run: the order as the billing office signed it, then the tariff it names.

    It is computed and checked as any run and released to nobody; the key authority keeps a preview
    of what it would change. An order of the month's corrections names no tariff, and comes alone.
    The same order again is the same run.
    """
    parts = frames.split_frames(body)
    if len(parts) not in (1, _SHADOW_PARTS):
        raise InvalidMessageError("A shadow run is an order, and the tariff that it names.")
    envelope = Signed.parse(parts[0])
    try:
        tariff = b"".join(parts[1:]).decode()
    except UnicodeDecodeError as error:
        raise InvalidMessageError("A tariff is not UTF-8 text.") from error
    content = shadows.admit_order(state.zone, envelope, tariff=tariff)
    order = RunOrder(
        plan=content.plan,
        start=content.start,
        end=content.end,
        purpose=SHADOW,
        requested_by=claims.subject,
        kind=SHADOW,
        shadow=envelope.digest,
    )
    kept = partial(shadows.keep_order, envelope=envelope, at=state.clock())
    run_id = state.runs.start(order, run_id=envelope.digest[:_RUN_ID_DIGITS], within=kept)
    return RunStarted(run_id=run_id)


@router.get(
    "/runs",
    tags=["runs"],
    dependencies=[RunReader],
    response_model=list[RunStatus],
    responses=PAGED,
)
async def list_runs(request: Request, state: State, asked: Paging) -> Response:
    """All runs, oldest first, page by page."""
    return await answer_page(
        request,
        state.zone.engine,
        revision=read_revision,
        read=lambda session: list_statuses(session, asked),
        write=_RUNS.dump_json,
    )


@router.get("/runs/{run_id}", tags=["runs"], dependencies=[RunReader])
def read_run(run_id: str, state: State) -> RunStatus:
    """Where a run stands."""
    return state.runs.status(run_id)


@router.get(
    "/release-requests",
    tags=["releases"],
    dependencies=[Authority],
    response_model=list[Signed],
    responses=PAGED,
)
async def list_release_requests(request: Request, state: State, asked: Paging) -> Response:
    """Requests that wait for the authority, which pulls them: for releases, then for previews.

    A page has a few at most, because one may have ten megabytes.
    """
    return await answer_page(
        request,
        state.zone.engine,
        revision=read_waiting,
        read=lambda session: list_waiting(session, asked),
        write=join_texts,
    )


@router.get("/queried-uploads", tags=["releases"], dependencies=[Authority])
def read_queried_uploads(start: Moment, end: Moment, state: State) -> QueriedUploads:
    """What was closed of a period, for the authority to try questions about it."""
    with read_session(state.zone.engine) as session:
        return find_queried(session, start=start, end=end)


@router.post("/release-requests/{request_id}/answer", tags=["releases"], dependencies=[Authority])
def answer_release_request(request_id: str, answer: Answer, state: State) -> RequestAnswered:
    """The authority says what became of a request; saying it twice is the same as once."""
    if answer.state == shadows.PREVIEWED or shadows.is_shadow_request(state.zone, request_id):
        shadows.record_preview(state.zone, request_id, answer=answer.state, at=state.clock())
    else:
        record_answer(state.zone, request_id, answer=answer.state, at=state.clock())
    return RequestAnswered(request_id=request_id, state=answer.state)


@router.get("/messages/{kind}/{digest}", tags=["releases"], dependencies=[Reexecutor])
def read_message(
    kind: Literal["roster", "upload", "transcript"], digest: str, state: State
) -> Signed:
    """A signed roster, upload manifest or transcript by digest, for re-execution."""
    return find_signed_message(state.zone, kind=kind, digest=digest)


@router.post(
    "/objects",
    tags=["releases"],
    dependencies=[Reexecutor],
    response_class=Response,
    responses={200: binary(frames.CONTENT_TYPE)},
)
def read_objects(wanted: ObjectsWanted, state: State) -> Response:
    """Stored objects, for re-execution: the first of those asked for, as many as one answer holds.

    Whoever gets fewer asks for the rest.
    """
    found = state.zone.objects.get_first(wanted.digests, most=ANSWER_BYTES)
    return Response(frames.join_frames(found), media_type=frames.CONTENT_TYPE)


@router.get("/status", tags=["evidence"], dependencies=[StatusReader])
def read_status(state: State) -> PlatformCounts:
    """Counts only: what the platform holds."""
    return PlatformCounts(**platform_counts(state.zone))


def create_platform_app(settings: PlatformSettings, *, clock: Clock = utc_now) -> FastAPI:
    """The compute platform's service.

    Raises:
        GridSecureError: It must not start: engines, folder or settings are not sound.
    """
    build = open_build(settings, whose="the platform")
    hold_sandbox(build.level, settings.sandbox, whose="the platform")
    zone = open_zone(settings, now=clock(), level=build.level)
    open_pool = choose_engine(
        settings.engine,
        objects=zone.objects.store,
        workers=settings.workers,
        tls=settings.engine_tls,
        sandbox=settings.sandbox,
    )
    log = open_log(zone.engine, settings.folder, name="platform", key=zone.signing_key)
    sandbox = state_job_sandbox(settings, zone.objects.store.url)
    enter_sandbox(zone.engine, sandbox, at=clock())
    runs = RunDesk(zone, open_pool=open_pool, clock=clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        runs.go_on_duty()
        yield
        # In a thread, because it waits; requests already being answered may still finish.
        await run_in_threadpool(runs.stop)
        zone.engine.dispose()

    app = new_app(
        replace(_watched(zone, settings, clock), logs={LOG: log}, facts={"sandbox": sandbox}),
        identity_key=public_key(settings.identity_public_key),
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        build=build,
        lifespan=lifespan,
    )
    app.state.platform = PlatformState(zone, runs, clock, settings.warm_up)
    app.state.queries = platform_queries.QueryDesk(zone, runs, clock)
    app.state.policies = _policy_desk(settings, policy_shelf(zone.engine, build.level), clock)
    app.include_router(router)
    app.include_router(policies.router)
    app.include_router(platform_queries.router)
    app.include_router(usage_router(usage.BOOK, zone.engine, "billing", "operator", "regulator"))
    return app


def _watched(zone: PlatformZone, settings: PlatformSettings, clock: Clock) -> ServiceDescription:
    """The description with what is looked at and counted, and the policy that is in force."""
    checks = (database_check(zone.engine), disk_check(settings.folder))
    counts = partial(platform_counts, zone)
    policy = policies.state_policy(policy_shelf(zone.engine), clock)
    return replace(DESCRIPTION, checks=checks, counts=counts, tenant=settings.tenant, policy=policy)


def _policy_desk(
    settings: PlatformSettings, shelf: PolicyShelf, clock: Clock
) -> policies.PolicyDesk:
    approvers = read_approvers(settings.approvers)

    def put(document: SignedPolicy, by: str, now: datetime) -> list[Change]:
        return shelf.hold(document, approvers=approvers, now=now, by=by)

    return policies.PolicyDesk(shelf, put, clock)


def main_app() -> FastAPI:
    """The compute platform as the environment describes it, for `uvicorn --factory`."""
    app = start_app(create_platform_app, PlatformSettings)
    if app.state.platform.warm_up:
        load_ahead(jobs)
    return app


def platform_counts(zone: PlatformZone) -> dict[str, int]:
    """How much the platform holds."""
    with read_session(zone.engine) as session:
        totals = read_tallies(session)
    return {name: totals.get(tally, 0) for name, tally in _TALLIES.items()}


def open_zone(
    settings: PlatformSettings, *, now: datetime, level: Level | None = None
) -> PlatformZone:
    """Open the zone's folder; its signing key is made at first start.

    Args:
        level: What its policies are held to.

    Raises:
        StorageError: The folder or database cannot be used.
        InvalidMessageError: A peer's key is not a point of the curve.
        GridSecureError: The policy may not hold, as `PolicyShelf.open`.
    """
    folder = make_zone_folder(settings.folder)
    identity = key_registry(settings.identity_public_key)
    authority = key_registry(settings.authority_public_key)
    office = key_registry(settings.billing_office_public_key)
    engine = open_database(settings.database_url, connections=settings.connections)
    migrate(engine, SCHEMA)
    return PlatformZone(
        engine=engine,
        objects=PlatformObjects(open_objects(settings.objects_url), engine),
        signing_key=load_signing_key(folder),
        identity=identity,
        authority=authority,
        office=office,
        policy=policy_shelf(engine, level).open(
            settings.policy, approvers=read_approvers(settings.approvers), now=now
        ),
    )
