"""The key authority with years behind it, and every one of its requests about the next month."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, literal

from gridsecure.approvals import ReleaseSubject
from gridsecure.circulation.documents import REGISTRAR
from gridsecure.credentials.access import TRIAL_ROLE, trial_subject
from gridsecure.credentials.returned_grants import give_back, new_ticket, return_key, take_back
from gridsecure.credentials.sealed_questions import QueryKeyNotice
from gridsecure.credentials.suites import sm2_suite
from gridsecure.key_authority.checker import tables
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.messages import (
    CellTotal,
    KeyNotice,
    QueriedUploads,
    ReleaseCertificate,
    Signed,
    sign_message,
)
from gridsecure.offices.custodians import answer_challenge
from gridsecure.policy.packs import load_pack
from gridsecure.released_values import SignedCertificate, detach_values, sign_certificate
from gridsecure.store.database import open_database
from gridsecure.store.schema import migrate
from gridsecure.vault_messages import KeyMove
from gridsecure.zone_keys import QUERY_KEY
from gridsecure_api.authority import create_authority_app
from gridsecure_api.settings import AuthoritySettings
from tests.approving import ENTRIES, approval_of, authorisation_of, signed_policy
from tests.apps.zone_apps import TestClock, bearer, officer, place_key, point
from tests.authority_simulator import (
    Authority,
    ask_for_key_sets,
    keep_grid_keys,
    own_vault,
    settlement,
)
from tests.correction_simulator import changed, correction
from tests.custodians import NAMES, custodian, custodian_key, own_share
from tests.grid_simulator import NOW, OFFICE, GridSimulator, delivered_grid, grid_keys
from tests.key_authority.asked_queries import Asker, question_of
from tests.market.agreed_proofs import CLERK, MARKET, proof
from tests.market.market_world import key_of
from tests.query_grants import grant_claims, grant_token, query_of, sealed_query_of
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

UPLOADS_A_RELEASE = 72


class Queue:
    """The platform as the service pulls it."""

    def __init__(self, maker: Authority) -> None:
        self.requests: list[Signed] = []
        self.message = maker.view.message
        self.objects = maker.view.objects
        self.asker = Asker(maker)

    def list_waiting(self) -> list[Signed]:
        return self.requests

    def queried(self, _start: str, _end: str) -> QueriedUploads:
        return self.asker.queried()

    def report(self, _request_id: str, _state: str) -> None:
        self.requests = []


def certificate_of(grid: GridSimulator) -> SignedCertificate:
    """What a release of some cells looks like."""
    start, end = MONTHS[0]
    cells = [
        CellTotal(
            zone=f"zone {number}", customer_class="household", start=start, end=end,
            measure="energy_wh", members=100, value="123456789",
        )
        for number in range(10)
    ]  # fmt: skip
    said = ReleaseCertificate(
        release_id="1" * 32, plan="bill", plan_version=2, start=start, end=end, purpose="billing",
        requested_by="clerk", released_at=AT.isoformat(), transcripts=[], outputs_digest="2" * 64,
        minimum_members=15, cells=cells, statements={}, evidence_head="4" * 64,
    )  # fmt: skip
    bare, values = detach_values(said)
    return sign_certificate(bare, values, key=grid.authority_key)


SUBJECT = ReleaseSubject(
    request_id="1" * 32, plan="bill", start="", end="", purpose="billing", requested_by="clerk",
    resolutions=["monthly"], measures=[], cells=[], transcripts="2" * 64, outputs=["3" * 64],
    rosters=["7" * 64], tariffs=[], policy="5" * 64, policy_name="", policy_version=1,
    needed=["data-owner"], standing=[],
).model_dump_json()  # fmt: skip


def _fill_approvals(to, n, like: str) -> None:
    subject = {"digest": name("subject", n), "request_id": name("release", n)}
    more = {"policy": "5" * 64, "text": SUBJECT, "state": "released", "at": AT}
    fill(to, tables.SubjectRow, n, **subject, **more)
    said = {"subject": name("subject", n), "signer": "6" * 64, "decision": "approve"}
    more = {"expires_at": AT, "state": "given", "digest": name("approval", n)}
    fill(to, tables.ApprovalRow, n, **said, **more, message=like, at=AT)
    more = {"digest": name("standing", n), "signer": "6" * 64, "state": "revoked"}
    named = {"release_id": name("release", n), "agreement": name("agreement", n), "state": "spent"}
    fill(to, tables.AgreedReleaseRow, n, **named, proof=like, at=AT)
    fill(to, tables.AuthorisationRow, n, **more, expires_at=AT, message=like, at=AT)


def _fill_told(to, n) -> None:
    """What parties used, and what a receiver was told."""
    used = {"month": "2025-01", "party": name("party", n), "measure": "releases", "amount": 1}
    fill(to, tables.UsageRow, n, **used)
    event = {
        "receiver": "desk",
        "event": "release.done",
        "subject": name("event", n),
        "count": 1,
    }
    waits = {"entry": n + 1, "happened_at": "", "state": "told", "attempts": literal(0)}
    fill(to, tables.EventNoticeRow, n, **event, **waits, due_at=AT, at=AT)


def _fill_lists(to, size: Size, *, told: dict[str, object]) -> None:
    """Who sits in rosters, and who is in sets that were told of."""
    n = numbers(size.uploads)
    fill(to, tables.SeatListRow, n, name=name("id", n))
    fill(to, tables.MemberListRow, n, name=name("listed", n))
    named = {"name": name("told", n), "members": name("listed", n)}
    fill(to, tables.ToldSetRow, n, **named, **told)
    n = numbers(size.seats)
    seats = name("id", n % size.uploads)
    fill(to, tables.ListedSeatRow, n, pseudonym=name("seat", n), seats=seats)
    listed = {"members": name("listed", n % size.uploads), "name": name("seat", n)}
    fill(to, tables.ListedMemberRow, n, **listed, owner="", counts=True)


def fill_authority(engine: Engine, size: Size, grid: GridSimulator) -> None:
    """Releases, claims, cohorts and told sets of the months before."""
    (start, end), certificate = MONTHS[0], certificate_of(grid)
    with_values = certificate.model_dump_json()
    like = certificate.model_dump_json(exclude={"values"})
    releases = max(1, size.uploads // UPLOADS_A_RELEASE)
    period = {"domain": grid.domain, "start_at": AT, "end_at": AT, "at": AT}
    with filled(engine) as to:
        n = numbers(releases)
        named = {"digest": name("certificate", n), "release_id": name("release", n)}
        asked = {"plan": "bill", "purpose": "billing", "requested_by": "clerk"}
        asked |= {"start": start, "end": end, "released_at": AT.isoformat()}
        asked |= {"cells": 10, "suppressed": 0}
        fill(to, tables.ReleaseRow, n, message=with_values, at=AT, **named, **asked)
        told = {"digest": name("preview", n), "preview_id": name("shadow", n)}
        fill(to, tables.PreviewRow, n, message=like, at=AT, **told, order=name("order", n))
        cell = {"zone": "futian", "customer_class": "household", "questions": 1}
        span = {key: period[key] for key in ("domain", "start_at", "end_at")}
        fill(to, tables.PreviewCellRow, n, preview_id=name("shadow", n), **cell, **span)
        _fill_approvals(to, n, like)
        n = numbers(2 * len(MONTHS))
        numbered = {"start": start, "end": end, "number": n + 1}
        fill(to, tables.ClosingRow, n, message=like, at=AT, digest=name("closing", n), **numbered)
        n = numbers(size.uploads)
        release = name("release", n % releases)
        transcript = name("transcript", n)
        fill(to, tables.ReleasedTranscriptRow, n, transcript=transcript, release_id=release)
        chain = {"first": name("upload", n), "revision": 1, "upload": name("upload", n)}
        of = {"roster": name("roster", n), "roster_id": name("id", n), "tariff": name("tariff", n)}
        made = {"transcript": transcript, "plan_version": 2, "outputs": name("outputs", n)}
        more = {"corrects": None, "start": start, "end": end, "slots": 4096, "corrected": 4096}
        version = chain | of | made | more
        fill(to, tables.BillVersionRow, n, **version, release_id=release, at=AT)
        _fill_told(to, n)
        fill(to, tables.CohortRow, n, upload=name("upload", n), seats=name("id", n), **period)
        granted = {"request_id": name("asked", n), "token": name("token", n)}
        fill(to, tables.QueryGrantRow, n, **granted, used=name("used", n), at=AT)
        cell = {"zone": "futian", "customer_class": "household"}
        _fill_lists(to, size, told=cell | period)
        n = numbers(size.claims)
        claim = literal("load-curve/") + name("claim", n)
        spent = {"transcript": name("transcript", n), "at": AT}
        fill(to, tables.ClaimRow, n, claim=claim, release_id=name("release", n % releases), **spent)
        fill(to, tables.SeedRow, n, seed=literal("seed/") + name("seed", n), **spent)
        fill_evidence(to, size.entries, "release.granted")


@contextmanager
def authority_at(folder: Path, size: Size, meter: WorkMeter) -> Iterator[AuthorityWorld]:
    """A key authority whose database is filled, and a platform whose month comes next."""
    with delivered_grid(folder / "platform") as grid:
        maker = Authority(grid, folder / "maker")
        place_key(folder / "zone", grid.authority_key)
        place_key(folder / "zone", grid.keys.query, name=QUERY_KEY)
        settings = AuthoritySettings(
            folder=folder / "zone",
            identity_public_key=point(grid.identity_key),
            identity_url="http://identity.invalid",
            platform_url="http://platform.invalid",
            platform_public_key=point(grid.platform_key),
            billing_office_public_key=point(OFFICE),
            vault_socket=folder / "no-vault",
            workers=0,
            policy="uniform-15",
            approvers=ENTRIES,
            registrar_public_key=point(key_of(REGISTRAR)),
            market_public_key=point(key_of(MARKET)),
        )
        engine = open_database(settings.database_url)
        migrate(engine, SCHEMA)
        fill_authority(engine, size, grid)
        rows = count_rows(engine)
        engine.dispose()
        queue = Queue(maker)
        app = create_authority_app(
            settings,
            clock=TestClock(),
            pull=queue,
            settlement=settlement,
        )
        keep_grid_keys(folder / "maker")
        vault = own_vault(folder / "maker", grid.authority_key)
        state = app.state.authority
        app.state.authority = replace(state, zone=replace(state.zone, vault=vault))
        meter.watch(app, "authority")
        with meter.counting(), TestClient(app) as client:
            yield AuthorityWorld(maker, queue, client, rows)
        maker.close()


class AuthorityWorld:
    """A month's releases over HTTP, from key sets to statements."""

    def __init__(
        self, maker: Authority, queue: Queue, client: TestClient, rows: dict[str, int]
    ) -> None:
        self.maker, self.queue, self.client, self.rows = maker, queue, client, rows
        self.app: FastAPI = client.app

    def run_month(self) -> None:
        """Every request of the key authority."""
        maker, uploads = self.maker, self.maker.grid.uploads
        (notice, *_) = ask_for_key_sets(self.client, maker.grid)
        bills = self.release(maker.bill_request(uploads))
        for role in ("billing", "regulator"):
            self.read(f"/releases/{bills}", role)
        self.read("/releases?limit=5", "billing")
        sealed = self.read(f"/releases/{bills}", "billing").json()
        roster = next(iter(ReleaseCertificate.parse(SignedCertificate(**sealed).body).statements))
        self.read(f"/statements/{bills}/{roster}", "billing")
        self.query()
        self.sealed_query()
        self.returned_grant()
        self.trial()
        first = uploads[0]
        readings = changed(maker.grid, maker.grid.readings, first, slots=[0])
        late = correction(maker.grid, first, readings=readings, slots=[0])
        self.release(maker.rebill_request([late]))
        tried = maker.shadow_transcript(first, first.roster.manifest.tariff)
        preview = self.release(maker.shadow_request([tried]), state="previewed")
        for path in ("/shadow-previews?limit=5", f"/shadow-previews/{preview}"):
            self.read(path, "billing")
        standing = authorisation_of()
        path, headers = "/authorisations", officer("data-owner")
        self.checked(self.client.post(path, json=standing.model_dump(), headers=headers))
        self.read(f"{path}?limit=5", "regulator")
        self.checked(self.client.post(f"{path}/{standing.digest}/revoke", headers=headers))
        named, consumer = proof("7" * 32).model_dump(), bearer("authority", "member", person=CLERK)
        self.checked(self.client.post("/release-agreements", json=named, headers=consumer))
        document = signed_policy(load_pack("strict").text).model_dump()
        self.checked(self.client.put("/policy", json=document, headers=officer("data-owner")))
        for path in ("/policy", "/vault/policy"):
            self.read(path, "regulator")
        self.read("/approvers", "regulator")
        self.read(f"/usage?month={NOW:%Y-%m}", "regulator")
        path = "/approvers/privacy-officer/revoke"
        self.checked(self.client.post(path, headers=bearer("authority", "custodian")))
        self.register_receiver()
        self.split_the_vaults_key()
        self.read("/log/checkpoint", "regulator")
        self.read("/log/tile/0/000", "regulator")
        gateway = KeyNotice.parse(notice.body).gateway
        self.read(f"/gateway-key-sets?gateway={gateway}", "custodian")
        key_id = KeyNotice.parse(notice.body).key_id
        own = KeyNotice.parse(notice.body)
        for target, after, who in (
            ("suspended", 0, 0),
            ("active", 1, 0),
            ("active", 1, 1),
            ("deactivated", 2, 0),
            ("compromised", 3, 0),
        ):
            move = KeyMove(
                key_id=own.key_id,
                gateway=gateway,
                target=target,
                after=after,
                signed_at=NOW.isoformat(),
            )
            signed = sign_message(move, key=custodian_key(NAMES[who])).model_dump()
            headers = bearer("authority", "custodian")
            self.checked(self.client.post("/key-set-moves", json=signed, headers=headers))
        self.read(f"/gateway-key-sets/{own.key_id}/life", "custodian")
        path = f"/gateway-key-sets/{key_id}/revoke"
        self.checked(self.client.post(path, headers=bearer("authority", "custodian")))
        self.checked(self.client.post("/vault/lock", headers=bearer("authority", "operator")))

    def register_receiver(self) -> None:
        """Who is told of releases from now on, and what it was told."""
        operator, own = {"headers": bearer("authority", "operator")}, "/v1/receivers/desk"
        wanted = {"address": "https://desk.example/", "events": ["release.done"]}
        self.checked(self.client.put(own, json=wanted, **operator))
        for path in (f"{own}/notices", f"{own}/notices?state=given-up", "/v1/receivers"):
            self.read(path, "operator")
        self.checked(self.client.post(f"{own}/notices/retries", **operator))
        self.checked(self.client.delete(own, **operator))

    def split_the_vaults_key(self) -> None:
        """As two custodians: a new key, of which each has a new share."""
        folder, headers = self.maker.folder, bearer("authority", "custodian")
        everybody = [custodian(who) for who in NAMES]
        for who in NAMES[:2]:
            asked = {"purpose": "split"}
            stated = self.checked(
                self.client.post("/vault/challenges", json=asked, headers=headers)
            )
            given = answer_challenge(
                Signed(**stated.json()),
                own_share(folder, who),
                key=custodian_key(who),
                now=NOW,
                split=(everybody, 2),
            )
            self.checked(
                self.client.post("/vault/shares", json=given.model_dump(), headers=headers)
            )
        self.read("/vault", "operator")
        self.read("/vault/counts", "operator")
        self.read(f"/vault/shares/{NAMES[0]}", "custodian")

    def release(self, request: Signed, *, state: str = "released") -> str:
        """A round with one request, which is answered so."""
        self.queue.requests = [request]
        path, headers = "/release-rounds", bearer("authority", "billing")
        (outcome,) = self.checked(self.client.post(path, headers=headers)).json()
        assert outcome["state"] == "waiting", outcome
        self.approve()
        (outcome,) = self.checked(self.client.post(path, headers=headers)).json()
        assert (outcome["state"], outcome["reason"]) == (state, None)
        return str(outcome["request_id"])

    def approve(self) -> None:
        """As the officers: look at what waits, and approve it."""
        path, headers = "/approvals", officer("data-owner")
        (asked,) = self.checked(self.client.get(f"{path}?only=waiting", headers=headers)).json()
        self.read(f"{path}/{asked['subject']}", "regulator")
        if ReleaseSubject.parse(asked["text"]).question:
            question = f"{path}/{asked['subject']}/question"
            self.checked(self.client.get(question, headers=officer("privacy-officer")))
        for role in asked["missing"]:
            body = approval_of(asked["text"], role=role).model_dump()
            self.checked(self.client.post(path, json=body, headers=officer(role)))

    def query(self) -> None:
        """An analyst's query, from request to result."""
        self.checked(self.client.get("/query-key", headers={}))
        maker, text, seed = self.maker, query_of(self.maker.grid).text, bytes(32)
        transcript = maker.load_curve_transcript(maker.grid.uploads, seed=seed)
        asked = {"requested_by": grant_claims(text).subject, "query": text}
        grant = grant_token(text)
        request = maker.request(
            [transcript], seeds=[seed], purpose="research", grant=grant, **asked
        )
        self.release(request)
        headers = {"Authorization": f"Bearer {grant}"}
        answer = self.client.post("/query-results", json={"query": text}, headers=headers)
        self.checked(answer)

    def sealed_query(self) -> None:
        """A sealed question, from request to result."""
        asked = Asker(self.maker).ask(question_of(every="day"))
        self.release(asked.request)
        headers = {"Authorization": f"Bearer {grant_token(asked.query.text)}"}
        body = {"query": asked.query.text}
        self.checked(self.client.post("/query-results", json=body, headers=headers))

    def trial(self) -> None:
        """A question is tried, and withheld beside what was told of it."""
        text = sealed_query_of(self.maker.grid, question_of(every="hour"))[0].text
        said = {"roles": (TRIAL_ROLE,), "subject": trial_subject(bytes(32))}
        headers = {"Authorization": f"Bearer {grant_token(text, **said)}"}
        self.checked(self.client.post("/query-trials", json={"query": text}, headers=headers))

    def returned_grant(self) -> None:
        """A grant that came back with a refusal is used for another query."""
        notice = self.checked(self.client.get("/query-key", headers={})).json()
        public = bytes.fromhex(QueryKeyNotice.parse(notice["body"]).returns)
        ticket, key = new_ticket(public, suite=sm2_suite()), grid_keys().query
        given = give_back(
            ticket.blinded(sm2_suite()),
            key=return_key(key, suite=sm2_suite()),
            suite=sm2_suite(),
        )
        came, digest = take_back(ticket, given, suite=sm2_suite()), bytes(32)
        said = {"seed": came.seed.hex(), "digest": digest.hex(), "code": came.code(digest)}
        self.checked(self.client.post("/returned-grants", json=said, headers={}))

    def read(self, path: str, role: str):
        return self.checked(self.client.get(path, headers=bearer("authority", role)))

    @staticmethod
    def checked(answer):
        assert answer.is_success, answer.text
        return answer
