"""The gateway service: readings in by batch or file, encrypted and signed columns out.

The only service of the product that holds plaintext readings. It gives out counts and reasons;
quarantined readings, excluded meter points and the plaintext oracle stay in its folder.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Body, Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import ConflictError, GridSecureError, InvalidMessageError
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import CorrectionFiles
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.day_sealing import seal_day
from gridsecure.gateway.event_receivers import receivers_of
from gridsecure.gateway.expected_bills import seal_expected
from gridsecure.gateway.ingestion.batch_queue import BatchQueue
from gridsecure.gateway.ingestion.sources import list_sources
from gridsecure.gateway.month_files import HandedIn, load_day_files, load_files, save_files
from gridsecure.gateway.months import Peers, Progress, process_month
from gridsecure.gateway.reading_fates import count_fates, is_counted
from gridsecure.gateway.settlement_proofs import find_parts, prove_settlements
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import Signed
from gridsecure.wire.gateway import (
    DayReport,
    DayStatus,
    FilesKept,
    MonthOnBoard,
    MonthReport,
    MonthStatus,
    SettlementProofs,
)
from gridsecure.wire.services import WorkerSandbox
from gridsecure_api import (
    gateway_books,
    gateway_corrections,
    gateway_edits,
    gateway_orders,
    gateway_progress,
    gateway_readings,
    gateway_receipts,
    gateway_reconciliation,
    gateway_sources,
    gateway_trials,
    gateway_validation,
    receiver_pages,
)
from gridsecure_api.courier import Courier
from gridsecure_api.deps import Clock, require, utc_now
from gridsecure_api.gateway_months import Correct, MonthWorker, Seal, Work
from gridsecure_api.gateway_notices import gateway_round
from gridsecure_api.gateway_peers import open_peers, open_zone
from gridsecure_api.gateway_queue import BatchReader
from gridsecure_api.gateway_small_batches import SMALL_BATCHES, add_small_batches
from gridsecure_api.gateway_state import FILE_LIST, Form, GatewayService, Service, form_files
from gridsecure_api.gateway_timetable import Conductor, Due, Timetable
from gridsecure_api.gateway_turns import BatchTurns
from gridsecure_api.lists import KEPT_ANSWERS, answer_whole
from gridsecure_api.log_pages import LOG, open_log
from gridsecure_api.own_build import open_build
from gridsecure_api.peer_connections import Connect
from gridsecure_api.process_memory import keep_freed_pages
from gridsecure_api.readiness import database_check, disk_check
from gridsecure_api.receiver_pages import ReceiverDesk
from gridsecure_api.serving import OCTETS, ServiceDescription, binary, new_app
from gridsecure_api.settings import GatewaySettings, public_key
from gridsecure_api.start import start_app
from gridsecure_api.worker_sandboxes import enter_sandbox, hold_sandbox, state_sandbox

_log = logging.getLogger(__name__)

DESCRIPTION: Final = ServiceDescription(
    guests={"/": frozenset({"meter-data"})},  # a source is one of a gateway's own, or nobody
    zone="gateway",
    title="GridSecure gateway",
    text="On the utility's meter side: validates plaintext readings, quarantines bad ones with a "
    "reason, encrypts the month under the key authority's public keys, signs and uploads it. "
    "It never holds a homomorphic secret key, a name or an address.",
    plain_paths=frozenset({SMALL_BATCHES}),
)
MAX_CERTIFICATES: Final = 1000
"""Bill releases of one month; a request with more is refused."""


class ProofsWanted(BaseModel):
    """The billing office's challenge, drawn for this request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    challenge: str = Field(pattern=r"^[0-9a-f]{64}$")


Operator = Annotated[TokenClaims, Depends(require("operator"))]

router = APIRouter(tags=["months"])
_operators = [Depends(require("operator"))]
_readers = [Depends(require("operator", "billing"))]
_billing = [Depends(require("billing"))]

_PARTS: Final = ("readings", "contracts", "tariffs", "checks")
_FORM: Final = {
    "requestBody": {
        "required": False,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "readings": FILE_LIST,
                        "contracts": {"type": "string", "format": "binary"},
                        "tariffs": FILE_LIST,
                        "checks": FILE_LIST,
                    },
                }
            }
        },
    }
}


