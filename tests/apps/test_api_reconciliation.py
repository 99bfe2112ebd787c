"""Readings reconciled: what came in is billed, estimated, quarantined or waiting, and adds up."""

from __future__ import annotations

from itertools import islice

import pandas as pd
import pytest
from sqlmodel import select, update

from gridsecure.errors import StorageError
from gridsecure.gateway import outbox, preparation, reading_fates
from gridsecure.gateway.ingestion.stored_readings import ReadingsWriter
from gridsecure.gateway.reading_fates import is_counted
from gridsecure.gateway.tables import BatchRow
from gridsecure.head_end.sender import Sender
from gridsecure.store.database import write_session
from gridsecure_api import gateway as gateway_service
from tests.apps.test_api_readings import HEADER, REAL_PACKING, Sources, written
from tests.gateway.gateway_world import MONTH, Killed
from tests.gateway.reading_tables import long_table

STATES = ("billed", "estimated", "quarantined", "waiting")


class Reconciled(Sources):
    """Sources whose month is asked for."""

    def reconcile(self, *, month: str = MONTH, role: str = "operator"):
        headers = self.token(role)
        return self.client.get("/v1/reconciliation", params={"month": month}, headers=headers)

    def told(self) -> dict:
        """A month that adds up."""
        answer = self.reconcile()
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["differing"] == [], found
        assert found["adds_up"], found
        for one in (found["total"], *found["sources"]):
            assert one["came_in"] == sum(one[state] for state in STATES), found
            for state, reasons in one["reasons"].items():
                assert sum(reasons.values()) <= one[state]
        total = sum(one["came_in"] for one in found["sources"])
        assert total == found["total"]["came_in"]
        return found

    def correct_by_file(self, text: str) -> dict:
        files, why = [("readings", ("r.csv", text.encode()))], {"reason": "read on site"}
        started = self.call("POST", "/corrections", files=files, params=why)
        assert started.status_code == 202, started.text
        self.worker.wait(300)
        return started.json()

    def source(self, name: str) -> dict:
        return next(one for one in self.told()["sources"] if name in (one["name"], one["kind"]))

    def meter(self, place: int = 0) -> str:
        """A meter point, of those that use least first."""
        readings = self.world.simulated.readings()
        used = readings.groupby(readings["meter_point_id"].astype(str))["energy_wh"].sum()
        return used.sort_values().index[place]

    def batch(self, table: pd.DataFrame | str, batch: str, sequence: int, **more):
        body = (HEADER + table).encode() if isinstance(table, str) else written(table, "csv")
        answer = self.send(body, batch=batch, sequence=sequence, **more)
        assert answer.status_code == 200, answer.text
        return self.receipt(answer)

    def status(self, batch: str, *, by: str = "headend") -> dict:
        return self.senders[by].get(f"/v1/sources/{by}/batches/{batch}").json()

    def own(self, *, by: str = "headend", month: str = MONTH):
        """What a source is told of its readings of a month."""
        path = f"/v1/sources/{by}/reconciliation"
        return self.senders[by].get(path, params={"month": month})


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    made = Reconciled(tmp_path)
    yield made
    made.close()


def counts(one: dict) -> tuple[int, ...]:
    return tuple(one[state] for state in ("came_in", *STATES))


def test_a_month_from_batches_edits_and_late_readings_adds_up_at_every_step(gateway):
    table = long_table(gateway.world)
    size = len(table)
    gateway.batch(table, "month", 1)
    assert counts(gateway.told()["total"]) == (size, 0, 0, 0, size)

    # The same month again by another system, an estimate of its own, and what nobody has.
    gateway.batch(table, "again", 1, by="other")
    first = table.iloc[0]
    lone = f"{gateway.meter()},{first['start']},7.000,estimated\nnobody,2026-07-01 00:00,1,actual\n"
    gateway.batch(lone, "lone", 2)
    why = {"month": MONTH, "reason": "read on site"}
    edit = f"{gateway.meter()},{first['start']},5.000,actual\n"
    made = gateway.client.post(
        "/v1/edits",
        params=why,
        content=(HEADER + edit).encode(),
        headers=gateway.token("operator"),
    )
    assert made.json()["state"] == "in-force", made.text
    assert counts(gateway.told()["total"]) == (2 * size + 3, 0, 0, 0, 2 * size + 3)

    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"
    billed = gateway.told()
    assert billed["reported"] == billed["counted"]
    of = {one["name"] or one["kind"]: one for one in billed["sources"]}
    assert counts(of["headend"]) == (size + 2, 0, 0, size + 2, 0)
    quarantined = of["headend"]["reasons"]["quarantined"]
    assert quarantined == {"superseded": size - 1, "edited": 2, "unknown-meter-point": 1}
    assert counts(of["other"]) == (size, size - 1, 0, 1, 0)
    assert counts(of["edits"]) == (1, 1, 0, 0, 0)

    gateway.batch(f"{gateway.meter(1)},{first['start']},9.000,actual\n", "late", 3)
    assert gateway.source("headend")["reasons"]["waiting"] == {"late": 1}
    started = gateway.call("POST", "/corrections")
    assert started.status_code == 202, started.text
    gateway.worker.wait(300)
    assert gateway.source("headend")["billed"] == 1
    assert gateway.told()["reported"] is None


