"""What each service is told when it starts: from the environment, or constructed directly.

Every variable starts with `GRIDSECURE_<ZONE>_`; lists are written as JSON. A service refuses to
start on a setting that is missing or malformed. Secrets are not settings: private keys live in
files of the zone's own folder, and passwords appear here only as salted, stretched digests.
"""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gridsecure.approvals import APPROVER_ROLES, ApproverRole, PersonRole
from gridsecure.credentials.grants import MAX_LIMIT
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.month_texts import CALENDAR, LAST_CYCLE_DAY
from gridsecure.sandbox import SandboxWish
from gridsecure.store.connections import CONNECTIONS
from gridsecure.store.objects import folder_url

Period = Annotated[str, Field(pattern=r"^[0-9]{4}$")]
"""A calendar year."""

PublicPoint = Annotated[str, Field(pattern=r"^04[0-9a-f]{128}$")]
"""An SM2 public key as 130 hexadecimal digits."""

Tenant = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")]
"""The name of an organisation; empty where nobody tells several apart."""

Connections = Annotated[int, Field(ge=1, le=1000)]
"""How many connections a service opens to a database."""

LEVEL_FILE: Final = ".toml"
"""How a setting ends that names the file of a security level."""

MIB = 1024 * 1024

Role = Literal["gateway", "platform", "authority", "meter-data", PersonRole]
"""Of services, and of people. A meter-data system sends readings to a gateway."""

ServiceRole = Literal["gateway", "platform", "authority"]
"""Meter-data systems are no setting: an operator registers them while the service runs."""


def public_key(point: str) -> Sm2PublicKey:
    """The public key of a setting.

    Raises:
        InvalidMessageError: Not a point of the curve.
    """
    return Sm2PublicKey(bytes.fromhex(point))


def key_registry(*points: str) -> dict[str, Sm2PublicKey]:
    """Public keys by thumbprint, as `messages.open_message` takes them.

    Raises:
        InvalidMessageError: Not a point of the curve.
    """
    keys = [public_key(point) for point in points]
    return {key.thumbprint: key for key in keys}


class ApproverEntry(BaseModel):
    """An officer who approves releases with a key.

    Args:
        person: The name, as tokens and the evidence log have it.
        role: What the officer approves as.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    person: str = Field(min_length=1, max_length=64, pattern=r"^[^:/]+$")
    role: ApproverRole
    public_key: PublicPoint


class LevelSettings(BaseSettings):
    """Which security level the deployment has.

    Args:
        level: One that ships, or a file (.toml); the very same for every service of a deployment.
            Left out, nothing is held to a level.
    """

    level: str = ""

    @property
    def level_file(self) -> Path | None:
        """The file that it names; None where it names a level that ships, or none."""
        return Path(self.level) if self.level.endswith(LEVEL_FILE) else None


class BuildSettings(LevelSettings):
    """What a process is told of its own software.

    Args:
        maker_public_key: The key that releases are signed with. Where it is pinned, this process
            starts, and talks to others, only if they run builds that the maker signed.
        build_statement: The file with the maker's statement of this build.
    """

    maker_public_key: PublicPoint | None = None
    build_statement: Path | None = None


def _network(text: str) -> str:
    ip_network(text)
    return text


class ListenSettings(BuildSettings):
    """Where a service listens, what it shows and whom it believes there (docs/tls.md).

    Args:
        host: Address that it listens at; one beyond the own machine needs a certificate.
        port: Its port.
        tls_certificate: What it shows, in PEM, with its authority's behind it.
        tls_key: The key of that certificate.
        tls_ca: Authorities of this zone and its neighbours. Where they are named, services have
            to show a certificate of theirs beside their token, and peers are believed by it alone.
        trusted_proxies: Addresses or networks of proxies that say for whom they ask.
        most_connections: Connections at once; of one address a quarter.
        header_seconds: How long a request's headers may take, and TLS before them [s].
        stop_seconds: How long requests under way have to end, once the service is stopped [s].
        metrics_port: Port of its own for its metrics; without, there are none.
        metrics_host: Address that they are given out at; beyond the own machine, over TLS, to who
            shows a certificate of `tls_ca`.
        traces_url: Where a collector takes spans (OTLP over HTTP); without, there are none. Wants
            the extra `traces`.
    """

    model_config = SettingsConfigDict(env_prefix="GRIDSECURE_LISTEN_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    most_connections: int = Field(default=1024, ge=8, le=65536)
    header_seconds: float = Field(default=10, gt=0, le=600)
    stop_seconds: int = Field(default=60, ge=1, le=3600)
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    traces_url: str | None = None


class ZoneSettings(ListenSettings):
    """What every service is told.

    Args:
        folder: The zone's own folder: `zone.db`, `objects/`, keys. No other zone reads it.
        identity_public_key: The key that access tokens are verified with.
        max_body_bytes: Largest request body that is read [bytes].
        database: URL of the zone's database, SQLite or PostgreSQL; in the folder by default.
        connections: Connections to it, at most.
        objects: URL of the zone's objects, as `store.objects.open_objects` takes it; in the folder
            by default. Credentials are never in it.
        tenant: The organisation whose service it is. Named people and services of others are
            refused then, but where a service says otherwise.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    folder: Path
    identity_public_key: PublicPoint
    max_body_bytes: int = Field(default=64 * MIB, ge=1)
    database: str = Field(default="", repr=False)
    connections: Connections = CONNECTIONS
    objects: str = Field(default="", repr=False)
    tenant: Tenant = ""

    @property
    def database_url(self) -> str:
        """The zone's database."""
        return self.database or f"sqlite:///{self.folder / 'zone.db'}"

    @property
    def objects_url(self) -> str:
        """The zone's objects."""
        return self.objects or folder_url(self.folder / "objects")


