"""The identity authority, its openers, and the agents of a file's meter points, in one process.

Real keys and real proofs, as in the services; only the transport and the channel's envelopes are
left out. The utility's books are what the contract file says, and each meter point is a customer of
its own: a contract file names none. Everything is thrown away with the run.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import pandas as pd
from sqlalchemy import Engine

from gridsecure.credentials.access import batch_challenge
from gridsecure.credentials.holder import SEED_BYTES, Holder, derived_secret
from gridsecure.credentials.issuer_keys import Context, Role, generate_issuer_key
from gridsecure.credentials.opening import OPENERS, generate_opener_key, joint_key
from gridsecure.credentials.presentations import Domain, PublicKeys
from gridsecure.credentials.seats import billing_domain, delegation_text, settlement_domain
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.gateway.agent_records import Member
from gridsecure.gateway.rosters import Roster, Speaker
from gridsecure.identity.enrolments.accounts import Account
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity.enrolments.issuer import CredentialRequest, Issuer
from gridsecure.identity.enrolments.tables import SCHEMA as NAMES
from gridsecure.identity.registrations.registrar import Registrar, Shown
from gridsecure.identity.registrations.tables import SCHEMA as PSEUDONYMS
from gridsecure.identity.registrations.token_service import TokenService
from gridsecure.identity.registrations.vouching import (
    ActingRole,
    registrations_of,
    settlement_names,
)
from gridsecure.identity_messages import NO_FACTS, Facts, RosterSeats
from gridsecure.messages import Signed, signed
from gridsecure.store.database import open_database
from gridsecure.store.schema import Schema, migrate

T = TypeVar("T")

GATEWAY: Final = "gateway"
"""The gateway's own name among the holders."""


