"""Batches that are answered before they are read: kept, read in order, once, whatever happens."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from gridsecure.errors import StorageError
from gridsecure.gateway.ingestion import (
    batch_groups,
    batch_queue,
    batches,
    spooled_bodies,
    stored_readings,
)
from gridsecure.wire.problems import PROBLEM_TYPE
from gridsecure_api import gateway_progress, lanes
from gridsecure_api.gateway_queue import Reading
from gridsecure_api.reading_examples import LONG, MALFORMED
from tests.apps.queue_world import ASYNC, KEY, OTHER, Queueing, body
from tests.apps.zone_apps import bearer, point

ROOT = Path(__file__).resolve().parents[2]
EVENTS = "/v1/sources/headend/batches/{}/events"


@pytest.fixture
def world(tmp_path):
    made = Queueing(tmp_path / "gateway", queued_body_bytes=100_000)
    yield made
    made.end()


def test_a_batch_that_prefers_it_is_answered_before_it_is_read(world):
    sent = world.send(body(1), batch="a", sequence=1, Prefer="wait=5; x, Respond-Async")
    assert (sent.status_code, sent.json()["state"]) == (202, "waiting")
    assert sent.headers["preference-applied"] == "respond-async"
    location = sent.headers["location"]
    assert location == "/v1/sources/headend/batches/a"
    (kept,) = world.waiting_files()
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (body(1), 0o600)
    waits = world.get(location)
    assert waits.json()["size"] == len(body(1))
    tag = {"If-None-Match": waits.headers["etag"]}
    assert world.get(location, **tag).status_code == 304
    world.read()
    done = world.get(location, **tag)
    assert (done.status_code, done.json()["state"]) == (200, "done")
    (receipt,) = world.receipts()
    assert json.loads(done.json()["receipt"]["body"])["batch_id"] == receipt.batch_id == "a"
    assert (receipt.readings, receipt.months) == (48, {"2026-07": "waiting"})
    assert world.waiting_files() == []
    again = world.send(body(1), batch="a", sequence=1, **ASYNC)
    assert (again.status_code, again.headers["location"]) == (200, location)
    assert again.json()["receipt"] == done.json()["receipt"]
    assert world.waiting_files() == []


def test_a_large_body_is_answered_before_it_is_read_and_a_small_one_is_not(world):
    large = body(2, readings=4800)
    assert len(large) > 100_000
    assert world.send(body(1), batch="small", sequence=1).status_code == 200
    sent = world.send(large, batch="large", sequence=2)
    assert sent.status_code == 202
    assert "preference-applied" not in sent.headers
    world.read()
    assert [one.readings for one in world.receipts()] == [48, 4800]


def test_what_a_source_sends_behind_a_waiting_batch_waits_too(world):
    assert world.send(body(1), batch="first", sequence=1, **ASYNC).status_code == 202
    assert world.send(body(1), batch="theirs", sequence=1, key=OTHER).status_code == 200
    later = body(1).replace(b"0.4", b"0.5")
    assert world.send(later, batch="second", sequence=2).status_code == 202
    world.end()
    world.start()  # the order is kept over a restart
    assert world.send(later, batch="third", sequence=3).status_code == 202
    world.read()
    assert [one.batch_id for one in world.receipts()] == ["first", "second", "third"]
    assert world.send(later, batch="fourth", sequence=4).status_code == 200


def test_a_repeat_waits_once_and_an_altered_one_is_refused_by_either_way(world):
    first = world.send(body(1), batch="a", sequence=1, **ASYNC)
    again = world.send(body(1), batch="a", sequence=1, **ASYNC)
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    assert len(world.waiting_files()) == 1
    for changed in (
        {"data": body(2), "batch": "a", "sequence": 1},
        {"data": body(1), "batch": "a", "sequence": 2},
        {"data": body(1), "batch": "b", "sequence": 1},
    ):
        for wish in (ASYNC, {}):
            refused = world.send(**changed, **wish)
            assert (refused.status_code, refused.json()["reason"]) == (409, "conflict.batch")
    world.read()
    assert [one.batch_id for one in world.receipts()] == ["a"]


@pytest.mark.parametrize(("way", "offset"), [(batches, b""), (batch_groups, b"+08:00")])
def test_a_batch_at_once_does_not_take_the_name_of_one_that_came_while_it_was_read(
    world, monkeypatch, way, offset
):
    """Of the form that is read with others, and of one that is read by itself."""
    write = way._write

    def slow(*given, **more):
        sent = world.send(body(2), batch="a", sequence=1, **ASYNC)
        assert sent.status_code == 202
        return write(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(way, "_write", slow)
        sent = body(1).replace(b"+08:00", offset)
        refused = world.send(sent, batch="a", sequence=1)
    assert refused.json()["reason"] == "conflict.batch"
    world.read()
    (receipt,) = world.receipts()
    assert receipt.readings == 48
    assert world.send(body(2), batch="a", sequence=1).status_code == 200


def test_a_malformed_batch_says_where_at_its_location_and_may_be_sent_anew(world):
    bad = body(1).replace(b"0.4", b"much", 1)
    location = world.send(bad, batch="a", sequence=1, **ASYNC).headers["location"]
    at_once = world.send(bad, batch="b", sequence=2, key=OTHER)
    world.read()
    refused = world.get(location).json()
    assert refused["state"] == "refused"
    assert refused["refusal"] == at_once.json() | {"status": at_once.status_code}
    assert "line 2" in refused["refusal"]["problems"][0]
    assert world.waiting_files() == []
    assert world.send(body(1), batch="a", sequence=1, **ASYNC).status_code == 202
    world.read()
    assert world.status("a")["state"] == "done"


def test_a_batch_is_read_as_its_source_was_declared_when_it_came(world):
    lines = b"meter_point_id,start,kwh\n" + b"".join(
        f"MP-1,2026-07-01 {hour:02}:00,0.4\n".encode() for hour in range(1, 4)
    )
    assert world.send(lines, batch="a", sequence=1, **ASYNC).status_code == 202
    declared = {"public_key": point(KEY), "stamps": "end"}
    operator = bearer("gateway", "operator")
    world.client.put("/v1/sources/headend", json=declared, headers=operator)
    world.read()
    (receipt,) = world.receipts()
    assert receipt.first == "2026-07-01T01:00:00+08:00"


def full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["fsync", "sync_folder"])
def test_a_full_disk_has_nothing_wait(world, monkeypatch, place):
    where = spooled_bodies.os if place == "fsync" else spooled_bodies
    with monkeypatch.context() as patch:
        patch.setattr(where, place, full)
        refused = world.send(body(1), batch="a", sequence=1, **ASYNC)
    assert (refused.status_code, refused.json()["reason"]) == (507, "storage.failed")
    assert world.waiting_files() == []
    assert world.get("/v1/sources/headend/batches/a").status_code == 404
    assert not world.queue.has_waiting("headend")
    assert world.send(body(1), batch="a", sequence=1).status_code == 200


def test_a_batch_that_cannot_be_stored_now_is_read_later_and_holds_up_its_source_alone(
    world, monkeypatch
):
    world.send(body(1), batch="a", sequence=1, **ASYNC)
    world.send(body(2), batch="b", sequence=2, **ASYNC)
    world.send(body(3), batch="theirs", sequence=1, key=OTHER, **ASYNC)
    place, tries = stored_readings.ReadingsWriter.place, []

    def failing(writer):
        tries.append(writer)
        if len(tries) in {1, 3}:
            full_disk = "The readings could not be written: No space left on device."
            raise StorageError(full_disk)
        return place(writer)

    with monkeypatch.context() as patch:
        patch.setattr(stored_readings.ReadingsWriter, "place", failing)
        world.read()
    assert len(tries) == 5
    assert [one.batch_id for one in world.receipts()] == ["a", "b"]
    theirs = world.get("/v1/sources/other/batches/theirs", key=OTHER).json()
    assert theirs["state"] == "done"


def test_what_waits_is_bounded_and_says_when_to_come_again(tmp_path):
    large = body(1, readings=48_000)
    world = Queueing(tmp_path, max_waiting_bytes=len(large) + 10_000, queued_body_bytes=50_000)
    assert world.send(large, batch="a", sequence=1).status_code == 202
    parts = iter([large[:500_000], large[500_000:]])  # of a length that nobody declared
    for data in (large, parts):
        refused = world.send(data, batch="b", sequence=2)
        assert (refused.status_code, refused.json()["reason"]) == (503, "storage.queue-full")
        assert refused.headers["retry-after"] == "30"
    assert world.send(body(9), batch="theirs", sequence=1, key=OTHER).status_code == 200
    world.end()
    world.start()  # what waits is counted again
    assert world.send(large, batch="c", sequence=3).status_code == 503
    world.read()
    assert world.send(large, batch="c", sequence=3).status_code == 202
    world.end()


def test_a_body_whose_reading_ends_the_gateway_is_given_up(world, monkeypatch):
    class Ended(BaseException):
        """As if the process had gone."""

    world.send(body(1), batch="a", sequence=1, **ASYNC)
    (row,) = [world.queue.first()]

    def end(*_args, **_kwargs):
        raise Ended

    for attempt in range(batch_queue.MOST_ATTEMPTS):
        with monkeypatch.context() as patch:
            patch.setattr(batch_queue, "take_in", end)
            counted = world.queue._note_attempts
            patch.setattr(
                world.queue,
                "_note_attempts",
                lambda row, n, counted=counted: counted(row, n) if n > row.attempts else None,
            )
            with pytest.raises(Ended):
                world.queue.read(row, note=print)
        row = world.queue.first()
        assert row.attempts == attempt + 1
    world.read()
    assert world.status("a")["refusal"]["reason"] == "readings.unreadable"


def test_a_body_that_is_gone_or_altered_is_refused_and_never_taken_in(world):
    world.send(body(1), batch="a", sequence=1, **ASYNC)
    (kept,) = world.waiting_files()
    kept.write_bytes(body(1).replace(b"0.4", b"9.9"))
    world.send(body(2), batch="b", sequence=2, **ASYNC)
    (gone,) = set(world.waiting_files()) - {kept}
    gone.unlink()
    world.read()
    for batch in ("a", "b"):
        assert world.status(batch)["refusal"]["reason"] == "storage.read"
    assert world.receipts() == []


def test_a_start_removes_bodies_that_no_row_names(world):
    world.send(body(1), batch="a", sequence=1, **ASYNC)
    (kept,) = world.waiting_files()
    (kept.parent / "nobodys").write_bytes(b"x")
    world.end()
    world.start()
    assert world.waiting_files() == [kept]


def test_events_tell_how_far_a_batch_is_read_until_it_is_done(world, monkeypatch):
    monkeypatch.setattr(gateway_progress, "LOOK_S", 0.001)
    world.send(body(1), batch="a", sequence=1, **ASYNC)
    steps = iter([1, 2, 3])
    real = gateway_progress.find_status

    def moving(*given):
        status = real(*given)
        if status.state == "done":
            return status
        pieces = next(steps, None)
        if pieces is None:
            world.read()
            return real(*given)
        return status.model_copy(update={"state": "reading", "pieces": pieces, "readings": pieces})

    monkeypatch.setattr(gateway_progress, "find_status", moving)
    answer = world.get(EVENTS.format("a"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [one.split("\n") for one in answer.text.strip().split("\n\n")]
    assert [one[0] for one in events] == ["event: reading"] * 3 + ["event: done"]
    told = [json.loads(one[1].removeprefix("data: ")) for one in events]
    assert [one["pieces"] for one in told] == [1, 2, 3, 0]
    assert told[-1] == world.status("a")


def test_a_stream_ends_after_its_time_and_there_are_so_many(world, monkeypatch):
    world.send(body(1), batch="a", sequence=1, **ASYNC)
    monkeypatch.setattr(gateway_progress, "LONGEST_S", 0.0)
    assert world.get(EVENTS.format("a")).text.count("event: waiting") == 1
    assert world.get(EVENTS.format("none")).status_code == 404
    assert world.get(EVENTS.format("a"), key=OTHER).status_code == 404
    monkeypatch.setattr(lanes, "LISTENERS", 0)
    refused = world.get(EVENTS.format("a"))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    monkeypatch.undo()
    assert world.app.state.intake.listeners._count == 0


def test_killed_at_any_moment_nothing_that_has_a_202_is_lost_or_counted_twice(tmp_path):
    folder, sent = tmp_path / "gateway", set()
    for round_, lines in enumerate((2, 9)):
        first = 1000 * round_ + 1
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.apps.queue_world", str(folder), str(first)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            for _ in range(lines):
                sent.add(int(child.stdout.readline()))
        finally:
            child.kill()  # SIGKILL
            rest, _ = child.communicate()
        sent |= {int(line) for line in rest.splitlines()}
    world = Queueing(folder)
    world.read()
    receipts = world.receipts()
    taken_in = [one.sequence for one in receipts]
    assert sent <= set(taken_in)
    assert len(taken_in) == len(set(taken_in))
    assert len(set(taken_in) - sent) <= 2  # one in each round whose answer was on its way
    assert {one.readings for one in receipts} == {960}
    files = {path.stem for path in (folder / "readings").glob("*.parquet")}
    assert {one.readings_digest for one in receipts} <= files
    assert world.waiting_files() == []
    world.end()


# --- what an operator sees


def waiting(world, *, state: str = "waiting", **asked) -> list[dict]:
    found = world.client.get("/v1/waiting-batches", params={"state": state} | asked, **OPERATOR)
    assert found.status_code == 200, found.text
    return found.json()


OPERATOR = {"headers": bearer("gateway", "operator")}


def test_an_operator_sees_what_waits_in_order_page_by_page(world):
    for number in (1, 2, 3):
        key = OTHER if number == 2 else KEY
        world.send(body(number), batch=f"b{number}", sequence=number, key=key, **ASYNC)
    every = waiting(world)
    assert [(one["source"], one["batch_id"]) for one in every] == [
        ("headend", "b1"),
        ("other", "b2"),
        ("headend", "b3"),
    ]
    assert {(one["state"], one["reason"], one["attempts"]) for one in every} == {("waiting", "", 0)}
    assert [one["size"] for one in every] == [len(body(number)) for number in (1, 2, 3)]
    assert len({one["at"] for one in every}) == 1
    page = world.client.get("/v1/waiting-batches?limit=2", **OPERATOR)
    assert [one["batch_id"] for one in page.json()] == ["b1", "b2"]
    following = page.headers["link"].partition(">")[0].removeprefix("<")
    rest = world.client.get(f"/v1/waiting-batches{following}", **OPERATOR)
    assert [one["batch_id"] for one in rest.json()] == ["b3"]
    assert world.get("/v1/waiting-batches").status_code == 403
    world.read()
    assert waiting(world) == []


def test_the_tag_of_what_waits_is_another_whenever_it_is(world):
    def tag() -> str:
        answer = world.client.get("/v1/waiting-batches", **OPERATOR)
        known = {**OPERATOR["headers"], "If-None-Match": answer.headers["etag"]}
        again = world.client.get("/v1/waiting-batches", headers=known)
        assert again.status_code == 304
        return answer.headers["etag"]

    tags = [tag()]
    for number in (1, 2):
        world.send(body(number), batch=f"b{number}", sequence=number, **ASYNC)
        tags.append(tag())
    world.read()
    tags.append(tag())
    world.end()
    world.start()
    tags.append(tag())
    assert len(set(tags)) == len(tags)


def test_why_a_batch_waits_or_was_refused_is_told(world, monkeypatch):
    def full(*_given, **_more):
        raise StorageError("The disk is full.", reason="storage.failed", remedy="Free some.")

    bad = body(2).replace(b"0.4", b"77.31x", 1)
    world.send(body(1), batch="full", sequence=1, **ASYNC)
    world.send(bad, batch="bad", sequence=1, key=OTHER, **ASYNC)
    with monkeypatch.context() as patch:
        patch.setattr(batch_queue, "take_in", full)
        world.reader.start()
        deadline = time.monotonic() + 120
        while not all(one["reason"] for one in waiting(world)) and time.monotonic() < deadline:
            time.sleep(0.01)
        reasons = {one["batch_id"]: one["reason"] for one in waiting(world)}
        world.reader.stop()
    assert reasons == {"full": "storage.failed", "bad": "storage.failed"}
    world.read()
    assert waiting(world) == []
    (refused,) = waiting(world, state="refused")
    assert (refused["batch_id"], refused["state"]) == ("bad", "refused")
    assert refused["reason"] == "readings.energy"
    assert "77.31" not in json.dumps(refused)


def test_a_batch_that_is_being_read_says_how_far(world, monkeypatch):
    seen = []
    read = batch_queue.take_in

    def watched(*given, note, **more):
        def noted(readings: int) -> None:
            note(readings)
            seen.append(waiting(world)[0])

        return read(*given, note=noted, **more)

    monkeypatch.setattr(batch_queue, "take_in", watched)
    world.send(body(1), batch="a", sequence=1, **ASYNC)
    world.read()
    assert [(one["state"], one["pieces"], one["readings"]) for one in seen] == [("reading", 1, 48)]


def test_the_api_pages_examples_of_answers_are_what_is_answered(world):
    answers = world.client.get("/openapi.json").json()["paths"]["/v1/readings"]["post"]["responses"]
    shown = answers["200"]["content"]["application/json"]["example"]
    done = world.send(LONG.encode(), batch="a", sequence=1).json()
    assert done["receipt"].keys() == shown["receipt"].keys()
    told = {name: value for name, value in done.items() if value is not None}
    assert told | {"receipt": shown["receipt"]} == shown
    refused = world.send(MALFORMED.encode(), batch="b", sequence=2)
    assert refused.json() == answers["4XX"]["content"][PROBLEM_TYPE]["example"]


def test_bodies_of_the_api_pages_schema_are_taken_in_and_others_are_not(world):
    post = world.client.get("/openapi.json").json()["paths"]["/v1/readings"]["post"]
    content = post["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    check = jsonschema.Draft202012Validator(schema)
    examples = [one["value"] for one in content["application/json"]["examples"].values()]
    assert all(map(check.is_valid, examples))
    lines = content["application/x-ndjson"]
    line = jsonschema.Draft202012Validator(lines["itemSchema"])
    assert all(
        line.is_valid(json.loads(one))
        for one in lines["examples"]["lines"]["value"].split("\n")[:-1]
    )
    good = {"meter_point_id": "MP-1", "start": "2026-07-01T00:00+08:00", "kwh": "0.412"}
    kept = [
        {}, {"kwh": 0.4}, {"kwh": None}, {"quality": "estimated"}, {"export_kwh": 1},
        {"kvarh": "0.1"}, {"start": "2026-07-01 00:00"}, {"values": "interval"},
    ]  # fmt: skip
    for number, more in enumerate(kept, start=10):
        assert check.is_valid([good | more]), more
        answer = world.send(json.dumps([good | more]).encode(), batch=f"k{number}", sequence=number)
        assert answer.status_code == 200, answer.text
    wrong = [
        {"start": 7}, {"kwh": "much"}, {"register_kwh": 1}, {"unit": "therm"}, {"colour": "red"},
        {"kwh": [1]}, {"start": "01.07.2026"}, {"meter_point_id": ""}, {"values": "both"},
    ]  # fmt: skip
    for more in wrong:
        assert not check.is_valid([good | more]), more
        answer = world.send(json.dumps([good | more]).encode(), batch="w", sequence=900)
        assert (answer.status_code, answer.json()["reason"][:9]) == (400, "readings."), more
    for missing in good:
        body = [{name: value for name, value in good.items() if name != missing}]
        assert not check.is_valid(body)
        assert world.send(json.dumps(body).encode(), batch="w", sequence=900).status_code == 400


def test_the_api_pages_examples_of_waiting_are_what_is_answered(world):
    paths = world.client.get("/openapi.json").json()["paths"]
    post, place = paths["/v1/readings"]["post"], "/v1/sources/{name}/batches/{batch_id}/events"
    sent = post["requestBody"]["content"]["text/csv"]["examples"]["long"]["value"].encode()
    shown = post["responses"]["202"]["content"]["application/json"]["example"]
    answer = world.send(sent, batch="a", sequence=1, **ASYNC)
    # A document of OpenAPI leaves out what is null.
    said = {name: value for name, value in answer.json().items() if value is not None}
    assert (answer.status_code, said) == (202, shown)
    stream = paths[place]["get"]["responses"]["200"]["content"]["text/event-stream"]["example"]
    first, second = (event for event in stream.split("\n\n") if event)
    at = world.reader
    at.progress = lambda _row: Reading(1, 1, 2)
    assert [f"event: reading\ndata: {world.get(answer.headers['location']).text}"] == [second]
    del at.progress
    assert first == f"event: waiting\ndata: {world.get(answer.headers['location']).text}"
    world.read()
    told = world.get(EVENTS.format("a")).text
    assert told.startswith("event: done\ndata: {")