class UserEntry(BaseModel):
    """One person who may sign in.

    Args:
        password: From `gridsecure.identity.enrolments.passwords.password_record`.
        roles: What the person may act as.
        tenant: The organisation that the person is of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(repr=False)
    roles: tuple[Role, ...] = Field(min_length=1)
    tenant: Tenant = ""


class ServiceEntry(BaseModel):
    """One service that may ask for tokens.

    Args:
        role: What it acts as.
        public_key: The key its requests are signed with.
        tenant: The organisation whose service it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: ServiceRole
    public_key: PublicPoint
    tenant: Tenant = ""


IdentityDatabase = Literal["enrolments", "registrations"]
"""What knows people, and what knows pseudonyms; never one."""


class PersonEntry(BaseModel):
    """One person who logs in with a key.

    Args:
        name: The name, as tokens and the evidence log have it.
        roles: What the person may act as.
        tenant: The organisation that the person is of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^:/]+$")
    roles: tuple[Role, ...] = Field(min_length=1)
    public_key: PublicPoint
    tenant: Tenant = ""

    @model_validator(mode="after")
    def _approves_and_nothing_else(self) -> Self:
        if len(self.roles) > 1 and set(self.roles) & set(APPROVER_ROLES):
            raise ValueError("who approves releases has no other role")
        return self


class IdentitySettings(ListenSettings):
    """The identity service. Its signing key is made in its folder at first start.

    The issuer's key is in the folder before the first start: the utility and the regulator state
    it, together with their halves of the opening key, and the service runs on what they state.

    Args:
        folder: The zone's own folder: two databases, keys. No other zone reads it.
        statements: `IdentityKeys` signed by the utility and by the regulator, as JSON texts.
        utility_public_key: Verifies the utility's statement.
        regulator_public_key: Verifies the regulator's.
        periods: The periods that credentials are given for, calendar years.
        people: Who logs in with a key.
        services: Which services may ask for tokens.
        users: Who may sign in with a password; for the local demonstration only.
        grants_per_epoch: Query grants of an analyst in a month.
        max_body_bytes: Largest request body that is read [bytes].
        person_token_minutes: Lifetime of a person's token [min].
        source_token_minutes: Lifetime of a meter-data system's token [min]; more than 5 for the
            local demonstration only.
        enrolments_url: The database that knows people; in the folder by default.
        registrations_url: The database that knows pseudonyms, another one; likewise.
        connections: Connections to each of them, at most.
        tenant: The organisation whose service it is. Of others' named people and services,
            gateways and analysts alone are let in: they enrol.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRIDSECURE_IDENTITY_", extra="forbid", frozen=True
    )

    folder: Path
    statements: tuple[str, str]
    utility_public_key: PublicPoint
    regulator_public_key: PublicPoint
    periods: tuple[Period, ...] = Field(min_length=1)
    people: tuple[PersonEntry, ...] = ()
    services: tuple[ServiceEntry, ...] = ()
    users: tuple[UserEntry, ...] = ()
    grants_per_epoch: int = Field(default=64, ge=2, le=MAX_LIMIT)
    max_body_bytes: int = Field(default=4 * MIB, ge=1)
    person_token_minutes: int = Field(default=60, ge=1, le=12 * 60)
    source_token_minutes: int = Field(default=5, ge=1, le=12 * 60)
    enrolments_url: str = Field(default="", repr=False)
    registrations_url: str = Field(default="", repr=False)
    connections: Connections = CONNECTIONS
    tenant: Tenant = ""

    def database_url(self, name: IdentityDatabase) -> str:
        """One of the two databases."""
        chosen = {"enrolments": self.enrolments_url, "registrations": self.registrations_url}
        return chosen[name] or f"sqlite:///{self.folder / name}.db"


