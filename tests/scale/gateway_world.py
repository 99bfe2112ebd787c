"""A gateway with years behind it, and every one of its requests about the month that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import httpx
from sqlalchemy import Connection, Engine, literal

from gridsecure.billing.rule_books import default_text
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.gateway import preparation, tables
from gridsecure.gateway.books.facts import NO_CONTRACT
from gridsecure.gateway.event_receivers import receivers_of
from gridsecure.gateway.exceptions import record_found
from gridsecure.gateway.findings import Found
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.store.database import open_database
from gridsecure.tariffs.tariff import catalogue_tariffs
from tests.apps.gateway_services import Services
from tests.apps.zone_apps import point
from tests.gateway.gateway_world import MONTH
from tests.gateway.reading_tables import long_table
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

REAL_PACKING = preparation.pack_energies
BATCH = b"meter_point_id,start,kwh\nMP-1,2026-07-01 00:00,0.412\n"
EDIT = b"meter_point_id,start,kwh\nbooks-1,2026-07-01 00:00,0.412\n"
BOOKS = b"meter_point_id,valid_from,account\nbooks-1,2026-07-01,A-1\n"
YEARS_AGO, LAST_YEAR = date(2019, 1, 1), date(2025, 1, 1)
PLAN = json.dumps(
    {"start": "", "end": "", "validated_at": "", "rosters": [], "tariffs": [], "counts": {}}
    | {"refused": {}}
)
"""What was fixed of a month years ago."""
REFUSAL = json.dumps(
    {"type": "", "title": "", "status": 400, "detail": "", "reason": "readings.body", "remedy": ""}
)
COLUMNS = 3
"""Columns of a roster that are sent; how many there are does not matter here."""


def fill_gateway(engine: Engine, size: Size, *, entries: int) -> None:
    """Agents, rosters, uploads and reports of the years before.

    Args:
        entries: Entries of the log that are there.
    """
    facts = {"zone": "futian", "customer_class": "household", "counted": True, "owner": ""}
    with filled(engine) as to:
        n = numbers(size.seats)
        pair = {"billing": name("billing", n), "settlement": name("settlement", n)}
        agent = {"period": "2025", "meter_point_id": name("meter", n)}
        fill(to, tables.AgentRow, n, **agent, **pair, **facts, at=AT)
        holder = {"period": "2025", "identity": name("meter", n), "mac": b"m" * 66}
        fill(to, tables.CredentialRow, n, **holder, **facts, at=AT)
        n = numbers(size.uploads)
        signed = {"message": "{}", "at": AT, "roster_id": name("id", n)}
        fill(to, tables.RosterRow, n, **signed, digest=name("roster", n))
        sent = {"name": name("upload", n), "gateway_id": "ab" * 32, "sequence": n + 1}
        fill(to, tables.UploadRow, n, **signed, **sent, digest=name("sent", n), state="committed")
        batch = {"source": "headend", "batch_id": name("batch", n), "sequence": n + 1}
        kept = {
            "body_digest": name("body", n),
            "readings_digest": "",
            "pack": "",
            "digest": name("receipt", n),
            "message": "{}",
        }
        fill(
            to, tables.BatchRow, n, **batch, **kept, first_at=AT, last_at=AT, has_faces=False, at=AT
        )
        queued = {"source": "headend", "batch_id": name("later", n), "sequence": n + 1}
        of_body = {"body_digest": "", "size": 1, "file": "", "declared": "{}", "attempts": 0}
        fill(
            to,
            tables.QueuedBatchRow,
            n,
            **queued,
            **of_body,
            state="refused",
            refusal=REFUSAL,
            at=AT,
        )
        book = {"month": literal("2025-") + name("month", n), "digest": name("rules", n)}
        fill(to, tables.RuleSetRow, n, **book, version="1", person="op", at=AT)
        fill(to, tables.BatchMonthRow, n, month="2025-01", counts="", batch=n + 1)
        told = {"source": "headend", "month": "2025-01", "occasion": name("done", n)}
        attempts = {"attempts": literal(0), "after": literal(0), "due_at": AT}
        fill(to, tables.NoticeRow, n, **told, **attempts, state="told", at=AT)
        event = {"receiver": "desk", "event": "cycle.done", "subject": name("event", n), "count": 1}
        waits = {"entry": n + 1, "happened_at": "", "state": "told", "attempts": literal(0)}
        fill(to, tables.EventNoticeRow, n, **event, **waits, due_at=AT, at=AT)
        n = numbers(size.seats)
        said = {"meter_point_id": name("meter", n), "valid_from": YEARS_AGO, "valid_to": LAST_YEAR}
        made = {"revision": 1, "until_revision": 2}
        held = {"account": name("account", n), "holder": name("meter", n)}
        fill(to, tables.HoldingRow, n, **said, **made, **held)
        there = {"meter": name("device", n), "multiplier": 1, "register_hours": ""}
        faces = dict.fromkeys(("first_face_wh", "final_face_wh"), 0)
        fill(to, tables.InstalledMeterRow, n, **said, **made, **there, **faces)
        fill(to, tables.ContractRow, n, **said, **made, **NO_CONTRACT)
        n = numbers(size.uploads)
        changes = dict.fromkeys(("added", "changed", "ended"), 0)
        change = {"number": n + 1, "digest": name("change", n), "person": "op"}
        fill(to, tables.BooksRevisionRow, n, **change, **changes, at=AT)
        fill_validation(to, size)
        fill_days(to, size)
        fill_months(to)
        fill_corrections(to, size)
        fill_evidence(to, size.entries, "upload.committed", first=entries)


def fill_corrections(to: Connection, size: Size) -> None:
    """Corrections of the years before, and who ordered them."""
    n = numbers(size.uploads)
    corrected = {"name": name("correction", n), "month": literal("2025-") + name("month", n)}
    kept = {"digest": name("plan", n), "document": "{}", "at": AT}
    fill(to, tables.CorrectionPlanRow, n, **corrected, **kept, number=1, until_batch=0)
    why = {"person": "op", "reason": "read on site", "approver": "", "decision": "", "at": AT}
    of = {"readings": name("file", n), "tariffs": "", "rules": ""}
    of |= {"books": 0, "intervals": 1, "meter_points": 1}
    when = {"month": corrected["month"], "state": "applied", "revision": n + 1}
    fill(to, tables.CorrectionOrderRow, n, **why, **of, **when)


def fill_days(to: Connection, size: Size) -> None:
    """Days that were sealed in the years before."""
    n = numbers(size.uploads)
    kept = {"digest": name("day", n), "document": "{}", "at": AT}
    fill(to, tables.SealedDayRow, n, day=name("day", n), month=literal("2025-07"), **kept)


def fill_validation(to: Connection, size: Size) -> None:
    """Exceptions and edits of the years before."""
    n = numbers(size.uploads)
    seen = {"month": literal("2025-07"), "meter_point_id": name("meter", n), "rule": "spike"}
    done = {"state": "resolved", "owner": name("owner", n), "due": "", "is_unbilled": False}
    changed = {"opened_at": AT, "changed_at": AT, "revision": n + 1}
    fill(to, tables.ExceptionRow, n, **seen, **done, **changed, intervals=1)
    tried = {"month": literal("2025-07"), "rules_before": name("a", n), "person": "op", "at": AT}
    kinds = ("billed", "estimated", "quarantined")
    none = {f"{kind}_{when}": literal(0) for kind in kinds for when in ("before", "after")}
    fill(to, tables.RuleTrialRow, n, **tried, **none, rules_after=name("b", n))
    none = dict.fromkeys(("before", "after"), literal(0))
    fill(to, tables.RuleTrialCountRow, n, **none, trial=n + 1, rule="spike")
    edit = {
        "month": literal("2025-07"),
        "meter_point_id": name("meter", n),
        "kind": "replacement",
    }
    why = {"person": "op", "reason": "read on site", "approver": "", "decision": ""}
    of = {"first_at": AT, "last_at": AT, "at": AT, "readings_digest": name("edit", n)}
    when = {"state": "in-force", "intervals": 1, "revision": n + 1}
    fill(to, tables.EditRow, n, **edit, **why, **of, **when)
    note = {"exception_id": n + 1, "person": "op", "text": "looked at", "at": AT}
    fill(to, tables.ExceptionNoteRow, n, **note)


def fill_months(to: Connection) -> None:
    """Months that were done years ago."""
    for place, (start, _) in enumerate(MONTHS):
        n, month = numbers(1, first=place), start[:7]
        kept = {"month": month, "digest": name("plan", n), "document": "{}", "at": AT}
        fill(to, tables.MonthPlanRow, n, **kept | {"document": PLAN}, number=1)
        fill(to, tables.MonthReportRow, n, **kept)
        fill(to, tables.MonthCountRow, n, month=month, occasion=kept["digest"], document="{}")


@contextmanager
def gateway_at(folder: Path, size: Size, meter: WorkMeter) -> Iterator[GatewayMonth]:
    """A gateway whose database is filled, with files of a month to send."""

    def cut(*given: object, **more: object):
        return islice(REAL_PACKING(*given, **more), COLUMNS)

    services = Services(folder)
    engine = open_database(services.settings.database_url)
    fill_gateway(engine, size, entries=count_rows(engine)["evidence"])
    rows = count_rows(engine)
    engine.dispose()
    meter.watch(services.app, "gateway")
    with meter.counting(), patch.object(preparation, "pack_energies", cut):
        yield GatewayMonth(services, rows)
    services.close()


class GatewayMonth:
    """A month from its files to the billing office's questions."""

    def __init__(self, services: Services, rows: dict[str, int]) -> None:
        self.services, self.rows, self.app = services, rows, services.app
        self.sender: dict[str, str] = {}

    def run_month(self) -> None:
        """Every request of the gateway."""
        self.send_batch()
        self.keep_books()
        self.look_after_readings()
        services = self.services
        self.checked(services.put_files())
        self.seal_day()
        ask, operator = services.client, services.token("operator")
        of_month = {"params": {"month": MONTH}, "headers": operator}
        tried = default_text().replace("factor = 30", "factor = 29").encode()
        self.checked(ask.post("/v1/rule-trials", content=tried, **of_month))
        services.worker.wait(300)
        self.checked(ask.get("/v1/rule-trials", **of_month))
        self.checked(services.call("POST", "/process"))
        for page in ("checkpoint", "tile/0/000"):
            self.checked(ask.get(f"/log/{page}"))
        services.worker.wait(300)
        status = self.checked(services.call("GET", "")).json()
        assert status["state"] == "done", status
        late = BATCH.replace(b"MP-1", services.world.simulated.meter_point_ids[0].encode())
        files, why = [("readings", ("r.csv", late))], {"reason": "read on site"}
        self.checked(services.call("POST", "/corrections", files=files, params=why))
        services.worker.wait(300)
        (corrected,) = self.checked(services.call("GET", "/corrections")).json()
        self.decide_order()
        self.checked(services.client.get("/months", headers=services.token("operator")))
        assert corrected["state"] == "done", corrected
        self.reconcile()
        own, of_month["headers"] = "/v1/sources/meters/reconciliation", self.sender
        assert self.checked(ask.get(own, **of_month)).json()["came_in"]
        zone = services.app.state.service.zone
        bills = compute_expected_bills(zone, load_files(zone, MONTH))
        self.checked(services.expect(services.certificate(*bills)))
        wanted = {"challenge": "ab" * 32}
        path = "/settlement-proofs"
        self.checked(services.call("POST", path, role="billing", json=wanted))
        self.checked(services.call("GET", "/bill-receipts", role="billing"))
        own = {"meter_point": services.world.simulated.meter_point_ids[0]}
        self.checked(services.call("GET", "/readings-openings", params=own))

    def send_batch(self) -> None:
        """What a source and its operator ask, beside years of another source's batches."""
        services, key = self.services, generate_private_key()
        ask, operator = services.client, services.token("operator")
        declared = {"public_key": point(key)}
        self.checked(ask.put("/v1/sources/meters", json=declared, headers=operator))
        self.checked(ask.get("/v1/sources", headers=operator))
        sender = services.token("meter-data", subject=f"meter-data:{key.public_key.thumbprint}")
        self.sender = sender
        named = sender | {"Idempotency-Key": "one", "Batch-Sequence": "1"}
        self.checked(ask.post("/v1/readings", content=BATCH, headers=named))
        later = sender | {"Idempotency-Key": "later", "Batch-Sequence": "9"}
        self.checked(
            ask.post("/v1/readings", content=BATCH, headers=later | {"Prefer": "respond-async"})
        )
        services.app.state.intake.reader.wait(60)
        of_one = ("batches/one", "batches/one/rejected", "batches/later/events")
        for path in ("batches", *of_one, "gaps", "notices"):
            self.checked(ask.get(f"/v1/sources/meters/{path}", headers=sender))
        for state in ("waiting", "refused"):
            asked = {"params": {"state": state}, "headers": operator}
            self.checked(ask.get("/v1/waiting-batches", **asked))
        self.change_source(declared)
        self.reconcile()

    def change_source(self, declared: dict[str, str]) -> None:
        """What an operator does with sources, the one that sends and one that goes again."""
        ask, operator = self.services.client, self.services.token("operator")
        own = "/v1/sources/meters"
        for state in ("suspended", "active"):
            self.checked(ask.put(f"{own}/state", json={"state": state}, headers=operator))
        self.checked(ask.put(f"{own}/key", json=declared, headers=operator))
        told = {"webhook": "https://headend.example/notices"}
        self.checked(ask.put(own, json=declared | told, headers=operator))
        self.checked(ask.post(f"{own}/notices/retries", headers=operator))
        other = {"public_key": point(generate_private_key())}
        self.checked(ask.put("/v1/sources/leaving", json=other, headers=operator))
        self.checked(ask.delete("/v1/sources/leaving", headers=operator))
        self.register_receiver()

    def register_receiver(self) -> None:
        """Who is told of events from now on, and what it was told."""
        ask, operator = self.services.client, self.services.token("operator")
        own = "/v1/receivers/desk"
        wanted = {"address": "https://desk.example/", "events": ["exception.opened", "cycle.done"]}
        self.checked(ask.put(own, json=wanted, headers=operator))
        record_found(
            self.services.app.state.service.zone,
            "2026-09",
            [Found("MP-1", "spike", 1)],
            at=self.services.world.clock(),
            is_final=False,
        )
        receivers_of(self.services.app.state.service.zone).announce(at=self.services.world.clock())
        for asked in ({}, {"state": "given-up"}):
            self.checked(ask.get(f"{own}/notices", params=asked, headers=operator))
        self.checked(ask.post(f"{own}/notices/retries", headers=operator))
        self.checked(ask.get("/v1/receivers", headers=operator))
        self.checked(ask.delete(own, headers=operator))

    def reconcile(self) -> None:
        """Ask whether what came in of the month adds up."""
        of_month = {"params": {"month": MONTH}, "headers": self.services.token("operator")}
        told = self.checked(self.services.client.get("/v1/reconciliation", **of_month)).json()
        assert told["adds_up"], told

    def seal_day(self) -> None:
        """A day of batches that goes out before its month."""
        ask, operator = self.services.client, self.services.token("operator")
        table = long_table(self.services.world)
        day = table[table["start"].str.startswith(f"{MONTH}-01")].to_csv(index=False).encode()
        named = self.sender | {"Idempotency-Key": "day", "Batch-Sequence": "2"}
        self.checked(ask.post("/v1/readings", content=day, headers=named))
        self.checked(ask.post(f"/days/{MONTH}-01/seal", headers=operator))
        self.services.worker.wait(300)
        told = self.checked(ask.get(f"/days/{MONTH}-01", headers=operator)).json()
        assert told["state"] == "sealed", told
        self.checked(ask.get(f"/months/{MONTH}/days", headers=operator))

    def keep_books(self) -> None:
        """What whoever keeps the books asks, beside all that they said before."""
        ask, operator = self.services.client, self.services.token("operator")
        books = "/v1/books"
        told = ask.post(f"{books}/imports", content=BOOKS, headers=operator)
        digest = self.checked(told).json()["digest"]
        for path in (digest, f"{digest}/differences"):
            self.checked(ask.get(f"{books}/imports/{path}", headers=operator))
        self.checked(ask.post(f"{books}/imports/{digest}/apply", headers=operator))
        self.checked(ask.get(f"{books}/meter-points", headers=operator))
        self.checked(ask.get(f"{books}/history?meter_point_id=books-1", headers=operator))

    def look_after_readings(self) -> None:
        """What whoever looks after readings asks before the month is processed."""
        ask, operator = self.services.client, self.services.token("operator")
        rules = "/v1/validation-rules"
        text = default_text().encode()
        self.checked(ask.put(rules, content=text, headers=operator))
        self.checked(ask.get(rules, params={"month": MONTH}, headers=operator))
        found = [Found("MP-1", "spike", 1)]
        zone = self.services.app.state.service.zone
        record_found(zone, MONTH, found, at=self.services.world.clock(), is_final=False)
        listed = "/v1/exceptions"
        rows = self.checked(ask.get(listed, params={"state": "open"}, headers=operator)).json()
        self.checked(ask.get(listed, params={"month": MONTH}, headers=operator))
        self.edit_readings()
        own = f"{listed}/{rows[0]['id']}"
        change = {"state": "assigned", "owner": "op"}
        self.checked(ask.post(f"{own}/changes", json=change, headers=operator))
        self.checked(ask.get(own, headers=operator))

    def edit_readings(self) -> None:
        """An edit of the month, and its decision; what validation set aside is told apart."""
        ask, operator = self.services.client, self.services.token("operator")
        edits, why = "/v1/edits", {"month": MONTH, "reason": "read on site"}
        made = self.checked(ask.post(edits, params=why, content=EDIT, headers=operator)).json()
        own = f"{edits}/{made['id']}"
        self.checked(ask.get(edits, params={"month": MONTH}, headers=operator))
        self.checked(ask.get(own, headers=operator))
        rejected = {"approve": False, "reason": "not needed"}
        self.checked(ask.post(f"{own}/decision", json=rejected, headers=operator))
        aside = self.services.months / MONTH / "quarantine.csv"
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text("row,meter_point_id,start,kwh\n0,books-1,2026-07-01 00:00:00+0800,0.412\n")
        span = dict.fromkeys(("first", "last"), "2026-07-01T00:00:00+08:00")
        confirmed = span | why | {"meter_point_id": "books-1"}
        answer = ask.post(f"{edits}/confirmations", json=confirmed, headers=operator)
        self.checked(answer)
        number = answer.json()["id"]
        self.checked(ask.post(f"{edits}/{number}/decision", json=rejected, headers=operator))
        # The route alone: of what was read nothing is estimated yet.
        answer = ask.post(f"{edits}/estimates", json=confirmed, headers=operator)
        assert answer.json()["reason"] == "edit.estimated", answer.text

    def decide_order(self) -> None:
        """A correction that waits for a second person, who rejects it."""
        services = self.services
        flat = catalogue_tariffs()["flat"].read_bytes()
        asked = {"files": [("tariffs", ("t.toml", flat))], "params": {"reason": "a new price"}}
        waiting = self.checked(services.call("POST", "/corrections", **asked)).json()
        orders, operator = "/v1/correction-orders", services.token("operator")
        of_month = {"params": {"month": MONTH, "state": "pending"}, "headers": operator}
        self.checked(services.client.get(orders, **of_month))
        own = f"{orders}/{waiting['order']}"
        self.checked(services.client.get(own, headers=operator))
        rejected = {"approve": False, "reason": "not yet"}
        self.checked(services.client.post(f"{own}/decision", json=rejected, headers=operator))

    @staticmethod
    def checked(answer: httpx.Response) -> httpx.Response:
        assert answer.is_success, answer.text
        return answer
