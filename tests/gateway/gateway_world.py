"""A gateway whose peers are real code behind an in-memory connection that can be broken on purpose.

The platform is `compute.intake` behind `compute.admission` on its own database, the key authority
publishes the session's real key sets, the identity service is `identity_wire`. `Wire` carries
requests to them and can lose a request or its answer.

Enrolling twenty meter points takes a third of a second, so worlds share one identity authority and
begin with the records of a gateway that enrolled them, unless a test asks for its own.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path

import httpx
import pandas as pd

from gridsecure import frames
from gridsecure.billing.contracts import load_contracts
from gridsecure.compute import intake
from gridsecure.compute.holder_uploads import admit_upload
from gridsecure.compute.key_sets import install_key_set
from gridsecure.credentials.access import ISSUER
from gridsecure.credentials.holder import Holder, derive_secret
from gridsecure.credentials.seats import billing_domain, settlement_domain, verify_gateway
from gridsecure.credentials.uploads import (
    COUNTER_HEADER,
    HOLDER_HEADER,
    SIGNATURE_HEADER,
    Upload,
    digest_body,
    name_objects,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import GridSecureError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.enrolment_passes import RANDOM
from gridsecure.gateway.identity_peer import IdentityPeer
from gridsecure.gateway.key_sets import KeySetClient, OwnKeySets
from gridsecure.gateway.month_files import HandedIn, load_files, save_files
from gridsecure.gateway.months import Peers, process_month
from gridsecure.gateway.packing import pack_energies
from gridsecure.gateway.rosters import build_rosters
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.tables import SCHEMA
from gridsecure.gateway.upload import PlatformClient
from gridsecure.gateway.zone import GatewayZone, PinnedKeys
from gridsecure.homomorphic.secret_key import generate_key_set
from gridsecure.messages import KeyNotice, KeySetRequest, Signed, open_message
from gridsecure.periods import month_period
from gridsecure.simulator.synthetic_meters import SimulatedMonth, simulate
from gridsecure.store.database import open_database
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import migrate
from gridsecure.tariffs.tariff import catalogue_tariffs, parse_tariff
from gridsecure.wire.gateway import MonthReport
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure_api.errors import error_response
from gridsecure_api.gateway_peers import HolderAuth
from tests.gateway.identity_wire import Authority, IdentityService
from tests.grid_simulator import NOW, GridSimulator, grid_keys, registry
from tests.identity.identity_world import keys as identity_keys
from tests.identity.identity_world import suite

MONTH = "2026-07"
YEAR = "2026"
METERS = 20
SETTLEMENT_COLUMNS = 1
"""Of the flat tariff."""
SEED = b"seed of all the worlds' agents.."
CONTRACTS_HEADER = "meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva"


class Killed(BaseException):
    """The end of a process, which no handler of errors catches."""


def forget_digests(folder: Path) -> None:
    """Have a month's files in force be read whatever they hold, as those before digests are."""
    pointer = folder / "input.json"
    pointer.write_text(json.dumps(json.loads(pointer.read_text()) | {"digests": []}))


def kill_at(stage: str, *, when: Callable[[int], bool] = lambda _done: True):
    """What is told of a month's progress and ends the process at a stage, when so much is done."""

    def kill(now: str, done: int, _of: int) -> None:
        if now == stage and when(done):
            raise Killed

    return kill


@dataclass
class Wire:
    """Carries requests; `break_at` maps the number of a request, from 1, to what happens to it.

    A body of objects of more bytes than `most_bytes` breaks off.
    """

    answer: Callable[[httpx.Request], httpx.Response]
    break_at: dict[int, str] = field(default_factory=dict)
    most_bytes: float = float("inf")
    log: list[str] = field(default_factory=list)

    def client(self, auth: httpx.Auth | None = None) -> httpx.Client:
        transport = httpx.MockTransport(self)
        return httpx.Client(transport=transport, base_url="http://peer", auth=auth)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.log.append(f"{request.method} {request.url.path}")
        fate = self.break_at.get(len(self.log))
        if fate == "request lost":
            raise httpx.ConnectError("refused")
        if request.url.path.endswith("/objects") and len(request.content) > self.most_bytes:
            raise httpx.WriteError("reset")
        response = self.answer(request)
        if fate == "answer lost":
            raise httpx.ReadError("reset")
        if fate == "fault":
            return httpx.Response(503)
        if fate == "killed":
            raise Killed
        return response

    def count(self, path: str) -> int:
        return sum(line.endswith(path) for line in self.log)


