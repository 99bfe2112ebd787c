"""Meter-data systems at the gateway: batches in every format, receipts, repeats, gaps, bills."""

from __future__ import annotations

import errno
import gzip
import io
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zstandard

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway import preparation
from gridsecure.gateway.ingestion import batches, spooled_bodies, stored_readings
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.head_end.sender import Sender
from gridsecure.messages import BatchReceipt, Signed, open_message
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from tests.apps.gateway_services import Services
from tests.apps.zone_apps import point
from tests.cli.in_process import client_of
from tests.gateway.gateway_world import MONTH, Killed
from tests.gateway.reading_tables import long_table

REAL_PACKING = preparation.pack_energies
HEADER = "meter_point_id,start,kwh,quality\n"
LINE = "MP-1,2026-07-01 00:00,0.412,actual\nMP-1,2026-07-01 00:30,0.398,estimated\n"


class Sources(Services):
    """The gateway's services, and two meter-data systems with keys of their own."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        self.keys = {name: generate_private_key() for name in ("headend", "other")}
        self.senders = {name: self.sender(name) for name in self.keys}
        for name in self.keys:
            assert self.register(name).status_code == 200
            assert self.give_key(name, key=self.keys[name]).status_code == 200

    def sender(self, name):
        login = ServiceLoginClient(client_of(self.identity), self.keys[name], self.world.clock)
        return client_of(self.app, auth=ServiceAuth(login, audience="gateway"))

    def register(self, name, *, key=None, **declared):
        body = {"public_key": point(key or self.keys[name])} | declared
        return self.client.put(f"/v1/sources/{name}", json=body, headers=self.token("operator"))

    def give_key(self, name, *, key, replaces=""):
        """Register a source's key at the identity service."""
        body = {"name": name, "public_key": point(key), "replaces": replaces}
        headers = self.token("operator", audience="identity")
        return client_of(self.identity).post("/source-keys", json=body, headers=headers)

    def send(self, body, *, batch="b1", sequence=1, by="headend"):
        headers = {"Idempotency-Key": batch, "Batch-Sequence": str(sequence)}
        return self.senders[by].post("/v1/readings", content=body, headers=headers)

    def receipt(self, answer) -> BatchReceipt:
        """What a receipt says, once the gateway's signature is checked."""
        trusted = {self.key.public_key.thumbprint: self.key.public_key}
        signed = Signed.model_validate(answer.json()["receipt"])
        return open_message(signed, expect=BatchReceipt, trusted=trusted)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Sources at a gateway; each test sends under ids of its own."""
    made = Sources(tmp_path_factory.mktemp("sources"))
    yield made
    made.close()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    made = Sources(tmp_path)
    yield made
    made.close()


def written(table: pd.DataFrame, form: str) -> bytes:
    """Readings in a format that a body may have."""
    rows = table.to_dict("records")
    for row in rows:
        row["kwh"] = float(row["kwh"])
    if form == "csv":
        return table.to_csv(index=False).encode()
    if form == "csv.zst":
        return zstandard.compress(table.to_csv(index=False).encode())
    if form == "json":
        return json.dumps({"readings": rows}).encode()
    if form == "ndjson.gz":
        return gzip.compress("\n".join(json.dumps(row) for row in rows).encode())
    out = io.BytesIO()
    moments = pd.to_datetime(table["start"], utc=True)
    table.assign(start=moments, kwh=table["kwh"].astype(float)).to_parquet(out)
    return out.getvalue()


FORMS = ("csv", "csv.zst", "json", "ndjson.gz", "parquet")


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_taken_in_as_the_same_readings(sources, form):
    body = written(long_table(sources.world).iloc[:96], form)
    answer = sources.send(body, batch=f"form-{form}", sequence=FORMS.index(form) + 1)
    assert answer.status_code == 200, answer.text
    receipt = sources.receipt(answer)
    assert (receipt.readings, receipt.rejected) == (96, {})
    assert receipt.body_digest == sm3_hex(body)
    stored, wanted = newest_file(sources), sources.world.simulated.readings().iloc[:96]
    assert stored["energy_wh"].tolist() == wanted["energy_wh"].tolist()
    assert (stored["start"].to_numpy() == wanted["start"].to_numpy()).all()
    assert answer.headers["location"] == f"/v1/sources/headend/batches/form-{form}"


def test_a_month_sent_by_batches_is_billed_as_one_sent_by_files(fresh):
    table = long_table(fresh.world)
    days = [day for _, day in table.groupby(table["start"].str[:10], sort=True)]
    for number, day in enumerate(days, start=1):
        # Every day comes twice over: estimated first, then actual, out of order.
        draft = day.assign(kwh="9.999", quality="estimated")
        late = fresh.send(written(draft, "csv"), batch=f"e{number}", sequence=2 * number)
        final = fresh.send(written(day, "csv"), batch=f"a{number}", sequence=2 * number - 1)
        assert (late.status_code, final.status_code) == (200, 200)
    assert fresh.put_files(readings=[]).json() == {"readings_files": 0, "contracts": 20}
    report = fresh.processed()["report"]
    assert (report["readings"], report["estimated"], report["billed_meters"]) == (20 * 744, 0, 20)
    zone = fresh.app.state.service.zone
    by_batches = compute_expected_bills(zone, load_files(zone, MONTH))
    assert bills_of(by_batches) == bills_of(_by_files(fresh))

    # What comes afterwards is kept, says that it is late, and changes no issued bill.
    after = fresh.send(written(days[0].assign(kwh="5.000"), "csv"), batch="after", sequence=99)
    assert fresh.receipt(after).months == {MONTH: "late"}
    first = fresh.senders["headend"].get("/v1/sources/headend/batches/a1").json()
    assert first["months"] == {MONTH: "done"}
    assert compute_expected_bills(zone, load_files(zone, MONTH)) == by_batches


def bills_of(bills):
    """Totals of all bills, whoever's roster they stand in."""
    return sorted(
        json.dumps(bill["periods"], sort_keys=True)
        for roster in bills.values()
        for bill in roster.values()
    )


