"""An identity authority, its openers and databases, a platform and holders, in one process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.compute.tables import SCHEMA as PLATFORM
from gridsecure.credentials.access import batch_challenge
from gridsecure.credentials.batch_issuance import issue_credentials
from gridsecure.credentials.holder import Holder
from gridsecure.credentials.issuance import Credential, check_request, issue_credential
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey, generate_issuer_key
from gridsecure.credentials.opening import (
    OPENERS,
    Opener,
    OpenerKey,
    generate_opener_key,
    joint_key,
)
from gridsecure.credentials.pinning import identity_keys
from gridsecure.credentials.presentations import Domain, Occasion, PublicKeys, present
from gridsecure.credentials.seats import billing_domain, settlement_domain
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.identity.enrolments.accounts import Account, find_accounts
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity.enrolments.issuer import Issuer
from gridsecure.identity.enrolments.tables import SCHEMA as NAMES
from gridsecure.identity.registrations.registrar import ReceivedPresentation, Registrar
from gridsecure.identity.registrations.tables import SCHEMA as PSEUDONYMS
from gridsecure.identity.registrations.token_service import TokenService
from gridsecure.identity_messages import Facts
from gridsecure.messages import Signed, sign_message
from gridsecure.store.database import open_database
from gridsecure.store.schema import Schema, migrate

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
HOME = Facts(zone="futian", customer_class="household", counted=True)
"""What is certified of a customer's only meter point, as `in_books` writes it."""
METER = Context("meter-point", "2026", HOME)
ANALYST = Context("analyst", "2026")
UPLOAD = Domain("platform", "upload", "2026")
SETTLE = Domain("platform", "settlement", "2026")
BILLING = billing_domain("2026-03")
SETTLEMENT = settlement_domain("2026-03")
NEXT_BILLING = billing_domain("2027-01")
CHANNEL = b"channel 1"
PEOPLE = {
    "lin": ("analyst",),
    "wei": ("analyst",),
    "clerk": ("billing",),
    "ops": ("operator",),
    "inspector": ("regulator",),
}
"""Roles of people who log in with a key."""


@dataclass(frozen=True)
class Keys:
    """Made once for all tests: keys hold no state."""

    issuer: IssuerPrivateKey
    openers: dict[Opener, OpenerKey]
    published: dict[Opener, bytes]
    public: PublicKeys
    signer: Sm2PrivateKey
    staters: dict[Opener, Sm2PrivateKey]
    people: dict[str, Sm2PrivateKey]

    @property
    def signers(self) -> dict[Opener, Sm2PublicKey]:
        return {name: key.public_key for name, key in self.staters.items()}

    @property
    def statements(self) -> tuple[Signed, Signed]:
        """What the utility and the regulator say of the keys."""
        said = identity_keys(self.public.issuer, halves=self.published, suite=suite())
        one, two = (sign_message(said, key=self.staters[name]) for name in OPENERS)
        return one, two


@cache
def suite() -> Suite:
    return sm2_suite()


@cache
def keys() -> Keys:
    issuer = generate_issuer_key(suite())
    openers = {name: generate_opener_key(name, suite=suite()) for name in OPENERS}
    published = {name: key.publish(suite()) for name, key in openers.items()}
    public = PublicKeys(issuer.public_key(suite()), joint_key(published, suite=suite()))
    staters = {name: generate_private_key() for name in OPENERS}
    people = {name: generate_private_key() for name in PEOPLE}
    return Keys(issuer, openers, published, public, generate_private_key(), staters, people)


@dataclass(frozen=True)
class Member:
    holder: Holder
    credential: Credential


