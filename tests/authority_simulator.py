"""A key authority for a simulated grid: real checker, real vault, its platform read directly.

    with delivered_grid(tmp_path) as grid:                  a grid whose uploads are committed
        authority = Authority(grid, tmp_path / "authority")
        request = authority.bill_request(grid.uploads)
        authority.answer(request)

Transcripts are made by the platform's own worker code; tests change them and sign again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlmodel import col, select

from gridsecure import frames
from gridsecure.compute.jobs import BillJob, Job, JobResult, LoadCurveJob, Worker
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import find_signed_message, locate_inputs
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.rosters import Roster
from gridsecure.key_authority.checker.answering import (
    WAITING,
    Outcome,
    answer_request,
    list_certificates,
)
from gridsecure.key_authority.checker.approvals import (
    AskedApproval,
    read_subjects,
    record_approval,
)
from gridsecure.key_authority.checker.key_sets import publish_key_set
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.key_authority.checker.shadows import list_previews
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.key_authority.checker.zone import AuthorityZone, Settlement, VaultDoor
from gridsecure.key_authority.vault.custody import keep_key_set
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.key_authority.vault.gate import ReleaseGate
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.key_authority.vault.key_files import KeyPlace
from gridsecure.messages import (
    KeySetRequest,
    ReleaseCertificate,
    ReleaseRequest,
    ShadowOrder,
    ShadowPreview,
    ShadowRequest,
    Signed,
    Transcript,
    request_name,
    shadow_name,
    sign_message,
)
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION, day_quantity
from gridsecure.plans.transcript_inputs import PlatformView
from gridsecure.released_values import attach_values
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import EvidenceEntry, EvidenceRow, read_row
from gridsecure.store.log_tree import SignedLog, verify_log
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.pages import PageAsked
from gridsecure.store.schema import migrate
from gridsecure.transparency.checkpoints import LogSigner
from tests.approving import APPROVERS, approval_of
from tests.custodians import KEK, keys_of, unlocked
from tests.grid_simulator import (
    NOW,
    OFFICE,
    GridSimulator,
    GridUpload,
    grid_keys,
    registry,
)
from tests.held_policy import FIFTEEN, POLICY
from tests.zone_copies import DATABASE

SEED = bytes(range(32))


def place_of(name: str) -> KeyPlace:
    """Where the vault keeps the session's key set of these parameters."""
    return KeyPlace(grid_keys().gateway.public_key.thumbprint, name, 1)


def keep_grid_keys(folder: Path, *, kek: bytes = KEK) -> None:
    """Seal the session's key sets into a vault's folder, which `init_with_kek` made."""
    keys = keys_of(folder)
    for name, key_set in grid_keys().secret.items():
        keep_key_set(keys, place_of(name), key_set, kek=kek, created_at=NOW)


def key_set_request(
    grid: GridSimulator, name: str, *, key: Sm2PrivateKey | None = None, **word: Any
) -> tuple[Signed, Signed]:
    """A gateway's request for a key set, and the identity authority's word on that gateway."""
    own = key or grid.gateway_key
    request = sign_message(KeySetRequest(domain=grid.domain, parameters=name), key=own)
    subject = sm3_hex(own.public_key.point)
    return request, grid.vouched({subject: own}, **({"role": "gateway"} | word))


def ask_for_key_sets(client: TestClient, grid: GridSimulator) -> list[Signed]:
    """Ask an authority's service for the grid's key sets, as its gateway does."""
    notices = []
    for name in grid.keys.secret:
        parts = [part.model_dump_json().encode() for part in key_set_request(grid, name)]
        answer = client.post("/key-sets", content=frames.join_frames(parts), headers={})
        assert answer.status_code == 200, answer.text
        notices.append(Signed.parse(frames.split_frames(answer.content)[0]))
    return notices


def settlement(domain: str, subjects: Sequence[str]) -> list[str]:
    """Settlement pseudonyms as the identity authority would give them out."""
    return [sm3_hex(f"{domain}/settlement/{subject}".encode()) for subject in subjects]


@dataclass
class View:
    """The platform as the checker sees it, and what a dishonest one would say instead."""

    grid: GridSimulator
    messages: dict[str, Signed] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def message(self, kind: str, digest: str) -> Signed:
        found = self.messages.get(digest)
        return found or find_signed_message(self.grid.platform_zone, kind=kind, digest=digest)

    def objects(self, digests: Sequence[str]) -> Iterator[bytes]:
        return map(self.object, digests)

    def object(self, digest: str) -> bytes:
        self.asked.append(digest)
        found = self.sent.get(digest)
        if found is None and digest in self.grid.keys.seats:
            return self.grid.keys.seats[digest]
        return self.grid.platform_zone.objects.get(digest) if found is None else found