def _by_files(fresh):
    """Bills of the same month from one file, settled anew in another folder."""
    other = Services(fresh.folder.parent / "by-files")
    try:
        other.put_files()
        other.processed()
        zone = other.app.state.service.zone
        return compute_expected_bills(zone, load_files(zone, MONTH))
    finally:
        other.close()


def test_a_repeat_gets_the_first_receipt_and_an_altered_one_is_refused(sources):
    body = (HEADER + LINE).encode()
    first = sources.send(body, batch="again", sequence=100)
    again = sources.send(body, batch="again", sequence=100)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["receipt"] == again.json()["receipt"]
    for changed in (
        {"body": body.replace(b"0.412", b"0.413"), "sequence": 100, "batch": "again"},
        {"body": body, "sequence": 101, "batch": "again"},
        {"body": body, "sequence": 100, "batch": "another"},
    ):
        refused = sources.send(changed.pop("body"), **changed)
        assert (refused.status_code, refused.json()["reason"]) == (409, "conflict.batch")
    # Another source's ids and sequences are its own.
    assert sources.send(body, batch="again", sequence=100, by="other").status_code == 200


def test_gaps_of_a_sequence_are_listed(sources):
    body = (HEADER + LINE).encode()
    for sequence in (2, 3, 7):
        assert sources.send(body, batch=f"g{sequence}", sequence=sequence, by="other").is_success
    gaps = sources.senders["other"].get("/v1/sources/other/gaps").json()
    assert gaps[:2] == [{"first": 1, "last": 1}, {"first": 4, "last": 6}]


def test_receipts_are_listed_page_by_page_with_a_tag(sources):
    body = (HEADER + LINE).encode()
    for sequence in (201, 202, 203):
        sources.send(body, batch=f"page-{sequence}", sequence=sequence, by="other")
    asked = sources.senders["other"]
    everything = asked.get("/v1/sources/other/batches").json()
    page = asked.get("/v1/sources/other/batches", params={"limit": 2})
    assert page.json() == everything[:2]
    following = page.headers["link"].partition("?")[2].partition(">")[0]
    assert asked.get(f"/v1/sources/other/batches?{following}").json() == everything[2:4]
    known = asked.get("/v1/sources/other/batches", headers={"If-None-Match": '"none"'}).headers[
        "etag"
    ]
    unchanged = asked.get("/v1/sources/other/batches", headers={"If-None-Match": known})
    assert unchanged.status_code == 304


