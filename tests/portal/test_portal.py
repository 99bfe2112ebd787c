"""A customer's portal: what it shows, and whom it lets in."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gridsecure.bill_questions import (
    BillAnswer,
    BillQuestion,
    open_question,
    read_question,
    seal_answer,
)
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.delivered_bills import issue_bill, seal_delivery
from gridsecure.messages import sign_message
from gridsecure.portal.folder import BillFolder
from gridsecure.portal.own_bills import CustomerKeys
from gridsecure.portal.web import HEADERS, Door, portal_app
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.cli.in_process import client_of
from tests.statements.samples import first_period

NOW = datetime(2026, 8, 2, tzinfo=UTC)
OFFICE, CUSTOMER, OTHER = (generate_private_key() for _ in range(3))
PERIOD = first_period("residential-tiers")
DOOR = Door(8900, "token-of-this-start")
WEB = "gridsecure.portal.web:Door"


def put(folder: Path, name: str, period: dict, *, office=OFFICE, account="MP-1") -> str:
    code = issue_bill(account, period, issuer="Utility", key=office)
    sealed = seal_delivery(period, code=code, customer=CUSTOMER.public_key, now=NOW)
    (folder / name).write_bytes(sealed)
    return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Bills of this July and the last, one that is forged, and an answer with markup in it."""
    made: Path = tmp_path_factory.mktemp("bills")
    code = put(made, "2026-07-1.bill", PERIOD)
    earlier = json.loads(json.dumps(PERIOD).replace("2026-0", "2025-0"))
    put(made, "2025-07-1.bill", earlier)
    put(made, "forged.bill", PERIOD, office=OTHER)
    put(made, "broken.bill", PERIOD | {"tariff": PERIOD["tariff"] | {"currency": "JPY"}})
    asked = BillQuestion(code=code, reason="price", text="Why?", asked_at="2026-08-02")
    signed = sign_message(asked, key=CUSTOMER)
    answer = BillAnswer(asked=signed, text="<b>No.</b>", answered_at="2026-08-02")
    sealed = seal_answer(answer, key=OFFICE, customer=CUSTOMER.public_key, now=NOW)
    (made / "1.answer").write_bytes(sealed)
    return made


@pytest.fixture
def http(folder) -> httpx.Client:
    """The browser, with the right host and no token yet."""
    bills = BillFolder(folder, CustomerKeys(CUSTOMER, OFFICE.public_key))
    app = portal_app(bills, door=DOOR, clock=lambda: NOW)
    return client_of(app, url=DOOR.origin)  # type: ignore[arg-type]  # any ASGI application


def text(page: httpx.Response) -> str:
    assert page.status_code == 200, page.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


def bill_link(http: httpx.Client, *, year: int = 2026, language: str = "en") -> str:
    page = http.get(f"/{DOOR.token}/{language}/").text
    rows = re.findall(r'href="([^"]+/bills/[0-9a-f]+)">([^<]+)<', page)
    return next(link for link, period in rows if str(year) in period)


def test_the_first_page_lists_bills_answers_and_what_did_not_open(http):
    assert http.get(f"/{DOOR.token}/").headers["location"] == f"/{DOOR.token}/zh/"
    page = http.get(f"/{DOOR.token}/zh/")
    shown = text(page)
    assert shown.count("1,025.72") == 2
    assert "0.00" in shown, "against last year"
    assert "forged.bill : authenticity.bill-code" in shown.replace(" :", " :")
    assert "broken.bill : statement." in shown
    assert "&lt;b&gt;No.&lt;/b&gt;" in page.text
    assert re.search(
        r"2026-08-02 答复</p><blockquote><p>[^<]+</p></blockquote><p>&lt;b&gt;No", page.text
    )
    assert "My electricity bills" in text(http.get(f"/{DOOR.token}/en/"))


@pytest.mark.parametrize(("language", "words"), [("zh", "第二阶梯"), ("en", "tier 2")])
def test_a_bill_is_its_statement_with_last_year_beside_it(http, language, words):
    link = bill_link(http, language=language)
    shown = text(http.get(link))
    assert words in shown
    assert "818.351244" in shown, "every line with its calculation"
    compared = http.get(link).text.partition('class="compared"')[2]
    assert compared.count("0.00") >= 3
    other = bill_link(http, year=2025, language=language).rpartition("/")[2]
    assert http.get(link, params={"beside": other}).status_code == 200
    assert http.get(link, params={"beside": "none"}).status_code == 404
    assert http.get(f"{link}/statement.pdf").content.startswith(b"%PDF-")
    assert http.get(f"{link}/receipt.json").status_code == 404


