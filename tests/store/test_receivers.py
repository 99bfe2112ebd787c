"""Receivers of events: what they are told, once, and what becomes of what nobody takes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridsecure.client.events import read_event
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    GridSecureError,
    InputError,
    NotFoundError,
)
from gridsecure.gateway.tables import SCHEMA, EventNoticeRow, ReceiverRow
from gridsecure.messages import EventNotice
from gridsecure.store import evidence
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.notices import PAUSES
from gridsecure.store.pages import PageAsked
from gridsecure.store.receivers import CHANGED, Event, Receivers
from gridsecure.store.schema import migrate

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ADDRESS = "https://desk.example/events"
PAGE = Path(__file__).parents[2] / "docs" / "events.md"
KEY = generate_private_key()
EVENTS = (
    Event("cycle.done", "month.done", subject="month"),
    Event("exception.opened", "exceptions.opened", subject="month", count="opened"),
    Event("release.done", "release.granted", subject="request", unless=("purpose", "research")),
)


class Desk(Receivers):
    """Receivers of a zone with three events, and where their notices go."""

    __slots__ = ("answers", "taken")

    def __init__(self, folder: Path) -> None:
        engine = open_database(f"sqlite:///{folder / 'zone.db'}")
        migrate(engine, SCHEMA)
        super().__init__(engine, ReceiverRow, EventNoticeRow, EVENTS, "gateway", KEY, "gateway")
        object.__setattr__(self, "taken", [])
        object.__setattr__(self, "answers", True)

    def subscribe(self, *events: str, name: str = "desk") -> None:
        self.register(name, address=ADDRESS, events=events, person="op", at=NOW)

    def happen(self, action: str, **detail: object) -> None:
        with write_session(self.engine) as session:
            evidence.append(session, at=NOW, actor="gateway", action=action, detail=detail)

    def post(self, address: str, body: bytes, headers: dict[str, str]) -> bool:
        assert address == ADDRESS
        if self.answers:
            self.taken.append((body, headers))
        return self.answers

    def send(self, now: datetime = NOW) -> datetime | None:
        self.announce(at=NOW)
        return self.deliver(post=self.post, now=now)

    def told(self, receiver: str = "desk") -> list[EventNotice]:
        own = KEY.public_key.point.hex()
        return [
            read_event(body, receiver=receiver, service_key=own, not_before=NOW)
            for body, _ in self.taken
        ]

    def listed(self, state: str = "") -> list[tuple[str, int]]:
        with read_session(self.engine) as session:
            rows, _ = self.list_notices(session, PageAsked(), receiver="desk", state=state)
            return [(row.state, row.attempts) for row in rows]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_receiver_is_told_once_of_what_happens_after_it_came(desk: Desk) -> None:
    desk.happen("month.done", month="2026-06")
    desk.subscribe("exception.opened", "cycle.done")
    desk.happen("exceptions.opened", month="2026-07", opened=12)
    desk.happen("upload.committed", upload="1")
    desk.happen("release.granted", request="ab", purpose="billing")
    desk.happen("month.done", month="2026-07")
    assert desk.send() is None
    assert desk.send() is None
    assert [(one.event, one.subject, one.count) for one in desk.told()] == [
        ("exception.opened", "2026-07", 12),
        ("cycle.done", "2026-07", 1),
    ]
    with read_session(desk.engine) as session:
        entry = evidence.list_entries_of(session, "month.done")[-1]
    last, headers = desk.told()[-1], desk.taken[-1][1]
    assert (last.entry, last.zone, last.receiver) == (entry.index, "gateway", "desk")
    assert headers["ce-id"] == str(entry.index)
    assert headers["ce-type"] == "gridsecure.cycle.done"
    assert set(json.loads(json.loads(desk.taken[-1][0])["body"])) == {
        *("zone", "receiver", "event", "subject", "count", "entry", "happened_at", "at")
    }


def test_releases_to_analysts_are_told_to_nobody(desk: Desk) -> None:
    desk.subscribe("release.done")
    for request, purpose in (("bills", "billing"), ("curves", "research"), ("late", "correction")):
        desk.happen("release.granted", request=request, purpose=purpose)
    desk.send()
    assert [one.subject for one in desk.told()] == ["bills", "late"]


def test_what_nobody_takes_is_given_up_listed_and_sent_again(desk: Desk) -> None:
    desk.subscribe("cycle.done")
    desk.happen("month.done", month="2026-07")
    object.__setattr__(desk, "answers", False)
    now, waited = NOW, []
    while (due := desk.send(now)) is not None:
        waited.append(due - now)
        now = due
    assert waited == list(PAUSES)
    assert desk.listed("given-up") == [("given-up", len(PAUSES) + 1)]
    assert desk.listed("waiting") == []
    object.__setattr__(desk, "answers", True)
    assert desk.send_again("desk", person="op", at=now) == 1
    assert desk.send_again("desk", person="op", at=now) == 0, "it waits by now"
    assert desk.send(now) is None
    assert [one.subject for one in desk.told()] == ["2026-07"]
    with read_session(desk.engine) as session:
        changes = [json.loads(one.detail) for one in evidence.list_entries_of(session, CHANGED)]
    assert [(one["change"], one["person"]) for one in changes] == [
        ("registered", "op"),
        ("notices-again", "op"),
    ]


def test_one_that_is_registered_again_misses_nothing_and_hears_no_old_news(desk: Desk) -> None:
    desk.subscribe("cycle.done")
    desk.happen("exceptions.opened", month="2026-07", opened=1)
    desk.happen("month.done", month="2026-07")
    desk.subscribe("cycle.done", "exception.opened")
    desk.happen("exceptions.opened", month="2026-08", opened=2)
    desk.send()
    assert [(one.event, one.subject) for one in desk.told()] == [
        ("cycle.done", "2026-07"),
        ("exception.opened", "2026-08"),
    ]


def test_one_that_is_removed_is_told_nothing(desk: Desk) -> None:
    desk.subscribe("cycle.done")
    desk.happen("month.done", month="2026-07")
    desk.announce(at=NOW)
    desk.remove("desk", person="op", at=NOW)
    desk.happen("month.done", month="2026-08")
    assert desk.send() is None
    assert (desk.taken, desk.listed()) == ([], [("given-up", 1)])
    assert desk.list_all() == []
    with pytest.raises(ConflictError) as refused:
        desk.send_again("desk", person="op", at=NOW)
    assert refused.value.reason == "conflict.no-address"
    desk.subscribe("cycle.done")
    desk.happen("month.done", month="2026-09")
    desk.send(NOW + timedelta(seconds=1))
    assert [one.subject for one in desk.told()] == ["2026-09"]


def test_who_takes_the_name_of_a_removed_one_gets_nothing_that_was_for_that_one(desk: Desk) -> None:
    desk.subscribe("cycle.done")
    object.__setattr__(desk, "answers", False)
    for month in ("2026-07", "2026-08"):
        desk.happen("month.done", month=month)
        desk.send()
    desk.remove("desk", person="op", at=NOW)
    later = NOW + timedelta(hours=1)
    for _ in range(2):  # registered once more it is the same one still
        desk.register("desk", address=ADDRESS, events=["cycle.done"], person="op", at=later)
    object.__setattr__(desk, "answers", True)
    assert desk.send_again("desk", person="op", at=later) == 0
    desk.deliver(post=desk.post, now=later)
    assert desk.taken == []
    assert {state for state, _ in desk.listed()} == {"given-up"}


@pytest.mark.parametrize(
    ("name", "address", "events", "reason"),
    [
        ("Desk", ADDRESS, ("cycle.done",), "receiver.name"),
        ("desk", "http://desk.example/", ("cycle.done",), "receiver.address"),
        ("desk", "", ("cycle.done",), "receiver.address"),
        ("desk", ADDRESS, (), "receiver.event"),
        ("desk", ADDRESS, ("cycle.done", "cycle"), "receiver.event"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    name: str, address: str, events: tuple[str, ...], reason: str, desk: Desk
) -> None:
    with pytest.raises(InputError) as refused:
        desk.register(name, address=address, events=events, person="op", at=NOW)
    assert refused.value.reason == reason
    with pytest.raises(NotFoundError):
        desk.remove(name, person="op", at=NOW)


def test_a_notice_of_somebody_else_or_for_somebody_else_is_refused(desk: Desk) -> None:
    desk.subscribe("cycle.done")
    desk.happen("month.done", month="2026-07")
    desk.send()
    ((body, _),) = desk.taken
    own, other = (key.public_key.point.hex() for key in (KEY, generate_private_key()))
    given = {"receiver": "desk", "service_key": own, "not_before": NOW}
    for changed in ({"receiver": "office"}, {"service_key": other}):
        with pytest.raises(AuthenticityError):
            read_event(body, **(given | changed))
    with pytest.raises(AuthenticityError):
        read_event(body.replace(b"2026-07", b"2026-08"), **given)
    assert read_event(body, **given).subject == "2026-07"
    with pytest.raises(AuthenticityError) as old:
        read_event(body, **(given | {"not_before": NOW + timedelta(seconds=1)}))
    assert old.value.reason == "receiver.old"
    with pytest.raises(GridSecureError) as no_key:
        read_event(body, **(given | {"service_key": "04"}))
    assert no_key.value.reason == "receiver.key"


def test_the_pages_example_reads_a_notice(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.subscribe("exception.opened", name="settlement-desk")
    desk.happen("exceptions.opened", month="2026-07", opened=12)
    desk.send(datetime.now(UTC))
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    exec(program.replace("04…", KEY.public_key.point.hex()), {"body": desk.taken[0][0]})  # noqa: S102 - the page's own words
    assert capsys.readouterr().out == "exception.opened 2026-07 12\n"
