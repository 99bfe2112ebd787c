"""All parties in one process, with real keys and real parameters, for bills of a file.

The same functions run as in the services: the gateway packs and signs, the platform takes in,
executes and signs a transcript, the checker executes again, the vault decrypts, rounds and seals.
Only the transport is left out. A run lives in a temporary folder and takes its keys with it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from sqlalchemy import func
from sqlmodel import select

from gridsecure.cli.local_identity import LocalIdentity, local_identity
from gridsecure.compute import intake
from gridsecure.compute.closings import close_period, closing_lists
from gridsecure.compute.jobs import BillJob, Worker
from gridsecure.compute.key_sets import install_key_set, known_keys
from gridsecure.compute.runs import PLAN_VERSIONS, signed_message
from gridsecure.compute.tables import SCHEMA as PLATFORM
from gridsecure.compute.tables import UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.seats import billing_domain
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import GridSecureError
from gridsecure.gateway.packing import pack_settlements
from gridsecure.gateway.rosters import Roster
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import PARAMETER_SETS
from gridsecure.key_authority.checker.answering import RELEASED, answer_request, sealed_statements
from gridsecure.key_authority.checker.key_sets import give_key_set, public_objects
from gridsecure.key_authority.checker.tables import SCHEMA as CHECKER
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.vault.decryption import STATEMENTS_PURPOSE, Vault
from gridsecure.messages import (
    ClosingList,
    KeyNotice,
    KeySetRequest,
    PlanName,
    ReleaseRequest,
    Signed,
    Transcript,
    UploadManifest,
    request_name,
    signed,
)
from gridsecure.periods import BillingPeriod
from gridsecure.plans.key_ring import load_key_set
from gridsecure.store.database import open_database, read_session
from gridsecure.store.objects import ObjectStore
from gridsecure.store.schema import migrate
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.version import VERSION


@dataclass(frozen=True, slots=True)
class LocalGrid:
    """The parties, for as long as the temporary folder lives."""

    billing_office: Sm2PrivateKey
    identity: LocalIdentity
    platform: PlatformZone
    authority: AuthorityZone

    def message(self, kind: str, digest: str) -> Signed:
        """The platform's signed message, as the checker asks for it."""
        return signed_message(self.platform, kind=kind, digest=digest)

    def object(self, digest: str) -> bytes:
        """The platform's object, as the checker asks for it."""
        return self.platform.objects.get(digest)


@contextmanager
def local_grid() -> Iterator[LocalGrid]:
    """Set up the parties and generate their signing keys."""
    platform_key, authority_key, office = (generate_private_key() for _ in range(3))
    with (
        TemporaryDirectory(prefix="gridsecure-") as name,
        local_identity(Path(name)) as identity,
    ):
        folder = Path(name)
        (folder / "vault").mkdir(mode=0o700)
        kek = secrets.token_bytes(16)
        vault = Vault(folder / "vault", kek, authority_key.public_key, office.public_key)
        engines = [open_database(f"sqlite:///{folder / zone}.db") for zone in ("p", "a")]
        migrate(engines[0], PLATFORM)
        migrate(engines[1], CHECKER)
        platform = PlatformZone(
            engine=engines[0],
            objects=ObjectStore(folder / "platform-objects"),
            signing_key=platform_key,
            identity=_registry(identity.signer),
            authority=_registry(authority_key),
            office=_registry(office),
        )
        authority = AuthorityZone(
            engine=engines[1],
            objects=ObjectStore(folder / "authority-objects"),
            signing_key=authority_key,
            platform=_registry(platform_key),
            identity=_registry(identity.signer),
            office=_registry(office),
            settlement=identity.settlement,
            vault=vault,
        )
        try:
            yield LocalGrid(office, identity, platform, authority)
        finally:
            for engine in engines:
                engine.dispose()


def _registry(key: Sm2PrivateKey) -> dict[str, Any]:
    return {key.public_key.thumbprint: key.public_key}


