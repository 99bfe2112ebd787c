"""The key authority's service: publishes keys, answers release requests, gives out releases.

No route takes a ciphertext. The service pulls release requests from the platform, proves them in
its checker, and has its vault, a process of its own, decrypt what the checker derived again.

Whatever is wrong with one request of a round, or with telling the platform, does not keep the
others waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import TypeAdapter

from gridsecure import frames
from gridsecure.approvals import APPROVER_ROLES
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    GridSecureError,
    InvalidMessageError,
    StorageError,
)
from gridsecure.key_authority.checker import key_sets, reexecution, release_lists, usage
from gridsecure.key_authority.checker.answering import (
    FAILED,
    REFUSED,
    RELEASED,
    WAITING,
    Outcome,
    answer_request,
    read_sealed_statements,
)
from gridsecure.key_authority.checker.event_receivers import receivers_of
from gridsecure.key_authority.checker.held_policies import (
    policy_shelf,
    put_policy,
    unrevoked_officers,
)
from gridsecure.key_authority.checker.noise_budgets import may_read_values
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.key_authority.checker.seating import SettlementClient
from gridsecure.key_authority.checker.shadows import find_preview, list_previews, newest_preview
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.key_authority.checker.vault_client import VaultClient
from gridsecure.key_authority.checker.zone import AuthorityZone, Settlement
from gridsecure.messages import Signed
from gridsecure.policy.decisions import Change
from gridsecure.policy.levels import Level
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.released_values import SignedCertificate
from gridsecure.store.database import open_database
from gridsecure.store.log_tree import SignedLog
from gridsecure.store.objects import ObjectStore, open_objects
from gridsecure.store.schema import migrate
from gridsecure.vault_messages import VaultStatus
from gridsecure.wire.authority import KeySetListed, ReleaseSummary, RoundOutcome
from gridsecure.wire.client import service_client
from gridsecure.wire.problems import LOCKED
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure.wire.services import StatePolicy
from gridsecure.worker_processes import load_ahead
from gridsecure.zone_keys import (
    load_blinding_key,
    load_log_signer,
    load_query_key,
    load_signing_key,
    make_zone_folder,
)
from gridsecure_api.approver_settings import check_approvers, read_approvers, read_proved_by
from gridsecure_api.authority_approvals import router as approvals_router
from gridsecure_api.authority_queries import QUERY_KEY, RETURNED
from gridsecure_api.authority_queries import router as queries_router
from gridsecure_api.authority_state import AuthorityState, State
from gridsecure_api.authority_vault import router as vault_router
from gridsecure_api.courier import Courier, event_round
from gridsecure_api.deps import Clock, RawBody, require, utc_now
from gridsecure_api.lists import (
    KEPT_ANSWERS,
    PAGED,
    Paging,
    answer_kept,
    answer_page,
    join_texts,
)
from gridsecure_api.log_pages import LOG, serve_log
from gridsecure_api.own_build import OwnBuild, open_build
from gridsecure_api.peer_connections import connecting
from gridsecure_api.policies import PolicyDesk, state_policy
from gridsecure_api.policies import router as policies_router
from gridsecure_api.readiness import ReadyCheck, database_check, disk_check
from gridsecure_api.receiver_pages import ReceiverDesk
from gridsecure_api.receiver_pages import router as receivers_router
from gridsecure_api.serving import (
    FRAMES_BODY,
    OCTETS,
    ServiceDescription,
    binary,
    new_app,
)
from gridsecure_api.settings import (
    AuthoritySettings,
    key_registry,
    public_key,
)
from gridsecure_api.start import start_app
from gridsecure_api.usage_pages import usage_router
from gridsecure_api.worker_sandboxes import enter_sandbox, hold_sandbox, state_sandbox

KEY_SETS: Final = "/key-sets"
"""Where gateways ask for their key sets, with a signature instead of a token."""
_REQUEST_PARTS: Final = 2

DESCRIPTION: Final = ServiceDescription(
    zone="authority",
    title="GridSecure key authority",
    text="Publishes homomorphic key sets and releases results. Its checker holds no secret key and "
    "executes every plan again before its vault decrypts. There is no route that decrypts given "
    "bytes.",
    public_paths=frozenset({KEY_SETS, QUERY_KEY, RETURNED}),
    # Officers of those whose columns lie here approve what is about them.
    # Consumers name the agreement that a release is asked for under.
    guests=dict.fromkeys(
        ("/approvals", "/approvals/", "/approvers"), frozenset[str](APPROVER_ROLES)
    )
    | {"/release-agreements": frozenset({"member"})},
)


Keeper = Annotated[TokenClaims, Depends(require("custodian"))]
KeyReader = Depends(require("custodian", "operator", "regulator"))
Releaser = Depends(require("custodian", "billing", "operator"))
Reader = Annotated[TokenClaims, Depends(require("billing", "analyst", "regulator"))]
Billing = Depends(require("billing"))

_RELEASES: Final = TypeAdapter(list[ReleaseSummary])
_KEY_SETS: Final = TypeAdapter(list[KeySetListed])

USAGE_READERS: Final = (
    "billing", "operator", "custodian", "regulator", "data-owner", "privacy-officer",
)  # fmt: skip

router = APIRouter()


@router.post(
    KEY_SETS,
    tags=["keys"],
    openapi_extra=FRAMES_BODY,
    response_class=Response,
    responses={200: binary(frames.CONTENT_TYPE)},
)
def give_key_set(body: RawBody, state: State) -> Response:
    """A gateway's own key set of a parameter set, made when it is first asked for.

    Needs no token: the body is the gateway's signed request, then the identity authority's signed
    word on that gateway. The answer is the signed notice, then the public key objects it names.
    """
    parts = frames.split_frames(body)
    if len(parts) != _REQUEST_PARTS:
        raise InvalidMessageError("A request for a key set comes with the gateway's registration.")
    request, registrations = map(Signed.parse, parts)
    notice = key_sets.give_key_set(
        state.zone, request, registrations=registrations, at=state.clock()
    )
    answer = [notice.model_dump_json().encode(), *key_sets.public_objects(state.zone, notice)]
    return Response(frames.join_frames(answer), media_type=frames.CONTENT_TYPE)


@router.get(
    "/gateway-key-sets",
    tags=["keys"],
    dependencies=[KeyReader],
    response_model=list[KeySetListed],
    responses=PAGED,
)
async def list_key_sets(
    request: Request, state: State, asked: Paging, gateway: str = ""
) -> Response:
    """Key sets with their state and signed notice, oldest first, page by page.

    Perhaps of one gateway only.
    """
    return await answer_page(
        request,
        state.zone.engine,
        revision=key_sets.read_revision,
        read=lambda session: key_sets.page_key_sets(session, asked, gateway=gateway),
        write=lambda kept: _KEY_SETS.dump_json([_listed(one) for one in kept]),
    )


def _listed(one: key_sets.KeptKeySet) -> KeySetListed:
    return KeySetListed(
        key_id=one.notice.key_id,
        gateway=one.notice.gateway,
        generation=one.notice.generation,
        parameters=one.notice.parameters,
        created_at=one.notice.created_at,
        state=one.state,
        notice=one.envelope,
    )


@router.post("/gateway-key-sets/{key_id}/revoke", tags=["keys"])
def revoke_key_set(key_id: str, keeper: Keeper, state: State) -> Signed:
    """The signed revocation of a key set that a custodian revoked, for the platform.

    Revoking is a move that a custodian signs: without one this is refused.
    """
    return key_sets.revoke_key_set(state.zone, key_id, actor=keeper.subject, at=state.clock())


@router.get("/gateway-key-sets/{key_id}/life", tags=["keys"], dependencies=[KeyReader])
def read_key_set_life(key_id: str, state: State) -> Signed:
    """A key set's state at the vault and how it came to that, signed by the vault."""
    return key_sets.read_life(state.zone, key_id, at=state.clock())


