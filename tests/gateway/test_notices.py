"""Notices to sources: what they say, who gets them, and what happens while nobody takes them."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from fastapi import FastAPI, Request, Response
from sqlmodel import select

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError
from gridsecure.gateway.event_receivers import receivers_of
from gridsecure.gateway.ingestion import notices
from gridsecure.gateway.month_plan import MonthPlan, fix_plan, keep_report
from gridsecure.gateway.tables import NoticeRow
from gridsecure.head_end.sender import read_notice
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import list_entries_of
from gridsecure.store.notices import PAUSES
from gridsecure.wire.gateway import MonthReport
from gridsecure_api.courier import Courier
from gridsecure_api.gateway_notices import gateway_round
from tests.apps.office_services import served
from tests.apps.test_api_readings import HEADER, LINE, Sources
from tests.gateway.gateway_world import MONTH
from tests.grid_simulator import NOW

ADDRESS = "https://headend.example/notices"
BODY = (HEADER + LINE).encode()
PLAN = MonthPlan(
    start="2026-07-01T00:00:00+08:00",
    end="2026-08-01T00:00:00+08:00",
    validated_at=NOW.isoformat(),
    rosters=(),
    tariffs=(),
    counts={},
    refused={},
    until_batch=1,
)
REPORT = MonthReport(
    readings=2, accepted=2, estimated=0, quarantined=0, problems={}, meters=1, billed_meters=1,
    excluded={}, rosters=1, columns=1, bytes_stored=1, bytes_uploaded=1, seconds={},
)  # fmt: skip


@pytest.fixture
def sources(tmp_path):
    made = Sources(tmp_path)
    yield made
    made.close()


@pytest.fixture
def zone(sources):
    """A gateway with a month that is done: one batch came in time, one was late."""
    assert sources.register("headend", webhook=ADDRESS).status_code == 200
    for number, batch in enumerate(("in-time", "after"), start=1):
        assert sources.send(BODY, batch=batch, sequence=number).status_code == 200
    assert sources.send(BODY, by="other").status_code == 200  # which gave no address
    zone = sources.app.state.service.zone
    fix_plan(zone, MONTH, plan=PLAN, at=NOW)
    keep_report(zone, MONTH, report=REPORT, at=sources.world.clock())
    return zone


class Receiver:
    """Where notices go; takes them or not."""

    def __init__(self, zone, *, takes=True) -> None:
        self.key, self.takes = zone.signing_key.public_key, takes
        self.taken, self.ids = [], []

    def __call__(self, address, body, headers) -> bool:
        assert address == ADDRESS
        if self.takes:
            self.taken.append(read_notice(body, gateway_key=self.key))
            self.ids.append(headers["ce-id"])
        return self.takes


def round_of(zone):
    """What the gateway's courier sends."""
    return gateway_round(zone, receivers_of(zone))


def rows(zone):
    with read_session(zone.engine) as session:
        return list(session.exec(select(NoticeRow)))


def test_a_source_is_told_of_its_batches_once_the_month_is_done(zone, sources):
    notices.announce_done(zone, at=NOW)
    notices.announce_done(zone, at=NOW)
    receiver = Receiver(zone)
    assert notices.deliver_due(zone, post=receiver, now=NOW) is None
    (told,) = receiver.taken
    assert (told.source, told.month) == ("headend", MONTH)
    assert told.batches == {"in-time": "done", "after": "late"}
    assert notices.deliver_due(zone, post=receiver, now=NOW) is None
    assert len(receiver.taken) == 1
    shown = sources.senders["headend"].get("/v1/sources/headend/notices").json()
    assert [(one["month"], one["state"], one["due_at"]) for one in shown] == [(MONTH, "told", None)]
    assert sources.senders["other"].get("/v1/sources/headend/notices").status_code == 404


def test_a_notice_is_tried_again_later_and_later_and_then_given_up(zone):
    notices.announce_done(zone, at=NOW)
    receiver, now = Receiver(zone, takes=False), NOW
    waited = []
    while (due := notices.deliver_due(zone, post=receiver, now=now)) is not None:
        waited.append(due - now)
        assert notices.deliver_due(zone, post=receiver, now=due - timedelta(seconds=1)) == due
        now = due
    assert waited == list(PAUSES)
    (row,) = rows(zone)
    assert (row.state, row.attempts) == ("given-up", len(PAUSES) + 1)


