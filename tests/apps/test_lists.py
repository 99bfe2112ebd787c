"""Lists: page by page, past a writer, without reading what they list, in flat memory."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from gridsecure.key_authority.checker.tables import ReleaseRow
from gridsecure.messages import Signed
from gridsecure.store.database import write_session
from gridsecure.store.rows import keep
from gridsecure.wire.authority import ReleaseSummary
from gridsecure.wire.client import Client
from gridsecure.wire.words import PeopleWords
from gridsecure_api.authority import create_authority_app
from gridsecure_api.settings import AuthoritySettings
from tests.apps.zone_apps import TestClock, bearer, grid_keys, point

RELEASES = 5
BYTES = 1_800_000
"""Of a certificate of a month of load curves."""


def release(number: int, *, size: int = BYTES) -> ReleaseRow:
    said = Signed(body_kind="release", body="x" * size, signer="", signature=f"{number}")
    return ReleaseRow(
        release_id=f"r{number}", digest=f"{number:064x}", message=said.model_dump_json(),
        plan="bill", purpose="billing", requested_by="clerk", at=TestClock()(),
        start="2026-01-01", end="2026-02-01", released_at="2026-02-02", cells=3, suppressed=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    keys = grid_keys()
    settings = AuthoritySettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        identity_url="http://identity.invalid",
        platform_url="http://platform.invalid",
        platform_public_key=point(keys.identity),
        billing_office_public_key=point(keys.identity),
        vault_socket=folder / "vault",
    )
    app = create_authority_app(settings, clock=TestClock())
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
    assert authority.get(f"/releases?after={after}").status_code in {400, 422}


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


def test_readers_pass_a_write_in_progress_and_parse_no_certificate(authority, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a certificate was parsed")

    engine = authority.app.state.authority.zone.engine
    monkeypatch.setattr(Signed, "parse", refuse)
    monkeypatch.setattr(Signed, "model_dump_json", refuse)
    with write_session(engine) as session, ThreadPoolExecutor(2) as pool:
        session.execute(ReleaseRow.__table__.delete().where(ReleaseRow.id < 0))

        def read(paths: list[str]) -> set[int]:
            return set(pool.map(lambda path: authority.get(path).status_code, paths))

        assert read(["/releases", "/releases/r1", "/releases?limit=1"] * 16) == {200}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert read(["/releases/r1"] * 128) == {200}
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # 128 certificates of 1.8 MB more: held all together they would take 230 MB.
    assert grown < 115_000, grown


def test_a_certificate_is_sent_as_it_is_kept_and_once(authority):
    answer = authority.get("/releases/r2")
    assert answer.content == release(2).message.encode()
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    tag = answer.headers["ETag"]
    assert authority.get("/releases/r2", headers={"If-None-Match": tag}).status_code == 304
    missing = authority.get("/releases/none", headers={"If-None-Match": tag})
    assert (missing.status_code, missing.json()["reason"]) == (404, "not-found.release")