def own_vault(folder: Path, checker: Sm2PrivateKey) -> Vault:
    """A vault in this process that holds the policy of tests and its officers' keys."""
    key_lock = unlocked(folder)
    policies = VaultPolicies(key_lock, clock=lambda: NOW)
    policies.open(POLICY.name, approvers=APPROVERS)
    gate = ReleaseGate(folder, policies=policies, approvers=APPROVERS, clock=lambda: NOW)
    return Vault(folder, key_lock, checker.public_key, OFFICE.public_key, gate)


def approve_all(zone: AuthorityZone, *, now: datetime = NOW) -> None:
    """As the officers: approve whatever waits."""
    for asked in waiting_subjects(zone, now=now):
        for officer in APPROVERS.values():
            if officer.role in asked.missing:
                signed = approval_of(asked.text, role=officer.role, now=now)
                record_approval(zone, signed, bearer=officer.person, now=now)


def waiting_subjects(zone: AuthorityZone, *, now: datetime = NOW) -> list[AskedApproval]:
    with read_session(zone.engine) as session:
        officers = zone.approvers
        return read_subjects(session, PageAsked(), state=WAITING, officers=officers, now=now)[0]


def answer_approved(
    zone: AuthorityZone,
    request: Signed,
    *,
    view: PlatformView,
    clock: Callable[[], datetime] = lambda: NOW,
) -> Outcome:
    """Have a request answered that officers approve as soon as they see it."""
    outcome = answer_request(zone, request, view=view, clock=clock)
    if outcome.state != WAITING:
        return outcome
    approve_all(zone, now=clock())
    return answer_request(zone, request, view=view, clock=clock)


def signed_log(key: Sm2PrivateKey) -> SignedLog:
    """What signs the authority's log."""
    origin = f"gridsecure/authority/{key.public_key.thumbprint}"
    return SignedLog(LogSigner(origin, b"\1" * 32, key))


