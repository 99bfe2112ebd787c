"""A gateway whose peers are real code behind an in-memory connection that can be broken on purpose.

The platform is `compute.intake` on its own database, the authority publishes the session's real key
sets, the identity authority names meter points with its real function. `Wire` carries requests to
them and can lose a request or its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import httpx
import pandas as pd

from apps.api.errors import error_response
from apps.simulator.synthetic_meters import SimulatedMonth, simulate
from gridsecure import frames
from gridsecure.billing.contracts import load_contracts
from gridsecure.compute import intake
from gridsecure.errors import GridSecureError
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.key_sets import KeySetClient, fetch_key_sets
from gridsecure.gateway.month_files import load_files, save_files
from gridsecure.gateway.month_plan import MonthReport
from gridsecure.gateway.months import Peers, process_month
from gridsecure.gateway.upload import PlatformClient
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity.pseudonyms import pseudonyms
from gridsecure.messages import Signed
from gridsecure.store.database import open_database
from gridsecure.store.objects import ObjectStore
from gridsecure.store.records import create_tables
from tests.grid_simulator import NOW, GridSimulator, registry

MONTH = "2026-07"
CONTRACTS_HEADER = "meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva"


@dataclass
class Wire:
    """Carries requests; `break_at` maps the number of a request, from 1, to what happens to it."""

    answer: Callable[[httpx.Request], httpx.Response]
    break_at: dict[int, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self), base_url="http://peer")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.log.append(f"{request.method} {request.url.path}")
        fate = self.break_at.get(len(self.log))
        if fate == "request lost":
            raise httpx.ConnectError("refused")
        response = self.answer(request)
        if fate == "answer lost":
            raise httpx.ReadError("reset")
        if fate == "fault":
            return httpx.Response(503)
        return response

    def count(self, path: str) -> int:
        return sum(line.endswith(path) for line in self.log)


class GatewayWorld:
    """One gateway in a folder, with files for a month and peers."""

    def __init__(self, folder: Path, *, meters: int = 20) -> None:
        self.grid = GridSimulator(folder / "platform")
        self.grid.install_key_sets()
        self.simulated: SimulatedMonth = simulate(meters, month=MONTH, interval_minutes=60)
        self.folder = folder / "gateway"
        self.folder.mkdir()
        self.pauses: list[float] = []
        self.wire = Wire(self.platform_answer)
        self.authority = Wire(self.authority_answer)
        self.identity = Wire(self.identity_answer)
        self.steps: list[str] = []
        self.now = NOW
        self.zone = self.open_zone()

    def open_zone(self) -> GatewayZone:
        engine = open_database(f"sqlite:///{self.folder / 'zone.db'}")
        create_tables(engine)
        return GatewayZone(
            engine=engine,
            folder=self.folder,
            objects=ObjectStore(self.folder / "objects"),
            signing_key=self.grid.gateway_key,
            authority=registry(self.grid.authority_key),
        )

    def restart(self) -> None:
        """As after a kill: everything is opened anew from the disk."""
        self.zone.engine.dispose()
        self.zone = self.open_zone()

    def close(self) -> None:
        self.zone.engine.dispose()
        self.grid.close()

    # --- files -----------------------------------------------------------------------------------

    def contracts_csv(self, *, tariff_of_homes: str = "flat") -> bytes:
        """All homes on one tariff without tiers, so that a month packs quickly."""
        contracts = self.simulated.contracts.copy()
        home = contracts["customer_class"] == "household"
        contracts["tariff_id"] = contracts["tariff_id"].where(~home, tariff_of_homes)
        return contracts.to_csv(index=False).encode()

    def contracts(self) -> pd.DataFrame:
        """The contract frame of `contracts_csv`."""
        path = self.folder / "read-back.csv"
        path.write_bytes(self.contracts_csv())
        frame = load_contracts(path)
        path.unlink()
        return frame

    def identity_names(self) -> dict[str, str]:
        """Meter point -> pseudonym in the month's domain."""
        names = self.simulated.meter_point_ids
        key = self.grid.keys.pseudonym_key
        found = pseudonyms(names, domain=f"platform/billing/{MONTH}", key=key)
        return dict(zip(names, found, strict=True))

    def save(self, *readings: bytes, contracts: bytes | None = None) -> None:
        save_files(
            self.zone,
            MONTH,
            readings=[BytesIO(data) for data in readings or (self.simulated.wide_csv(),)],
            contracts=BytesIO(self.contracts_csv() if contracts is None else contracts),
            tariffs=[],
        )

    # --- running ---------------------------------------------------------------------------------

    @property
    def peers(self) -> Peers:
        pause = self.pauses.append
        identity = IdentityClient(self.identity.client(), pause=pause)
        authority = KeySetClient(self.authority.client(), pause=pause)
        return Peers(
            enrol=lambda names, domain: identity.pseudonyms(names, domain=domain),
            key_sets=lambda: fetch_key_sets(authority, zone=self.zone),
            platform=PlatformClient(self.wire.client(), pause=pause),
        )

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now.astimezone(UTC)

    def process(self, *, progress: Callable[[str, int, int], None] | None = None) -> MonthReport:
        def note(stage: str, done: int, of: int) -> None:
            self.steps.append(stage)
            if progress is not None:
                progress(stage, done, of)

        return process_month(
            self.zone,
            files=load_files(self.zone, MONTH),
            peers=self.peers,
            clock=self.clock,
            progress=note,
        )

    # --- peers -----------------------------------------------------------------------------------

    def platform_answer(self, request: httpx.Request) -> httpx.Response:
        try:
            return httpx.Response(200, json=self._platform(request))
        except GridSecureError as error:
            refusal = error_response(error)
            return httpx.Response(refusal.status_code, content=bytes(refusal.body))

    def _platform(self, request: httpx.Request) -> object:
        zone, body = self.grid.platform_zone, request.read()
        match request.url.path.split("/")[1:]:
            case ["tariffs"]:
                return {"digest": intake.install_tariff(zone, body.decode())}
            case ["rosters"]:
                roster = intake.register_roster(zone, Signed.parsed(body), at=NOW)
                return {"roster_id": roster.roster_id}
            case ["uploads"]:
                return asdict(intake.begin_upload(zone, Signed.parsed(body), at=NOW))
            case ["uploads", upload_id, "objects"]:
                objects = frames.split(body)
                return {"received": intake.receive_objects(zone, upload_id, objects=objects)}
            case ["uploads", upload_id, "commit"]:
                return asdict(intake.commit_upload(zone, upload_id, at=NOW))
            case unknown:
                raise AssertionError(unknown)

    def authority_answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/key-sets":
            return httpx.Response(200, json=[n.model_dump() for n in self.grid.key_notices])
        digest = request.url.path.removeprefix("/objects/")
        return httpx.Response(200, content=self.grid.platform_zone.objects.get(digest))

    def identity_answer(self, request: httpx.Request) -> httpx.Response:
        wanted = json.loads(request.read())
        names = pseudonyms(
            wanted["meter_point_ids"], domain=wanted["domain"], key=self.grid.keys.pseudonym_key
        )
        return httpx.Response(200, json={"pseudonyms": names})