@router.put("/months/{month}/files", openapi_extra=_FORM)
def put_files(
    month: str, request: Request, service: Service, form: Form, claims: Operator
) -> FilesKept:
    """Hand in a month's meter data files and own tariffs, in place of earlier ones.

    Check files hold faces of registers, or totals of days, that readings are compared with.
    A contract file goes into the books, from the month's first day: whoever it leaves out holds
    nothing from then on.
    """
    readings, contracts, tariffs, checks = (form_files(form, name) for name in _PARTS)
    is_other = not form and request.headers.get("content-length", "0") != "0"
    if is_other or len(contracts) > 1 or set(form) - set(_PARTS):
        raise InvalidMessageError(
            "A month has files named readings, where sources sent no batches, one file named "
            "contracts, where the books lack what it says, and files named tariffs and checks.",
            reason="message.month-files",
            remedy="Send them as multipart/form-data.",
        )

    def save() -> int:
        files = HandedIn(readings, contracts[0] if contracts else None, tariffs, checks)
        at = service.clock()
        return save_files(service.zone, month, files=files, person=claims.subject, at=at)

    count = service.worker.keep_files(month, save)
    return FilesKept(readings_files=len(readings), contracts=count)


@router.post("/months/{month}/process", dependencies=_operators, status_code=202)
def start_processing(month: str, service: Service) -> MonthStatus:
    """Start a month in the background, or resume one that failed or was interrupted."""
    service.worker.start(month)
    return service.worker.status(month)


@router.get(
    "/months",
    dependencies=_readers,
    response_model=list[MonthOnBoard],
    responses=KEPT_ANSWERS,
)
async def read_months(request: Request, service: Service) -> Response:
    """The last two years' months that something was handed in for, the newest first."""
    return await answer_whole(request, service.timetable.board)


@router.get("/months/{month}", dependencies=_readers)
def read_month(month: str, service: Service) -> MonthStatus:
    """Where a month stands, and its report once it is done. Counts only."""
    return service.worker.status(month)


@router.post(
    "/months/{month}/expected-bills",
    dependencies=_billing,
    response_class=Response,
    responses={200: binary(OCTETS)},
)
def expect_bills(
    month: str,
    service: Service,
    certificates: Annotated[list[Signed], Body(max_length=MAX_CERTIFICATES)],
) -> Response:
    """Digests of the plaintext oracle's bills and corrections, sealed to the billing office.

    It answers for what the certificates say was released. A roster's corrections are released one
    after the other, so the certificates of the earlier ones are sent as well.
    """
    files = load_files(service.zone, month)
    sealed = seal_expected(
        service.zone,
        files,
        certificates=certificates,
        office=service.billing_office,
        at=service.clock(),
    )
    return Response(sealed, media_type=OCTETS)


@router.post("/months/{month}/settlement-proofs", dependencies=_billing)
def prove_settlement(month: str, service: Service, wanted: ProofsWanted) -> SettlementProofs:
    """Prove to the billing office which settlement pseudonym each billed meter point has.

    It is told of whoever moved in or out within the month for which days its bill is.
    """
    proven = prove_settlements(service.zone, month, challenge=bytes.fromhex(wanted.challenge))
    shown = {name: pseudonym.hex() for name, pseudonym in proven.pseudonyms.items()}
    parts = {name: days for name, days in find_parts(service.zone, month).items() if name in shown}
    return SettlementProofs(pseudonyms=shown, proof=proven.proof.hex(), parts=parts)


_ROOMS: Final = (
    gateway_corrections,
    gateway_sources,
    gateway_orders,
    gateway_readings,
    gateway_progress,
    gateway_books,
    gateway_validation,
    gateway_edits,
    gateway_trials,
    gateway_reconciliation,
    gateway_receipts,
    receiver_pages,
)
"""What has routes besides the months."""


@router.post("/days/{day}/seal", dependencies=_operators, status_code=202)
def start_sealing(day: str, service: Service) -> DayStatus:
    """Encrypt a local day of batches and upload it for load curves, or resume that.

    A sealed day is never replaced. Bills still come with the month, from the best readings then.
    """
    service.worker.seal(day)
    return service.worker.day(day)


@router.get("/days/{day}", dependencies=_readers)
def read_day(day: str, service: Service) -> DayStatus:
    """Where a day stands, and its report once it is sealed. Counts only."""
    return service.worker.day(day)


@router.get(
    "/months/{month}/days",
    dependencies=_readers,
    response_model=list[DayStatus],
    responses=KEPT_ANSWERS,
)
async def read_days(month: str, request: Request, service: Service) -> Response:
    """Where the days of a month stand that somebody began to seal, in their order."""
    return await answer_whole(request, lambda: service.worker.days(month))


def _count(zone: GatewayZone, month: str) -> None:
    """Count what became of a month's batches; its bills are out, whether that goes well or not."""
    try:
        count_fates(zone, month)
    except GridSecureError as error:
        _log.warning("readings of %s are not counted: %s", month, error.reason)