class _GatewayKeySets(Mapping[str, PublicKeySet]):
    """The gateway's key sets of a year, asked for as a gateway does: once, when first needed."""

    def __init__(self, grid: LocalGrid, start: str) -> None:
        self._grid = grid
        self._start = start
        self._known: dict[str, PublicKeySet] = {}

    def __getitem__(self, name: str) -> PublicKeySet:
        if name not in PARAMETER_SETS:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._asked(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(PARAMETER_SETS)

    def __len__(self) -> int:
        return len(PARAMETER_SETS)

    def _asked(self, name: str) -> PublicKeySet:
        grid, now = self._grid, datetime.now(UTC)
        request = signed(
            KeySetRequest(domain=billing_domain(self._start).text, parameters=name),
            key=grid.identity.gateway_key(self._start),
        )
        registrations = grid.identity.gateway_registration(self._start, now=now)
        notice = give_key_set(grid.authority, request, registrations=registrations, at=now)
        objects = tuple(public_objects(grid.authority, notice))
        if install_key_set(grid.platform, notice, keys=(), at=now).missing:
            install_key_set(grid.platform, notice, keys=objects, at=now)
        return load_key_set(KeyNotice.parsed(notice.body), grid.authority.objects.get)


def sent(
    grid: LocalGrid,
    settled: pd.DataFrame,
    *,
    roster: Roster,
    tariff_text: str,
    period: BillingPeriod,
    **correction: Any,
) -> Signed:
    """Register a roster, pack its settlements, and have the platform commit them.

    Args:
        grid: The parties.
        settled: Settlements of the month.
        roster: The roster, seated.
        tariff_text: Its tariff.
        period: The month.
        correction: For a correction, the manifest's `revision`, `corrects` and `corrected_slots`.

    Raises:
        GridSecureError: They cannot be packed, or the platform refused.
    """
    now = datetime.now(UTC)
    key = grid.identity.gateway_key(period.start.isoformat())
    seats = grid.identity.seats[roster.manifest.seats]
    envelope = signed(roster.manifest, key=key)
    intake.register_roster(grid.platform, envelope, seats=seats, at=now)
    tariff = parse_tariff(tariff_text)
    keys = _GatewayKeySets(grid, period.start.isoformat())
    packed = list(pack_settlements(settled, roster=roster, tariff=tariff, period=period, keys=keys))
    with read_session(grid.platform.engine) as session:
        sequence = session.exec(select(func.count()).select_from(UploadRow)).one() + 1
    manifest = UploadManifest(
        roster_id=roster.manifest.roster_id,
        gateway_id=roster.manifest.gateway_id,
        start=period.start.isoformat(),
        end=period.end.isoformat(),
        sequence=sequence,
        estimated_readings=0,
        columns=[column.entry for column in packed],
        **correction,
    )
    envelope = signed(manifest, key=key)
    upload_id = intake.begin_upload(grid.platform, envelope, at=now).upload_id
    intake.receive_objects(grid.platform, upload_id, objects=[column.data for column in packed])
    intake.commit_upload(grid.platform, upload_id, at=now)
    return envelope


def issued(
    grid: LocalGrid,
    rosters: Sequence[Roster],
    uploads: Sequence[Signed],
    *,
    period: BillingPeriod,
    plan: PlanName,
) -> dict[str, Any]:
    """Compute uploads on ciphertext, have them released, and open the statements.

    Returns:
        Settlement pseudonym -> its period, in the public JSON form.

    Raises:
        GridSecureError: The release was refused.
    """
    key = grid.identity.gateway_key(period.start.isoformat())
    transcripts = [
        _executed(grid, signed(roster.manifest, key=key), upload, plan=plan)
        for roster, upload in zip(rosters, uploads, strict=True)
    ]
    release_id = _released(grid, transcripts, period, plan=plan)
    bills = {}
    for roster in rosters:
        blob = sealed_statements(grid.authority, release_id, roster.manifest.roster_id)
        opened = open_from(blob, private_key=grid.billing_office, purpose=STATEMENTS_PURPOSE)
        for name, document in json.loads(opened)["meters"].items():
            bills[name] = document["periods"][0]
    return bills


def _executed(grid: LocalGrid, roster: Signed, upload: Signed, *, plan: PlanName) -> Signed:
    worker = Worker(grid.platform.objects, known_keys(grid.platform))
    result = worker.run(BillJob(plan, roster.body, upload.body))
    manifest = UploadManifest.parsed(upload.body)
    transcript = Transcript(
        plan=plan,
        plan_version=PLAN_VERSIONS[plan],
        start=manifest.start,
        end=manifest.end,
        rosters=[roster.digest],
        uploads=[upload.digest],
        inputs=dict(result.inputs),
        outputs=dict(result.outputs),
        seed_commitment=None,
        release=VERSION,
    )
    return signed(transcript, key=grid.platform.signing_key)


def _closed(grid: LocalGrid, transcripts: list[Signed], period: BillingPeriod) -> Signed:
    """Close the month for what is billed, as the billing office."""
    now = datetime.now(UTC)
    start, end = period.start.isoformat(), period.end.isoformat()
    number = len(closing_lists(grid.platform, start=start, end=end)) + 1
    uploads = [digest for t in transcripts for digest in Transcript.parsed(t.body).uploads]
    content = ClosingList(
        start=start, end=end, number=number, closed_at=now.isoformat(), uploads=sorted(uploads)
    )
    envelope = signed(content, key=grid.billing_office)
    close_period(grid.platform, envelope, at=now)
    return envelope


def _released(
    grid: LocalGrid, transcripts: list[Signed], period: BillingPeriod, *, plan: PlanName
) -> str:
    request = ReleaseRequest(
        request_id="",
        plan=plan,
        plan_version=PLAN_VERSIONS[plan],
        start=period.start.isoformat(),
        end=period.end.isoformat(),
        purpose="billing",
        requested_by="local",
        transcripts=transcripts,
        seeds=[],
        closing=_closed(grid, transcripts, period) if plan == "bill" else None,
    )
    request = request.model_copy(update={"request_id": request_name(request)})
    outcome = answer_request(
        grid.authority,
        signed(request, key=grid.platform.signing_key),
        view=grid,
        clock=lambda: datetime.now(UTC),
    )
    if outcome.state != RELEASED:
        raise GridSecureError(
            "The key authority refused to release the bills.",
            reason=outcome.reason or "release.refused",
            remedy="The reason code says which check failed.",
        )
    return request.request_id