@router.post("/key-set-moves", tags=["keys"])
def move_key_set(move: Signed, keeper: Keeper, state: State) -> Signed:
    """Carry a custodian's signed wish to suspend, resume, rotate, revoke or destroy a key set.

    The answer is the key set's state at the vault. What takes several custodians waits for others.
    """
    return key_sets.move_key_set(state.zone, move, actor=keeper.subject, at=state.clock())


@router.post("/release-rounds", tags=["releases"], dependencies=[Releaser])
def answer_waiting_requests(state: State) -> list[RoundOutcome]:
    """Pull the platform's waiting requests and answer each; a long call, one at a time."""
    if not state.round_lock.acquire(blocking=False):
        raise ConflictError(
            "A release round is running.",
            reason="conflict.release-round",
            remedy="Wait until it has finished.",
        )
    try:
        return [
            answer_one(state.zone_now(), envelope, pull=state.pull, clock=state.clock)
            for envelope in state.pull.list_waiting()
        ]
    finally:
        state.round_lock.release()
        state.told()


@router.get("/releases", tags=["releases"], response_model=list[ReleaseSummary], responses=PAGED)
async def list_releases(request: Request, state: State, _reader: Reader, asked: Paging) -> Response:
    """What was released, oldest first, page by page."""
    return await answer_page(
        request,
        state.zone.engine,
        revision=release_lists.read_revision,
        read=lambda session: release_lists.list_summaries(session, asked),
        write=_RELEASES.dump_json,
    )


