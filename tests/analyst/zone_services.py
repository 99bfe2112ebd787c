"""The four services as a reader meets them, in memory: real certificates under a real SM2 key.

One `ZoneServices` answers `httpx.Request` values. Client tests put it behind a MockTransport;
`served` puts the same object behind a socket for the dashboard, which makes its own connection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from gridsecure.analyst.client import Addresses, ReleaseClient
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.approvals import AskedCell, ReleaseSubject, subject_digest
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.messages import (
    CellTotal,
    ClosingList,
    KeyNotice,
    ReleaseCertificate,
    sign_message,
)
from gridsecure.policy.packs import load_pack
from gridsecure.released_values import SignedCertificate, detach_values, sign_certificate
from tests.analyst import market_services
from tests.analyst.office_services import OfficeServices

START, END = "2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00"
PASSWORD = "a password for tests"
DIGEST = "ab" * 32
BILL_ID, CURVE_ID = "release-bill-2026-07", "release-curve-2026-07"

VALUES = [
    ("futian", "household", 1200, 361_234_560, 24_567_891),
    ("futian", "shop", 85, 98_765_430, 7_654_321),
    ("luohu", "household", 900, 250_000_001, 17_000_001),
    ("luohu", "factory", 4, None, None),  # too few meter points
]
SECRETS = ("361,234", "98,765", "250,000", "361234", "98765", "245,678", "76,543", "170,000")
"""Digits that only someone who saw a released value can print."""


def bill_cells(values=VALUES) -> list[CellTotal]:
    cells = []
    for zone, customer_class, members, energy, amount in values:
        figures = {"bills": None if energy is None else members, "energy_wh": energy,
                   "amount_fen": amount}  # fmt: skip
        cells += [
            CellTotal(
                zone=zone, customer_class=customer_class, start=START, end=END, measure=measure,
                members=members, value=None if value is None else str(value),
            )
            for measure, value in figures.items()
        ]  # fmt: skip
    return cells


def curve_cells(*, days: int = 2) -> list[CellTotal]:
    """Half-hours that rise through the day; the second day is 10 % higher."""
    cells = []
    for zone, customer_class, members, energy, _ in VALUES:
        for day in range(1, days + 1):
            for index in range(48):
                hour, minute = divmod(index * 30, 60)
                later = (index + 1) * 30
                end = (
                    f"2026-07-{day:02d}T{later // 60:02d}:{later % 60:02d}:00+08:00"
                    if index < 47
                    else f"2026-07-{day + 1:02d}T00:00:00+08:00"
                )
                value = None if energy is None else members * (100 + index) * (9 + day)
                cells.append(
                    CellTotal(
                        zone=zone, customer_class=customer_class,
                        start=f"2026-07-{day:02d}T{hour:02d}:{minute:02d}:00+08:00", end=end,
                        measure="energy_wh", members=members,
                        value=None if value is None else str(value),
                    )
                )  # fmt: skip
    return cells


def certificate(*, plan="bill", cells=None, release_id=None, minimum=15) -> ReleaseCertificate:
    default = bill_cells() if plan == "bill" else curve_cells()
    return ReleaseCertificate(
        release_id=release_id or (BILL_ID if plan == "bill" else CURVE_ID),
        plan=plan,
        plan_version=1,
        start=START,
        end=END,
        purpose="monthly bill run",
        requested_by="billing",
        released_at="2026-08-02T01:02:03+00:00",
        transcripts=[DIGEST],
        outputs_digest="cd" * 32,
        minimum_members=minimum,
        cells=default if cells is None else cells,
        statements={"roster-1": "ef" * 32},
        evidence_head="12" * 32,
    )


MONTH = {
    "state": "done",
    "stage": "upload",
    "done": 3,
    "of": 3,
    "report": {
        "readings": 6_094_848, "accepted": 6_094_000, "estimated": 820, "quarantined": 28,
        "problems": {"gap": 800, "duplicate": 48}, "meters": 4096, "billed_meters": 4090,
        "excluded": {"too-many-gaps": 6}, "rosters": 2, "columns": 2976,
        "bytes_stored": 75_000_000, "bytes_uploaded": 75_100_000,
        "seconds": {"validate": 12.5, "encrypt": 20.25},
    },
    "reason": None,
    "message": None,
}  # fmt: skip

RUN = {
    "run_id": "r", "plan": "bill", "start": START, "end": END, "state": "done", "done": 2, "of": 2,
    "request_id": None, "reason": None, "message": None,
}  # fmt: skip


EXCEPTION = {
    "id": 7, "month": "2026-07", "meter_point_id": "MP-0007", "rule": "spike", "intervals": 3,
    "first": "2026-07-03T10:00:00+08:00", "unbilled": True, "state": "open", "owner": "", "due": "",
    "opened_at": "2026-08-01T09:00:00+08:00", "changed_at": "2026-08-01T09:00:00+08:00",
    "revision": 1,
}  # fmt: skip

USED = [
    {"party": "9a" * 32, "measure": "bytes_taken_in", "amount": 75_100_000},
    {"party": "billing", "measure": "jobs", "amount": 12},
    {"party": "analysts", "measure": "jobs", "amount": 31},
]
ORDER = {
    "id": 3, "month": "2026-07", "correction": "order-3", "readings": ["ab" * 32], "tariffs": [],
    "rules": "", "books": 0, "meter_points": 2, "intervals": 48, "state": "pending",
    "person": "operator", "reason": "2026/17: read on site", "approver": "", "decision": "",
    "at": "2026-08-03T09:00:00+08:00",
}  # fmt: skip
CORRECTION = {
    "name": "c-1", "number": 1, "state": "done", "order": None, "left_out": {"spike": 2},
    "report": {
        "corrected": 4, "rosters": 1, "columns": 30, "bytes_uploaded": 1000, "late": 3,
        "first_billed": 1,
    },
}  # fmt: skip

MANAGED = {
    "key_id": "5c" * 16, "organisation": "grid", "name": "contracts", "generation": 1,
    "algorithm": "sm2", "public_key": "04" + "5d" * 64, "state": "active",
    "created_at": "2026-08-01T09:00:00+00:00",
}  # fmt: skip
USE = {
    "use": "5e" * 16, "operation": "signature", "person": "reviewer",
    "at": "2026-08-02T09:00:00+00:00",
}  # fmt: skip

APPROVAL_READERS = {
    "billing", "operator", "custodian", "regulator", "data-owner", "privacy-officer",
}  # fmt: skip


def asked(**changes: object) -> dict[str, object]:
    """A release that waits for both officers, as the key authority lists it."""
    subject = ReleaseSubject(
        request_id="request-1", plan="bill", start=START, end=END, purpose="billing",
        requested_by="billing", resolutions=["monthly"], measures=["energy_wh"],
        cells=[
            AskedCell(zone="futian", customer_class="household", meter_points=1200),
            AskedCell(zone="luohu", customer_class="shop", meter_points=85),
        ],
        transcripts=DIGEST, outputs=[DIGEST], rosters=[DIGEST], tariffs=[DIGEST], policy=DIGEST,
        policy_name="strict", policy_version=3, needed=["data-owner", "privacy-officer"],
        standing=[], **changes,
    )  # fmt: skip
    text = subject.model_dump_json()
    return {
        "subject": subject_digest(text), "text": text, "state": "waiting",
        "missing": ["data-owner", "privacy-officer"], "decisions": [],
    }  # fmt: skip


@dataclass
class ZoneServices:
    """Answers like the services do; tests change its fields to make it misbehave."""

    key: Sm2PrivateKey = field(default_factory=generate_private_key)
    months: dict[str, object] = field(default_factory=lambda: {"2026-07": MONTH})
    runs: list[dict[str, object]] = field(default_factory=list)
    certificates: dict[str, ReleaseCertificate] = field(default_factory=dict)
    expires_at: str = "2099-01-01T00:00:00+00:00"
    tokens_expired: bool = False
    forge: bool = False
    blanks_for_regulator: bool = True
    offices: OfficeServices = field(default_factory=OfficeServices)
    closed_uploads: tuple[str, ...] = ("a1", "a2")
    open_uploads: tuple[str, ...] = ()
    waiting: list[dict[str, object]] = field(default_factory=list)
    exceptions: list[dict[str, object]] = field(default_factory=lambda: [dict(EXCEPTION)])
    notes: list[dict[str, object]] = field(default_factory=list)
    edited: list[dict[str, str]] = field(default_factory=list)
    proved: dict[str, bytes] = field(default_factory=dict)
    used: list[dict[str, object]] = field(default_factory=lambda: [dict(one) for one in USED])
    key_states: tuple[str, ...] = ("retired", "in-force")
    policy: str = "billing-office"
    managed: list[dict[str, object]] = field(default_factory=lambda: [dict(MANAGED)])
    orders: list[dict[str, object]] = field(default_factory=lambda: [dict(ORDER)])
    corrections: list[dict[str, object]] = field(default_factory=lambda: [dict(CORRECTION)])
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def publish(self, item: ReleaseCertificate) -> ReleaseCertificate:
        self.certificates[item.release_id] = item
        return item

    def handle(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        self.asked.append(f"{method} {path}")
        public = {"/about": self._about, "/sign-in": self._sign_in, "/person-tokens": self._code,
                  "/grants/terms": self._terms}  # fmt: skip
        if path in public:
            return public[path](request.content)
        role = request.headers.get("authorization", "").removeprefix("Bearer ").split(":")[0]
        if not role or self.tokens_expired:
            return refusal(401, "authenticity.refused")
        if path == "/evidence":
            asked = request.url.params
            after, actions = int(asked["after"]), asked.get_list("action")
            return self.offices.evidence(role, after=after, actions=actions)
        if path.split("/")[1] in {"warrants", "revocations", "person-searches"}:
            return self.offices.handle(method, path, role=role, content=request.content)
        routes = {
            ("GET", "/releases"): ({"billing", "analyst", "regulator"}, self._list),
            ("GET", "/runs"): ({"billing", "operator"}, lambda: self.runs),
            ("GET", "/closing-lists"): (
                {"billing", "operator", "regulator"},
                lambda: self.closing(request.url.params["start"]),
            ),
            ("GET", "/approvals"): (
                APPROVAL_READERS,
                lambda: [one for one in self.waiting if one["state"] == request.url.params["only"]],
            ),
            ("GET", "/months"): ({"billing", "operator"}, self._board),
            ("GET", "/gateway-key-sets"): ({"custodian", "operator", "regulator"}, self._key_sets),
            ("GET", "/policy"): ({*APPROVAL_READERS, "analyst"}, self._policy),
            ("GET", "/usage"): (
                APPROVAL_READERS | market_services.READERS,
                lambda: {"month": request.url.params["month"], "used": self.used},
            ),
            ("GET", "/keys"): ({"member"}, lambda: self.managed),
            **{
                ("GET", f"/keys/{one['key_id']}/uses"): ({"member"}, lambda: [dict(USE)])
                for one in self.managed
            },
            ("GET", "/v1/correction-orders"): ({"billing", "operator"}, lambda: self.orders),
            ("GET", "/v1/exceptions"): (
                {"operator"},
                lambda: [
                    one
                    for one in self.exceptions
                    if request.url.params["state"] in {"", one["state"]}
                ],
            ),
            **{
                (verb, f"/v1/exceptions/{one['id']}{tail}"): (
                    {"operator"},
                    partial(self._exception, one, request.content),
                )
                for one in self.exceptions
                for verb, tail in (("GET", ""), ("POST", "/changes"))
            },
            **{
                ("POST", f"/v1/edits/{kind}s"): (
                    {"operator"},
                    partial(self._edit, kind, request.content),
                )
                for kind in ("confirmation", "estimate")
            },
            ("POST", "/release-rounds"): ({"billing", "operator", "custodian"}, self._round),
        }
        if (method, path) in routes:
            allowed, answer = routes[method, path]
            found = answer() if role in allowed else refusal(403, "authenticity.refused")
            return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)
        of_market = market_services.answer(request, role=role)
        return of_market or self._named(method, path, role=role, content=request.content)

    def _named(self, method: str, path: str, *, role: str, content: bytes) -> httpx.Response:
        head, _, name = path.strip("/").partition("/")
        if head == "releases" and role in {"billing", "analyst", "regulator"}:
            return self._release(name, role=role)
        if role not in {"billing", "operator"}:
            return refusal(403, "authenticity.refused")
        if head == "months":
            return self._month(method, name, role=role)
        if (method, head) == ("POST", "runs"):
            order = json.loads(content)
            number = len(self.runs) + 1
            made = {"run_id": f"run-{number}", "state": "running", "done": 1}
            self.runs.append(RUN | made | order)
            return httpx.Response(200, json={"run_id": f"run-{number}"})
        for run in self.runs:
            if head == "runs" and run["run_id"] == name:
                return httpx.Response(200, json=run)
        return refusal(404, "not-found")

    def _exception(self, one: dict[str, object], content: bytes) -> httpx.Response:
        if content:
            change = json.loads(content)
            if change.pop("revision") != one["revision"]:
                return refusal(409, "exception.changed")
            text = change.pop("note")
            self.notes.append(
                {"person": "operator", "text": text, "at": "2026-08-02T09:00:00+08:00"}
            )
            one |= change | {"revision": one["revision"] + 1}
        return httpx.Response(200, json={"exception": one, "notes": self.notes})

    def _edit(self, kind: str, content: bytes) -> dict[str, object]:
        body = json.loads(content)
        self.edited.append(body | {"kind": kind})
        return {
            "id": 1, "kind": kind, "intervals": 3, "state": "pending",
            "person": "operator", "approver": "", "decision": "", "readings_digest": DIGEST,
            "at": "2026-08-02T09:00:00+08:00", **body,
        }  # fmt: skip

    def _month(self, method: str, name: str, *, role: str) -> httpx.Response:
        if name.endswith("/corrections"):
            found = self.corrections if name.startswith("2026-07") else []
            return httpx.Response(200, json=found)
        if method == "POST":
            name = name.removesuffix("/process")
            if role != "operator":
                return refusal(403, "authenticity.refused")
            self.months[name] = {"state": "running", "stage": "", "done": 0, "of": 0}
        found = self.months.get(name)
        return httpx.Response(200, json=found) if found else refusal(404, "not-found.month")

    def _key_sets(self) -> list[dict[str, object]]:
        """Two generations of a gateway: the first retired, the second in force."""
        listed = []
        for number, state in enumerate(self.key_states, 1):
            notice = KeyNotice(
                key_id=f"key-{number}", gateway="9a" * 32, generation=number,
                parameters="billing-2048", parameters_digest=DIGEST, public_key=DIGEST,
                relinearisation_keys=None, created_at=f"2026-0{number}-01T00:00:00+00:00",
            )  # fmt: skip
            signed = sign_message(notice, key=self.key).model_dump()
            facts = notice.model_dump(
                include={"key_id", "gateway", "generation", "parameters", "created_at"}
            )
            listed.append(facts | {"state": state, "notice": signed})
        return listed

    def _policy(self) -> dict[str, object]:
        pack = load_pack(self.policy)
        told = {
            "digest": pack.digest, "name": pack.name, "version": pack.version,
            "begins_at": "2026-01-01T00:00:00+00:00", "text": pack.text, "signatures": [],
        }  # fmt: skip
        return {"in_force": told, "waiting": []}

    def _board(self) -> list[dict[str, object]]:
        return [
            {"month": name, "state": status["state"], "reason": status.get("reason"),
             "late_readings": False, "due_at": None}
            for name, status in sorted(self.months.items(), reverse=True)
        ]  # fmt: skip

    def _about(self, _content: bytes) -> httpx.Response:
        return httpx.Response(200, json=self.offices.about())

    def _terms(self, _content: bytes) -> httpx.Response:
        return httpx.Response(200, json={"period": "2026", "epoch": "2026-07", "limit": 24})

    def _code(self, content: bytes) -> httpx.Response:
        return self.offices.person_tokens(content, expires_at=self.expires_at)

    def _sign_in(self, content: bytes) -> httpx.Response:
        body = json.loads(content)
        if body["password"] != PASSWORD:
            return refusal(401, "authenticity.refused")
        role = body["user"]
        return httpx.Response(
            200,
            json={
                "token": f"{role}:{body['audience']}",
                "expires_at": self.expires_at,
                "roles": [role],
            },
        )

    def _list(self) -> list[dict[str, object]]:
        return [
            {
                "release_id": c.release_id, "plan": c.plan, "start": c.start, "end": c.end,
                "purpose": c.purpose, "released_at": c.released_at, "cells": len(c.cells),
                "suppressed": sum(cell.value is None for cell in c.cells),
            }
            for c in self.certificates.values()
        ]  # fmt: skip

    def _release(self, name: str, *, role: str) -> httpx.Response:
        item = self.certificates.get(name)
        if item is None:
            return refusal(404, "not-found.release")
        kept = self.proved.get(name)
        envelope = (
            sign_certificate(*detach_values(item), key=self.key)
            if kept is None
            else SignedCertificate.parse(kept)
        )
        if role == "regulator" and self.blanks_for_regulator:
            envelope = envelope.without_values()
        if self.forge:
            body = envelope.body.replace(item.purpose, "another purpose")
            assert body != envelope.body
            envelope = envelope.model_copy(update={"body": body})
        return httpx.Response(200, content=envelope.model_dump_json(exclude_none=True).encode())

    def closing(self, start: str) -> dict[str, object]:
        """The month's uploads: one closed if a run may be ordered, else open; none elsewhere."""
        if start != START:
            told = dict.fromkeys(("bill", "load-curve"), "run.empty")
            return {"closed": [], "in_force": [], "uploads": [], "open": [], "next": told}
        uploads = [
            {"upload": name * 32, "roster_id": f"roster-{name}", "gateway_id": "futian-1"}
            for name in (*self.closed_uploads, *self.open_uploads)
        ]
        lists = []
        if self.closed_uploads:
            content = ClosingList(
                start=START, end=END, number=1, closed_at="2026-08-01T01:02:03+00:00",
                uploads=[name * 32 for name in self.closed_uploads],
            )  # fmt: skip
            lists = [sign_message(content, key=self.key)]
        plans = {item.plan for item in self.certificates.values()}
        return {
            "closed": [item.model_dump() for item in lists],
            "in_force": [item.digest for item in lists],
            "uploads": uploads,
            "open": uploads[len(self.closed_uploads) :],
            "next": {
                plan: "run.not-closed"
                if not lists
                else "run.released"
                if plan in plans
                else "ready"
                for plan in ("bill", "load-curve")
            },
        }

    def _round(self) -> list[dict[str, object]]:
        outcomes = []
        for run in self.runs:
            if run["request_id"]:
                item = self.publish(certificate(plan=run["plan"]))
                outcomes.append(
                    {"request_id": run["request_id"], "state": "released", "reason": None,
                     "release_id": item.release_id, "seconds": 1.5}
                )  # fmt: skip
        return outcomes


def refusal(status: int, reason: str) -> httpx.Response:
    body = {"reason": reason, "detail": "Refused.", "remedy": ""}
    return httpx.Response(status, json=body)


def client_of(services: ZoneServices, *, pinned: Sm2PrivateKey | None = None) -> ReleaseClient:
    """A client whose four services are the same object, at four addresses."""
    return ReleaseClient(
        httpx.Client(transport=httpx.MockTransport(services.handle)),
        addresses=Addresses(
            identity="http://identity.test",
            authority="http://authority.test/",
            platform="http://platform.test",
            gateway="http://gateway.test",
        ),
        authority=PinnedAuthority((pinned or services.key).public_key),
    )


@contextmanager
def served(services: ZoneServices) -> Iterator[str]:
    """Put the services behind a socket on this machine and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            request = httpx.Request(
                self.command,
                f"http://zone.test{self.path}",
                headers=list(self.headers.items()),
                content=self.rfile.read(length),
            )
            response = services.handle(request)
            self.send_response(response.status_code)
            self.send_header("content-length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Keep test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
