"""Lists: page by page, past a writer, without reading what they list, in flat memory."""

from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlmodel import SQLModel, update

from gridsecure.compute.requests import record_answer
from gridsecure.compute.tables import JobRow, ReleaseRequestRow, RunRow, ShadowRow
from gridsecure.key_authority.checker.key_sets import FOLLOWED
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.key_authority.checker.tables import ReleaseRow
from gridsecure.messages import Signed
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.rows import keep
from gridsecure.wire.authority import ReleaseSummary
from gridsecure.wire.client import Client
from gridsecure.wire.words import PeopleWords, ServiceWords
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PlatformSettings
from tests.apps.zone_apps import TestClock, authority_app, bearer, grid_keys, point

RELEASES = 5
BYTES = 1_800_000
"""Of a certificate of a month of load curves."""
MOST_HELD = 6 * BYTES
"""Of two that are read at once, client and all: it is 4.1 of them. All 32 would be too many."""


def release(number: int, *, size: int = BYTES) -> ReleaseRow:
    said = Signed(body_kind="release", body="x" * size, signer="", signature=f"{number}")
    return ReleaseRow(
        release_id=f"r{number}", digest=f"{number:064x}", message=said.model_dump_json(),
        plan="bill", purpose="billing", requested_by="clerk", at=TestClock()(),
        start="2026-01-01", end="2026-02-01", released_at="2026-02-02", cells=3, suppressed=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    app = authority_app(tmp_path_factory.mktemp("authority"))
    engine = app.state.authority.zone.engine
    with write_session(engine) as session:
        for number in range(RELEASES):
            keep(session, release(number))
    with TestClient(app, headers=bearer("authority", "billing")) as client:
        yield client


def test_pages_follow_one_another_and_make_the_whole_list(authority):
    first = authority.get("/releases?limit=2")
    assert [row["release_id"] for row in first.json()] == ["r0", "r1"]
    assert first.links["next"]["url"].startswith("?")
    client = Client(authority, PeopleWords("authority"))
    pages = list(client.follow("GET", "/releases", params={"limit": "2"}))
    rows = [row for page in pages for row in client.read(page, list[ReleaseSummary])]
    (whole,) = client.follow("GET", "/releases")
    assert rows == client.read(whole, list[ReleaseSummary])
    assert len(rows) in {RELEASES, RELEASES + 1}
    assert [len(client.json(page)) for page in pages[:2]] == [2, 2]
    assert {(row.cells, row.suppressed) for row in rows} == {(3, 1)}


@pytest.mark.parametrize("after", ["7", "p", "pxyz", "p1&limit=0", "p1&limit=1001"])
def test_a_cursor_that_no_page_gave_is_refused(authority, after):
    answer = authority.get(f"/releases?after={after}")
    malformed = (422, "message.invalid") if "&" in after else (400, "list.cursor")
    assert (answer.status_code, answer.json()["reason"]) == malformed


def test_who_has_a_page_is_not_sent_it_again_until_it_differs(authority):
    first = authority.get("/releases")
    tag = {"If-None-Match": f'"other", {first.headers["ETag"]}'}
    again = authority.get("/releases", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert authority.get("/releases?limit=2", headers=tag).status_code == 200
    engine = authority.app.state.authority.zone.engine
    with write_session(engine) as session:
        keep(session, release(RELEASES, size=9))
    changed = authority.get("/releases", headers=tag)
    assert (changed.status_code, len(changed.json())) == (200, RELEASES + 1)


def test_a_page_of_key_sets_is_as_good_after_entries_of_other_kinds(authority):
    state = authority.app.state.authority
    operator = bearer("authority", "operator")
    before = authority.get("/gateway-key-sets", headers=operator).headers["ETag"]
    tags = []
    for action in ("release.refused", FOLLOWED):
        with write_session(state.zone.engine) as session:
            evidence.append(session, at=TestClock()(), actor="test", action=action, detail={})
        tags.append(authority.get("/gateway-key-sets", headers=operator).headers["ETag"])
    assert [tag == before for tag in tags] == [True, False]


@pytest.fixture
def only_new_garbage():
    """What is there already is left out of every search for garbage, so that one costs little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_garbage")
def test_readers_pass_a_write_in_progress_and_parse_no_certificate(authority, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a certificate was parsed")

    engine = authority.app.state.authority.zone.engine
    monkeypatch.setattr(Signed, "parse", refuse)
    monkeypatch.setattr(Signed, "model_dump_json", refuse)
    with write_session(engine) as session, ThreadPoolExecutor(2) as pool:
        session.execute(ReleaseRow.__table__.delete().where(ReleaseRow.id < 0))

        def status(path: str) -> int:
            answered = authority.get(path).status_code
            gc.collect()  # answers lie in circles: when they go must not hang on other tests
            return answered

        def read(paths: list[str]) -> set[int]:
            return set(pool.map(status, paths))

        assert read(["/releases", "/releases/r1", "/releases?limit=1"] * 16) == {200}
        tracemalloc.start()
        assert read(["/releases/r1"] * 32) == {200}
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < MOST_HELD, most / BYTES


def test_a_certificate_is_sent_as_it_is_kept_and_once(authority):
    answer = authority.get("/releases/r2")
    assert answer.content == release(2).message.encode()
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    tag = answer.headers["ETag"]
    assert authority.get("/releases/r2", headers={"If-None-Match": tag}).status_code == 304
    missing = authority.get("/releases/none", headers={"If-None-Match": tag})
    assert (missing.status_code, missing.json()["reason"]) == (404, "not-found.release")


@pytest.fixture
def platform(tmp_path):
    keys = grid_keys()
    settings = PlatformSettings(
        folder=tmp_path,
        identity_public_key=point(keys.identity),
        billing_office_public_key=point(keys.identity),
        authority_public_key=point(keys.identity),
    )
    app = create_platform_app(settings, clock=TestClock())  # unentered: no crew takes the runs
    return TestClient(app, headers=bearer("platform", "authority", "billing"))


def waiting(kind: str, number: int) -> Signed:
    return Signed(body_kind=kind, body=f"{number}", signer="", signature="")


def queue(platform, *, releases: int, previews: int) -> list[Signed]:
    """Requests in the platform's queue, in the order in which they are to be pulled."""
    asked = [waiting("release-request", number) for number in range(releases)]
    shown = [waiting("shadow-request", number) for number in range(previews)]
    with write_session(platform.app.state.platform.zone.engine) as session:
        for number, envelope in enumerate(shown):
            text = envelope.model_dump_json()
            session.add(ShadowRow(
                digest=f"s{number}", message="", at=TestClock()(), request=text,
                request_id=f"s{number}", state="waiting",
            ))  # fmt: skip
        for number, envelope in enumerate(asked):
            keep(session, ReleaseRequestRow(
                digest=f"{number}", message=envelope.model_dump_json(), at=TestClock()(),
                request_id=f"{number}", plan="bill", start="", end="", purpose="", state="waiting",
            ))  # fmt: skip
    return asked + shown


@pytest.mark.parametrize(("releases", "previews"), [(0, 0), (7, 0), (0, 4), (3, 3), (4, 7)])
def test_the_authority_pulls_all_that_waits_a_few_at_a_time(platform, releases, previews):
    expected = queue(platform, releases=releases, previews=previews)
    first = platform.get("/release-requests?limit=1000")
    assert len(first.json()) == min(3, releases or previews)
    pull = PlatformPull(Client(platform, ServiceWords("platform")))
    assert list(pull.list_waiting()) == expected
    tag = {"If-None-Match": first.headers["ETag"]}
    assert platform.get("/release-requests?limit=1000", headers=tag).status_code == 304


def test_what_is_answered_while_it_is_pulled_hides_no_other(platform):
    expected = queue(platform, releases=7, previews=0)
    zone, pulled = platform.app.state.platform.zone, []
    before = platform.get("/release-requests").headers["ETag"]
    for envelope in PlatformPull(Client(platform, ServiceWords("platform"))).list_waiting():
        record_answer(zone, envelope.body, answer="refused", at=TestClock()())
        pulled.append(envelope)
    assert pulled == expected
    answer = platform.get("/release-requests", headers={"If-None-Match": before})
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_page_of_runs_has_another_tag_after_every_step_of_a_run(platform):
    engine, tags = platform.app.state.platform.zone.engine, []

    def step(*rows: object) -> None:
        with write_session(engine) as session:
            for row in rows:
                session.add(row)
        tags.append(platform.get("/runs").headers["ETag"])

    def move(table: type[SQLModel], *those: object, **values: object) -> None:
        with write_session(engine) as session:
            session.execute(update(table).where(*those).values(**values))
        step()

    order = {"plan": "bill", "start": "", "end": "", "purpose": "", "requested_by": ""}
    names = {"query": "", "grant": "", "state": "running", "at": TestClock()()}
    step()
    step(
        RunRow(run_id="r", kind="shadow", shadow="s", **order, **names),
        ShadowRow(digest="s", message="", at=TestClock()(), state="ordered"),
    )
    move(RunRow, jobs=2)
    step(*(JobRow(run_id="r", name=name, spec="") for name in "ab"))
    move(JobRow, JobRow.name == "a", state="done")
    move(ShadowRow, request_id="q", state="waiting")
    move(RunRow, state="done")
    assert len(set(tags)) == len(tags)
    assert platform.get("/runs", headers={"If-None-Match": tags[-1]}).status_code == 304
    assert platform.get("/runs").json()[0]["request_id"] == "q"


def test_a_whole_list_is_not_sent_again_until_it_differs(authority):
    operator = bearer("authority", "operator")
    first = authority.get("/v1/receivers", headers=operator)
    tag = {"If-None-Match": first.headers["ETag"]}
    again = authority.get("/v1/receivers", headers=operator | tag)
    assert (again.status_code, again.content) == (304, b"")
    declared = {"address": "http://127.0.0.1:9/events", "events": ["release.done"]}
    authority.put("/v1/receivers/desk", json=declared, headers=operator).raise_for_status()
    changed = authority.get("/v1/receivers", headers=operator | tag)
    assert [one["name"] for one in changed.json()] == ["desk"]
    assert "Link" not in changed.headers