@router.get(
    "/releases/{release_id}",
    tags=["releases"],
    response_model=SignedCertificate,
    responses=KEPT_ANSWERS,
)
def read_release(
    release_id: str,
    request: Request,
    state: State,
    reader: Reader,
    values: Annotated[bool, Query(description="Whether to tell what was released.")] = True,
) -> Any:
    """A signed certificate, and beside it the values.

    A regulator, or whoever asks for no values, gets the same certificate without what is beside it:
    which cells were told, from what and under which rule, and no figure. So does everybody of a
    sealed question, whose values go to those who asked it, and an analyst where policy tells
    analysts numbers with noise alone, or did of that month.
    """
    digest, plan = release_lists.find_release(state.zone, release_id)
    # Values of a sealed question are told to its askers alone.
    is_analyst = "analyst" in reader.roles and may_read_values(state.zone_now(), release_id)
    if values and plan != "query" and ("billing" in reader.roles or is_analyst):
        read = release_lists.read_certificate_text
    else:
        digest, read = f"{digest}-bare", release_lists.read_bare_certificate_text
    return answer_kept(request, digest, lambda: read(state.zone, release_id))


@router.get(
    "/shadow-previews",
    tags=["shadow runs"],
    dependencies=[Billing],
    response_model=list[Signed],
    responses=PAGED,
)
async def list_shadow_previews(request: Request, state: State, asked: Paging) -> Response:
    """What shadow runs would change, oldest first, page by page; nothing of it was released."""
    return await answer_page(
        request,
        state.zone.engine,
        revision=newest_preview,
        read=lambda session: list_previews(session, asked),
        write=join_texts,
    )


@router.get("/shadow-previews/{preview_id}", tags=["shadow runs"], dependencies=[Billing])
def read_shadow_preview(preview_id: str, state: State) -> Signed:
    """What one shadow run would change, under the name that its run has as `request_id`."""
    return find_preview(state.zone, preview_id)


@router.get(
    "/statements/{release_id}/{roster_id}",
    tags=["releases"],
    dependencies=[Billing],
    response_class=Response,
    responses={200: binary(OCTETS)},
)
def read_statements(release_id: str, roster_id: str, state: State) -> Response:
    """A roster's statements, sealed to the billing office."""
    sealed = read_sealed_statements(state.zone, release_id, roster_id)
    return Response(sealed, media_type=OCTETS)


