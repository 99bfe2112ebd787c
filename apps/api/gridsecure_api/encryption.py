"""The encryption service (EaaS, 加密服务): managed SM keys for the systems of others.

No route here takes a plaintext or gives one out, and none decrypts what it is given: bodies hold
digests, names and certificates. Columns are encrypted where the readings are, by a gateway or the
SDK, and plans run at the platform; nothing imported here could do either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from sqlmodel import Session

from gridsecure.analyst.certificates import certificate_document, verify_certificate
from gridsecure.analyst.releases import PinnedAuthority, pin_authority
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.encryption import keys, uses
from gridsecure.encryption.tables import SCHEMA, KeyUseRow, ManagedKeyRow
from gridsecure.encryption.usage import BOOK
from gridsecure.encryption.zone import (
    KEK,
    OFFICER,
    USER,
    EncryptionZone,
    KeyPerson,
    find_person,
    load_kek,
    pin_people,
)
from gridsecure.errors import SignatureError
from gridsecure.released_values import SignedCertificate
from gridsecure.store import evidence
from gridsecure.store.database import open_database, read_session
from gridsecure.store.schema import migrate
from gridsecure.wire.encryption import (
    CertificateChecked,
    Checked,
    DataKeyGiven,
    KeyUseTold,
    MacMade,
    ManagedKeyTold,
    SignatureMade,
)
from gridsecure.wire.services import MonthUsage, Usage
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api.deps import Clock, require, utc_now
from gridsecure_api.lists import PAGED, Paging, answer_page
from gridsecure_api.log_pages import LOG, open_log
from gridsecure_api.own_build import open_build
from gridsecure_api.readiness import database_check, disk_check
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import EncryptionSettings, public_key
from gridsecure_api.start import start_app
from gridsecure_api.usage_pages import Month

DESCRIPTION: Final = ServiceDescription(
    guests={"/": frozenset({"member"})},  # people of whichever organisation use its own keys
    zone="encryption",
    title="GridSecure encryption service",
    text="Manages SM2, HMAC-SM3 and SM4 keys of organisations: signs and authenticates digests, "
    "gives data keys out sealed, checks certificates. It is shown no plaintext, and there is no "
    "route that decrypts.",
)

_LISTED: Final = TypeAdapter(list[ManagedKeyTold])
_USES: Final = TypeAdapter(list[KeyUseTold])

Hex64 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A digest or MAC of 32 bytes."""


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class KeyWanted(_Wanted):
    """A key that is to be made; `name` is the organisation's own."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
    algorithm: keys.Algorithm


class MoveWanted(_Wanted):
    """The state that a key is to have."""

    target: keys.KeyState


class DigestGiven(_Wanted):
    """The SM3 digest of what is to be signed or authenticated; the service is not shown that."""

    digest: Hex64


class MacGiven(_Wanted):
    """A digest, and what is said to be its MAC."""

    digest: Hex64
    mac: Hex64


class SignatureGiven(_Wanted):
    """A digest, and what is said to be its signature under a key."""

    public_key: Annotated[str, Field(pattern=r"^04[0-9a-f]{128}$")]
    digest: Hex64
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,160}$")]


class DataKeyWanted(_Wanted):
    """What a data key is for."""

    use: uses.DataKeyUse


class CertificateGiven(_Wanted):
    """A release certificate as the key authority gave it out, with its values or without."""

    certificate: SignedCertificate


@dataclass(frozen=True, slots=True)
class EncryptionState:
    """What the routes need."""

    zone: EncryptionZone
    authority: PinnedAuthority
    clock: Clock


async def _state(request: Request) -> EncryptionState:
    state: EncryptionState = request.app.state.encryption
    return state


State = Annotated[EncryptionState, Depends(_state)]
Member = Annotated[TokenClaims, Depends(require("member"))]


async def _anybody(claims: Member, state: State) -> KeyPerson:
    return find_person(state.zone, claims.subject)


async def _officer(claims: Member, state: State) -> KeyPerson:
    return find_person(state.zone, claims.subject, OFFICER)


async def _user(claims: Member, state: State) -> KeyPerson:
    return find_person(state.zone, claims.subject, USER)


Anybody = Annotated[KeyPerson, Depends(_anybody)]
Officer = Annotated[KeyPerson, Depends(_officer)]
User = Annotated[KeyPerson, Depends(_user)]

router = APIRouter()


@router.get("/keys", tags=["keys"], response_model=list[ManagedKeyTold], responses=PAGED)
async def list_keys(request: Request, person: Anybody, state: State, asked: Paging) -> Response:
    """The keys of one's own organisation with their states, oldest first, page by page."""

    def read(session: Session) -> tuple[list[ManagedKeyTold], int | None]:
        page = keys.page_keys(session, person, asked)
        return [_told(row) for row in page.rows], page.after

    return await answer_page(
        request,
        state.zone.engine,
        revision=_revision,
        read=read,
        write=_LISTED.dump_json,
        scope=person.organisation,  # one organisation is never answered with another's
    )


