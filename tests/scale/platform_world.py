"""The platform with years behind it, and every one of its requests about the month that follows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, literal

from gridsecure import frames
from gridsecure.compute import tables
from gridsecure.compute.jobs import LocalPool
from gridsecure.compute.tables import SCHEMA
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.identity_messages import DenyList
from gridsecure.messages import (
    KeyRevocation,
    ReleaseRequest,
    ShadowOrder,
    ShadowRequest,
    Signed,
    Transcript,
    sign_message,
)
from gridsecure.policy.packs import load_pack
from gridsecure.store.database import open_database
from gridsecure.store.schema import migrate
from gridsecure_api.platform import create_platform_app
from tests.approving import signed_policy
from tests.apps.zone_apps import GATEWAY, TestClock, bearer, platform_settings
from tests.correction_simulator import changed, correction
from tests.grid_simulator import NOW, OFFICE, GridSimulator, GridUpload
from tests.query_grants import grant_token, query_of
from tests.scale.filling import (
    AT,
    MONTHS,
    Size,
    count_rows,
    fill,
    fill_evidence,
    filled,
    name,
    numbers,
)
from tests.scale.work_meter import WorkMeter

AUTHORITY = bearer("platform", "authority")
BILLING = bearer("platform", "billing")
OPERATOR = bearer("platform", "operator")
FRAMES = {"Content-Type": frames.CONTENT_TYPE}
UPLOADS_A_REQUEST = 20
SECONDS = 60


class HerePool(LocalPool):
    """A crew's pool without processes."""

    room = 64

    def __init__(self, *given: object, workers: int, sandbox: str = "off") -> None:
        self.workers, self.sandbox = workers, sandbox  # in this process, which is in none
        super().__init__(*given)

    def warm(self) -> None:
        """Nothing is to be started."""


