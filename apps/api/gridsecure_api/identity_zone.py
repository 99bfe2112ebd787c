"""What the identity service holds, opened and checked.

Two databases that never mix: `enrolments` knows people, accounts and their keys; `registrations`
knows pseudonyms. Each has an evidence log of its own. Logins of people and services are noted
beside enrolments, because they have names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine

from gridsecure.credentials.grants import Quota
from gridsecure.credentials.issuer_keys import (
    Context,
    IssuerPrivateKey,
    generate_issuer_key,
)
from gridsecure.credentials.opening import Opener
from gridsecure.credentials.pinning import pin_keys
from gridsecure.credentials.presentations import PublicKeys
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import InvalidMessageError, SignatureError, StorageError
from gridsecure.identity.enrolments.failed_attempts import FailedAttempts
from gridsecure.identity.enrolments.issuer import Issuer
from gridsecure.identity.enrolments.orders import EnrolmentDesk, Party
from gridsecure.identity.enrolments.passwords import check_record, decoy_record
from gridsecure.identity.enrolments.tables import SCHEMA as NAMES
from gridsecure.identity.registrations.registrar import Registrar
from gridsecure.identity.registrations.tables import SCHEMA as PSEUDONYMS
from gridsecure.identity.registrations.token_service import TokenService
from gridsecure.messages import Signed
from gridsecure.store import evidence
from gridsecure.store.database import open_database, write_session
from gridsecure.store.schema import migrate
from gridsecure.zone_keys import load_secret, load_signing_key, make_zone_folder
from gridsecure_api.deps import Clock
from gridsecure_api.own_build import OwnBuild, open_build
from gridsecure_api.settings import IdentityDatabase, IdentitySettings, UserEntry, public_key

ISSUER_KEY: Final = "issuer.key"
DATABASES: Final[tuple[IdentityDatabase, ...]] = ("enrolments", "registrations")


@dataclass(frozen=True, slots=True)
class PasswordDoor:
    """Sign-in with passwords, for the local demonstration.

    Args:
        users: Who may sign in, by name.
        decoy: The record that unknown names are checked against.
        failures: Failed attempts.
    """

    users: Mapping[str, UserEntry]
    decoy: str = field(repr=False)
    failures: FailedAttempts


@dataclass(frozen=True, slots=True)
class IdentityZone:
    """What the identity service holds.

    Args:
        registrations: The database that knows pseudonyms.
        keys: The published keys, as both openers state them.
        registrar: Registers pseudonyms.
        tokens: Gives tokens to pseudonyms and for grants.
        passwords: Sign-in with passwords, None unless users were configured.
        grants_per_epoch: Query grants of an analyst in a month.
        person_lifetime: How long a person's token lasts.
        source_lifetime: How long a meter-data system's token lasts.
        build: The software that runs here, and whose statement services have to show.
    """

    enrolments: Engine = field(repr=False)
    registrations: Engine = field(repr=False)
    key: Sm2PrivateKey = field(repr=False)
    keys: PublicKeys
    statements: tuple[Signed, ...]
    desk: EnrolmentDesk
    registrar: Registrar
    tokens: TokenService
    passwords: PasswordDoor | None
    grants_per_epoch: int
    person_lifetime: timedelta
    source_lifetime: timedelta
    clock: Clock
    build: OwnBuild

    def quota(self, now: datetime) -> Quota:
        """How many grants an analyst has now: so many a month of UTC."""
        moment = now.astimezone(UTC)
        context = Context("analyst", f"{moment:%Y}")
        return Quota(context, f"{moment:%Y-%m}", self.grants_per_epoch)

    @property
    def authorities(self) -> dict[str, Sm2PublicKey]:
        """The key authorities that are registered as services, by thumbprint."""
        known = self.desk.services.items()
        return {name: one.key for name, one in known if "authority" in one.roles}

    def note(self, *, actor: str, action: str, detail: Mapping[str, evidence.JSON]) -> None:
        """Append to the evidence log beside the enrolments: what people and services did."""
        with write_session(self.enrolments) as session:
            evidence.append(session, at=self.clock(), actor=actor, action=action, detail=detail)

    def close(self) -> None:
        """Close the databases."""
        self.enrolments.dispose()
        self.registrations.dispose()


class Body(BaseModel):
    """A request's or answer's JSON: strict, and its values stay out of errors."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


def _zone(request: Request) -> IdentityZone:
    zone: IdentityZone = request.app.state.zone
    return zone


Zone = Annotated[IdentityZone, Depends(_zone)]