def test_a_question_is_sealed_into_the_folder(http, folder):
    link = bill_link(http)
    form = {"line": PERIOD["lines"][0]["charge"], "reason": "tier", "text": "Why\r\nthis?"}
    same = {"Origin": DOOR.origin, "Sec-Fetch-Site": "same-origin"}
    page = http.post(f"{link}/questions", data=form, headers=same)
    (path,) = folder.glob("*.question")
    assert path.name in text(page)
    signed = open_question(path.read_bytes(), key=OFFICE)
    asked = read_question(signed, keys=[CUSTOMER.public_key])
    assert (asked.line, asked.reason, asked.text) == (form["line"], "tier", "Why\nthis?")
    for wrong, status in (({"text": " "}, 422), ({"line": "none"}, 422), ({"reason": "x"}, 400)):
        refused = http.post(f"{link}/questions", data=form | wrong, headers=same)
        assert refused.status_code == status
    many = http.post(f"{link}/questions", data={str(n): "x" for n in range(9)}, headers=same)
    assert many.status_code == 400
    long = http.post(f"{link}/questions", content=b"x" * 20_000, headers=same)
    assert long.status_code == 413
    path.unlink()


def test_every_answer_is_kept_nowhere_and_loads_from_here_alone(http):
    link = bill_link(http)
    for path in (f"/{DOOR.token}/en/", link, "/", f"{link}/none", f"/{DOOR.token}/portal.css"):
        answer = http.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert "<style" not in answer.text
    meta = re.findall(r"<meta [^>]+>", http.get(link).text)
    assert not any("referrer" in one for one in meta), "a form without one comes from nowhere"


def test_what_the_browser_says_comes_from_another_site_is_refused(http):
    for site in ("cross-site", "same-site"):
        answer = http.get(f"/{DOOR.token}/en/", headers={"Sec-Fetch-Site": site})
        assert (answer.status_code, answer.text) == (404, "Not Found")


def ended(answer: httpx.Response) -> str | None:
    return WITHHELD if (answer.status_code, answer.text) == (404, "Not Found") else None


@attack(
    "a web page whose name was pointed at the customer's machine",
    rule(
        "The portal answers to its own address alone.",
        WITHHELD,
        cut(WEB + "._is_named", 'request.headers.get("host", "") == f"{HOST}:{self.port}"', "True"),
    ),
)
def test_no_other_name_leads_to_the_portal(http, attacked: Attacked) -> None:
    host = {"Host": "evil.example:8900"}
    attacked.ends(ended(http.get(f"/{DOOR.token}/en/", headers=host)))


@attack(
    "another user of the customer's machine, who finds the port",
    rule(
        "Every path of the portal begins with the token of its start.",
        WITHHELD,
        cut(
            WEB + "._is_told",
            "secrets.compare_digest(said.encode(), self.token.encode())",
            "True",
        ),
    ),
)
def test_nothing_is_shown_without_the_token(http, attacked: Attacked) -> None:
    attacked.ends(ended(http.get("/guess/en/")))


@attack(
    "a form of another site that asks in the customer's name",
    rule(
        "What changes anything comes from a page of the portal.",
        WITHHELD,
        cut(
            WEB + "._is_from_here",
            'request.method == "GET" or request.headers.get("origin") == self.origin',
            "True",
        ),
    ),
)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_no_other_site_asks(http, folder, attacked: Attacked, origin: str | None) -> None:
    said = {} if origin is None else {"Origin": origin}
    form = {"line": "", "reason": "other", "text": "I refuse to pay."}
    attacked.ends(ended(http.post(f"{bill_link(http)}/questions", data=form, headers=said)))
    for path in folder.glob("*.question"):
        path.unlink()


def test_a_bill_opens_as_soon_as_its_account_was_asked_for(folder):
    asked = {"MP-2"}
    keys = CustomerKeys(CUSTOMER, OFFICE.public_key, frozenset(asked))
    bills = BillFolder(folder, keys, lambda: frozenset(asked))
    assert not bills.bills().opened
    assert [one.reason for one in bills.answers().refused] == ["delivery.account"]
    asked.add("MP-1")
    assert len(bills.bills().opened) == 2
    assert bills.answers().opened


def test_what_fails_inside_and_what_has_no_path_are_answered_like_all_else(folder, monkeypatch):
    bills = BillFolder(folder, CustomerKeys(CUSTOMER, OFFICE.public_key))
    app = portal_app(bills, door=DOOR, clock=lambda: NOW)
    monkeypatch.setattr(bills, "folder", None)
    failed = answer_to(app, f"/{DOOR.token}/en/")
    starred = answer_to(app, "*")
    for answer, status in ((failed, 500), (starred, 404)):
        headers = {name.decode().lower(): value.decode() for name, value in answer["headers"]}
        assert answer["status"] == status
        assert {name: headers[name.lower()] for name in HEADERS} == HEADERS


def answer_to(app, path: str) -> dict:
    """How an answer begins, to a request as it came over the wire."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "scheme": "http",
        "query_string": b"", "root_path": "", "http_version": "1.1", "server": ("127.0.0.1", 8900),
        "headers": [(b"host", DOOR.origin.removeprefix("http://").encode())],
    }  # fmt: skip
    with suppress(TypeError, AttributeError):  # the server's log has the error, once it is answered
        asyncio.run(app(scope, receive, send))
    return sent[0]