def _revision(session: Session) -> str:
    """What lists are known by."""
    head = evidence.find_head(session)  # every change and every use is an entry
    return head.hash if head else ""


@router.post("/keys", tags=["keys"])
def create_key(wanted: KeyWanted, person: Officer, state: State) -> ManagedKeyTold:
    """Make a key of one's organisation."""
    algorithm = wanted.algorithm
    at = state.clock()
    return _told(keys.create_key(state.zone, person, name=wanted.name, algorithm=algorithm, at=at))


@router.get("/keys/{key_id}", tags=["keys"])
def read_key(key_id: str, person: Anybody, state: State) -> ManagedKeyTold:
    """A key of one's organisation; another's is not there."""
    with read_session(state.zone.engine) as session:
        return _told(keys.load_key(session, person, key_id))


@router.get("/keys/{key_id}/uses", tags=["keys"], response_model=list[KeyUseTold], responses=PAGED)
async def list_uses(
    request: Request, key_id: str, person: Anybody, state: State, asked: Paging
) -> Response:
    """What was done under a key of one's organisation, and never of what; page by page."""

    def read(session: Session) -> tuple[list[KeyUseTold], int | None]:
        page = uses.page_uses(session, person, key_id, asked)
        return [_used(row) for row in page.rows], page.after

    return await answer_page(
        request,
        state.zone.engine,
        revision=_revision,
        read=read,
        write=_USES.dump_json,
        scope=person.organisation,
    )


@router.post("/keys/{key_id}/moves", tags=["keys"])
def move_key(key_id: str, wanted: MoveWanted, person: Officer, state: State) -> ManagedKeyTold:
    """Move a key to another state; the one it has changes nothing."""
    at = state.clock()
    return _told(keys.move_key(state.zone, person, key_id, target=wanted.target, at=at))


@router.post("/keys/{key_id}/rotations", tags=["keys"])
def rotate_key(key_id: str, person: Officer, state: State) -> ManagedKeyTold:
    """Make the next generation of an active key, and deactivate it."""
    return _told(keys.rotate_key(state.zone, person, key_id, at=state.clock()))


@router.post("/keys/{key_id}/signatures", tags=["uses"])
def sign_digest(key_id: str, given: DigestGiven, person: User, state: State) -> SignatureMade:
    """An SM2 signature of a digest's 32 bytes (GB/T 32918.2, the usual identity)."""
    digest = given.digest
    signature = uses.sign_digest(state.zone, person, key_id, digest=digest, at=state.clock())
    return SignatureMade(key_id=key_id, digest=digest, signature=signature)


@router.post("/keys/{key_id}/macs", tags=["uses"])
def make_mac(key_id: str, given: DigestGiven, person: User, state: State) -> MacMade:
    """HMAC-SM3 of a digest's 32 bytes."""
    digest = given.digest
    mac = uses.make_mac(state.zone, person, key_id, digest=digest, at=state.clock())
    return MacMade(key_id=key_id, digest=digest, mac=mac)


@router.post("/keys/{key_id}/mac-checks", tags=["uses"])
def check_mac(key_id: str, given: MacGiven, person: User, state: State) -> Checked:
    """Whether a MAC is that of a digest."""
    claim = (given.digest, given.mac)
    is_good = uses.check_mac(state.zone, person, key_id, claim=claim, at=state.clock())
    return Checked(is_good=is_good)