def test_what_is_set_aside_is_estimated_over_and_who_has_no_bill_has_no_billed_reading(gateway):
    table = long_table(gateway.world)
    own = table["meter_point_id"] == gateway.meter()
    spiked = table.copy()
    spiked.loc[spiked.index[own][30], "kwh"] = "900.000"
    spiked.loc[spiked.index[own][40], "quality"] = "estimated"
    body = spiked[spiked["meter_point_id"] != gateway.meter(1)]
    gateway.batch(body, "month", 1)
    some = table[table["meter_point_id"] == gateway.meter(1)].iloc[:40]
    gateway.batch(some, "some", 2)
    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"
    own = gateway.source("headend")
    assert own["reasons"]["estimated"] == {"sent": 1, "spike": 1}, own
    assert own["reasons"]["quarantined"] == {"incomplete": 40}


def test_a_source_is_told_what_became_of_each_of_its_batches(gateway):
    table = long_table(gateway.world)
    size = len(table)
    known = gateway.meter()
    gateway.batch(table, "month", 1)
    assert gateway.status("month")["counts"] == {}
    assert gateway.own().json()["reason"] == "not-found.counts"
    hours = [f"2026-07-03 {hour:02}:00" for hour in range(24)]
    bodies = {
        "unknown": "".join(f"NOPE,{at},0.4,actual\n" for at in hours),
        "worse": "".join(f"{known},{at},9.4,estimated\n" for at in hours),
        "odd": "".join(
            f"ODD,2026-07-03 {n // 3:02}:{20 * (n % 3):02},0.4,actual\n" for n in range(72)
        ),
        "negative": "".join(f"NONE,{at},-0.4,actual\n" for at in hours),
    }
    for number, (name, body) in enumerate(bodies.items(), start=2):
        gateway.batch(body, name, number)
    gateway.batch(table.iloc[:5], "again", 1, by="other")
    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"

    told = {name: gateway.status(name) for name in ("month", *bodies)}
    assert all(one["months"] == {MONTH: "done"} for one in told.values())
    of = {name: one["counts"][MONTH] for name, one in told.items()}
    assert counts(of["month"]) == (size, size - 5, 0, 5, 0)
    assert of["month"]["reasons"] == {"quarantined": {"superseded": 5}}
    assert {name: counts(of[name]) for name in bodies} == {
        "unknown": (24, 0, 0, 24, 0), "worse": (24, 0, 0, 24, 0), "odd": (72, 0, 0, 72, 0),
        "negative": (24, 0, 0, 24, 0),
    }  # fmt: skip
    assert of["worse"]["reasons"] == {"quarantined": {"superseded": 24}}
    assert of["unknown"]["reasons"] == {"quarantined": {"unknown-meter-point": 24}}
    for name in bodies:
        assert sum(of[name]["reasons"]["quarantined"].values()) == of[name]["came_in"]

    reconciled = gateway.source("headend")
    own = gateway.own().json()
    assert own == {key: reconciled[key] for key in own}
    sender = Sender(
        gateway.senders["headend"], source="headend", gateway_key=gateway.key.public_key
    )
    assert sender.reconcile(MONTH).model_dump() == own
    assert sender.find("month").counts[MONTH].model_dump() == of["month"]
    assert counts(own) == tuple(map(sum, zip(*map(counts, of.values()), strict=True)))
    assert counts(gateway.own(by="other").json()) == (5, 5, 0, 0, 0)
    elsewhere = gateway.senders["other"].get(
        "/v1/sources/headend/reconciliation", params={"month": MONTH}
    )
    assert elsewhere.json()["reason"] == "not-found.source"

    # A correction takes up what was late, and what it replaces is billed no longer.
    gateway.batch(f"{known},{hours[0]},9.000,actual\n", "late", 9)
    assert gateway.status("late")["months"] == {MONTH: "late"}
    assert gateway.status("late")["counts"] == {}
    gateway.call("POST", "/corrections")
    gateway.worker.wait(300)
    late = gateway.status("late")
    assert late["months"] == {MONTH: "corrected"}
    assert counts(late["counts"][MONTH]) == (1, 1, 0, 0, 0)
    assert counts(gateway.status("month")["counts"][MONTH]) == (size, size - 6, 0, 6, 0)


