"""An identity authority, its openers and databases, a platform and holders, in one process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from gridsecure.credentials.holder import Holder
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey, generate_issuer_key
from gridsecure.credentials.opening import (
    OPENERS,
    Opener,
    OpenerKey,
    generate_opener_key,
    joint_key,
)
from gridsecure.credentials.presentations import Domain, Occasion, PublicKeys, present
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.identity.authority import Issuer, TokenService
from gridsecure.store.database import open_database
from gridsecure.store.records import create_tables

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
METER = Context("meter-point", "2026")
ANALYST = Context("analyst", "2026")
UPLOAD = Domain("platform", "upload", "2026")
SETTLE = Domain("platform", "settlement", "2026")
CHANNEL = b"channel 1"


@dataclass(frozen=True)
class Keys:
    """Made once for all tests: keys hold no state."""

    issuer: IssuerPrivateKey
    openers: dict[Opener, OpenerKey]
    published: dict[Opener, bytes]
    public: PublicKeys
    signer: Sm2PrivateKey


@cache
def suite() -> Suite:
    return sm2_suite()


@cache
def keys() -> Keys:
    issuer = generate_issuer_key(suite())
    openers = {name: generate_opener_key(name, suite=suite()) for name in OPENERS}
    published = {name: key.published(suite()) for name, key in openers.items()}
    public = PublicKeys(issuer.public_key(suite()), joint_key(published, suite=suite()))
    return Keys(issuer, openers, published, public, generate_private_key())


@dataclass(frozen=True)
class World:
    issuer: Issuer
    service: TokenService
    platform: Engine

    def enrol(self, holder: Holder, identity: str, context: Context = METER) -> Credential:
        pending = holder.ask(context, channel=CHANNEL)
        response = self.issuer.issue(
            pending.message, identity=identity, context=context, channel=CHANNEL, now=NOW
        )
        return holder.take(pending, response=response, channel=CHANNEL)

    def register(self, holder: Holder, credential: Credential, *domains: Domain):
        challenge = self.service.challenge(now=NOW)
        occasion, message = holder.show(
            credential, domains=domains or (UPLOAD,), challenge=challenge
        )
        return self.service.register(message, occasion=occasion, now=NOW)

    def log_in(self, holder: Holder, domain: Domain = UPLOAD) -> str:
        challenge = self.service.challenge(now=NOW)
        return self.service.log_in(
            holder.name_in(domain),
            domain=domain,
            challenge=challenge,
            signature=holder.sign_in(domain, challenge=challenge),
            now=NOW,
        )


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


def database(folder: Path, name: str) -> Engine:
    engine = open_database(f"sqlite:///{folder / name}.db")
    create_tables(engine)
    return engine


def new_world(folder: Path) -> World:
    made = keys()
    return World(
        Issuer(suite(), made.issuer, database(folder, "enrolments")),
        TokenService(
            suite(), made.public, made.issuer, made.signer, database(folder, "registrations")
        ),
        database(folder, "platform"),
    )