@router.post("/keys/{key_id}/data-keys", tags=["uses"])
def give_data_key(key_id: str, wanted: DataKeyWanted, person: User, state: State) -> DataKeyGiven:
    """The SM4 key, sealed to the SM2 key of whoever asks; it opens on that person's machine."""
    sealed = uses.give_data_key(state.zone, person, key_id, use=wanted.use, at=state.clock())
    return DataKeyGiven(key_id=key_id, sealed=sealed.hex())


@router.post("/signature-checks", tags=["checks"])
def check_signature(given: SignatureGiven, _person: Anybody) -> Checked:
    """Whether a signature is that of a digest, under a key that is given."""
    key = Sm2PublicKey(bytes.fromhex(given.public_key))
    try:
        key.verify(bytes.fromhex(given.digest), bytes.fromhex(given.signature))
    except SignatureError:
        return Checked(is_good=False)
    return Checked(is_good=True)


@router.post("/certificate-checks", tags=["checks"])
def check_certificate(
    given: CertificateGiven, _person: Anybody, state: State
) -> CertificateChecked:
    """What a release certificate says, once its signature, cells, proof and level were verified.

    As `gridsecure verify`, which needs no service, and shows its values to none.
    """
    content = given.certificate.model_dump_json(exclude_none=True).encode()
    found = verify_certificate(content, authority=state.authority)
    return CertificateChecked(**certificate_document(found))


@router.get("/usage", tags=["evidence"])
def read_usage(month: Month, person: Anybody, state: State) -> MonthUsage:
    """What one's own organisation used in a month, by kind of use."""
    with read_session(state.zone.engine) as session:
        found = BOOK.read_month(session, month)
    used = [
        Usage(party=one.party, measure=one.measure, amount=one.amount)
        for one in found
        if one.party == person.organisation
    ]
    return MonthUsage(month=month, used=used)


def _told(row: ManagedKeyRow) -> ManagedKeyTold:
    told: dict[str, Any] = row.model_dump(exclude={"id", "at"})
    return ManagedKeyTold(**told, created_at=row.at.isoformat())


def _used(row: KeyUseRow) -> KeyUseTold:
    told: dict[str, Any] = row.model_dump(include={"use", "operation", "person"})
    return KeyUseTold(**told, at=row.at.isoformat())


def open_zone(settings: EncryptionSettings) -> EncryptionZone:
    """Open the zone's folder; its keys are made at the first start.

    Raises:
        StorageError: The folder or database cannot be used, or its secrets are sealed under another
            key-encryption key than the folder has (`keys.kek`).
        InputError: People are named twice, or with duties that exclude each other
            (`managed-key.person`).
        InvalidMessageError: A key is not a point of the curve.
    """
    folder = make_zone_folder(settings.folder)
    engine = open_database(settings.database_url, connections=settings.connections)
    migrate(engine, SCHEMA)
    people = pin_people(
        KeyPerson(one.person, one.organisation, frozenset(one.duties), public_key(one.public_key))
        for one in settings.people
    )
    if not (folder / KEK).exists() and keys.has_kek(engine):
        raise keys.no_kek()
    kek = load_kek(folder)
    zone = EncryptionZone(engine, kek, people)
    keys.check_kek(zone)
    return zone


def create_encryption_app(settings: EncryptionSettings, *, clock: Clock = utc_now) -> FastAPI:
    """The encryption service.

    Raises:
        GridSecureError: It must not start: engines, folder or settings are not sound.
    """
    build = open_build(settings, whose="the encryption service")
    zone = open_zone(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        zone.engine.dispose()

    key = load_signing_key(settings.folder)
    log = open_log(zone.engine, settings.folder, name="encryption", key=key)
    checks = (database_check(zone.engine), disk_check(settings.folder))
    app = new_app(
        replace(DESCRIPTION, logs={LOG: log}, tenant=settings.tenant, checks=checks),
        identity_key=public_key(settings.identity_public_key),
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        build=build,
        lifespan=lifespan,
    )
    pinned = pin_authority(settings.authority_public_key)
    app.state.encryption = EncryptionState(zone, pinned, clock)
    app.include_router(router)
    return app


def main_app() -> FastAPI:
    """The encryption service as the environment describes it, for `uvicorn --factory`."""
    return start_app(create_encryption_app, EncryptionSettings)