def test_a_month_that_ended_with_its_process_is_counted_before_it_is_told(gateway, monkeypatch):
    gateway.batch(long_table(gateway.world), "month", 1)
    gateway.put_files(readings=[])
    zone, months = (getattr(gateway.app.state.service, name) for name in ("zone", "worker"))
    assert is_counted(zone, MONTH)  # nothing is to be counted of it
    with monkeypatch.context() as patched:
        patched.setattr(gateway_service, "count_fates", lambda _zone, _month: None)
        assert gateway.processed()["state"] == "done"
    assert gateway.status("month")["counts"] == {}
    assert not is_counted(zone, MONTH)

    def count() -> bool:
        return gateway_service._count_by_now(zone, months, MONTH)

    assert not months.look(MONTH, count)  # it waits for what is being processed
    assert count()
    assert is_counted(zone, MONTH)
    assert gateway.status("month")["counts"][MONTH]["billed"]


def test_a_month_whose_file_is_damaged_is_told_without_counts(gateway, monkeypatch):
    gateway.batch(long_table(gateway.world), "month", 1)
    gateway.put_files(readings=[])

    def unreadable(*_given):
        raise StorageError("The disk refuses.", reason="storage.read", remedy="Repair it.")

    monkeypatch.setattr(reading_fates, "balance_readings", unreadable)
    assert gateway.processed()["state"] == "done"
    status = gateway.status("month")
    assert (status["months"], status["counts"]) == ({MONTH: "done"}, {})
    assert gateway.own().json()["reason"] == "not-found.counts"
    assert is_counted(gateway.app.state.service.zone, MONTH)


def test_files_of_a_month_and_of_corrections_add_up(gateway):
    gateway.put_files()
    size = len(long_table(gateway.world))
    assert counts(gateway.source("files")) == (size, 0, 0, 0, size)
    assert gateway.processed()["state"] == "done"
    assert counts(gateway.source("files")) == (size, size, 0, 0, 0)
    text = f"{HEADER}{gateway.meter()},2026-07-01 00:00,9.000,actual\n"
    gateway.correct_by_file(text)
    of = {one["kind"]: one for one in gateway.told()["sources"]}
    assert counts(of["files"]) == (size, size - 1, 0, 1, 0)
    assert (of["correction"]["name"], counts(of["correction"])) == ("1", (1, 1, 0, 0, 0))


def test_an_open_month_waits_and_one_that_nobody_sent_is_not_found(gateway):
    assert gateway.reconcile().json()["reason"] == "not-found.readings"
    gateway.batch(long_table(gateway.world).iloc[:96], "day", 1)
    assert gateway.source("headend")["reasons"] == {"waiting": {"month-open": 96}}
    gateway.put_files()
    files = gateway.told()["sources"][0]
    assert (files["kind"], files["waiting"]) == ("files", files["came_in"])


def test_edits_that_do_not_count_say_why(gateway):
    gateway.batch(long_table(gateway.world), "month", 1)
    operator = gateway.token("operator")
    for kwh in ("150", "160"):
        line = f"{gateway.meter()},2026-07-01 00:00,{kwh},actual\n"
        gateway.client.post(
            "/v1/edits",
            params={"month": MONTH, "reason": "read on site"},
            content=(HEADER + line).encode(),
            headers=operator,
        )
    assert gateway.source("edits")["reasons"]["waiting"] == {"edit-pending": 2}
    gateway.client.post(
        "/v1/edits/2/decision", json={"approve": False, "reason": "no"}, headers=operator
    )
    assert counts(gateway.source("edits")) == (2, 0, 0, 1, 1)
    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"
    reasons = gateway.source("edits")["reasons"]["quarantined"]
    assert reasons == {"edit-late": 1, "edit-rejected": 1}