def fill_platform(engine: Engine, size: Size, *, gateway: str, message: str) -> None:
    """Uploads, seats, runs and requests of the months before.

    Args:
        gateway: A gateway's thumbprint.
        message: What a signed message looks like.
    """
    signed = {"message": message, "at": AT}
    rosters, each = max(1, size.uploads // 12), size.uploads // len(MONTHS)
    with filled(engine) as to:
        n = numbers(rosters)
        own = {"digest": name("roster", n), "roster_id": name("id", n), "gateway_id": gateway}
        fill(to, tables.RosterRow, n, **signed, **own)
        for place, (start, end) in enumerate(MONTHS):
            month = {"start": start, "end": end}
            n = numbers(each, first=place * each)
            seated = {"roster_id": name("id", n % rosters), "gateway_id": gateway}
            common = signed | month | seated | {"state": "committed"}
            own = {"digest": name("upload", n), "first_start": start}
            fill(to, tables.UploadRow, n, **common, **own, corrects=None)
            n = numbers(each // 10, first=place * each)
            common["roster_id"] = name("id", n % rosters)
            own = {"digest": name("correction", n), "corrects": name("upload", n)}
            fill(to, tables.UploadRow, n, **common, **own, first_start=None)
            n = numbers(2, first=2 * place)
            own = {"digest": name("closing", n), "number": n % 2 + 1}
            fill(to, tables.ClosingRow, n, **signed, **month, **own)
            for kind, plan in enumerate(("bill", "load-curve", "rebill")):
                _fill_runs(to, (plan, 3 * place + kind), each=each, month=month, message=message)
        n = numbers(size.uploads)
        numbered = {"sequence": n + 1_000_000, "digest": name("upload", n)}
        fill(to, tables.UploadSequenceRow, n, gateway_id=gateway, **numbered, at=AT)
        used = {"month": "2025-01", "party": name("party", n), "measure": "jobs", "amount": 1}
        fill(to, tables.UsageRow, n, **used)
        fill(to, tables.BilledMembersRow, n, digest=name("members", n), at=AT)
        fill(to, tables.StoredRow, n, id=n + 1, name=name("stored", n), size=1000)
        granted = {"grant_id": name("grant", n), "used": name("used", n), "request_id": ""}
        fill(to, tables.QueryGrantRow, n, **granted, at=AT)
        shadow = {"digest": name("shadow", n), "request_id": name("preview", n)}
        asked = {"request": message, "state": "previewed"}
        fill(to, tables.ShadowRow, n, **signed, **shadow, **asked)
        n = numbers(size.seats)
        pinned = {"subject": name("seat", n), "thumbprint": name("pin", n)}
        fill(to, tables.HolderPinRow, n, **pinned, at=AT)
        fill(to, tables.UploadCounterRow, n, subject=name("counter", n), closed_to=n, recent="")
        seat = {"pseudonym": name("seat", n), "roster_id": name("id", n % rosters)}
        span = {"start_at": AT, "end_at": AT, "domain": "platform/billing/2025"}
        fill(to, tables.SeatRow, n, **seat, **span)
        fill(to, tables.DaySeatRow, n, **seat, **span)
        n = numbers(size.entries)
        lies = {"stored_id": n % size.uploads + 1, "starts": 8, "size": 90}
        fill(to, tables.ExtentRow, n, digest=name("extent", n), **lies)
        fill_evidence(to, size.entries, "upload.committed")


def _fill_runs(
    to: Connection, kind: tuple[str, int], *, each: int, month: dict[str, str], message: str
) -> None:
    """The runs of a plan over a month, and what came of them.

    Args:
        kind: The plan, and the place of plan and month among all.
        each: Uploads of a month.
    """
    (plan, place), signed = kind, {"message": message, "at": AT}
    requests = max(1, each // UPLOADS_A_REQUEST)
    order = {"plan": plan, **month, "purpose": "billing"}
    n = numbers(requests, first=place * requests)
    asked = {"digest": name("asked", n), "request_id": name("request", n), "state": "released"}
    fill(to, tables.ReleaseRequestRow, n, **signed, **order, **asked, closing=None)
    done = {"state": "done", "jobs": 1, "jobs_done": 1, "request_id": name("request", n)}
    ordered = {"run_id": name("run", n), "requested_by": "clerk", "query": "", "grant": ""}
    fill(to, tables.RunRow, n, **order, **done, **ordered, at=AT)
    uploads = each // 10 if plan == "rebill" else each
    n = numbers(uploads, first=place // 3 * each)
    job = literal(f"{plan}/1/") + name("", n)
    fill(to, tables.TranscriptRow, n, **signed, digest=name(f"{plan}t", n), job=job)
    if plan == "load-curve":
        fill(to, tables.JobSeedRow, n, job=job, seed=b"seed", at=AT)
        return
    request = name("request", place * requests + n % requests)
    about = name("correction" if plan == "rebill" else "upload", n)
    fill(to, tables.RequestUploadRow, n, upload=about, request_id=request)


@contextmanager
def platform_at(folder: Path, size: Size, meter: WorkMeter) -> Iterator[PlatformWorld]:
    """A platform whose database is filled, and a grid whose month comes next."""
    grid = GridSimulator(folder / "grid", meters=16)
    settings = platform_settings(folder / "platform")
    engine = open_database(settings.database_url)
    migrate(engine, SCHEMA)
    like = grid.upload(grid.rosters[0], days=0).message.model_dump_json()
    fill_platform(engine, size, gateway="ab" * 32, message=like)
    rows = count_rows(engine)
    engine.dispose()
    app = create_platform_app(settings, clock=TestClock())
    meter.watch(app, "platform")
    with meter.counting(), TestClient(app) as client:
        yield PlatformWorld(grid, client, rows)
    grid.close()


class PlatformWorld:
    """A grid's month, from its first message to its last, over HTTP."""

    def __init__(self, grid: GridSimulator, client: TestClient, rows: dict[str, int]) -> None:
        self.grid, self.client = grid, client
        self.app: FastAPI = client.app
        self.rows = rows
        order = grid.order()
        self.month = {"start": order.start, "end": order.end}

    def run_month(self) -> None:
        """Every request of the platform."""
        grid = self.grid
        uploads = [grid.upload(roster, days=1) for roster in grid.rosters]
        self.install()
        for upload in uploads:
            self.send(upload)
        found = self.read("/closing-lists", BILLING, params=self.month)
        closing = grid.closing_list([item["upload"] for item in found["open"]])
        self.post("/closing-lists", BILLING, json=closing.model_dump())
        self.read("/closing-lists", BILLING, params=self.month)
        self.read("/queried-uploads", AUTHORITY, params=self.month)
        self.order("bill", "billing")
        self.query()
        self.answer_all()
        first = uploads[0]
        self.try_tariff(first)
        self.answer_all()
        readings = changed(grid, grid.readings, first, slots=[0])
        self.send(correction(grid, first, readings=readings, slots=[0]))
        self.order("rebill", "billing")
        self.answer_all()
        for path in ("/runs?limit=5", "/status", "/key-sets", f"/usage?month={NOW:%Y-%m}"):
            self.read(path, OPERATOR)
        document = signed_policy(load_pack("strict").text).model_dump()
        self.checked(self.client.put("/policy", json=document, headers=OPERATOR))
        self.read("/policy", BILLING)
        for page in ("checkpoint", "tile/0/000"):
            self.checked(self.client.get(f"/log/{page}"))
        revoked = KeyRevocation(key_id="ab" * 32, gateway="cd" * 32, revoked_at=NOW.isoformat())
        notice = sign_message(revoked, key=grid.authority_key)
        self.post("/key-revocations", AUTHORITY, json=notice.model_dump())

    def install(self) -> None:
        """Key sets, tariffs, rosters, a deny list."""
        grid = self.grid
        for notice in grid.key_notices:
            parts = [notice.model_dump_json().encode(), *grid.key_objects(notice)]
            self.send_frames("/key-sets", parts)
        for text in grid.tariff_texts.values():
            self.checked(self.client.post("/tariffs", content=text.encode(), auth=GATEWAY))
        denied = DenyList(sequence=1, issued_at=NOW.isoformat(), subjects=["ef" * 32])
        said = sign_message(denied, key=grid.identity_key)
        self.post("/deny-lists", AUTHORITY, json=said.model_dump())
        for roster in grid.rosters:
            signed = grid.signed_roster(roster).model_dump_json().encode()
            self.send_frames("/rosters", [signed, grid.keys.seats[roster.manifest.seats]])

    def send(self, upload: GridUpload) -> None:
        """Manifest, objects, commit."""
        body = upload.message.model_dump()
        status = self.checked(self.client.post("/uploads", json=body, auth=GATEWAY)).json()
        path = f"/uploads/{upload.upload_id}"
        self.send_frames(f"{path}/objects", [upload.objects[d] for d in status["missing"]])
        self.checked(self.client.post(f"{path}/commit", auth=GATEWAY))
        self.checked(self.client.get(path, auth=GATEWAY))

    def order(self, plan: str, purpose: str) -> None:
        """Order a run and wait for it."""
        wanted = {"plan": plan, **self.month, "purpose": purpose}
        run_id = self.post("/runs", BILLING, json=wanted)["run_id"]
        self.wait(lambda: self.read(f"/runs/{run_id}", BILLING))

    def query(self) -> None:
        """An analyst's query."""
        text = query_of(self.grid).text
        headers = {"Authorization": f"Bearer {grant_token(text, audience='platform')}"}
        body = {"query": text, "grant": grant_token(text)}
        self.post("/queries", headers, json=body)
        digest = sm3_digest(text.encode()).hex()
        self.wait(lambda: self.read(f"/queries/{digest}", headers))

    def try_tariff(self, upload: GridUpload) -> None:
        """A shadow run."""
        digest = upload.roster.manifest.tariff
        text = next(t for t in self.grid.tariff_texts.values() if sm3_hex(t.encode()) == digest)
        wanted = ShadowOrder(
            **self.month, ordered_at=NOW.isoformat(), tariff=digest, uploads=[upload.upload_id]
        )
        order = sign_message(wanted, key=OFFICE).model_dump_json()
        content = frames.join_frames([order.encode(), text.encode()])
        answer = self.client.post("/shadow-runs", content=content, headers=FRAMES | BILLING)
        run_id = self.checked(answer).json()["run_id"]
        self.wait(lambda: self.read(f"/runs/{run_id}", BILLING))

    def answer_all(self) -> None:
        """What the key authority reads of each request, and its answer."""
        while waiting := self.read("/release-requests", AUTHORITY):
            asked = Signed(**waiting[0])
            is_shadow = asked.body_kind == ShadowRequest.kind
            request = (ShadowRequest if is_shadow else ReleaseRequest).parse(asked.body)
            transcript = Transcript.parse(request.transcripts[0].body)
            self.read(f"/messages/roster/{transcript.rosters[0]}", AUTHORITY)
            self.read(f"/messages/upload/{transcript.uploads[0]}", AUTHORITY)
            digest = next(iter(transcript.inputs.values()))
            found = self.client.post("/objects", headers=AUTHORITY, json={"digests": [digest]})
            assert [sm3_hex(data) for data in frames.split_frames(found.content)] == [digest]
            path = f"/release-requests/{request.request_id}/answer"
            self.post(path, AUTHORITY, json={"state": "previewed" if is_shadow else "released"})

    def wait(self, ask) -> None:
        """Wait for a run to be done."""
        until = time.monotonic() + SECONDS
        while (state := ask())["state"] == "running":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert state["state"] == "done", state

    def send_frames(self, path: str, parts: list[bytes]) -> None:
        content = frames.join_frames(parts)
        self.checked(self.client.post(path, content=content, headers=FRAMES, auth=GATEWAY))

    def post(self, path: str, headers: dict[str, str], *, json: object):
        return self.checked(self.client.post(path, json=json, headers=headers)).json()

    def read(self, path: str, headers: dict[str, str], **choices: object):
        return self.checked(self.client.get(path, headers=headers, **choices)).json()

    @staticmethod
    def checked(answer):
        assert answer.is_success, answer.text
        return answer