@cache
def shared_authority() -> Authority:
    """The identity authority of the session's worlds."""
    folder = tempfile.mkdtemp()
    made = Authority(Path(folder), [grid_keys().gateway.public_key])
    weakref.finalize(made, shutil.rmtree, folder)
    return made


@cache
def _enrolled() -> tuple[bytes, Authority]:
    """`enrolled_records`, and the authority of that time: later tests tell the shared one more."""
    with tempfile.TemporaryDirectory() as folder:
        world = GatewayWorld(Path(folder), enrolled=False, authority=shared_authority())
        client = world.peers.identity
        client.join(YEAR)
        world.list_contracts(world.simulated.contracts)
        client.enrol(world.simulated.meter_point_ids, start=YEAR)
        world.close()
        records = (world.folder / "zone.db").read_bytes()
    kept = tempfile.mkdtemp()
    authority = shared_authority().copied(Path(kept) / "identity")
    weakref.finalize(authority, shutil.rmtree, kept)
    authority.close()
    return records, authority


def enrolled_records() -> bytes:
    """The database of a gateway whose meter points, and it itself, are registered."""
    return _enrolled()[0]


def enrolled_authority(folder: Path) -> Authority:
    """A test's own authority, which has registered those meter points and was told nothing else."""
    return _enrolled()[1].copied(folder)


@cache
def finished_month() -> GatewayWorld:
    """A closed world whose month is done; its bills' columns were sent."""
    folder = tempfile.mkdtemp()
    made = GatewayWorld(Path(folder), load_curves=False)
    weakref.finalize(made, shutil.rmtree, folder)
    made.save()
    made.process()
    made.close()
    return made