def test_a_batch_of_two_months_counts_in_each(gateway):
    lines = "".join(f"{gateway.meter()},2026-0{month}-15 00:00,0.5,actual\n" for month in (6, 7, 7))
    lines += f"{gateway.meter()},2099-01-01 00:00,0.5,actual\n"  # rejected, so not taken in
    receipt = gateway.batch(lines, "both", 1)
    assert (receipt.readings, receipt.rejected) == (4, {"future": 1})
    assert counts(gateway.source("headend")) == (2, 0, 0, 0, 2)
    june = gateway.reconcile(month="2026-06").json()
    assert (june["adds_up"], counts(june["total"])) == (True, (1, 0, 0, 0, 1))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_killed_month_or_correction_had_waits_until_it_is_done(gateway, monkeypatch):
    def kill(*_given: object, **_more: object) -> int:
        raise Killed

    gateway.batch(long_table(gateway.world), "month", 1)
    gateway.put_files(readings=[])
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        assert gateway.processed()["state"] == "interrupted"
    assert set(gateway.source("headend")["reasons"]["waiting"]) == {"month-unfinished"}
    gateway.start()
    assert gateway.processed()["state"] == "done"
    late = f"{gateway.meter()},2026-07-01 00:00,9.000,actual\n"
    sender = gateway.senders["headend"] = gateway.sender("headend")
    assert sender.get("/v1/sources/headend/gaps").json() == []
    gateway.batch(late, "late", 2)
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        text = HEADER + late.replace("00:00", "01:00")
        gateway.correct_by_file(text)
    assert gateway.source("headend")["reasons"]["waiting"] == {"correction-unfinished": 1}
    assert gateway.source("correction")["reasons"]["waiting"] == {"correction-unfinished": 1}
    (path,) = (gateway.months / MONTH / "versions").glob("*")
    path.write_bytes(path.read_bytes()[:-1])
    assert differing(gateway) == [("1", 0, 0, "audit.version")]


def differing(gateway) -> list[tuple]:
    """What a month that does not add up names."""
    found = gateway.reconcile().json()
    assert not found["adds_up"]
    return [
        (one["name"], one["came_in"], one["found"], one["reason"]) for one in found["differing"]
    ]


def rewritten(gateway, batch: str, change) -> None:
    """A stored batch with other readings than its receipt counted, under a digest of its own."""
    zone = gateway.app.state.service.zone
    own = BatchRow.batch_id == batch
    with write_session(zone.engine) as session:
        known = session.exec(select(BatchRow.readings_digest).where(own)).one()
        readings = pd.read_parquet(zone.folder / "readings" / f"{known}.parquet")
        with ReadingsWriter(zone.folder / "readings") as writer:
            writer.add(change(readings))
            digest = writer.keep()
        session.exec(update(BatchRow).where(own).values(readings_digest=digest))