class EngineSettings(LevelSettings):
    """Where a crew's jobs run.

    Args:
        workers: Worker processes, where the engine is this machine.
        engine: URL of the job engine, as `compute.job_engines.choose_engine` takes it.
        engine_ca: The authority of a Dask cluster's certificates, in PEM.
        engine_certificate: What this service shows there.
        engine_key: The key of that certificate.
        sandbox: Whether worker processes of this machine are confined by its kernel: as far as it
            can, `required` to start at all, or `off`. Workers of a Dask cluster have a setting of
            their own; `required` here has them refuse jobs where they are not wholly confined.
    """

    workers: int = Field(default=2, ge=1, le=1024)
    engine: str = "processes:"
    engine_ca: Path | None = None
    engine_certificate: Path | None = None
    engine_key: Path | None = None
    sandbox: SandboxWish = "available"

    @property
    def engine_tls(self) -> dict[str, Path | None]:
        """The files of a Dask cluster."""
        return {
            "ca": self.engine_ca,
            "certificate": self.engine_certificate,
            "key": self.engine_key,
        }


class PlatformSettings(ZoneSettings, EngineSettings):
    """The compute platform.

    Args:
        authority_public_key: The authority whose key sets are put in force.
        billing_office_public_key: Whose signed lists close a month.
        warm_up: Whether what workers load is loaded as the service starts, and they start when an
            upload begins, before a run needs them.
        policy: The release policy of the first start, the very one of the key authority.
        approvers: The officers whose signatures other policies need, as the authority is told them.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRIDSECURE_PLATFORM_", extra="forbid", frozen=True
    )

    authority_public_key: PublicPoint
    billing_office_public_key: PublicPoint
    warm_up: bool = False
    policy: str = ""
    approvers: tuple[ApproverEntry, ...] = ()


class MarketSettings(ZoneSettings):
    """The data market.

    Args:
        registrar_public_key: The registration office's, which enters organisations.
        authority_public_key: The key authority's, whose certificates are metered.
        policy: The release policy of the first start, the very one of the key authority.
        approvers: The officers whose signatures other policies need, as the authority is told them.
    """

    model_config = SettingsConfigDict(env_prefix="GRIDSECURE_MARKET_", extra="forbid", frozen=True)

    registrar_public_key: PublicPoint
    authority_public_key: PublicPoint
    max_body_bytes: int = Field(default=8 * MIB, ge=1)
    policy: str = ""
    approvers: tuple[ApproverEntry, ...] = ()


class KeyPersonEntry(BaseModel):
    """Somebody of an organisation whose keys the encryption service manages.

    Args:
        person: The name, as tokens have it.
        duties: `officer` makes and moves keys, `user` uses them, `auditor` reads.
        public_key: Data keys are sealed to it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    person: str = Field(min_length=1, max_length=64, pattern=r"^[^:/]+$")
    organisation: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")
    duties: tuple[Literal["officer", "user", "auditor"], ...] = Field(min_length=1)
    public_key: PublicPoint