def create_authority_app(
    settings: AuthoritySettings,
    *,
    clock: Clock = utc_now,
    pull: PlatformPull | None = None,
    settlement: Settlement | None = None,
) -> FastAPI:
    """The key authority's service.

    Args:
        pull: The platform; by default over HTTP as the settings say.
        settlement: Settlement pseudonyms; by default over HTTP as the settings say.

    Raises:
        GridSecureError: It must not start: engines, folder or settings are not sound.
    """
    build = open_build(settings, whose="the key authority")
    login = open_login(settings, build=build, clock=clock)
    names = settlement or open_settlement(settings, build=build, login=login)
    zone = open_zone(settings, settlement=names, now=clock(), level=build.level)
    logs = {LOG: serve_log(zone.engine, zone.log, settings.folder, name="authority")}
    sandbox = state_sandbox(settings.sandbox, workers=settings.workers, has_network=False)
    enter_sandbox(zone.engine, sandbox, at=clock())
    policy = state_policy(policy_shelf(zone.engine, build.level), clock)
    platform = pull or open_pull(settings, build=build, login=login, policy=policy)

    receivers = receivers_of(zone)
    courier = Courier(event_round(receivers), clock)
    checks = (database_check(zone.engine), disk_check(settings.folder), _vault_check(zone))
    facts = {"sandbox": sandbox}
    said = replace(DESCRIPTION, logs=logs, facts=facts, tenant=settings.tenant, checks=checks)
    said = replace(said, policy=policy)
    app = new_app(
        said,
        identity_key=public_key(settings.identity_public_key),
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        build=build,
        lifespan=_living(zone, courier),
    )
    app.state.receivers = ReceiverDesk(receivers, clock)
    app.state.authority = AuthorityState(zone, platform, clock, Lock(), courier.wake)
    app.state.policies = _policy_desk(app)
    metered = usage_router(usage.BOOK, zone.engine, *USAGE_READERS)
    others = (approvals_router, policies_router, queries_router, vault_router, metered)
    for routes in (router, *others, receivers_router):
        app.include_router(routes)
    return app


def _vault_check(zone: AuthorityZone) -> ReadyCheck:
    """A vault that runs and is unlocked; without, no order is carried out."""

    def look() -> None:
        if VaultStatus.parse(zone.vault.status().body).state == "locked":
            raise GridSecureError("The vault is locked.", reason=LOCKED)

    return ReadyCheck("vault", look, is_told=False)