def test_readings_outside_the_scope_and_of_the_future_are_kept_and_rejected(sources):
    assert sources.register("other", meter_points=["MP-1", "MP-3"]).json()["stamps"] == ""
    lines = LINE + LINE.replace("MP-1", "MP-2") + LINE.replace("2026", "2099")
    lines += "MP-3,2026-07-01 00:00,0,412\n"  # a decimal comma, which makes a quality of a fraction
    answer = sources.send((HEADER + lines).encode(), batch="judged", sequence=300, by="other")
    receipt = sources.receipt(answer)
    assert (receipt.readings, receipt.rejected) == (
        7,
        {"future": 2, "outside-scope": 2, "quality-flag": 1},
    )
    assert receipt.months == {MONTH: "waiting"}
    other = Sender(sources.senders["other"], source="other", gateway_key=sources.key.public_key)
    listed = list(other.rejected("judged"))
    assert [(one.number, one.meter_point_id, one.rule) for one in listed] == [
        (3, "MP-2", "outside-scope"), (4, "MP-2", "outside-scope"), (5, "MP-1", "future"),
        (6, "MP-1", "future"), (7, "MP-3", "quality-flag"),
    ]  # fmt: skip
    assert listed[0].start == "2026-07-01T00:00:00+08:00"
    path = "/v1/sources/other/batches/judged/rejected"
    page = sources.senders["other"].get(path, params={"limit": 2})
    assert [one["number"] for one in page.json()] == [3, 4]
    following = sources.senders["other"].get(path + page.links["next"]["url"])
    assert [one["number"] for one in following.json()] == [5, 6]
    assert sources.senders["headend"].get(path).json()["reason"] == "not-found.source"
    assert sources.senders["other"].get(path.replace("judged", "none")).status_code == 404
    sources.register("other")


def test_what_a_source_declared_of_its_stamps_is_how_they_are_read(sources):
    sources.register("other", stamps="end", timezone="Etc/GMT")
    answer = sources.send((HEADER + LINE).encode(), batch="ends", sequence=400, by="other")
    receipt = sources.receipt(answer)
    assert receipt.first == "2026-07-01T07:30:00+08:00"  # the half-hour before midnight UTC
    assert receipt.last == "2026-07-01T08:00:00+08:00"
    sources.register("other")


@pytest.mark.parametrize(
    ("body", "reason", "problem"),
    [
        (HEADER + "MP-1,2026-07-01 00:00,0,412,actual\n", "readings.malformed", ""),
        (HEADER + LINE + "MP-1,2026-07-01 01:00,x,\n", "readings.energy", "line 4"),
        ('[{"meter_point_id": "M", "start": "2026-07-01 00:00", "kwh": 0.1234}]',
         "readings.energy", "reading 1"),
        ('[{"meter_point_id": "M", "start": "2026-07-01 00:00"}]', "readings.body", "reading 1"),
        ('[{"meter_point_id": "M", "start": "2026-07-01 00:00", "kwh": {"a": 1}}]',
         "readings.body", "reading 1"),
        ('[{"meter_point_id": "M,N", "start": "2026-07-01 00:00", "kwh": 1}]', "readings.body", ""),
        ("[1, 2", "readings.body", ""),
        ("[]", "readings.body", ""),
        ("PAR1 and nothing else", "readings.body", ""),
        (b"\x28\xb5\x2f\xfd damaged", "readings.malformed", ""),
    ],
)  # fmt: skip
def test_a_malformed_batch_is_refused_whole_and_says_where(sources, body, reason, problem):
    data = body if isinstance(body, bytes) else body.encode()
    refused = sources.send(data, batch="bad", sequence=500)
    assert (refused.status_code, refused.json()["reason"]) == (400, reason), refused.text
    assert any(problem in place for place in refused.json().get("problems", [""]))
    assert sources.senders["headend"].get("/v1/sources/headend/batches/bad").status_code == 404


def parquet(columns) -> bytes:
    out = io.BytesIO()
    pd.DataFrame(columns).to_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    "columns",
    [
        {"meter_point_id": ["A" * 300] * 9, "start": ["2026-07-01"] * 9, "kwh": [1.5] * 9},
        {"meter_point_id": ["A"], "start": ["2026-07-01"]},
        {"meter_point_id": ["A"], "start": ["2026-07-01"], "kwh": [1.5], "name": ["Bob"]},
        {"meter_point_id": [1.5], "start": ["2026-07-01"], "kwh": [1.5]},
        {"meter_point_id": ["A"], "start": ["2026-07-01"], "kwh": [[1.5]]},
    ],
)
def test_a_parquet_file_of_another_shape_is_refused(sources, columns):
    refused = sources.send(parquet(columns), batch="bad", sequence=500)
    assert (refused.status_code, refused.json()["reason"]) == (400, "readings.body"), refused.text


def test_decimals_and_short_fractions_of_parquet_are_exact(sources):
    kwh = np.array([0.1, 0.2, 0.3, 12.345, 0.001], dtype=np.float32)
    start = pd.date_range("2026-07-02", periods=5, freq="30min", tz="UTC")
    for number, column in enumerate((kwh, [Decimal(str(one)) for one in kwh])):
        body = parquet({"meter_point_id": "MP-1", "start": start, "kwh": column})
        sent = sources.send(body, batch=f"exact-{number}", sequence=510 + number)
        assert sent.status_code == 200, sent.text
        stored = newest_file(sources)
        assert stored["energy_wh"].tolist() == [100, 200, 300, 12345, 1]