def test_what_was_given_up_is_sent_again_when_an_operator_says_so(zone, sources):
    notices.announce_done(zone, at=NOW)
    (row,) = rows(zone)
    with write_session(zone.engine) as session:
        row.state, row.attempts = "given-up", len(PAUSES) + 1
        session.merge(row)
    path = "/v1/sources/headend/notices/retries"
    assert sources.senders["headend"].post(path).status_code == 403
    asked = {"headers": sources.token("operator")}
    assert sources.client.post(path, **asked).json() == {"notices": 1}
    assert sources.client.post(path, **asked).json() == {"notices": 0}, "it waits by now"
    receiver = Receiver(zone)
    assert notices.deliver_due(zone, post=receiver, now=sources.world.clock()) is None
    assert [told.month for told in receiver.taken] == [MONTH]
    with read_session(zone.engine) as session:
        changes = [json.loads(one.detail) for one in list_entries_of(session, "source.changed")]
    assert [(one["change"], one["person"] != "") for one in changes][-1] == ("notices-again", True)
    state = "/v1/sources/headend/state"
    for wanted, refusal in (("suspended", "conflict.source-suspended"), ("active", None)):
        sources.client.put(state, json={"state": wanted}, **asked)
        assert sources.client.post(path, **asked).json().get("reason") == refusal
    for name, reason in (("other", "conflict.no-webhook"), ("nobody", "not-found.source")):
        refused = sources.client.post(path.replace("headend", name), **asked)
        assert refused.json()["reason"] == reason


def test_a_notice_of_many_batches_goes_on_where_it_stopped(zone, monkeypatch):
    monkeypatch.setattr(notices, "_BATCHES", 1)
    notices.announce_done(zone, at=NOW)
    receiver = Receiver(zone)

    def first_only(*given):
        return receiver(*given) and len(receiver.taken) < 2

    due = notices.deliver_due(zone, post=first_only, now=NOW)
    assert notices.deliver_due(zone, post=receiver, now=due) is None
    # The second was taken without an answer, so it came again, under the same id.
    assert [list(told.batches) for told in receiver.taken] == [["in-time"], ["after"], ["after"]]
    assert receiver.ids[1] == receiver.ids[2] != receiver.ids[0]


def test_months_before_a_source_gave_an_address_are_not_told(zone, sources):
    assert sources.register("other", webhook=ADDRESS).status_code == 200
    notices.announce_done(zone, at=NOW)
    assert [row.source for row in rows(zone)] == ["headend"]


def test_registering_again_with_the_same_address_loses_no_notice(zone, sources):
    assert sources.register("headend", webhook=ADDRESS).status_code == 200
    notices.announce_done(zone, at=NOW)
    assert [row.source for row in rows(zone)] == ["headend"]


def test_a_batch_around_a_month_is_none_of_it(sources):
    assert sources.register("headend", webhook=ADDRESS).status_code == 200
    around = HEADER + LINE + LINE.replace("2026-07", "2026-05")
    assert sources.send(around.encode(), batch="around").status_code == 200
    zone = sources.app.state.service.zone
    keep_report(zone, "2026-06", report=REPORT, at=sources.world.clock())
    notices.announce_done(zone, at=NOW)
    assert rows(zone) == []


def test_a_notice_without_an_address_any_more_is_given_up(zone, sources):
    notices.announce_done(zone, at=NOW)
    assert sources.register("headend").status_code == 200
    assert notices.deliver_due(zone, post=Receiver(zone), now=NOW) is None
    assert [row.state for row in rows(zone)] == ["given-up"]


def test_a_forged_notice_is_no_notice(zone):
    notices.announce_done(zone, at=NOW)

    def read_as_another(_address, body, _headers):
        with pytest.raises(AuthenticityError):
            read_notice(body, gateway_key=generate_private_key().public_key)
        return True

    assert notices.deliver_due(zone, post=read_as_another, now=NOW) is None