class GatewayWorld:
    """One gateway in a folder, with files for a month and peers.

    Args:
        folder: Where everything goes.
        enrolled: Whether it begins with its meter points registered at the shared authority.
        authority: The identity authority; the shared one by default.
        load_curves: Whether months are sent with the columns of load curves.
        own: The key and the seed of a gateway that is not the session's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        enrolled: bool = True,
        authority: Authority | None = None,
        load_curves: bool = True,
        own: tuple[Sm2PrivateKey, bytes] | None = None,
    ) -> None:
        self.grid = GridSimulator(folder / "platform")
        self.service_key, self.seed = own or (self.grid.gateway_key, SEED)
        self.given: dict[tuple[str, str], tuple[Signed, list[bytes]]] = {}
        self.simulated: SimulatedMonth = simulate(METERS, month=MONTH, interval_minutes=60)
        self.folder = folder / "gateway"
        self.folder.mkdir(exist_ok=True)
        self.pauses: list[float] = []
        self.registry = authority or shared_authority()
        self.service = IdentityService(self.registry, self.clock)
        self.wire = Wire(self.platform_answer)
        self.authority = Wire(self.authority_answer)
        self.identity = Wire(self.service)
        self.steps: list[str] = []
        self.now = NOW
        self.carry = False
        self.load_curves = load_curves
        self.shuffle = RANDOM
        if enrolled:
            (self.folder / "zone.db").write_bytes(enrolled_records())
        self.zone = self.open_zone()

    @classmethod
    def after(cls, other: GatewayWorld, folder: Path) -> GatewayWorld:
        """A world that has come as far as another, which is closed."""
        shutil.copytree(other.folder.parent, folder, dirs_exist_ok=True)
        made = cls(folder, enrolled=False, authority=other.registry, load_curves=other.load_curves)
        made.now, made.given = other.now, dict(other.given)
        return made

    def open_zone(self) -> GatewayZone:
        engine = open_database(f"sqlite:///{self.folder / 'zone.db'}")
        migrate(engine, SCHEMA)
        return GatewayZone(
            engine=engine,
            folder=self.folder,
            objects=open_objects(folder_url(self.folder / "objects")),
            signing_key=self.service_key,
            authority=registry(self.grid.authority_key),
            pinned=PinnedKeys(self.grid.identity_key.public_key, identity_keys().signers),
            seed=self.seed,
        )

    def restart(self) -> None:
        """As after a kill: everything is opened anew from the disk."""
        self.zone.engine.dispose()
        self.zone = self.open_zone()

    def close(self) -> None:
        self.zone.engine.dispose()
        self.grid.close()

    # --- holders ---------------------------------------------------------------------------------

    def holder(self, name: str) -> Holder:
        """A holder of this gateway, made anew from its seed."""
        m1 = derive_secret(self.seed, name=name, suite=suite())
        return Holder(suite(), identity_keys().public, m1)

    def meter_point(self, meter_point_id: str) -> Holder:
        return self.holder(f"meter-point/{meter_point_id}")

    @property
    def gateway_key(self) -> Sm2PrivateKey:
        """The key that speaks for the gateway's rosters."""
        return self.holder("gateway").key_in(billing_domain(YEAR))

    def identity_names(self) -> dict[str, str]:
        """Meter point -> pseudonym in the year's billing domain."""
        return self._names(billing_domain(YEAR))

    def settlement_names(self) -> dict[str, str]:
        """Meter point -> pseudonym in the year's settlement domain."""
        return self._names(settlement_domain(YEAR))

    def _names(self, domain) -> dict[str, str]:
        names = self.simulated.meter_point_ids
        return {name: self.meter_point(name).name_in(domain) for name in names}

    def list_accounts(self, names) -> None:
        """Put meter points into the utility's books, under this gateway."""
        key = self.zone.signing_key.public_key
        self.registry.list_accounts(names, gateway=key, at=self.clock())

    def list_contracts(self, contracts: pd.DataFrame) -> None:
        """Put contracts into the utility's books, under this gateway."""
        key = self.zone.signing_key.public_key
        self.registry.list_contracts(contracts, gateway=key, at=self.clock())

    # --- files -----------------------------------------------------------------------------------

    def contracts_csv(self, *, tariff_of_homes: str = "flat") -> bytes:
        """All homes on one tariff without tiers, so that a month packs quickly."""
        contracts = self.simulated.contracts.copy()
        home = contracts["customer_class"] == "household"
        contracts["tariff_id"] = contracts["tariff_id"].where(~home, tariff_of_homes)
        return contracts.to_csv(index=False).encode()

    def contracts(self) -> pd.DataFrame:
        """The contract frame of `contracts_csv`."""
        return self.read_contracts(self.contracts_csv())

    def read_contracts(self, text: bytes) -> pd.DataFrame:
        """The contract frame of a file."""
        path = self.folder / "read-back.csv"
        path.write_bytes(text)
        frame = load_contracts(path)
        path.unlink()
        return frame

    def save(self, *readings: bytes, contracts: bytes | None = None, month: str = MONTH) -> None:
        """Hand in a month's files, and write its contracts into the utility's books."""
        text = self.contracts_csv() if contracts is None else contracts
        if self.registry is shared_authority():
            self.list_contracts(self.read_contracts(text))
        save_files(
            self.zone,
            month,
            files=HandedIn(
                [BytesIO(data) for data in readings or (self.simulated.wide_csv(),)],
                contracts=BytesIO(text),
            ),
            person="operator",
            at=self.clock(),
        )

    # --- running ---------------------------------------------------------------------------------

    @property
    def peers(self) -> Peers:
        """Clients of the peers, as a process that starts makes them."""
        pause = self.pauses.append
        login = ServiceLoginClient(self.identity.client(), self.zone.signing_key, self.clock)
        service = self.identity.client(ServiceAuth(login, audience="identity"))
        identity = IdentityClient(
            self.zone,
            IdentityPeer(self.identity.client(), service, pause=pause),
            clock=self.clock,
            carry=self.carry,
            shuffle=self.shuffle,
        )
        authority = KeySetClient(self.authority.client(), pause=pause)

        @cache
        def platform(year: str) -> PlatformClient:
            auth = HolderAuth(lambda: identity.log_in(year), clock=self.clock)
            return PlatformClient(self.wire.client(auth), pause=pause)

        return Peers(
            identity=identity,
            key_sets=lambda start: OwnKeySets(
                self.zone, authority, identity=identity, start=start, clock=self.clock
            ),
            platform=lambda start: platform(start[:4]),
        )

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now.astimezone(UTC)

    def process(
        self,
        *,
        progress: Callable[[str, int, int], None] | None = None,
        month: str = MONTH,
    ) -> MonthReport:
        def note(stage: str, done: int, of: int) -> None:
            self.steps.append(stage)
            if progress is not None:
                progress(stage, done, of)

        return process_month(
            self.zone,
            files=load_files(self.zone, month),
            peers=self.peers,
            clock=self.clock,
            progress=note,
            load_curves=self.load_curves,
        )

    def outgoing(self, *, days: int = 1, span: tuple[str, str] | None = None) -> outbox.Outgoing:
        """The roster of homes with its settlement and the intervals of its first days.

        Args:
            days: How many days.
            span: Start and end of the period it is for, if not the month.
        """
        period, contracts = month_period(MONTH, timezone="Asia/Shanghai"), self.contracts()
        homes = contracts[contracts["tariff_id"] == "flat"]
        text = catalogue_tariffs()["flat"].read_text(encoding="utf-8")
        seating = Seating(self.zone, self.peers.identity, period.start.isoformat(), self.clock)
        drafts = build_rosters(
            homes,
            members=recall_members(self.zone, YEAR),
            tariffs={"flat": self.zone.objects.put(text.encode())},
            speaker=seating.speaker,
            domain=seating.domain.text,
        )
        ((roster,), _) = seating.seat(drafts)
        columns = pack_energies(
            lay_out_energies(self.simulated.readings(), period=period),
            roster=roster,
            tariff=parse_tariff(text),
            period=period,
            keys=self.peers.key_sets(period.start.isoformat()),
        )
        packed = outbox.Packed(
            roster=roster.manifest,
            columns=islice(columns, SETTLEMENT_COLUMNS + days),
            start=span[0] if span else period.start.isoformat(),
            end=span[1] if span else period.end.isoformat(),
            estimated_readings=0,
        )
        return outbox.put(self.zone, packed, key=self.gateway_key, at=self.clock())

    # --- peers -----------------------------------------------------------------------------------

    def platform_answer(self, request: httpx.Request) -> httpx.Response:
        try:
            self.admitted(request)
            return httpx.Response(200, json=self._platform(request))
        except GridSecureError as error:
            refusal = error_response(error)
            return httpx.Response(refusal.status_code, content=bytes(refusal.body))

    def admitted(self, request: httpx.Request) -> None:
        """Check a request's token, counter and signature, as the platform does."""
        token = request.headers["Authorization"].removeprefix("Bearer ")
        now = self.clock()
        claims = verify_token(
            token,
            key=self.grid.identity_key.public_key,
            audience="platform",
            issuer=ISSUER,
            now=now,
        )
        assert claims.roles == ("gateway",)
        admit_upload(
            Upload(
                request.method,
                request.url.path,
                token,
                int(request.headers[COUNTER_HEADER]),
                digest_body(request.url.path, request.read()),
            ),
            signature=bytes.fromhex(request.headers[SIGNATURE_HEADER]),
            claims=claims,
            holder=Sm2PublicKey(bytes.fromhex(request.headers[HOLDER_HEADER])),
            engine=self.grid.platform_zone.engine,
            now=now,
        )

    def _platform(self, request: httpx.Request) -> object:
        zone, body = self.grid.platform_zone, request.read()
        match request.url.path.split("/")[1:]:
            case ["key-sets"]:
                notice, *keys = frames.split_frames(body)
                envelope = Signed.parse(notice)
                return install_key_set(zone, envelope, keys=tuple(keys), at=NOW).model_dump()
            case ["tariffs"]:
                return {"digest": intake.install_tariff(zone, body.decode())}
            case ["rosters"]:
                signed_roster, seats = frames.split_frames(body)
                envelope = Signed.parse(signed_roster)
                roster = intake.register_roster(zone, envelope, seats=seats, at=NOW)
                return {"roster_id": roster.roster_id}
            case ["uploads"]:
                return intake.begin_upload(zone, Signed.parse(body), at=NOW).model_dump()
            case ["uploads", upload_id, "objects"]:
                objects = name_objects(body)
                return {"received": intake.receive_objects(zone, upload_id, objects=objects)}
            case ["uploads", upload_id, "commit"]:
                return intake.commit_upload(zone, upload_id, at=NOW).model_dump()
            case unknown:
                raise AssertionError(unknown)

    def authority_answer(self, request: httpx.Request) -> httpx.Response:
        asked, registrations = map(Signed.parse, frames.split_frames(request.read()))
        vouched = verify_gateway(registrations, identity=registry(self.grid.identity_key))
        trusted = {vouched.key.thumbprint: vouched.key}
        name = open_message(asked, expect=KeySetRequest, trusted=trusted).parameters
        notice, objects = self.key_set_of(vouched.key.thumbprint, name)
        body = frames.join_frames([notice.model_dump_json().encode(), *objects])
        return httpx.Response(200, content=body)

    def key_set_of(self, gateway: str, name: str) -> tuple[Signed, list[bytes]]:
        """A gateway's key set: one of the session's for the first that asks, else a new one."""
        if (gateway, name) not in self.given:
            is_first = all(parameters != name for _, parameters in self.given)
            key_set = self.grid.keys.secret[name]
            if not is_first:
                key_set = generate_key_set(key_set.public.parameters)
            draft = KeyNotice.parse(self.grid.key_notice(key_set).body)
            notice = draft.model_copy(update={"gateway": gateway})
            public = key_set.public
            objects = [key for key in (public.public_key, public.relinearisation_keys) if key]
            self.given[gateway, name] = (
                self.grid.sign(notice, key=self.grid.authority_key),
                objects,
            )
        return self.given[gateway, name]