class Authority:
    """A key authority in one process, around the session's key sets.

    Args:
        grid: Whose platform and gateway it trusts.
        folder: Its own folder.
        vault: A door to another vault than the one made here.
        identity: Keys of the identity authorities it trusts; the grid's by default.
        settlement: Where settlement pseudonyms come from.
        gateway: Whose the session's key sets are; the grid's by default.
    """

    def __init__(
        self,
        grid: GridSimulator,
        folder: Path,
        *,
        vault: VaultDoor | None = None,
        identity: Sequence[Sm2PrivateKey] = (),
        settlement: Settlement = settlement,
        gateway: Sm2PrivateKey | None = None,
    ) -> None:
        self.grid = grid
        self.gateway = (gateway or grid.gateway_key).public_key.thumbprint
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.vault = vault or self._own_vault()
        self.settlement = settlement
        if not (folder / DATABASE).exists():
            self._begin_with_key_sets()
        self.zone = self.open_zone(identity or [grid.identity_key])
        self.view = View(grid)
        self.lists: dict[tuple[str, ...], Signed] = {}

    def _begin_with_key_sets(self) -> None:
        """Key sets as the authority publishes them when the gateway has asked."""

        def make(folder: Path) -> None:
            zone = self.open_zone([self.grid.identity_key], folder=folder)
            for key_set in grid_keys().secret.values():
                publish_key_set(zone, key_set.public, place=(self.gateway, 1), at=NOW)
            zone.engine.dispose()

        signer = self.grid.authority_key.public_key.thumbprint
        grid_keys().copy_of(f"{signer} for {self.gateway}", make).write(self.folder)

    def _own_vault(self) -> Vault:
        """A vault that holds the session's keys without files of its own."""
        vault = own_vault(self.folder, self.grid.authority_key)
        for key_set in grid_keys().secret.values():
            vault._opened[self.gateway, key_set.public.key_id] = key_set
        return vault

    def open_zone(
        self, identity: Sequence[Sm2PrivateKey], *, folder: Path | None = None
    ) -> AuthorityZone:
        own = folder or self.folder
        engine = open_database(f"sqlite:///{own / DATABASE}")
        migrate(engine, SCHEMA)
        objects = open_objects(folder_url(own / "objects"))
        return AuthorityZone(
            engine=engine,
            objects=objects,
            checks=Checks(objects),
            signing_key=self.grid.authority_key,
            query_key=grid_keys().query,
            blinding_key=bytes(32),
            log=signed_log(self.grid.authority_key),
            platform=registry(self.grid.platform_key),
            identity=registry(*identity),
            office=registry(OFFICE),
            settlement=self.settlement,
            vault=self.vault,
            policy=POLICY,
            approvers=APPROVERS,
            shadow_questions=12,
        )

    def close(self) -> None:
        self.zone.engine.dispose()

    # --- the platform's part -------------------------------------------------------------------

    @cached_property
    def worker(self) -> Worker:
        zone = self.grid.platform_zone
        return Worker(zone.objects.store, read_known_keys(zone.engine))

    def bill_job(self, upload: GridUpload) -> JobResult:
        roster = self.grid.signed_roster(upload.roster)
        return self.run_job(BillJob("bill", roster.body, upload.message.body))

    def run_job(self, job: Job) -> JobResult:
        zone = self.grid.platform_zone
        result = self.worker.run(locate_inputs(zone.objects, job))
        with write_session(zone.engine) as session:
            zone.objects.name_extents(session, result.extents)
        return result

    def bill_transcript(self, upload: GridUpload) -> Transcript:
        result = self.bill_job(upload)
        return self.transcript("bill", [upload], result)

    def load_curve_transcript(
        self, uploads: Sequence[GridUpload], *, day: int = 0, seed: bytes = SEED
    ) -> Transcript:
        job = LoadCurveJob(
            "load-curve",
            tuple(self.grid.signed_roster(upload.roster).body for upload in uploads),
            tuple(upload.message.body for upload in uploads),
            (day_quantity(f"{self.grid.month}-{day + 1:02d}"),),
            FIFTEEN,
            seed,
        )
        return self.transcript("load-curve", uploads, self.run_job(job), seed=seed)

    def transcript(
        self,
        plan: str,
        uploads: Sequence[GridUpload],
        result: JobResult,
        *,
        seed: bytes | None = None,
    ) -> Transcript:
        return Transcript(
            plan=plan,
            plan_version=LOAD_CURVE_PLAN_VERSION if plan == "load-curve" else BILL_PLAN_VERSION,
            start=uploads[0].manifest.start,
            end=uploads[0].manifest.end,
            rosters=[self.grid.signed_roster(upload.roster).digest for upload in uploads],
            uploads=[upload.upload_id for upload in uploads],
            inputs=dict(result.inputs),
            outputs=dict(result.outputs),
            steps=dict(result.steps),
            seed_commitment=None if seed is None else sm3_hex(seed),
            release="test",
            policy=self.zone.policy.terms_digest if plan == "load-curve" else "",
        )

    def request(
        self,
        transcripts: Sequence[Transcript | Signed],
        *,
        seeds: Sequence[bytes] = (),
        **changes: object,
    ) -> Signed:
        """A request about transcripts, signed by the platform (transcripts too, unless signed)."""
        key = self.grid.platform_key
        parts = [t if isinstance(t, Signed) else sign_message(t, key=key) for t in transcripts]
        plan = changes.get("plan", "load-curve" if seeds else "bill")
        request = ReleaseRequest(
            request_id="",
            plan=plan,
            plan_version=LOAD_CURVE_PLAN_VERSION if plan == "load-curve" else BILL_PLAN_VERSION,
            start=self.grid.period.start.isoformat(),
            end=self.grid.period.end.isoformat(),
            purpose="operations" if seeds else "billing",
            requested_by="clerk",
            transcripts=parts,
            seeds=[seed.hex() for seed in seeds],
        )
        changed = request.model_copy(update=changes)
        if "closing" not in changes and changed.plan != "rebill":
            changed = changed.model_copy(update={"closing": self.closing(changed)})
        name = {"request_id": changes.get("request_id") or request_name(changed)}
        return sign_message(changed.model_copy(update=name), key=key)

    def closing(self, request: ReleaseRequest) -> Signed | None:
        """The list that closes the request's month for the uploads of its transcripts."""
        bodies = [Transcript.parse(transcript.body) for transcript in request.transcripts]
        uploads = sorted({upload for body in bodies for upload in body.uploads})
        if not uploads:
            return None
        name = (request.start, request.end, *uploads)
        if name not in self.lists:
            span = {"start": request.start, "end": request.end}
            self.lists[name] = self.grid.closing_list(uploads, number=len(self.lists) + 1, **span)
        return self.lists[name]

    def bill_request(self, uploads: Sequence[GridUpload]) -> Signed:
        return self.request([self.bill_transcript(upload) for upload in uploads])

    def rebill_transcript(self, upload: GridUpload) -> Transcript:
        return self.transcript("rebill", [upload], self.bill_job(upload))

    def rebill_request(self, uploads: Sequence[GridUpload], **changes: object) -> Signed:
        """A request about corrections that the platform may never have taken in itself."""
        for upload in uploads:
            self.show(upload)
        transcripts = [self.rebill_transcript(upload) for upload in uploads]
        return self.request(transcripts, plan="rebill", **changes)

    def shadow_transcript(self, upload: GridUpload, tariff: str) -> Transcript:
        roster = self.grid.signed_roster(upload.roster)
        job = BillJob("bill", roster.body, upload.message.body, tariff=tariff)
        made = self.transcript("bill", [upload], self.run_job(job))
        return made.model_copy(update={"tariff": tariff})

    def shadow_request(
        self,
        transcripts: Sequence[Transcript],
        *,
        key: Sm2PrivateKey = OFFICE,
        **changes: object,
    ) -> Signed:
        """A request for a preview of transcripts, as the office ordered it unless changed."""
        first = transcripts[0]
        uploads = [one.uploads[0] for one in transcripts] if first.tariff else []
        order = ShadowOrder(
            start=first.start,
            end=first.end,
            ordered_at=NOW.isoformat(),
            tariff=first.tariff,
            uploads=sorted(uploads),
        ).model_copy(update=changes)
        own = self.grid.platform_key
        request = ShadowRequest(
            request_id="",
            order=sign_message(order, key=key),
            requested_by="clerk",
            transcripts=[sign_message(one, key=own) for one in transcripts],
        )
        named = request.model_copy(update={"request_id": shadow_name(request)})
        return sign_message(named, key=own)

    def show(self, upload: GridUpload) -> None:
        """Let the platform have a roster and upload that the gateway signed."""
        roster = self.grid.signed_roster(upload.roster)
        self.view.messages |= {roster.digest: roster, upload.upload_id: upload.message}
        for data in upload.objects.values():
            self.grid.platform_zone.objects.put(data)

    def load_curve_request(self, uploads: Sequence[GridUpload]) -> Signed:
        return self.request([self.load_curve_transcript(uploads)], seeds=[SEED])

    # --- the authority's part ------------------------------------------------------------------

    def answer(self, request: Signed) -> Outcome:
        return answer_approved(self.zone, request, view=self.view)

    @property
    def certificates(self) -> list[ReleaseCertificate]:

        found = list_certificates(self.zone)
        return [attach_values(ReleaseCertificate.parse(c.body), c) for c in found]

    @property
    def previews(self) -> list[ShadowPreview]:
        with read_session(self.zone.engine) as session:
            texts, _ = list_previews(session, PageAsked())
        return [ShadowPreview.parse(Signed.parse(text).body) for text in texts]

    @property
    def evidence(self) -> list[EvidenceEntry]:
        """The evidence log, verified."""

        with write_session(self.zone.engine) as session:
            verify_log(session)
            return [
                read_row(r)
                for r in session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index)))
            ]

    def entries(self, action: str) -> list[EvidenceEntry]:
        return [entry for entry in self.evidence if entry.action == action]


def lone_household(grid: GridSimulator, upload: GridUpload) -> GridUpload:
    """An upload of one household of futian that no other roster has."""
    facts = upload.roster.manifest.model_copy(
        update={
            "pseudonyms": ["f" * 64],
            **{
                name: getattr(upload.roster.manifest, name)[:1]
                for name in ("zones", "customer_classes", "household_quota_wh", "contracted_va")
            },
            "free_quota_wh": [],
            "service_from": [],
        }
    )
    roster = Roster(grid.seated(facts), upload.roster.meter_point_ids[:1])
    columns = grid.packed(roster, days=2)
    sent = upload.manifest.model_copy(
        update={
            "roster_id": roster.manifest.roster_id,
            "sequence": 998,
            "columns": [column.entry for column in columns],
        }
    )
    objects = {column.entry.digest: column.data for column in columns}
    return GridUpload(roster, sent, grid.sign(sent), objects)