def _living(
    zone: AuthorityZone, courier: Courier
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What the service does from its start to its end beside answering."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        courier.start()
        yield
        await run_in_threadpool(courier.stop)
        await run_in_threadpool(zone.checks.close)
        if isinstance(zone.vault, VaultClient):
            await run_in_threadpool(zone.vault.close)
        zone.engine.dispose()

    return lifespan


def _policy_desk(app: FastAPI) -> PolicyDesk:
    state: AuthorityState = app.state.authority

    def put(document: SignedPolicy, by: str, now: datetime) -> list[Change]:
        return put_policy(app.state.authority.zone, document, by=by, now=now)

    return PolicyDesk(policy_shelf(state.zone.engine, state.zone.level), put, state.clock)


def main_app() -> FastAPI:
    """The key authority as the environment describes it, for `uvicorn --factory`."""
    app = start_app(create_authority_app, AuthoritySettings)
    if app.state.authority.zone.checks.workers:
        load_ahead(reexecution)
    return app


def answer_one(
    zone: AuthorityZone, envelope: Signed, *, pull: PlatformPull, clock: Clock
) -> RoundOutcome:
    """Answer one request and say how, and how long that took [s].

    A request that is not the platform's own is refused under its digest, because nothing else of it
    is believed; the platform is told nothing, and it stays in the queue for somebody to look at.

    Args:
        envelope: The request as pulled.

    Raises:
        StorageError: The ledger or evidence log cannot be written.
    """
    started = time.monotonic()
    try:
        outcome = answer_request(zone, envelope, view=pull, clock=clock)
    except (AuthenticityError, InvalidMessageError) as error:
        outcome = Outcome(envelope.digest, REFUSED, error.reason)
    else:
        outcome = _told(pull, outcome)
    return RoundOutcome(
        request_id=outcome.request_id,
        state=outcome.state,
        reason=outcome.reason,
        release_id=outcome.earlier or (outcome.request_id if outcome.state == RELEASED else None),
        seconds=round(time.monotonic() - started, 3),
    )


def _told(pull: PlatformPull, outcome: Outcome) -> Outcome:
    """Tell the platform; if that fails the answer stands, and the next round tells it again."""
    if outcome.state in {FAILED, WAITING}:
        return outcome
    try:
        pull.report(outcome.request_id, outcome.state)
    except GridSecureError as error:
        return replace(outcome, reason=outcome.reason or error.reason)
    return outcome


def open_zone(
    settings: AuthoritySettings,
    *,
    settlement: Settlement,
    now: datetime,
    level: Level | None = None,
) -> AuthorityZone:
    """Open the zone's folder. The vault is found at the first order.

    Args:
        settlement: Where settlement pseudonyms come from.
        level: What its policies and its sandbox are held to.

    Raises:
        InputError: They fall below it (`level.below`).
        StorageError: Keys of a vault lie in the folder (`vault.beside`).
        GridSecureError: The folder or database cannot be used, or the policy may not hold.
    """
    hold_sandbox(level, settings.sandbox, whose="the key authority")
    folder = make_zone_folder(settings.folder)
    _refuse_keys_beside(folder)
    engine = open_database(settings.database_url, connections=settings.connections)
    migrate(engine, SCHEMA)
    approvers = read_approvers(settings.approvers)
    officers = unrevoked_officers(engine, approvers)
    shelf = policy_shelf(engine, level)
    policy = shelf.open(settings.policy, approvers=officers, now=now)
    check_approvers(approvers, policy)
    key = load_signing_key(folder)
    objects = open_objects(settings.objects_url)
    return AuthorityZone(
        engine=engine,
        objects=objects,
        checks=_open_checks(settings, objects, folder / "checks"),
        signing_key=key,
        query_key=load_query_key(folder),
        blinding_key=load_blinding_key(folder),
        log=SignedLog(load_log_signer(folder, log="authority", key=key)),
        platform=key_registry(settings.platform_public_key),
        identity=key_registry(settings.identity_public_key),
        office=key_registry(settings.billing_office_public_key),
        settlement=settlement,
        vault=_open_door(settings),
        policy=policy,
        approvers=approvers,
        agreements_by=read_proved_by(settings),
        shadow_questions=settings.shadow_questions,
        level=level,
    )


def _open_checks(settings: AuthoritySettings, objects: ObjectStore, folder: Path) -> Checks:
    return Checks(objects, folder=folder, workers=settings.workers, sandbox=settings.sandbox)


def _open_door(settings: AuthoritySettings) -> VaultClient:
    uid = os.geteuid() if settings.vault_uid is None else settings.vault_uid
    return VaultClient(settings.vault_socket, uid=uid)


def _refuse_keys_beside(folder: Path) -> None:
    """Refuse a folder of earlier releases, where the vault's keys lay with the checker's."""
    if (folder / "vault").exists():
        raise StorageError(
            "The vault's keys lie in the folder of the checker, which must not hold them.",
            reason="vault.beside",
            remedy="Move its folder `vault` to the vault's own user, and start the vault there "
            "with GRIDSECURE_VAULT_FOLDER (docs/deployment.md).",
        )


def open_pull(
    settings: AuthoritySettings,
    *,
    build: OwnBuild,
    login: ServiceLoginClient,
    policy: StatePolicy | None = None,
) -> PlatformPull:
    """A client of the platform, which logs in with the authority's key.

    Args:
        policy: The authority's, which an attested platform has to have in force as well.
    """
    auth = ServiceAuth(login, audience="platform")
    return PlatformPull(
        service_client(
            connecting(build, policy=policy)(settings.platform_url, auth),
            name="platform",
            pause=time.sleep,
        )
    )


def open_settlement(
    settings: AuthoritySettings, *, build: OwnBuild, login: ServiceLoginClient
) -> Settlement:
    """A client of the identity authority, which logs in with the authority's key."""
    auth = ServiceAuth(login, audience="identity")
    peer = service_client(
        connecting(build)(settings.identity_url, auth), name="identity", pause=time.sleep
    )
    return SettlementClient(peer, identity=key_registry(settings.identity_public_key))


def open_login(settings: AuthoritySettings, *, build: OwnBuild, clock: Clock) -> ServiceLoginClient:
    """How the authority proves itself to others, with its signing key."""
    key = load_signing_key(make_zone_folder(settings.folder))
    return ServiceLoginClient(
        connecting(build)(settings.identity_url, None), key, clock, *build.shows
    )