class EncryptionSettings(ZoneSettings):
    """The encryption service.

    Args:
        authority_public_key: The key authority's, whose certificates are checked.
        people: Who may do what with the keys of which organisation.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRIDSECURE_ENCRYPTION_", extra="forbid", frozen=True
    )

    authority_public_key: PublicPoint
    people: tuple[KeyPersonEntry, ...] = ()
    max_body_bytes: int = Field(default=8 * MIB, ge=1)


class WorkerSettings(EngineSettings):
    """A worker of a platform.

    Args:
        database: URL of the platform's database.
        objects: URL of its objects, as `store.objects.open_objects` takes it.
    """

    model_config = SettingsConfigDict(env_prefix="GRIDSECURE_WORKER_", extra="forbid", frozen=True)

    database: str = Field(min_length=1, repr=False)
    objects: str = Field(min_length=1, repr=False)


class DaskWorkerSettings(BaseSettings):
    """A Dask worker of a platform.

    Args:
        objects: URL of the platform's objects, as `store.objects.open_objects` takes it.
        sandbox: Whether the process that computes is confined by the kernel: as far as it can,
            `required` to start at all, or `off`.
    """

    model_config = SettingsConfigDict(env_prefix="GRIDSECURE_DASK_", extra="forbid", frozen=True)

    objects: str = Field(min_length=1, repr=False)
    sandbox: SandboxWish = "available"


class GatewaySettings(ZoneSettings):
    """The gateway.

    Args:
        identity_url: Where tokens, credentials and registrations come from.
        utility_public_key: Signs, with the regulator, what holders pin.
        regulator_public_key: The regulator's, likewise.
        carry: Whether meter points show last year's pseudonyms with this year's first, so that
            what a platform counts by pseudonym can go on.
        platform_url: Where uploads go.
        authority_url: Where public key sets come from.
        authority_public_key: Whose key sets are encrypted under.
        billing_office_public_key: Whom digests of the plaintext oracle's bills are sealed to.
        timezone: Local time of the meters [IANA name].
        cycle_day: Day of the month that billing periods begin on, 1 to 28; it stays what it was at
            the first start. 1 makes calendar months.
        supply_policy: On which terms the gateway's owner supplies columns: a release policy that
            ships, or a file. Nothing is told of them under a looser one.
        supply_officers: Public keys of the owner's officers; one of them approves each release
            that is about the columns. They are among the approvers of key authority and vault.
        max_body_bytes: Largest request body; a month's files come in one [bytes].
        max_readings: Readings of a month, of all files together; each takes about 200 bytes of
            memory at the least.
        cut_off_days: Days from the end of a month until the gateway bills it by itself, once its
            contracts are there; without, an operator begins every month.
        correction_days: Days that late readings are gathered for until the gateway corrects their
            month by itself; without, an operator begins every correction.
        seal_hours: Hours from the end of a day until the gateway seals it by itself, once a source
            sent readings of it; without, an operator begins every day.
        queued_body_bytes: A body of readings with more, as it is sent, is answered before it is
            read [bytes].
        batch_processes: Processes beside the service that take in small batches; they are started
            once there is a source. With 0 the service does it alone.
        sandbox: Whether these processes are confined by the kernel: as far as it can, `required` to
            start at all, or `off`.
        max_waiting_bytes: What bodies of readings may take of the disk together, as they come and
            while they wait [bytes]; no body with more is taken.
    """

    model_config = SettingsConfigDict(env_prefix="GRIDSECURE_GATEWAY_", extra="forbid", frozen=True)

    identity_url: str
    utility_public_key: PublicPoint
    regulator_public_key: PublicPoint
    carry: bool = False
    platform_url: str
    authority_url: str
    authority_public_key: PublicPoint
    billing_office_public_key: PublicPoint
    timezone: str = "Asia/Shanghai"
    cycle_day: int = Field(default=CALENDAR, ge=CALENDAR, le=LAST_CYCLE_DAY)
    supply_policy: str = ""
    supply_officers: tuple[PublicPoint, ...] = Field(default=(), max_length=16)
    max_body_bytes: int = Field(default=2048 * MIB, ge=1)
    max_readings: int = Field(default=64_000_000, ge=1)
    cut_off_days: float | None = Field(default=None, ge=0, le=366)
    correction_days: float | None = Field(default=None, ge=0, le=366)
    seal_hours: float | None = Field(default=None, ge=0, le=144)
    queued_body_bytes: int = Field(default=16 * MIB, ge=0)
    batch_processes: int = Field(default=2, ge=0, le=64)
    sandbox: SandboxWish = "available"
    max_waiting_bytes: int = Field(default=16384 * MIB, ge=1)


class ProvingSettings(BuildSettings):
    """What agreements are proved by.

    Args:
        registrar_public_key: The registration office's of the data market, which says who signs
            for whom; left out, no release that the policy wants an agreement for is made.
        market_public_key: The data market's, which says that an agreement stands; likewise.
    """

    registrar_public_key: PublicPoint | None = None
    market_public_key: PublicPoint | None = None


class AuthoritySettings(ZoneSettings, ProvingSettings):
    """The key authority's checker. Where the vault keeps its keys is no setting of the checker.

    Args:
        identity_url: Where service tokens and settlement pseudonyms come from.
        platform_url: Where release requests and ciphertexts are pulled from.
        platform_public_key: Whose transcripts and requests are believed.
        billing_office_public_key: Whose closing lists are believed, and whom statements are for.
        vault_socket: Where the vault listens.
        vault_uid: The user the vault runs as; this process's own by default.
        workers: Processes that execute plans again, by default as many as the machine has
            processors; with 0 the service's own process does.
        sandbox: Whether these processes are confined by the kernel: as far as it can, `required` to
            start at all, or `off`.
        shadow_questions: How many questions of shadow runs a cell answers of a month; none with 0.
        policy: The release policy of the first start: one that ships, or a signed policy's file
            (.json); left out, the strict one. Later ones are put in force by officers.
        approvers: The officers whose approval of releases counts.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRIDSECURE_AUTHORITY_", extra="forbid", frozen=True
    )

    identity_url: str
    platform_url: str
    platform_public_key: PublicPoint
    billing_office_public_key: PublicPoint
    vault_socket: Path
    vault_uid: int | None = Field(default=None, ge=0)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=0, le=1024)
    sandbox: SandboxWish = "available"
    shadow_questions: int = Field(default=12, ge=0, lt=15)
    policy: str = ""
    approvers: tuple[ApproverEntry, ...] = ()