def _count_by_now(zone: GatewayZone, months: MonthWorker, month: str) -> bool:
    """Whether a month is counted; one that was done by a process that ended then is so now."""
    if not is_counted(zone, month):
        try:
            months.look(month, partial(_count, zone, month))
        except ConflictError:  # one is being processed, whose end wakes the courier
            return False
    return True


def _work(
    zone: GatewayZone, peers: Peers, clock: Clock, *, done: Callable[[], None]
) -> tuple[Work, Correct, Seal]:
    """What processes and corrects a month, which say when they are done, and seals a day."""

    def process(files: MonthFiles, progress: Progress) -> MonthReport:
        report = process_month(zone, files=files, peers=peers, clock=clock, progress=progress)
        _count(zone, files.month)
        done()
        return report

    def correct(correction: CorrectionFiles, progress: Progress) -> None:
        correct_month(
            zone,
            files=load_files(zone, correction.month),
            correction=correction,
            peers=peers,
            clock=clock,
            progress=progress,
        )
        _count(zone, correction.month)
        done()

    def seal(day: str, progress: Progress) -> DayReport:
        load = partial(load_day_files, zone, day)
        return seal_day(zone, day, load=load, peers=peers, clock=clock, progress=progress)

    return process, correct, seal


def _living(
    zone: GatewayZone, *, begin: Sequence[Callable[[], None]], end: Sequence[Callable[[], None]]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What the service does from its start to its end beside answering."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for one in begin:
            one()
        yield
        for one in end:
            await to_thread.run_sync(one)
        zone.engine.dispose()

    return lifespan


def create_gateway_app(
    settings: GatewaySettings, *, clock: Clock = utc_now, connect: Connect | None = None
) -> FastAPI:
    """The gateway service.

    Raises:
        GridSecureError: It must not start: engines, folder or settings are not sound.
    """
    build = open_build(settings, whose="the gateway")
    hold_sandbox(build.level, settings.sandbox, whose="the gateway")
    zone = open_zone(settings)
    served = open_log(zone.engine, zone.folder, name="gateway", key=zone.signing_key)
    peers = open_peers(settings, zone=zone, build=build, connect=connect, clock=clock)
    receivers = receivers_of(zone)
    told = gateway_round(zone, receivers, count=lambda month: _count_by_now(zone, months, month))
    courier = Courier(told, clock)
    months = MonthWorker(zone, *_work(zone, peers, clock, done=courier.wake))
    due = Due(settings.cut_off_days, settings.correction_days, settings.seal_hours)
    timetable = Timetable(zone, months, clock, due)
    conductor = Conductor(timetable)
    queue = BatchQueue(zone, limit=settings.max_waiting_bytes)
    reader, turns = BatchReader(queue, clock), BatchTurns(zone, queue, settings)
    life = _living(
        zone,
        begin=(courier.start, conductor.start, reader.start, lambda: _prepare(zone, turns)),
        end=(conductor.stop, reader.stop, turns.close, courier.stop),
    )
    checks = (database_check(zone.engine), disk_check(settings.folder))
    said = replace(DESCRIPTION, logs={LOG: served}, tenant=settings.tenant, checks=checks)
    app = new_app(
        replace(said, facts={"sandbox": _state_sandbox(zone, settings, clock())}),
        identity_key=public_key(settings.identity_public_key),
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        build=build,
        lifespan=life,
    )
    office, most = public_key(settings.billing_office_public_key), settings.queued_body_bytes
    app.state.service = GatewayService(zone, months, timetable, office, clock, served.log)
    app.state.intake = gateway_readings.Intake(zone, clock, queue, reader, turns, most)
    add_small_batches(app)
    app.state.receivers = ReceiverDesk(receivers, clock)
    for routes in (router, *(room.router for room in _ROOMS)):
        app.include_router(routes)
    return app


def _state_sandbox(zone: GatewayZone, settings: GatewaySettings, at: datetime) -> WorkerSandbox:
    """What is in force for its worker processes, said and entered in its log."""
    stated = state_sandbox(settings.sandbox, workers=settings.batch_processes, has_network=False)
    enter_sandbox(zone.engine, stated, at=at)
    return stated


def _prepare(zone: GatewayZone, turns: BatchTurns) -> None:
    """Have the processes that take batches in start before one comes, where any may come."""
    if any(one.state == "active" for one in list_sources(zone)):
        turns.prepare()


def main_app() -> FastAPI:
    """The gateway as the environment describes it, for `uvicorn --factory`."""
    keep_freed_pages()
    return start_app(create_gateway_app, GatewaySettings)
