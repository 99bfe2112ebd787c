"""The identity service with years behind it, and every one of its requests about a few holders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, literal

from gridsecure.credentials.grants import Quota, trial_quota
from gridsecure.credentials.holder import Holder, Wallet
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.opening import OFFICE_OF, OPENERS, Opener
from gridsecure.credentials.returned_grants import GrantOrder, hidden_digest, returned_quota
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.identity.enrolments import tables as names
from gridsecure.identity.enrolments.passwords import password_record
from gridsecure.identity.registrations import tables as pseudonyms
from gridsecure.identity_messages import (
    LogEntry,
    RekeyOrder,
    SearchDocument,
    SearchWork,
    WarrantDocument,
)
from gridsecure.messages import sign_message
from gridsecure.offices.log_checks import registration_entries
from gridsecure.offices.shares import check_search, search_answer, share_for
from gridsecure.store.database import open_database, read_session
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.log_entries import read_entry
from gridsecure.store.log_tree import read_frontier
from gridsecure.store.schema import migrate
from gridsecure.transparency.checkpoints import read_checkpoint
from gridsecure_api.identity import create_identity_app
from gridsecure_api.settings import UserEntry
from tests.apps.identity_peers import (
    Ordering,
    account,
    enrolled,
    gateway_order,
    logged_in,
    person_token,
    registered,
    service_token,
)
from tests.apps.zone_apps import TestClock, bearer, identity_settings
from tests.grid_simulator import NOW, grid_keys
from tests.identity.identity_world import BILLING, keys, new_holder, suite
from tests.scale.filling import (
    AT,
    Size,
    count_rows,
    fill,
    fill_evidence,
    filled,
    name,
    numbers,
)
from tests.scale.work_meter import WorkMeter

PASSWORD = "correct horse battery staple"
METERS = ("44", "45")
ROLE_OF = {opener: role for role, opener in OFFICE_OF.items()}
A_BATCH = 100
"""Registrations that came together."""


@cache
def user() -> UserEntry:
    """Somebody with a password, which takes a while to stretch."""
    return UserEntry(user="lin", password=password_record(PASSWORD), roles=("billing",))


def fill_enrolments(engine: Engine, size: Size) -> None:
    """Accounts, keys and credentials of the years before."""
    with filled(engine) as to:
        n = numbers(size.seats)
        who = {"identity": name("meter", n), "generation": 0}
        fill(to, names.EnrolmentRow, n, **who, key=name("key", n), at=AT)
        credential, meter = name("credential", n), name("meter", n)
        of = {"role": "meter-point", "period": "2025", "digest": name("digest", n)}
        fill(to, names.CredentialRow, n, name=credential, **who, **of, at=AT)
        cell = {"zone": "futian", "customer_class": "household"}
        facts = {**cell, "counted": True, "owner": ""}
        fill(to, names.CertifiedRow, n, credential=credential, **facts, at=AT)
        counts = {"claim": name("claim", n), "meter_point_id": meter, "credential": credential}
        fill(to, names.CountedRow, n, **counts, period="2025", at=AT)
        books = {"meter_point_id": meter, "gateway": "ab" * 32, "customer_id": name("customer", n)}
        books |= {"site": meter, "valid_from": "", "valid_to": ""}
        fill(to, names.AccountRow, n, **books, **cell, name="Lin", address="Harbour Road 1")
        n = numbers(size.uploads)
        fill(to, names.RekeyOrderRow, n, digest=name("rekey", n), orders="[]", at=AT)
        block = {"identity": name("blocked", n), "key": b"key", "reference": "2025/1"}
        fill(to, names.BlockedRow, n, **block, at=AT)
        former = {"thumbprint": name("source", n), "name": "headend"}
        fill(to, names.FormerSourceKeyRow, n, **former, at=AT)
        fill_evidence(to, size.entries, "identity.enrolled")


def fill_registrations(engine: Engine, size: Size) -> None:
    """Pseudonyms of the years before.

    Under none of them anybody acts any more: a search by person looks at everybody who does.
    """
    with filled(engine) as to:
        n = numbers(size.seats)
        point = {"nym": b"n" * 33, "holder": b"", "escrow": b"e" * 66, "role": "meter-point"}
        facts = {"zone": "futian", "customer_class": "household", "counted": True, "owner": ""}
        kept = {**point, **facts, "settlement": None, "state": "active", "at": AT}
        named = {"subject": name("subject", n), "domain": "platform/settlement/2025"}
        fill(to, pseudonyms.RegistrationRow, n, **named, **kept)
        carried = {"subject": name("subject", n), "earlier": name("subject", n)}
        fill(to, pseudonyms.CarriedRow, n, **carried, place=0)
        entry = name("hash", n % (size.seats // A_BATCH))
        fill(to, pseudonyms.LeafRow, n, entry=entry, leaf=name("leaf", n))
        n = numbers(size.seats // A_BATCH)
        fill(to, pseudonyms.BatchRow, n, entry=name("hash", n), digest=name("batch", n), at=AT)
        n = numbers(size.claims)
        fill(to, pseudonyms.SpentGrantRow, n, tag=name("tag", n), digest=name("spent", n), at=AT)
        fill_evidence(to, size.entries, "identity.registered")
        opened = literal('{"warrant":"another"}')
        fill_evidence(to, size.uploads, "identity.opened", detail=opened, first=size.entries)
        n = numbers(size.uploads)
        fill(to, pseudonyms.OpeningRow, n, warrant=name("hash", n))


@contextmanager
def identity_at(folder: Path, size: Size, meter: WorkMeter) -> Iterator[IdentityWorld]:
    """An identity service whose databases are filled."""
    settings = identity_settings(folder / "identity", users=(user(),))
    rows: dict[str, int] = {}
    for database, schema, fill_all in (
        ("enrolments", names.SCHEMA, fill_enrolments),
        ("registrations", pseudonyms.SCHEMA, fill_registrations),
    ):
        engine = open_database(settings.database_url(database))
        migrate(engine, schema)
        fill_all(engine, size)
        rows |= count_rows(engine)
        engine.dispose()
    app = create_identity_app(settings, clock=TestClock())
    meter.watch(app, "identity")
    with meter.counting(), TestClient(app) as client:
        yield IdentityWorld(client, rows)


class IdentityWorld:
    """From the books to pseudonyms, and what both offices do about them."""

    def __init__(self, client: TestClient, rows: dict[str, int]) -> None:
        self.client, self.rows = client, rows
        self.app: FastAPI = client.app
        with read_session(self.app.state.zone.registrations) as session:
            self.seen = read_frontier(session)

    def run_month(self) -> None:
        """Every request of the identity service."""
        members = self.enrol()
        holders = [holder for holder, _ in members]
        self.vouch(holders)
        self.grant()
        subject = holders[0].name_in(BILLING)
        self.open(subject)
        self.search()
        self.rekey(holders[0])
        order = {"subject": subject, "reference": "2026/2"}
        self.post("/revocations", order)
        self.post("/blocks", {"identity": METERS[0], "reference": "2026/2"})
        for log in ("registrations", "enrolments"):
            for page in ("checkpoint", "tile/0/000"):
                self.checked(self.client.get(f"/log/{log}/{page}"))
        now = self.client.get("/log/registrations/checkpoint").content
        assert read_checkpoint(now).size > self.seen.size

    # --- who is who

    def enrol(self) -> list[tuple[Holder, Credential]]:
        """Books, credentials and pseudonyms of some meter points."""
        ops = person_token(self.client, "ops")
        books = [account(meter) for meter in METERS]
        self.checked(self.client.put("/books", json=books, headers=ops))
        gateway = {"gateway": grid_keys().gateway.public_key.thumbprint, "owner": "North"}
        self.checked(self.client.put("/books/gateways", json=[gateway], headers=ops))
        holders = {meter: new_holder() for meter in METERS}
        given = enrolled(gateway_order(self.client), holders)
        members = [(holders[meter], given[meter]) for meter in METERS]
        registered(self.client, members)
        clerk = person_token(self.client, "clerk")
        self.post("/accounts/keys", {"identities": list(METERS)}, headers=clerk)
        reader = service_token(self.client, grid_keys().gateway)
        self.post("/accounts/days", {"identities": list(METERS)}, headers=reader)
        self.register_source(ops)
        body = {"user": "lin", "password": PASSWORD, "audience": "platform"}
        self.post("/sign-in", body, headers={})
        return members

    def register_source(self, ops: dict[str, str]) -> None:
        """A meter-data system's key comes, signs in and goes."""
        key = generate_private_key()
        body = {"name": "headend-1", "public_key": key.public_key.point.hex()}
        self.post("/source-keys", body, headers=ops)
        service_token(self.client, key, audience="gateway")
        self.checked(self.client.get("/source-keys", headers=ops))
        path = f"/source-keys/{key.public_key.thumbprint}"
        self.checked(self.client.delete(path, headers=ops))

    def vouch(self, holders: list[Holder]) -> None:
        """What others are told of pseudonyms."""
        subjects = [holder.name_in(BILLING) for holder in holders]
        asked = {"domain": BILLING.text, "subjects": subjects}
        self.post("/registrations/list", {**asked, "role": "meter-point"}, headers={})
        authority = service_token(self.client, grid_keys().authority)
        self.post("/settlement-names", asked, headers=authority)
        self.checked(logged_in(self.client, holders[0], BILLING))
        for path in ("/deny-list", "/identity-keys"):
            self.checked(self.client.get(path))

    def grant(self) -> None:
        """An analyst's grant."""
        terms = self.checked(self.client.get("/grants/terms")).json()
        headers = person_token(self.client, "lin")
        order = Ordering(self.client, headers, keys().people["lin"], "analyst", terms["period"])
        credential = enrolled(order, {"lin": new_holder()})["lin"]
        quota = Quota(Context("analyst", terms["period"]), terms["epoch"], terms["limit"])
        digest = sm3_digest(b"query")
        wallet = Wallet(credential, quota)
        _, message = wallet.ask(
            audience="platform", digest=digest, keys=keys().public, suite=suite()
        )
        self.post("/grants", {"digest": digest.hex(), "request": message.hex()}, headers={})
        hidden = hidden_digest(digest, salt=digest).hex()
        order = sign_message(GrantOrder(digest=hidden), key=grid_keys().authority)
        _, message = Wallet(credential, returned_quota(quota)).ask(
            audience="platform", digest=digest, keys=keys().public, suite=suite()
        )
        said = {"digest": digest.hex(), "request": message.hex(), "order": order.model_dump()}
        said |= {"salt": digest.hex()}
        self.post("/grants/returned", said, headers={})
        _, message = Wallet(credential, trial_quota(quota)).ask(
            audience="authority", digest=digest, keys=keys().public, suite=suite()
        )
        said = {"digest": digest.hex(), "request": message.hex()}
        self.post("/grants/trials", said, headers={})

    # --- both offices

    def open(self, subject: str) -> None:
        """A warrant, from order to result."""
        warrant = self.post("/warrants", {"subject": subject, "reference": "2026/1"})
        path = f"/warrants/{warrant['entry']['hash']}"
        said = WarrantDocument(
            entry=warrant["entry"]["hash"],
            **{name: warrant[name] for name in ("subject", "escrow", "reference", "leaves")},
        )
        for opener in OPENERS:
            share = share_for(
                said,
                entries=self.log(),
                key=keys().openers[opener],
                suite=suite(),
            )
            body = {"opener": opener, "share": share.hex()}
            self.post(f"{path}/shares", body, opener=opener)
        for one in ("/warrants", path, f"{path}/result"):
            self.read(one)

    def search(self) -> None:
        """A search by person, all of its steps."""
        started = self.post("/person-searches", {"identity": METERS[1], "reference": "2026/3"})
        path = f"/person-searches/{started['entry']['hash']}"
        self.read("/person-searches")
        own = self.read("/evidence?action=identity.search&action=identity.searched")
        assert [one["action"] for one in own["entries"]] == ["identity.search"]
        document = SearchDocument.model_validate(self.read(path)["document"])
        log = self.log()
        leaves = {
            one.hash: self.read(f"/evidence/{one.hash}/leaves")["leaves"]
            for one in registration_entries(log, before=log[-1].index)
        }
        checked = check_search(document, entries=log, leaves=leaves)
        steps: tuple[Opener, ...] = ("utility", "regulator", "utility")
        for opener in steps:
            work = SearchWork.model_validate(self.read(f"{path}/work", opener=opener)["work"])
            key = keys().openers[opener]
            answer = search_answer(work, search=checked, key=key, suite=suite())
            self.post(f"{path}/work", answer.model_dump(mode="json"), opener=opener)

    def rekey(self, holder: Holder) -> None:
        """A new key for a meter point, by both offices' order."""
        group = suite().group
        old, new = (
            group.encode(group.sum((one.m1, suite().g))).hex() for one in (holder, new_holder())
        )
        said = RekeyOrder(
            identity=METERS[0], old=old, new=new, reference="r", issued_at=NOW.isoformat()
        )
        orders = [sign_message(said, key=keys().staters[one]).model_dump() for one in OPENERS]
        self.post("/rekeys", {"orders": orders})

    def log(self) -> list[EvidenceEntry]:
        """What the log got since it was filled, as if it had begun there."""
        entries = self.read(f"/evidence?after={self.rows['evidence'] - 1}")["entries"]
        shown = [one | {"index": place} for place, one in enumerate(entries)]
        return [read_entry(LogEntry.model_validate(one)) for one in shown]

    # --- over HTTP

    def post(
        self,
        path: str,
        body: object,
        *,
        headers: dict[str, str] | None = None,
        opener: Opener = "utility",
    ):
        own = bearer("identity", ROLE_OF[opener]) if headers is None else headers
        return self.checked(self.client.post(path, json=body, headers=own)).json()

    def read(self, path: str, *, opener: Opener = "utility"):
        headers = bearer("identity", ROLE_OF[opener])
        return self.checked(self.client.get(path, headers=headers)).json()

    @staticmethod
    def checked(answer):
        assert answer.is_success, answer.text
        return answer