def load_issuer_key(folder: Path, *, suite: Suite) -> IssuerPrivateKey:
    """The issuer's key in a zone's folder, made now if there is none.

    Raises:
        StorageError: The disk refuses, others may read the file (`keys.permissions`), or it holds
            no key (`keys.damaged`).
    """
    path = make_zone_folder(folder) / ISSUER_KEY
    data = load_secret(path, lambda: generate_issuer_key(suite).to_bytes(suite))
    try:
        return IssuerPrivateKey.from_bytes(data, suite=suite)
    except InvalidMessageError as error:
        raise StorageError(
            f"{ISSUER_KEY} does not hold a key.",
            reason="keys.damaged",
            remedy="Restore the zone's folder from its backup.",
        ) from error


def open_zone(settings: IdentitySettings, *, clock: Clock) -> IdentityZone:
    """Open the zone's folder and check that all of it belongs together.

    Raises:
        StorageError: The folder or a database cannot be used.
        InputError: A password record is weak or malformed (`identity.password-record`).
        AuthenticityError: The statements do not hold or differ (`authenticity.identity-keys`),
            the issuer's key is not the one they state (`authenticity.issuer-key`), or somebody is
            registered twice (`authenticity.services`).
        InvalidMessageError: Something configured is malformed.
    """
    folder, suite = make_zone_folder(settings.folder), sm2_suite()
    passwords = _password_door(settings.users)
    services = [
        Party(f"{entry.role}:{key.thumbprint}", (entry.role,), key, entry.tenant)
        for entry in settings.services
        for key in [public_key(entry.public_key)]
    ]
    people = [Party(p.name, p.roles, public_key(p.public_key), p.tenant) for p in settings.people]
    _check_distinct([*services, *people])
    statements = tuple(Signed.parse(text) for text in settings.statements)
    keys = pin_keys(statements, signers=signers(settings), suite=suite)
    own = _stated_issuer_key(folder, keys, suite)
    enrolments, registrations = _databases(settings)
    key = load_signing_key(folder)
    return IdentityZone(
        enrolments=enrolments,
        registrations=registrations,
        key=key,
        keys=keys,
        statements=statements,
        desk=EnrolmentDesk(
            Issuer(suite, own, enrolments), key, _named(services), _named(people), settings.periods
        ),
        registrar=Registrar(suite, keys, own, registrations),
        tokens=TokenService(suite, keys, own, key, registrations),
        passwords=passwords,
        grants_per_epoch=settings.grants_per_epoch,
        person_lifetime=timedelta(minutes=settings.person_token_minutes),
        source_lifetime=timedelta(minutes=settings.source_token_minutes),
        clock=clock,
        build=open_build(settings, whose="the identity service"),
    )


def _databases(settings: IdentitySettings) -> tuple[Engine, Engine]:
    people, pseudonyms = (settings.database_url(name) for name in DATABASES)
    if people == pseudonyms:
        raise InvalidMessageError(
            "People and pseudonyms would share a database.",
            reason="identity.databases",
            remedy="Configure two databases.",
        )
    enrolments, registrations = (
        open_database(url, connections=settings.connections) for url in (people, pseudonyms)
    )
    migrate(enrolments, NAMES)
    migrate(registrations, PSEUDONYMS)
    return enrolments, registrations


def _password_door(users: tuple[UserEntry, ...]) -> PasswordDoor | None:
    for user in users:
        check_record(user.password)
    if not users:
        return None
    by_name = {user.user: user for user in users}
    return PasswordDoor(by_name, decoy_record(), FailedAttempts())


def _named(parties: Iterable[Party]) -> dict[str, Party]:
    return {party.key.thumbprint: party for party in parties}


def _check_distinct(parties: list[Party]) -> None:
    names = {party.name for party in parties}
    if not len(names) == len(_named(parties)) == len(parties):
        raise SignatureError(
            "A service or person is registered twice.",
            reason="authenticity.services",
            remedy="Give each a name and a key of its own.",
        )


def signers(settings: IdentitySettings) -> dict[Opener, Sm2PublicKey]:
    """The two offices' SM2 keys."""
    return {
        "utility": public_key(settings.utility_public_key),
        "regulator": public_key(settings.regulator_public_key),
    }


def _stated_issuer_key(folder: Path, keys: PublicKeys, suite: Suite) -> IssuerPrivateKey:
    is_there = (folder / ISSUER_KEY).exists()
    if is_there:
        own = load_issuer_key(folder, suite=suite)
        if own.public_key(suite) == keys.issuer:
            return own
    raise SignatureError(
        f"{ISSUER_KEY} is not the key that the utility and the regulator state."
        if is_there
        else f"There is no {ISSUER_KEY} in the zone's folder.",
        reason="authenticity.issuer-key",
        remedy="Create the key first, have both offices state it, and start with their statements.",
    )
