"""What enrolling a meter point with two pseudonyms costs, all parties' processor time together.

The parties are the real ones, in one process: the identity service's application with its two
databases, behind its routes; the gateway's client, batches, shuffle and records; and what platform
and key authority check of the roster that comes of it. Only sockets are left out.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sqlmodel import Session, col, func, select

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from gridsecure.credentials.opening import OPENERS, generate_opener_key
from gridsecure.credentials.pinning import identity_keys
from gridsecure.credentials.seats import billing_domain, verify_seats
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.garbage import settle_objects
from gridsecure.gateway.enrolment import Enrolled, IdentityClient
from gridsecure.gateway.identity_peer import IdentityPeer
from gridsecure.gateway.roster_records import load_roster
from gridsecure.gateway.rosters import Roster, assign_id
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.tables import SCHEMA
from gridsecure.gateway.zone import GatewayZone, PinnedKeys
from gridsecure.identity.enrolments.accounts import Account
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.messages import RosterManifest, sign_message
from gridsecure.store.database import open_database
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import migrate
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api.identity import create_identity_app
from gridsecure_api.identity_zone import IdentityZone, load_issuer_key
from gridsecure_api.settings import IdentitySettings, ServiceEntry

_START: Final = "2026-03-01T00:00:00+08:00"
_NOW: Final = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_LIMITS: Final = (8.0, 4.0)  # must, try for
_CHECKERS: Final = 2  # platform and key authority
_SEED: Final = bytes(range(32))


@dataclass(frozen=True, slots=True)
class _Parties:
    identity: IdentityZone
    gateway: GatewayZone
    client: IdentityClient


def enrolment_costs(*, sizes: BenchSizes) -> list[Figure]:
    """The figure of enrolment.

    Args:
        sizes: How many meter points enrol.

    Raises:
        AssertionError: A meter point was left out, or has another number of pseudonyms than two.
        GridSecureError: A party refuses what another sent.
    """
    names = [f"meter point {number:05d}" for number in range(sizes.enrolled)]
    with TemporaryDirectory() as folder, _open_parties(Path(folder), names) as parties:
        started = time.process_time()
        parties.client.join(_START)
        enrolled = parties.client.enrol(names, start=_START)
        told = time.process_time()
        _seat(parties, enrolled)
        seated = time.process_time()
        with Session(parties.identity.registrations) as session:
            kept = session.exec(select(func.count(col(RegistrationRow.subject)))).one()
    if set(enrolled.names) != set(names) or kept != 2 * len(names) + 1:
        raise AssertionError("some of those that were to enrol have not two pseudonyms")
    spent, seats = (
        (end - started) / len(names) * 1000 for end in (seated, seated - told + started)
    )
    note = (
        f"{len(names)} at once: gateway and identity service, and the seats' signatures made once "
        f"and checked twice; of it seats {seats:.2f} ms"
    )
    title = "enrolment with two pseudonyms, processor time per meter point, all parties"
    return [Figure("enrolment", title, "ms", spent, *_LIMITS, "<=", note)]


def _seat(parties: _Parties, enrolled: Enrolled) -> None:
    """Put everybody into one roster, and check it as platform and key authority do."""
    zone = parties.gateway
    seating = Seating(zone, parties.client, _START, lambda: _NOW)
    (roster,), revoked = seating.seat([_draft(enrolled, seating)])
    if revoked:
        raise AssertionError("the identity authority does not vouch for whom it registered")
    envelope = load_roster(zone, roster.manifest.roster_id)
    seats, own = zone.objects.get(roster.manifest.seats), zone.pinned.identity
    for _ in range(_CHECKERS):
        found = verify_seats(envelope, seats=seats, identity={own.thumbprint: own})
        if len(found.holders) != len(enrolled.members):
            raise AssertionError("a roster came back with other seats")


def _draft(enrolled: Enrolled, seating: Seating) -> Roster:
    members = list(enrolled.members.values())
    count = len(members)
    manifest = RosterManifest(
        roster_id="",
        gateway_id=seating.speaker.gateway_id,
        owner=seating.speaker.owner,
        domain=billing_domain(_START).text,
        tariff="0" * 64,
        pseudonyms=[member.billing for member in members],
        zones=[member.facts.zone for member in members],
        customer_classes=[member.facts.customer_class for member in members],
        household_quota_wh=[0] * count,
        contracted_va=[0] * count,
    )
    return Roster(assign_id(manifest), tuple(enrolled.members))


@contextmanager
def _open_parties(folder: Path, names: list[str]) -> Iterator[_Parties]:
    gateway_key = generate_private_key()
    settings, pinned = _identity_settings(folder / "identity", gateway_key)
    with warnings.catch_warnings():  # that it would rather have another library than our clients
        warnings.simplefilter("ignore")
        client = importlib.import_module("starlette.testclient").TestClient
    app = create_identity_app(settings, clock=lambda: _NOW)
    identity: IdentityZone = app.state.zone
    accounts = [
        Account(name, gateway_key.public_key.thumbprint, "", "", name, "futian", "household")
        for name in names
    ]
    write_books(identity.enrolments, accounts, actor="operator", now=_NOW)
    gateway = _gateway_zone(folder / "gateway", gateway_key, pinned)
    settle_objects()  # as both services do once they have started
    # one client enters the application's life; threads may use both
    with client(app) as public:
        service = client(app)
        login = ServiceLoginClient(public, gateway_key, lambda: _NOW)
        service.auth = ServiceAuth(login, audience="identity")
        peer = IdentityPeer(public, service, pause=time.sleep)
        yield _Parties(identity, gateway, IdentityClient(gateway, peer, clock=lambda: _NOW))
        service.close()
    gateway.engine.dispose()


def _identity_settings(folder: Path, gateway: Sm2PrivateKey) -> tuple[IdentitySettings, PinnedKeys]:
    suite, offices = sm2_suite(), {name: generate_private_key() for name in OPENERS}
    halves = {name: generate_opener_key(name, suite=suite).publish(suite) for name in OPENERS}
    issuer = load_issuer_key(folder, suite=suite).public_key(suite)
    said = identity_keys(issuer, halves=halves, suite=suite)
    utility, regulator = (offices[name] for name in OPENERS)
    settings = IdentitySettings(
        folder=folder,
        statements=(
            sign_message(said, key=utility).model_dump_json(),
            sign_message(said, key=regulator).model_dump_json(),
        ),
        utility_public_key=utility.public_key.point.hex(),
        regulator_public_key=regulator.public_key.point.hex(),
        periods=("2026",),
        services=(ServiceEntry(role="gateway", public_key=gateway.public_key.point.hex()),),
    )
    signers = {name: key.public_key for name, key in offices.items()}
    return settings, PinnedKeys(load_signing_key(folder).public_key, signers)


def _gateway_zone(folder: Path, key: Sm2PrivateKey, pinned: PinnedKeys) -> GatewayZone:
    engine = open_database(f"sqlite:///{make_zone_folder(folder) / 'zone.db'}")
    migrate(engine, SCHEMA)
    objects = open_objects(folder_url(folder / "objects"))
    return GatewayZone(
        engine=engine,
        folder=folder,
        objects=objects,
        signing_key=key,
        authority={},
        pinned=pinned,
        seed=_SEED,
    )