@pytest.mark.parametrize(
    "address",
    [
        "http://headend.example/", "ftp://headend.example/", "https://", "https:///path",
        "https://a:b@headend.example/", "https://headend.example/#x", "https://headend.example:0/",
        "https://headend.example:x/", "https://" + "a" * 2000, "headend.example",
        "https://" + "a" * 64 + ".example/", "https://headend..example/",
    ],
)  # fmt: skip
def test_an_unfit_address_is_refused(sources, address):
    refused = sources.register("headend", webhook=address)
    reason = refused.json().get("reason")
    assert (refused.status_code, reason) in {(400, "source.webhook"), (422, "message.invalid")}


def test_the_courier_sends_over_a_real_connection_and_follows_no_redirect(zone, sources):
    app, arrived, paths = FastAPI(), threading.Event(), []

    @app.post("/{path}")
    async def take(path: str, request: Request) -> Response:
        paths.append(path)
        if path == "moved":
            return Response(status_code=307, headers={"Location": "/elsewhere"})
        read_notice(await request.body(), gateway_key=zone.signing_key.public_key)
        arrived.set()
        return Response()

    notices.announce_done(zone, at=NOW)
    with served(app) as url:
        for path, done in (("moved", lambda: bool(paths)), ("notices", arrived.is_set)):
            sources.register("headend", webhook=f"{url}/{path}")
            courier = Courier(round_of(zone), sources.world.clock)
            courier.start()
            deadline = time.monotonic() + 120
            while not done():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            courier.stop()
            sources.world.now += timedelta(minutes=2)
    assert paths == ["moved", "notices"]
    assert [row.state for row in rows(zone)] == ["told"]


def test_a_name_that_no_host_can_have_is_an_address_that_cannot_be_reached(zone, sources):
    notices.announce_done(zone, at=NOW)
    assert sources.register("headend", webhook="https://xn--/").status_code == 200
    courier = Courier(round_of(zone), sources.world.clock)
    courier.start()
    deadline = time.monotonic() + 120
    while not rows(zone)[0].attempts:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    courier.stop()
    assert [row.state for row in rows(zone)] == ["waiting"]


def again(zone, **changed) -> None:
    """Have the source told, and a second notice made like its first."""
    notices.announce_done(zone, at=NOW)
    (row,) = rows(zone)
    with write_session(zone.engine) as session:
        session.add(NoticeRow(**(row.model_dump(exclude={"id"}) | changed)))


@contextmanager
def dripping(*, head: bytes = b""):
    """A server on loopback that answers one byte in a while and never ends."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def drip(connection):
            with connection, suppress(OSError):
                connection.sendall(head)
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        def accept():
            while not ended.is_set():
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    threading.Thread(target=drip, args=(connection,), daemon=True).start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/notices"
        finally:
            ended.set()
            acceptor.join(5)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_host_that_answers_byte_by_byte_keeps_no_other_source_waiting(zone, sources, head):
    app, arrived = FastAPI(), threading.Event()

    @app.post("/notices")
    async def take(request: Request) -> Response:
        read_notice(await request.body(), gateway_key=zone.signing_key.public_key)
        arrived.set()
        return Response()

    again(zone, source="other")
    with dripping(head=head) as slow, served(app) as url:
        sources.register("headend", webhook=slow)
        sources.register("other", webhook=f"{url}/notices")
        courier = Courier(round_of(zone), sources.world.clock, deadline_s=6.0)
        courier.start()
        assert arrived.wait(120)
        assert [row.attempts for row in rows(zone)] == [0, 0], "the slow one is waited for"
        deadline = time.monotonic() + 120
        while not rows(zone)[0].attempts:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        courier.stop()
    states = {row.source: row.state for row in rows(zone)}
    assert states == {"headend": "waiting", "other": "told"}


def test_once_a_source_takes_none_its_others_are_put_off_with_it(zone, sources):
    again(zone, occasion="another")
    asked = []

    def refuse(*given):
        asked.append(given)
        return False

    notices.deliver_due(zone, post=refuse, now=NOW)
    assert len(asked) == 1
    assert [row.attempts for row in rows(zone)] == [1, 1]