class VaultSettings(ProvingSettings):
    """The key authority's vault, told to it alone.

    Args:
        folder: Holds the sealed key sets; no other user reads it. `gridsecure vault init` makes it.
        unlocked_hours: How long custodians unlock it for [h].
        socket: Where it listens; a folder that the checker may enter and only the vault writes.
        checker_public_key: The only key whose orders are obeyed.
        billing_office_public_key: Whom statements are sealed to.
        checker_uid: The user the checker runs as; this process's own by default.
        file_seconds: Longest that a running order waits for the checker's next file [s].
        policy: The release policy of the first start, the very one of the checker.
        approvers: The officers whose signatures releases need, as the checker is told them.
        sandbox: Whether the kernel confines the vault: as far as it can, `required` to start at
            all, or `off`.
    """

    model_config = SettingsConfigDict(env_prefix="GRIDSECURE_VAULT_", extra="forbid", frozen=True)

    folder: Path
    unlocked_hours: float = Field(default=12, gt=0, le=168)
    socket: Path
    checker_public_key: PublicPoint
    billing_office_public_key: PublicPoint
    checker_uid: int | None = Field(default=None, ge=0)
    file_seconds: float = Field(default=60, gt=0, le=3600)
    sandbox: SandboxWish = "available"
    policy: str = ""
    approvers: tuple[ApproverEntry, ...] = ()
