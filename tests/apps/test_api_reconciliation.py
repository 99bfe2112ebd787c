"""Readings reconciled: what came in is billed, estimated, quarantined or waiting, and adds up."""

from __future__ import annotations

from itertools import islice

import pandas as pd
import pytest
from sqlmodel import select

from gridsecure.gateway import outbox, preparation
from gridsecure.gateway.ingestion.stored_readings import ReadingsWriter
from gridsecure.gateway.tables import BatchRow, MonthPlanRow
from gridsecure.store.database import write_session
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

    def source(self, name: str) -> dict:
        return next(one for one in self.told()["sources"] if name in (one["name"], one["kind"]))

    def meter(self, place: int = 0) -> str:
        return self.world.simulated.meter_point_ids[place]

    def batch(self, table: pd.DataFrame | str, batch: str, sequence: int, **more):
        body = (HEADER + table).encode() if isinstance(table, str) else written(table, "csv")
        answer = self.send(body, batch=batch, sequence=sequence, **more)
        assert answer.status_code == 200, answer.text
        return self.receipt(answer)


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
    assert quarantined == {"superseded": size - 1 , "edited": 2, "unknown-meter-point": 1}
    assert counts(of["other"]) == (size, size - 1, 0, 1, 0)
    assert counts(of["edits"]) == (1, 1, 0, 0, 0)

    gateway.batch(f"{gateway.meter(1)},{first['start']},9.000,actual\n", "late", 3)
    assert gateway.source("headend")["reasons"]["waiting"] == {"late": 1}
    started = gateway.call("POST", "/corrections")
    assert started.status_code == 202, started.text
    gateway.worker.wait(60)
    assert gateway.source("headend")["billed"] == 1
    assert gateway.told()["reported"] is None


def test_what_is_set_aside_is_estimated_over_and_who_has_no_bill_has_no_billed_reading(gateway):
    table = long_table(gateway.world)
    own = table["meter_point_id"] == gateway.meter()
    spiked = table.copy()
    spiked.loc[spiked.index[own][30], "kwh"] = "60.000"
    spiked.loc[spiked.index[own][40], "quality"] = "estimated"
    body = spiked[spiked["meter_point_id"] != gateway.meter(1)]
    gateway.batch(body, "month", 1)
    some = table[table["meter_point_id"] == gateway.meter(1)].iloc[:40]
    gateway.batch(some, "some", 2)
    contracts = gateway.world.contracts()
    del contracts
    gateway.put_files(readings=[])
    assert gateway.processed()["state"] == "done"
    own = gateway.source("headend")
    assert own["reasons"]["estimated"] == {"sent": 1, "spike": 1}
    assert own["reasons"]["quarantined"] == {"incomplete": 40}


def test_files_of_a_month_and_of_corrections_add_up(gateway):
    gateway.put_files()
    size = len(long_table(gateway.world))
    assert counts(gateway.source("files")) == (size, 0, 0, 0, size)
    assert gateway.processed()["state"] == "done"
    assert counts(gateway.source("files")) == (size, size, 0, 0, 0)
    text = f"{HEADER}{gateway.meter()},2026-07-01 00:00,9.000,actual\n"
    gateway.call("POST", "/corrections", files=[("readings", ("r.csv", text.encode()))])
    gateway.worker.wait(60)
    of = {one["kind"]: one for one in gateway.told()["sources"]}
    assert counts(of["files"]) == (size, size - 1, 0, 1, 0)
    assert (of["correction"]["name"], counts(of["correction"])) == ("1", (1, 1, 0, 0, 0))