@pytest.mark.parametrize("is_done", [False, True])
def test_a_damaged_batch_is_named_and_the_others_are_told(gateway, is_done):
    table = long_table(gateway.world)
    size = len(table)
    gateway.batch(table, "month", 1)
    gateway.batch(table.iloc[:10], "more", 2)
    if is_done:
        gateway.put_files(readings=[])
        assert gateway.processed()["state"] == "done"
    # 1. A reading that is gone, and one that is there twice: the receipt counted others.
    rewritten(gateway, "more", lambda readings: readings.iloc[1:])
    assert differing(gateway) == [("more", 10, 9, "")]
    rewritten(gateway, "more", lambda readings: pd.concat([readings, readings.iloc[:2]]))
    assert differing(gateway) == [("more", 10, 11, "")]
    # 2. A file that was altered, and one that is gone.
    folder = gateway.app.state.service.zone.folder / "readings"
    paths = {pd.read_parquet(path).shape[0]: path for path in folder.glob("*.parquet")}
    data = bytearray(paths[11].read_bytes())
    data[len(data) // 2] ^= 1
    paths[11].write_bytes(data)
    assert differing(gateway) == [("more", 10, 0, "storage.read")]
    paths[size].unlink()
    broken = [("month", size, 0, "storage.read"), ("more", 10, 0, "storage.read")]
    assert differing(gateway) == broken


def test_a_receipt_that_was_altered_is_named(gateway):
    gateway.batch(long_table(gateway.world).iloc[:10], "day", 1)
    with write_session(gateway.app.state.service.zone.engine) as session:
        message = session.exec(select(BatchRow.message)).one()
        other = message.replace('"readings": 10', '"readings": 11').replace("10,", "11,")
        assert other != message
        session.exec(update(BatchRow).values(message=other))
    ((name, _, _, reason),) = differing(gateway)
    assert name == "day"
    assert reason


def test_a_month_that_is_not_what_was_billed_does_not_add_up(gateway):
    table = long_table(gateway.world)
    gateway.batch(table, "month", 1)
    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"
    rewritten(
        gateway, "month", lambda readings: readings.assign(energy_wh=readings["energy_wh"] + 1)
    )
    found = gateway.reconcile().json()
    assert (found["adds_up"], found["differing"], found["other_energy"]) == (False, [], 20)


@pytest.mark.parametrize("is_done", [False, True])
def test_a_file_that_is_not_what_came_is_named_and_never_billed(gateway, is_done):
    rows = gateway.world.simulated.wide_csv().splitlines(keepends=True)
    gateway.put_files(readings=[b"".join(rows[:40]), rows[0] + b"".join(rows[40:])])
    assert gateway.source("files")["came_in"] == 20 * 744
    if is_done:
        assert gateway.processed()["state"] == "done"
    (path,) = gateway.months.glob(f"{MONTH}/input-*/readings-0002")
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert differing(gateway) == [("2", 0, 0, "storage.read")]
    assert gateway.reconcile().json()["total"]["came_in"] == 24 * len(rows[1:40])
    if not is_done:
        failed = gateway.processed()
        assert (failed["state"], failed["reason"]) == ("failed", "storage.read")
        path.unlink()
        assert differing(gateway) == [("2", 0, 0, "storage.read")]
    path.write_bytes(whole)
    assert gateway.processed()["state"] == "done"
    assert counts(gateway.source("files")) == (20 * 744, 20 * 744, 0, 0, 0)


def test_a_file_that_cannot_be_read_is_kept_and_the_month_says_why(gateway):
    good = gateway.world.simulated.wide_csv()
    gateway.put_files(readings=[good, b"no table of readings\n"])
    failed = gateway.processed()
    assert (failed["state"], failed["reason"] != "error") == ("failed", True)
    gateway.put_files(readings=[good])
    assert counts(gateway.source("files")) == (20 * 744, 0, 0, 0, 20 * 744)
    assert gateway.processed()["state"] == "done"
    assert counts(gateway.source("files")) == (20 * 744, 20 * 744, 0, 0, 0)


@pytest.mark.parametrize(("role", "status"), [("billing", 200), ("meter-data", 403)])
def test_who_may_ask(gateway, role, status):
    gateway.batch(long_table(gateway.world).iloc[:10], "day", 1)
    assert gateway.reconcile(role=role).status_code == status
    assert gateway.reconcile(month="2026-13", role="operator").status_code == 422


def test_faces_of_registers_are_billed_with_the_energies_beside_them(gateway):
    gateway.register("headend", stamps="start")
    readings = gateway.world.simulated.readings()
    meters = readings["meter_point_id"].astype(str)
    is_own = meters == gateway.meter()
    gateway.batch(long_table(gateway.world)[~is_own], "energies", 1)
    own = readings[is_own].sort_values("start")
    shown = [0, *own["energy_wh"].cumsum().tolist()]
    moments = [*own["start"], own["start"].iloc[-1] + pd.Timedelta(hours=1)]
    lines = [
        f"{gateway.meter()},{moment.isoformat()},{face // 1000}.{face % 1000:03d}\n"
        for moment, face in zip(moments, shown, strict=True)
    ]
    header = "meter_point_id,start,register_kwh\n"
    for number, part in enumerate((lines[:400], lines[390:]), start=2):
        sent = gateway.send((header + "".join(part)).encode(), batch=f"f{number}", sequence=number)
        assert sent.status_code == 200, sent.text
    size = len(readings) + 10  # ten faces came twice, and the last one is August's
    assert counts(gateway.told()["total"]) == (size, 0, 0, 0, size)
    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"
    told = gateway.source("headend")
    assert counts(told) == (size, size - 10, 0, 10, 0)
    assert told["reasons"]["quarantined"] == {"superseded": 10}
    august = gateway.reconcile(month="2026-08").json()
    assert counts(august["total"]) == (1, 0, 0, 0, 1)