def kept_files(sources) -> set[Path]:
    return set((sources.app.state.service.zone.folder / "readings").glob("*"))


def newest_file(sources) -> pd.DataFrame:
    return pd.read_parquet(max(kept_files(sources), key=lambda path: path.stat().st_mtime_ns))


def test_a_bomb_is_not_unfolded(sources):
    bomb = zstandard.compress(b"0" * (80 << 20))
    refused = sources.send(bomb, batch="bomb", sequence=501)
    assert refused.json()["reason"] == "readings.expansion"


@pytest.mark.parametrize("batch", ["", "a/b", "x" * 128 + "y", "ü"])
def test_a_batch_without_a_proper_id_is_refused(sources, batch):
    headers = {"Idempotency-Key": batch.encode(), "Batch-Sequence": "1"}
    refused = sources.senders["headend"].post("/v1/readings", content=b"x", headers=headers)
    assert refused.status_code in (400, 422)


def test_nobody_but_a_registered_source_sends_and_each_sees_its_own(sources):
    body = (HEADER + LINE).encode()
    headers = {"Idempotency-Key": "x", "Batch-Sequence": "9"}
    for role in ("operator", "billing", "gateway"):
        token = sources.token(role)
        refused = sources.client.post("/v1/readings", content=body, headers=headers | token)
        assert refused.status_code == 403
    sources.keys["stranger"] = generate_private_key()
    with pytest.raises(Exception, match="login-refused"):
        sources.sender("stranger").post("/v1/readings", content=body, headers=headers)
    assert sources.senders["other"].get("/v1/sources/headend/batches").status_code == 404
    assert sources.senders["other"].get("/v1/sources").status_code == 403
    names = [one["name"] for one in _listed(sources)]
    assert names == ["headend", "other"]
    operator = sources.client.get("/v1/sources/headend/batches", headers=sources.token("operator"))
    assert operator.status_code == 200


def _listed(sources):
    return sources.client.get("/v1/sources", headers=sources.token("operator")).json()


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"timezone": "Asia/Nowhere"}, "source.timezone"),
        ({"timezone": "../../etc/passwd"}, "source.timezone"),
        ({"meter_points": []}, "source.scope"),
        ({"interval_minutes": 20}, "source.interval"),
        ({"interval_minutes": 1}, "source.interval"),
        ({"meter_points": ["x" * 65]}, "source.scope"),
        ({"meter_points": ["two\nlines"]}, "source.scope"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(sources, declared, reason):
    before = _listed(sources)
    assert sources.register("headend", **declared).json()["reason"] == reason
    assert _listed(sources) == before


def test_a_source_needs_a_name_and_a_key_of_its_own(sources):
    taken = sources.register("third", key=sources.keys["headend"])
    assert (taken.status_code, taken.json()["reason"]) == (409, "conflict.source-key")
    assert sources.register("UPPER", key=generate_private_key()).json()["reason"] == "source.name"


def test_a_full_disk_leaves_nothing_taken_in(sources, monkeypatch):
    body = (HEADER + LINE.replace("0.412", "7.002")).encode()
    before = kept_files(sources)

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    for place, name in ((stored_readings.os, "fsync"), (stored_readings, "sync_folder")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            refused = sources.send(body, batch="full", sequence=600)
        assert refused.status_code == 507
        assert sources.senders["headend"].get("/v1/sources/headend/batches/full").status_code == 404
    with monkeypatch.context() as patch:
        patch.setattr(spooled_bodies, "private_folder", full)
        refused = sources.send(body * 20_000, batch="full", sequence=600)
    assert refused.status_code == 507
    assert sources.send(body, batch="full", sequence=600).status_code == 200
    assert len(kept_files(sources) - before) == 1


def test_a_kill_between_file_and_row_leaves_nothing_taken_in(sources, monkeypatch):
    body = (HEADER + LINE.replace("0.412", "7.001")).encode()

    def killed(*_args, **_kwargs):
        raise Killed

    before = kept_files(sources)
    with monkeypatch.context() as patch:
        patch.setattr(batches, "_keep", killed)
        with pytest.raises(Killed):
            sources.send(body, batch="killed", sequence=700)
    assert sources.senders["headend"].get("/v1/sources/headend/batches/killed").status_code == 404
    left = kept_files(sources) - before
    assert sources.send(body, batch="killed", sequence=700).status_code == 200
    assert kept_files(sources) - before == left  # written over, not beside
    assert [stat.S_IMODE(path.stat().st_mode) for path in left] == [0o600]


def test_one_batch_sent_by_many_at_once_is_taken_in_once(sources):
    body = (HEADER + LINE).encode()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sources.send(body, batch="many", sequence=701), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["receipt"]["signature"] for answer in answers}) == 1