@dataclass(frozen=True)
class World:
    issuer: Issuer
    registrar: Registrar
    service: TokenService
    platform: Engine

    def enrol(self, holder: Holder, identity: str, context: Context = METER) -> Credential:
        if context.role == "meter-point":
            in_books(self.issuer.engine, identity)
        pending = holder.ask(context, channel=CHANNEL)
        issued = self.issuer.issue(
            pending.message, identity=identity, context=context, channel=CHANNEL, now=NOW
        )
        return holder.take(pending, response=issued.response, channel=CHANNEL, facts=issued.facts)

    def register(self, holder: Holder, credential: Credential, *domains: Domain):
        challenge = self.service.challenge(now=NOW)
        occasion, message = holder.show(
            credential, domains=domains or (UPLOAD,), challenge=challenge
        )
        return self.registrar.register(message, occasion=occasion, now=NOW)

    def members(self, count: int, *, first: int = 0) -> list[Member]:
        """Meter points with credentials."""
        holders = [new_holder() for _ in range(count)]
        return [
            Member(holder, self.enrol(holder, f"customer {number}"))
            for number, holder in enumerate(holders, start=first)
        ]

    def register_all(self, members: list[Member], *domains: Domain, context: Context = METER):
        """Register members together, as a gateway does."""
        challenge = self.service.challenge(now=NOW)
        return self.registrar.register_all(
            shown_together(members, domains, challenge=challenge),
            context=context,
            domains=domains,
            challenge=challenge,
            now=NOW,
        )

    def log_in(self, holder: Holder, domain: Domain = UPLOAD) -> str:
        challenge = self.service.challenge(now=NOW)
        return self.service.log_in(
            holder.name_in(domain),
            domain=domain,
            challenge=challenge,
            signature=holder.sign_in(domain, challenge=challenge),
            now=NOW,
        ).token


def answered(
    message: bytes, *, context: Context, channel: bytes, key: IssuerPrivateKey | None = None
) -> bytes:
    """A request's answer, without any record of it; the holder is told the context's facts."""
    own = key or keys().issuer
    asked = check_request(
        message, suite=suite(), issuer=own.public_key(suite()), context=context, channel=channel
    )
    if context.is_hidden:
        return issue_credential(asked, suite=suite(), key=own, facts=context.facts)
    (mac,), proof = issue_credentials([asked], suite=suite(), key=own, facts=[context.facts])
    return mac + proof


def account_of(meter_point_id: str, **changes: object) -> Account:
    """An account of the books; its customer has no other meter point."""
    fields = {
        "gateway": "ab" * 32,
        "name": "Lin",
        "address": "Harbour Road 1",
        "customer_id": f"customer of {meter_point_id}",
        "zone": HOME.zone,
        "customer_class": HOME.customer_class,
    }
    return Account(meter_point_id, **(fields | changes))


def in_books(engine: Engine, *identities: str) -> None:
    """Write meter points into the books that are not there, each of a customer of its own."""
    with Session(engine) as session:
        known = find_accounts(session, identities)
    accounts = [account_of(name) for name in identities if name not in known]
    if accounts:
        write_books(engine, accounts, actor="ops", now=NOW)


def new_holder() -> Holder:
    return Holder(suite(), keys().public, suite().group.random_scalar())


def shown_with(
    holder: Holder,
    credential: Credential,
    *domains: Domain,
    key: Sm2PrivateKey,
    challenge: bytes,
) -> tuple[Occasion, bytes]:
    """A credential shown for another key than the holder's own: what a clone would do."""
    occasion = Occasion(credential.context, domains, key.public_key, challenge)
    return occasion, present(credential, occasion=occasion, keys=holder.keys, suite=holder.suite)


def shown_together(
    members: list[Member], domains: tuple[Domain, ...], *, challenge: bytes
) -> list[ReceivedPresentation]:
    """What members show in answer to one challenge."""
    shown = []
    for at, member in enumerate(members):
        occasion, message = member.holder.show(
            member.credential, domains=domains, challenge=batch_challenge(challenge, at)
        )
        shown.append(
            ReceivedPresentation(occasion.holder.point, message, member.credential.context.facts)
        )
    return shown


SCHEMAS = {"enrolments": NAMES, "registrations": PSEUDONYMS, "platform": PLATFORM}


def database(folder: Path, name: str) -> Engine:
    return opened(f"sqlite:///{folder / name}.db", SCHEMAS[name])


def opened(url: str, schema: Schema) -> Engine:
    """A database with its tables."""
    engine = open_database(url)
    migrate(engine, schema)
    return engine


def new_world(folder: Path) -> World:
    made = keys()
    registrations = database(folder, "registrations")
    return World(
        Issuer(suite(), made.issuer, database(folder, "enrolments")),
        Registrar(suite(), made.public, made.issuer, registrations),
        TokenService(suite(), made.public, made.issuer, made.signer, registrations),
        database(folder, "platform"),
    )