@dataclass(slots=True)
class LocalIdentity:
    """Who issues, who vouches, and who is enrolled.

    Args:
        issuer: Issues credentials.
        registrar: Registers pseudonyms.
        tokens: Gives challenges.
        signer: The identity authority's SM2 key.
        seed: What the agents' secrets are derived from.
        seats: Seats of rosters by digest.
    """

    issuer: Issuer
    registrar: Registrar
    tokens: TokenService
    signer: Sm2PrivateKey = field(repr=False)
    seed: bytes = field(repr=False)
    seats: dict[str, bytes] = field(default_factory=dict)
    _enrolled: dict[tuple[str, str], Facts] = field(default_factory=dict)
    _seated: dict[str, str] = field(default_factory=dict)

    def holder(self, name: str) -> Holder:
        """An agent, or the gateway itself."""
        suite, keys = self.registrar.suite, self.registrar.keys
        return Holder(suite, keys, derived_secret(self.seed, name=name, suite=suite))

    def gateway_key(self, start: str) -> Sm2PrivateKey:
        """The gateway's key in the billing domain."""
        return self.holder(GATEWAY).key_in(billing_domain(start))

    def speaker(self, start: str) -> Speaker:
        """The gateway as its rosters name it."""
        return Speaker(self.gateway_key(start).public_key.thumbprint, NO_FACTS.owner)

    def members(self, contracts: pd.DataFrame, *, start: str, now: datetime) -> dict[str, Member]:
        """Write meter points into the books, enrol and register them, where they are not yet.

        Args:
            contracts: Contract frame of the meter points.
            start: Start of the billing period, ISO 8601.
            now: The present, aware.

        Returns:
            Meter point -> its pseudonyms, and the facts certified of it.

        Raises:
            InvalidMessageError: A zone or class that the books do not take (`books.account`).
            GridSecureError: The identity authority refused one.
        """
        names = contracts["meter_point_id"].tolist()
        domains = (billing_domain(start), settlement_domain(start))
        self._enter(contracts, now=now)
        self._register([GATEWAY], role="gateway", domains=domains[:1], now=now)
        self._register(names, role="meter-point", domains=domains, now=now)
        return {
            name: Member(
                tuple(self.holder(name).name_in(domain) for domain in domains),
                self._enrolled[domains[0].period, name],
            )
            for name in names
        }

    def _enter(self, contracts: pd.DataFrame, *, now: datetime) -> None:
        columns = ("meter_point_id", "zone", "customer_class")
        accounts = [
            Account(
                name, GATEWAY, name="", address="", customer_id=name, zone=zone, customer_class=kind
            )
            for name, zone, kind in zip(*(contracts[column] for column in columns), strict=True)
        ]
        write_books(self.issuer.engine, accounts, actor=GATEWAY, now=now)

    def owners(self, names: Sequence[str], *, start: str) -> dict[str, str]:
        """Settlement pseudonym -> meter point."""
        domain = settlement_domain(start)
        return {self.holder(name).name_in(domain): name for name in names}

    def settlement(self, domain: str, subjects: Sequence[str]) -> list[str]:
        """Settlement pseudonyms, as the key authority asks for them."""
        engine, now = self.registrar.engine, datetime.now(UTC)
        return settlement_names(engine, subjects, domain=domain, actor="authority", now=now).names

    def seated(self, roster: Roster, *, start: str, now: datetime) -> Roster:
        """A roster with every agent's agreement, which is kept in `seats`; once for all its months.

        Args:
            roster: The roster.
            start: Start of the billing period, ISO 8601.
            now: The present, aware.
        """
        manifest, domain = roster.manifest, billing_domain(start)
        if (known := self._seated.get(manifest.roster_id)) is not None:
            return replace(roster, manifest=manifest.model_copy(update={"seats": known}))
        gateway = self.holder(GATEWAY).name_in(domain)
        keys = (self.holder(name).key_in(domain) for name in roster.meter_point_ids)
        seats = RosterSeats(
            gateway=self._vouched([gateway], domain, role="gateway", now=now),
            holders=self._vouched(manifest.pseudonyms, domain, role="meter-point", now=now),
            delegations=[
                key.sign(delegation_text(manifest, slot)).hex() for slot, key in enumerate(keys)
            ],
        )
        data = seats.model_dump_json().encode()
        digest = sm3_hex(data)
        self.seats[digest] = data
        self._seated[manifest.roster_id] = digest
        return replace(roster, manifest=manifest.model_copy(update={"seats": digest}))

    def gateway_registration(self, start: str, *, now: datetime) -> Signed:
        """The identity authority's word on the gateway's own pseudonym."""
        domain = billing_domain(start)
        gateway = self.holder(GATEWAY).name_in(domain)
        return self._vouched([gateway], domain, role="gateway", now=now)

    def _vouched(
        self, subjects: Sequence[str], domain: Domain, *, role: ActingRole, now: datetime
    ) -> Signed:
        engine = self.registrar.engine
        found, refused = registrations_of(engine, subjects, domain=domain.text, role=role, now=now)
        if found is None or refused:
            raise GridSecureError(
                "A pseudonym in this file was revoked or is not registered.",
                reason="identity.revoked",
            )
        return signed(found, key=self.signer)

    def _register(
        self, names: Sequence[str], *, role: Role, domains: tuple[Domain, ...], now: datetime
    ) -> None:
        period = domains[0].period
        new = [name for name in names if (period, name) not in self._enrolled]
        if not new:
            return
        context = Context(role, period)
        channel = secrets.token_bytes(32)
        pending = [self.holder(name).ask(context, channel=channel) for name in new]
        requests = [
            CredentialRequest(name, asked.message, channel)
            for name, asked in zip(new, pending, strict=True)
        ]
        answers = self.issuer.issue_all(requests, context=context, now=now)
        challenge = self.tokens.challenge(now=now)
        shown = []
        for index, (name, asked, answer) in enumerate(zip(new, pending, answers, strict=True)):
            holder, issued = self.holder(name), _accepted(answer)
            credential = holder.take(
                asked, response=issued.response, channel=channel, facts=issued.facts
            )
            own = batch_challenge(challenge, index)
            occasion, message = holder.show(credential, domains=domains, challenge=own)
            shown.append(Shown(occasion.holder.point, message, issued.facts))
        outcomes = self.registrar.register_all(
            shown, context=context, domains=domains, challenge=challenge, now=now
        )
        for name, outcome in zip(new, outcomes, strict=True):
            self._enrolled[period, name] = _accepted(outcome)[0].facts


@contextmanager
def local_identity(folder: Path) -> Iterator[LocalIdentity]:
    """Set up the identity authority with fresh keys and its two databases.

    Args:
        folder: Where the databases go.
    """
    suite = sm2_suite()
    key = generate_issuer_key(suite)
    halves = {name: generate_opener_key(name, suite=suite).published(suite) for name in OPENERS}
    keys = PublicKeys(key.public_key(suite), joint_key(halves, suite=suite))
    signer = generate_private_key()
    enrolments = _database(folder, "e", NAMES)
    registrations = _database(folder, "r", PSEUDONYMS)
    try:
        yield LocalIdentity(
            Issuer(suite, key, enrolments),
            Registrar(suite, keys, key, registrations),
            TokenService(suite, keys, key, signer, registrations),
            signer,
            secrets.token_bytes(SEED_BYTES),
        )
    finally:
        enrolments.dispose()
        registrations.dispose()


def _database(folder: Path, name: str, schema: Schema) -> Engine:
    engine = open_database(f"sqlite:///{folder / name}.db")
    migrate(engine, schema)
    return engine


def _accepted(outcome: T | GridSecureError) -> T:
    if isinstance(outcome, GridSecureError):
        raise outcome
    return outcome