def test_a_batch_of_rejected_readings_and_one_of_a_single_one_hold_up_no_month(fresh):
    fresh.register("other", meter_points=["none of these"])
    rejected = fresh.send((HEADER + LINE).encode(), batch="r", by="other")
    assert fresh.receipt(rejected).months == {}
    name = fresh.world.simulated.meter_point_ids[0]
    lone = f"meter_point_id,start,kwh\n{name},2026-07-01 00:00,0.001\n"
    assert fresh.send(lone.encode(), batch="lone").status_code == 200
    fresh.put_files()
    assert fresh.processed()["state"] == "done"


def test_ends_of_single_readings_are_refused_as_nobody_knows_where_they_begin(sources):
    sources.register("other", stamps="end")
    lone = b"meter_point_id,start,kwh\nMP-1,2026-07-01 01:00,0.4\n"
    refused = sources.send(lone, batch="lone-end", sequence=800, by="other")
    assert (refused.status_code, refused.json()["reason"]) == (400, "readings.interval")
    sources.register("other")


def test_ends_of_single_readings_are_read_from_a_source_that_says_how_long_its_intervals_are(fresh):
    name = fresh.world.simulated.meter_point_ids[0]
    fresh.register("headend", stamps="end", interval_minutes=60)
    for hour in (1, 24):
        lone = f"meter_point_id,start,kwh\n{name},2026-07-01 {hour:02}:00,0.{hour:03}\n"
        taken = fresh.send(lone.encode(), batch=f"end-{hour}", sequence=hour)
        assert taken.status_code == 200, taken.text
        start = f"2026-07-01T{hour - 1:02}:00:00+08:00"
        receipt = fresh.receipt(taken)
        assert (receipt.first, receipt.last) == (start, start)
    refused = fresh.register("headend", stamps="end", interval_minutes=7)
    assert (refused.status_code, refused.json()["reason"]) == (400, "source.interval")


def test_a_small_body_that_writes_out_to_much_is_refused(sources):
    texts = [f"{n:0250d}" for n in range(100)]
    start = "2026-01-01 00:00"
    big = parquet({"meter_point_id": pd.Series(texts * 3000), "start": start, "kwh": 1.0})
    zeros = gzip.compress(b"[" + b'{"":0},' * 5_000_000 + b"{}]")
    for body in (big, zeros):
        refused = sources.send(body, batch="unfolds", sequence=801)
        assert refused.json()["reason"] == "readings.expansion", refused.text


def test_a_batch_that_is_refused_leaves_no_file(sources):
    body = (HEADER + LINE).encode()
    assert sources.send(body, batch="kept", sequence=810).status_code == 200
    before = kept_files(sources)
    assert sources.send(body, batch="clash", sequence=810).status_code == 409
    assert kept_files(sources) == before


def test_a_batch_that_was_altered_on_disk_is_not_billed(fresh):
    body = written(long_table(fresh.world), "csv")
    receipt = fresh.receipt(fresh.send(body))
    path = fresh.app.state.service.zone.folder / "readings" / f"{receipt.readings_digest}.parquet"
    assert sm3_hex(path.read_bytes()) == receipt.readings_digest
    stored = pd.read_parquet(path)
    stored.loc[0, "energy_wh"] += 1
    stored.to_parquet(path, index=False)
    fresh.put_files(readings=[])
    failed = fresh.processed()
    assert (failed["state"], failed["reason"]) == ("failed", "storage.read")


def test_wide_points_are_counted_before_they_are_unfolded(sources):
    header = "meter_point_id,date," + ",".join(f"p{n + 1}" for n in range(96)) + "\n"
    line = "MP-1,2026-07-01," + ",".join("0" * 96) + "\n"
    body = zstandard.compress((header + line * 60_000).encode())
    refused = sources.send(body, batch="wide-bomb", sequence=900)
    assert refused.json()["reason"] == "readings.expansion", refused.text


def test_times_with_fractions_of_a_second_are_refused(sources):
    start = pd.to_datetime(["2026-07-01 00:00:00.5+08:00"])
    body = parquet({"meter_point_id": ["MP-1"], "start": start, "kwh": [1.0]})
    assert sources.send(body, batch="ms", sequence=901).json()["reason"] == "readings.body"
