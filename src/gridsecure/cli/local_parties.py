"""All parties in one process, with real keys and real parameters, for the bills of a file.

Every party is what it is as a service: its stores, its keys, its functions and its evidence log.
Only HTTP and its tokens are left out: where a gateway would call a service over the network, the
classes below call that service's functions. All of it lives in a temporary folder that is gone
afterwards, and the keys with it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import pandas as pd
from sqlalchemy import Engine

from gridsecure.approvals import APPROVER_ROLES, Approver, ApproverRole, pin_approvers
from gridsecure.cli.online import utc_now
from gridsecure.compute import intake
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.key_sets import install_key_set
from gridsecure.compute.runs import find_signed_message
from gridsecure.compute.tables import SCHEMA as PLATFORM
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.holder import SEED_BYTES
from gridsecure.credentials.issuer_keys import Context, Role, generate_issuer_key
from gridsecure.credentials.opening import OPENERS, Opener, generate_opener_key
from gridsecure.credentials.pinning import identity_keys, pin_keys
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import registration_domains
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError, InvalidMessageError
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.identity_peer import HolderLogin, Registering
from gridsecure.gateway.key_sets import OwnKeySets
from gridsecure.gateway.months import Peers
from gridsecure.gateway.tables import SCHEMA as GATEWAY
from gridsecure.gateway.zone import GatewayZone, PinnedKeys
from gridsecure.identity.enrolments.accounts import Account
from gridsecure.identity.enrolments.books import find_days, write_books
from gridsecure.identity.enrolments.issuer import Issuer
from gridsecure.identity.enrolments.orders import SESSIONS, EnrolmentDesk, Party
from gridsecure.identity.enrolments.tables import SCHEMA as NAMES
from gridsecure.identity.registrations.registrar import ReceivedPresentation, Registrar
from gridsecure.identity.registrations.tables import SCHEMA as PSEUDONYMS
from gridsecure.identity.registrations.token_service import TokenService
from gridsecure.identity.registrations.vouching import (
    ActingRole,
    vouch_registrations,
    vouch_settlement_names,
)
from gridsecure.key_authority.checker.key_sets import give_key_set, public_objects
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.key_authority.checker.tables import SCHEMA as AUTHORITY
from gridsecure.key_authority.checker.zone import AuthorityZone, Settlement
from gridsecure.key_authority.vault.ceremony import init_vault
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.key_authority.vault.gate import ReleaseGate
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.key_authority.vault.key_lock import LONGEST_HOURS, KeyLock
from gridsecure.messages import KeyNotice, Signed, sign_message
from gridsecure.month_texts import CALENDAR, year_text
from gridsecure.offices.custodians import answer_challenge, open_share
from gridsecure.policy.packs import UNIFORM, load_pack
from gridsecure.store.database import open_database
from gridsecure.store.log_tree import SignedLog
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import Schema, migrate
from gridsecure.vault_messages import Custodian
from gridsecure.wire.platform import UploadStatus
from gridsecure.zone_keys import load_blinding_key, load_log_signer, load_query_key

ACTOR: Final = "local"
"""Who orders what is done here, in the evidence logs."""


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """The identity authority, as its service offers it to gateways.

    Args:
        registrar: Registers pseudonyms.
        sender: The gateway, as it is registered.
    """

    desk: EnrolmentDesk
    registrar: Registrar
    tokens: TokenService
    statements: tuple[Signed, ...]
    sender: Party

    def identity_keys(self) -> list[Signed]:
        """The openers' statements."""
        return list(self.statements)

    def session(self) -> str:
        """A session of the gateway."""
        return SESSIONS.give(self._enrolments, now=utc_now(), owner=self.sender.name).hex()

    def enrol(self, order: bytes) -> bytes:
        """Carry an order out."""
        return self.desk.answer(order, bearer=self.sender.name, now=utc_now())

    def account_days(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Days of the gateway's accounts."""
        return find_days(self._enrolments, names, gateway=self.sender.key.thumbprint)

    def challenge(self) -> bytes:
        """A challenge."""
        return self.tokens.challenge(now=utc_now())

    def register(self, registering: Registering) -> list[tuple[str, ...] | str]:
        """Register pseudonyms, each holder's together or not at all."""
        role, period = registering.role, registering.period
        outcomes = self.registrar.register_all(
            [
                ReceivedPresentation(bytes.fromhex(item.holder), item.presentation, item.facts)
                for item in registering.items
            ],
            context=Context(role, period),
            domains=registration_domains(role, period=period, carry=registering.carry),
            challenge=registering.challenge,
            now=utc_now(),
        )
        return [
            outcome.reason
            if isinstance(outcome, GridSecureError)
            else tuple(entry.subject for entry in outcome)
            for outcome in outcomes
        ]

    def registrations(
        self, *, domain: str, role: Role, subjects: Sequence[str]
    ) -> tuple[Signed | None, frozenset[str]]:
        """Vouch for pseudonyms that may act."""
        said, refused = vouch_registrations(
            self.registrar.engine,
            subjects,
            domain=domain,
            role=cast(ActingRole, role),
            now=utc_now(),
        )
        envelope = None if said is None else sign_message(said, key=self.desk.key)
        return envelope, frozenset(refused)

    def log_in(
        self, *, subject: str, domain: str, challenge: bytes, signature: bytes
    ) -> HolderLogin:
        """Give a pseudonym a token."""
        given = self.tokens.log_in(
            subject,
            domain=Domain.parse(domain),
            challenge=challenge,
            signature=signature,
            now=utc_now(),
        )
        return HolderLogin(given.token, given.expires_at)

    def malformed(self) -> GridSecureError:
        """The error for an answer that is not what was asked for."""
        return InvalidMessageError(
            "The identity authority did not answer what was asked.", reason="identity.answer"
        )

    def settlement(self, domain: str, subjects: Sequence[str]) -> list[str]:
        """Settlement pseudonyms, as the key authority asks for them."""
        engine, now = self.registrar.engine, utc_now()
        return vouch_settlement_names(
            engine, subjects, domain=domain, actor="authority", now=now
        ).names

    def enter(self, contracts: pd.DataFrame) -> None:
        """Write meter points into the books, each a customer of its own: contracts name none.

        Raises:
            InvalidMessageError: A zone or class that the books do not take (`books.account`).
        """
        columns = ("meter_point_id", "zone", "customer_class")
        gateway = self.sender.key.thumbprint
        accounts = [
            Account(
                name, gateway, name="", address="", customer_id=name, zone=zone, customer_class=kind
            )
            for name, zone, kind in zip(*(contracts[column] for column in columns), strict=True)
        ]
        write_books(self._enrolments, accounts, actor=ACTOR, now=utc_now())

    @property
    def _enrolments(self) -> Engine:
        return self.desk.issuer.engine


@dataclass(frozen=True, slots=True)
class LocalKeySets:
    """The key authority, as its service offers it to gateways."""

    authority: AuthorityZone

    def ask(self, request: Signed, *, registrations: Signed) -> tuple[Signed, list[bytes]]:
        """Give the gateway its key set."""
        notice = give_key_set(self.authority, request, registrations=registrations, at=utc_now())
        return notice, public_objects(self.authority, notice)


@dataclass(frozen=True, slots=True)
class LocalPlatform:
    """The compute platform, as its service offers it to gateways and to the checker."""

    zone: PlatformZone
    _has: set[str] = field(default_factory=set)

    def send_tariff(self, text: str) -> str:
        """Take a tariff in."""
        return intake.install_tariff(self.zone, text)

    def register_roster(self, roster: Signed, seats: bytes) -> None:
        """Take a roster in."""
        intake.register_roster(self.zone, roster, seats=seats, at=utc_now())

    def send_key_set(self, notice: Signed, *, load: Callable[[str], bytes]) -> None:
        """Take a key set in."""
        if notice.digest in self._has:
            return
        if install_key_set(self.zone, notice, keys=(), at=utc_now()).missing:
            named = KeyNotice.parse(notice.body)
            digests = (named.public_key, named.relinearisation_keys)
            keys = tuple(load(digest) for digest in digests if digest)
            install_key_set(self.zone, notice, keys=keys, at=utc_now())
        self._has.add(notice.digest)

    def begin_upload(self, manifest: Signed) -> UploadStatus:
        """Take a manifest in."""
        return intake.begin_upload(self.zone, manifest, at=utc_now())

    def send_objects(self, manifest: Signed, *, batch: Mapping[str, bytes]) -> None:
        """Take objects in."""
        objects = {sm3_hex(data): data for data in batch.values()}
        intake.receive_objects(self.zone, manifest.digest, objects=objects)

    def commit_upload(self, manifest: Signed) -> UploadStatus:
        """Commit an upload."""
        return intake.commit_upload(self.zone, manifest.digest, at=utc_now())

    def message(self, kind: str, digest: str) -> Signed:
        """A signed message, as the checker asks for it."""
        return find_signed_message(self.zone, kind=kind, digest=digest)

    def objects(self, digests: Sequence[str]) -> Iterator[bytes]:
        """Objects, as the checker asks for them."""
        return map(self.zone.objects.get, digests)


@dataclass(frozen=True, slots=True)
class LocalParties:
    """The parties, for as long as the temporary folder lives.

    Args:
        peers: The others, as the gateway calls them.
        officers: Keys of those who approve releases; each is called as the role is.
    """

    office: Sm2PrivateKey = field(repr=False)
    identity: LocalIdentity
    gateway: GatewayZone
    peers: Peers
    platform: LocalPlatform
    authority: AuthorityZone
    officers: Mapping[ApproverRole, Sm2PrivateKey] = field(repr=False)


@contextmanager
def local_parties(
    *, years: Sequence[str], timezone: str, cycle_day: int = CALENDAR
) -> Iterator[LocalParties]:
    """Set the parties up with fresh keys; the folder is removed however the block ends.

    Args:
        years: Years of the months to bill, in which credentials are given.
        timezone: Local time of the meters.
        cycle_day: Day of the month that billing periods begin on.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gridsecure-")))
        setup = _Setup(folder, stack)
        identity = setup.identity(tuple(years))
        platform = LocalPlatform(setup.platform())
        authority = setup.authority(identity.settlement)
        gateway = setup.gateway(timezone, cycle_day)
        peers = _peers(gateway, identity, LocalKeySets(authority), platform)
        yield LocalParties(
            setup.office_key, identity, gateway, peers, platform, authority, setup.officers
        )


@dataclass(frozen=True, slots=True)
class _Setup:
    """The parties' keys, and where their stores go."""

    folder: Path
    stack: ExitStack
    gateway_key: Sm2PrivateKey = field(default_factory=generate_private_key)
    identity_key: Sm2PrivateKey = field(default_factory=generate_private_key)
    platform_key: Sm2PrivateKey = field(default_factory=generate_private_key)
    authority_key: Sm2PrivateKey = field(default_factory=generate_private_key)
    office_key: Sm2PrivateKey = field(default_factory=generate_private_key)
    openers: Mapping[Opener, Sm2PrivateKey] = field(
        default_factory=lambda: {name: generate_private_key() for name in OPENERS}
    )
    officers: Mapping[ApproverRole, Sm2PrivateKey] = field(
        default_factory=lambda: {role: generate_private_key() for role in APPROVER_ROLES}
    )

    def identity(self, years: tuple[str, ...]) -> LocalIdentity:
        """The identity authority, whose keys both openers state."""
        suite, gateway = sm2_suite(), self.gateway_key.public_key
        key = generate_issuer_key(suite)
        halves = {name: generate_opener_key(name, suite=suite).publish(suite) for name in OPENERS}
        said = identity_keys(key.public_key(suite), halves=halves, suite=suite)
        statements = tuple(sign_message(said, key=opener) for opener in self.openers.values())
        keys = pin_keys(statements, signers=self._signers, suite=suite)
        enrolments = self._database("enrolments", NAMES)
        registrations = self._database("registrations", PSEUDONYMS)
        sender = Party(f"gateway:{gateway.thumbprint}", ("gateway",), gateway)
        issuer, parties = Issuer(suite, key, enrolments), {gateway.thumbprint: sender}
        return LocalIdentity(
            EnrolmentDesk(issuer, self.identity_key, parties, {}, years),
            Registrar(suite, keys, key, registrations),
            TokenService(suite, keys, key, self.identity_key, registrations),
            statements,
            sender,
        )

    def platform(self) -> PlatformZone:
        """The compute platform."""
        engine = self._database("platform", PLATFORM)
        store = open_objects(folder_url(self.folder / "platform-objects"))
        return PlatformZone(
            engine=engine,
            objects=PlatformObjects(store, engine),
            signing_key=self.platform_key,
            identity=_registry(self.identity_key),
            authority=_registry(self.authority_key),
            office=_registry(self.office_key),
            policy=load_pack(UNIFORM),
        )

    def authority(self, settlement: Settlement) -> AuthorityZone:
        """The key authority with its vault."""
        folder, office = self.folder / "vault", self.office_key.public_key
        folder.mkdir(mode=0o700)
        key_lock = _unlocked_key(folder)
        approvers = pin_approvers(
            Approver(role, role, key.public_key) for role, key in self.officers.items()
        )
        policies = VaultPolicies(key_lock, clock=key_lock.now)
        policy = policies.open(UNIFORM, approvers=approvers)
        gate = ReleaseGate(folder, policies=policies, approvers=approvers, clock=key_lock.now)
        objects = open_objects(folder_url(self.folder / "authority-objects"))
        return AuthorityZone(
            engine=self._database("authority", AUTHORITY),
            objects=objects,
            checks=Checks(objects),
            signing_key=self.authority_key,
            query_key=load_query_key(self.folder / "authority"),
            blinding_key=load_blinding_key(self.folder / "authority"),
            log=SignedLog(
                load_log_signer(self.folder / "authority", log="authority", key=self.authority_key)
            ),
            platform=_registry(self.platform_key),
            identity=_registry(self.identity_key),
            office=_registry(self.office_key),
            settlement=settlement,
            vault=Vault(folder, key_lock, self.authority_key.public_key, office, gate),
            policy=policy,
            approvers=approvers,
        )

    def gateway(self, timezone: str, cycle_day: int) -> GatewayZone:
        """The gateway."""
        return GatewayZone(
            engine=self._database("gateway", GATEWAY),
            folder=self.folder / "gateway",
            objects=open_objects(folder_url(self.folder / "gateway-objects")),
            signing_key=self.gateway_key,
            authority=_registry(self.authority_key),
            pinned=PinnedKeys(self.identity_key.public_key, self._signers),
            seed=secrets.token_bytes(SEED_BYTES),
            timezone=timezone,
            cycle_day=cycle_day,
        )

    @property
    def _signers(self) -> dict[Opener, Sm2PublicKey]:
        return {name: key.public_key for name, key in self.openers.items()}

    def _database(self, name: str, schema: Schema) -> Engine:
        engine = open_database(f"sqlite:///{self.folder / name}.db")
        self.stack.callback(engine.dispose)
        migrate(engine, schema)
        return engine


def _peers(
    zone: GatewayZone, identity: LocalIdentity, key_sets: LocalKeySets, platform: LocalPlatform
) -> Peers:
    client = IdentityClient(zone, identity, clock=utc_now)

    @cache
    def of_year(year: str) -> OwnKeySets:
        return OwnKeySets(zone, key_sets, identity=client, start=year, clock=utc_now)

    return Peers(
        identity=client,
        key_sets=lambda start: of_year(year_text(start)),
        platform=lambda _start: platform,
    )


def _unlocked_key(folder: Path) -> KeyLock:
    """The lock of a new vault, which two of three custodians have opened for as long as it runs."""
    keys = {name: generate_private_key() for name in ("first", "second", "third")}
    custodians = [
        Custodian(name=name, public_key=key.public_key.point.hex()) for name, key in keys.items()
    ]
    made = init_vault(folder, custodians, needed=2, created_at=utc_now())
    key_lock = KeyLock(folder, hours=LONGEST_HOURS, clock=utc_now, uptime=time.monotonic)
    for name in ("first", "second"):
        share = open_share(made.shares[name], key=keys[name])
        stated = key_lock.state_challenge("unlock")
        key_lock.take_share(answer_challenge(stated, share, key=keys[name], now=utc_now()))
    return key_lock


def _registry(key: Sm2PrivateKey) -> dict[str, Sm2PublicKey]:
    return {key.public_key.thumbprint: key.public_key}
