"""The gateway's books by its routes: an import compared and applied, lists, history, refusals."""

from __future__ import annotations

import pytest

from gridsecure.gateway.books import imports
from gridsecure.tariffs.tariff import catalogue_tariffs
from tests.apps.gateway_services import Services

BOOKS = "/v1/books"
FIRST = "meter_point_id,account,zone,tariff_id,contracted_kva\nmp/1,A,futian,flat,5\nmp2,B,,flat,\n"


@pytest.fixture
def services(tmp_path):
    made = Services(tmp_path, met=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    """Services whose books stay empty."""
    made = Services(tmp_path_factory.mktemp("resting"), met=False)
    yield made
    made.close()


def ask(services, method, path, *, role="operator", subject="op", **content):
    headers = services.token(role, subject=subject) | content.pop("headers", {})
    return services.client.request(method, BOOKS + path, headers=headers, **content)


def compared(services, text, **params):
    answer = ask(services, "POST", "/imports", content=text.encode(), params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def applied(services, text, **params):
    digest = compared(services, text, **params)["digest"]
    return ask(services, "POST", f"/imports/{digest}/apply")


def test_an_import_is_compared_applied_and_read(services):
    found = compared(services, FIRST, valid_from="2026-01-01")
    assert (found["revision"], found["added"], found["refused"]) == (0, 2, 0)
    first = found["differences"][0]
    assert (first["meter_point_id"], first["what"], first["before"]) == ("mp/1", "added", [])
    assert ask(services, "GET", "/meter-points").json() == []
    made = ask(services, "POST", f"/imports/{found['digest']}/apply").json()
    assert (made["revision"], made["person"], made["added"]) == (1, "op", 2)
    assert ask(services, "POST", f"/imports/{found['digest']}/apply").json() == made
    moved = applied(services, "meter_point_id,valid_from,account\nmp/1,2026-07-15,C\n")
    assert (moved.json()["revision"], moved.json()["changed"]) == (2, 1)
    facts = ask(services, "GET", "/history?meter_point_id=mp/1").json()["facts"]
    accounts = [fact for fact in facts if fact["kind"] == "account"]
    assert [
        (one["values"]["holder"], one["valid_to"], one["until_revision"]) for one in accounts
    ] == [
        ("mp/1", None, 2),
        ("mp/1", "2026-07-15", None),
        ("mp/1~C", None, None),
    ]
    assert {(fact["entered_by"], fact["revision"]) for fact in facts} == {("op", 1), ("op", 2)}


def test_a_tariff_is_known_from_the_catalogue_or_from_the_files_of_a_month(services):
    lines = "meter_point_id,valid_from,account,tariff_id\n" + "".join(
        f"m{number},2026-01-01,A{number},{tariff}\n"
        for number, tariff in enumerate(["own-1", "flat", "own-1", ""])
    )
    (notice,) = compared(services, lines)["notices"]
    assert (notice["code"], notice["count"], notice["line"]) == ("unknown-tariff", 2, 2)
    text = catalogue_tariffs()["flat"].read_text(encoding="utf-8")
    own = text.replace('tariff_id = "flat"', 'tariff_id = "own-1"')
    assert services.put_files(tariffs=[own.encode()]).status_code == 200
    assert compared(services, lines)["notices"] == []


def test_holdings_are_listed_page_by_page_with_a_tag(services):
    applied(services, FIRST, valid_from="2026-01-01")
    page = ask(services, "GET", "/meter-points", params={"limit": 1})
    assert [one["meter_point_id"] for one in page.json()] == ["mp/1"]
    following = page.headers["link"].split("<")[1].split(">")[0]
    rest = ask(services, "GET", f"/meter-points{following}")
    assert [(one["account"], one["valid_to"]) for one in rest.json()] == [("B", None)]
    tag = {"If-None-Match": page.headers["etag"]}
    known = ask(services, "GET", "/meter-points", params={"limit": 1}, headers=tag)
    assert known.status_code == 304
    applied(services, "meter_point_id,valid_to\nmp2,2026-09-01\n")
    again = ask(services, "GET", "/meter-points", params={"limit": 1}, headers=tag)
    assert again.status_code == 200


def test_what_was_compared_with_earlier_books_is_not_applied(services):
    late = compared(services, FIRST, valid_from="2026-02-01")["digest"]
    applied(services, FIRST, valid_from="2026-01-01")
    refused = ask(services, "POST", f"/imports/{late}/apply")
    assert (refused.status_code, refused.json()["reason"]) == (404, "not-found.books-import")


def test_all_differences_of_an_import_are_told_page_by_page(services, monkeypatch):
    lines = "".join(f"mp{number:02d},2026-01-01,A{number}\n" for number in range(50))
    applied(services, f"meter_point_id,valid_from,account\n{lines[: lines.index('mp10')]}")
    found = compared(services, f"meter_point_id,valid_from,account\n{lines}")
    assert (found["added"], found["unchanged"], len(found["differences"])) == (40, 10, 20)
    path = f"/imports/{found['digest']}"
    assert ask(services, "GET", path).json() == found
    first = ask(services, "GET", f"{path}/differences?limit=30")
    following = first.links["next"]["url"]
    second = ask(services, "GET", f"{path}/differences{following}")
    assert "next" not in second.links
    every = first.json() + second.json()
    assert every[:20] == found["differences"]
    # A page that was sent before is not compared anew.
    with monkeypatch.context() as broken:
        broken.setattr(imports, "_compare", None)
        again = ask(services, "GET", f"{path}/differences?limit=30")
    assert (again.json(), again.links) == (first.json(), first.links)
    assert [one["meter_point_id"] for one in every] == [f"mp{n:02d}" for n in range(10, 50)]
    tag = {"If-None-Match": first.headers["etag"]}
    assert ask(services, "GET", f"{path}/differences?limit=30", headers=tag).status_code == 304
    applied(services, "meter_point_id,valid_from,account\nmp99,2026-01-01,A99\n")
    for gone in (path, f"{path}/differences"):
        refused = ask(services, "GET", gone)
        assert (refused.status_code, refused.json()["reason"]) == (404, "not-found.books-import")


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "reason"),
    [
        ("POST", "/imports", b"\xff", 400, "books.unreadable"),
        ("POST", "/imports", b"meter_point_id,address\n", 400, "books.columns"),
        ("POST", "/imports?valid_from=1066-10-14", b"meter_point_id\n", 400, "books.date"),
        ("POST", "/imports?valid_from=soon", b"meter_point_id\n", 422, "message.invalid"),
        ("POST", "/imports/zone.db/apply", None, 404, "not-found.books-import"),
        ("POST", "/imports/" + "0" * 64 + "/apply", None, 404, "not-found.books-import"),
        ("GET", "/history?meter_point_id=nobody", None, 404, "not-found.meter-point"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(resting, method, path, content, status, reason):
    answer = ask(resting, method, path, content=content)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


def test_a_refused_line_is_told_and_stops_the_import(resting):
    found = compared(resting, "meter_point_id,valid_from\nm,2026-01-01\nn,never\n")
    (refusal,) = found["refusals"]
    assert (refusal["line"], refusal["reason"], found["added"]) == (3, "books.date", 1)
    refused = ask(resting, "POST", f"/imports/{found['digest']}/apply")
    assert (refused.status_code, refused.json()["reason"]) == (400, "books.refused-lines")


def test_nobody_but_an_operator_sees_or_changes_the_books(resting):
    for role in ("billing", "meter-data"):
        for method, path in (
            ("POST", "/imports"),
            ("POST", "/imports/" + "0" * 64 + "/apply"),
            ("GET", "/imports/" + "0" * 64),
            ("GET", "/imports/" + "0" * 64 + "/differences"),
            ("GET", "/meter-points"),
            ("GET", "/history?meter_point_id=m"),
        ):
            assert ask(resting, method, path, role=role).status_code == 403
