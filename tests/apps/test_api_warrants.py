"""The offices over HTTP: each acts as itself only, everybody else as nobody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gridsecure.credentials.opening import OPENERS, Opener
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import InvalidMessageError
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity.registrations.short_memory import LIMIT
from gridsecure.identity_messages import (
    LogEntry,
    RekeyOrder,
    SearchDocument,
    SearchWork,
    WarrantDocument,
)
from gridsecure.messages import sign_message
from gridsecure.offices.log_checks import registration_entries
from gridsecure.offices.shares import check_search, search_answer, share_for
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.log_entries import read_entry
from tests.apps.warrant_app import warrant_app
from tests.apps.zone_apps import TestClock, bearer, is_refused, refused_body
from tests.identity.identity_world import (
    BILLING,
    NOW,
    World,
    account_of,
    keys,
    new_holder,
    new_world,
    suite,
)
from tests.identity.office_world import registered

ROLE_OF: dict[Opener, str] = {"utility": "custodian", "regulator": "regulator"}
OTHERS = ("billing", "analyst", "operator", "gateway", "platform", "authority", "meter-point")
PATH = "/warrants/" + "ab" * 32
SEARCH_PATH = "/person-searches/" + "ab" * 32
ROUTES = (
    ("POST", "/warrants"),
    ("GET", "/warrants"),
    ("GET", PATH),
    ("POST", f"{PATH}/shares"),
    ("GET", f"{PATH}/result"),
    ("POST", "/revocations"),
    ("POST", "/person-searches"),
    ("GET", "/person-searches"),
    ("GET", SEARCH_PATH),
    ("GET", f"{SEARCH_PATH}/work"),
    ("POST", f"{SEARCH_PATH}/work"),
    ("POST", "/rekeys"),
    ("POST", "/blocks"),
    ("GET", "/evidence"),
    ("GET", f"/evidence/{'ab' * 32}/leaves"),
)


@pytest.fixture
def world(tmp_path: Path):
    made = new_world(tmp_path)
    yield made
    for engine in (made.issuer.engine, made.service.engine, made.platform):
        engine.dispose()


@pytest.fixture
def clock() -> TestClock:
    made = TestClock()
    made.now = NOW
    return made


@pytest.fixture
def service(world: World, clock: TestClock):
    with TestClient(warrant_app(world, clock)) as client:
        yield client


def token(*roles: str, clock: TestClock | None = None) -> dict[str, str]:
    start = clock.now if clock else NOW
    return bearer("identity", *roles, valid=(start, start + LIMIT))


def post(service: TestClient, path: str, body: object, *, role: str = "custodian"):
    return service.post(path, json=body, headers=token(role))


def get(service: TestClient, path: str, *, role: str = "custodian"):
    return service.get(path, headers=token(role))


def fetched_log(service: TestClient, role: str) -> list[EvidenceEntry]:
    entries = get(service, "/evidence", role=role).json()["entries"]
    return [read_entry(LogEntry.model_validate(one)) for one in entries]


def fetched_leaves(service: TestClient, log: list[EvidenceEntry], role: str):
    return {
        one.hash: get(service, f"/evidence/{one.hash}/leaves", role=role).json()["leaves"]
        for one in registration_entries(log, before=len(log))
    }


def order(service: TestClient, subject: str, *, role: str = "custodian") -> dict:
    answer = post(service, "/warrants", {"subject": subject, "reference": "2026/1"}, role=role)
    assert answer.status_code == 200, answer.text
    return answer.json()


def share_body(service: TestClient, warrant: dict, opener: Opener) -> dict:
    document = WarrantDocument(
        entry=warrant["entry"]["hash"],
        subject=warrant["subject"],
        escrow=warrant["escrow"],
        reference=warrant["reference"],
        leaves=warrant["leaves"],
    )
    log = fetched_log(service, ROLE_OF[opener])
    share = share_for(document, entries=log, key=keys().openers[opener], suite=suite())
    return {"opener": opener, "share": share.hex()}


def name_of(world: World) -> str:
    return registered(world, 1)[0].holder.name_in(BILLING)


# --- who comes in --------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_other_role_comes_in(service, method, path):
    alone = [(role,) for role in OTHERS]
    mixed = [(office, other) for office in ROLE_OF.values() for other in OTHERS]
    for roles in (*alone, OTHERS, ("custodian", "regulator"), *mixed):
        answer = service.request(method, path, headers=token(*roles), json={})
        # Wrong bodies are told only to those who may send right ones.
        assert is_refused(answer, 403), roles
    assert service.request(method, path, json={}).status_code == 401


def test_the_routes_are_the_ones_tested(service):
    paths = service.get("/openapi.json").json()["paths"]
    own = {
        (method.upper(), path.replace("{entry}", "ab" * 32))
        for path, methods in paths.items()
        for method in methods
        if path not in ("/about", "/health", "/ready", "/reasons/{code}")
    }
    assert own == set(ROUTES)


# --- openings ------------------------------------------------------------------------------------


def test_the_whole_ceremony(service, world, clock):
    subject = name_of(world)
    account = account_of("customer 0")
    write_books(world.issuer.engine, [account], actor="operator", now=NOW)
    warrant = order(service, subject)
    path = f"/warrants/{warrant['entry']['hash']}"
    assert warrant["waiting_for"] == list(OPENERS)
    for opener, left in (("regulator", ["utility"]), ("utility", [])):
        assert get(service, f"{path}/result").status_code == 404
        role = ROLE_OF[opener]
        given = post(service, f"{path}/shares", share_body(service, warrant, opener), role=role)
        assert (given.status_code, given.json()["waiting_for"]) == (200, left)
        assert get(service, path, role=role).json() == given.json()
    shown = [get(service, f"{path}/result", role=role).json() for role in ROLE_OF.values()]
    assert shown[0] == shown[1]
    assert shown[0] == {
        "subject": subject,
        "identity": "customer 0",
        "account": {
            "meter_point_id": "customer 0",
            "name": "Lin",
            "address": "Harbour Road 1",
        },
        "expires_at": (NOW + LIMIT).isoformat(),
    }
    assert [one["opened"] for one in get(service, "/warrants").json()] == [1]
    clock.now = NOW + LIMIT
    late = service.get(f"{path}/result", headers=token("regulator", clock=clock))
    assert (late.status_code, late.json()["reason"]) == (404, "not-found.opening")


@pytest.mark.parametrize("opener", OPENERS)
def test_an_office_cannot_give_the_others_share(service, world, opener):
    warrant = order(service, name_of(world))
    (other,) = set(OPENERS) - {opener}
    path = f"/warrants/{warrant['entry']['hash']}/shares"
    body = share_body(service, warrant, opener)
    for sent, status in ((body, 403), ({**body, "opener": other}, 401)):
        answer = post(service, path, sent, role=ROLE_OF[other])
        assert (answer.status_code, answer.json()) == (status, refused_body(status))
    refused = [one for one in fetched_log(service, "custodian") if "refused" in one.action]
    assert len(refused) == 1  # the first was nobody's share: it was not looked at
    assert get(service, path.removesuffix("/shares")).json()["waiting_for"] == list(OPENERS)


def test_wrong_shares_are_refused_and_the_log_names_whose(service, world, clock):
    warrant = order(service, name_of(world))
    clock.now = NOW + timedelta(seconds=1)
    again = order(service, warrant["subject"], role="regulator")
    path = f"/warrants/{warrant['entry']['hash']}/shares"
    wrong = share_body(service, again, "regulator")
    answer = post(service, path, wrong, role="regulator")
    assert (answer.status_code, answer.json()) == (401, refused_body(401))
    last = fetched_log(service, "custodian")[-1]
    assert last.action == "identity.share-refused"
    assert '"opener":"regulator"' in last.detail
    malformed = post(service, path, {**wrong, "share": "00"}, role="regulator")
    assert malformed.status_code == 422
    assert post(service, f"{PATH}/shares", wrong, role="regulator").status_code == 404


# --- revocations ---------------------------------------------------------------------------------


def test_a_pseudonym_is_revoked_with_its_partner(service, world):
    body = {"subject": name_of(world), "reference": "2026/2"}
    for revoked in (2, 0):
        assert post(service, "/revocations", body, role="regulator").json() == {"revoked": revoked}
    unknown = post(service, "/revocations", {**body, "subject": "ab" * 32})
    assert unknown.status_code == 404


def work_for(service: TestClient, started: dict, opener: Opener) -> dict | None:
    """Fetch a batch, do it, send it; what the desk answers."""
    role, path = ROLE_OF[opener], f"/person-searches/{started['entry']['hash']}"
    shown = get(service, path, role=role).json()
    document = SearchDocument.model_validate(shown["document"])
    log = fetched_log(service, role)
    checked = check_search(document, entries=log, leaves=fetched_leaves(service, log, role))
    work = get(service, f"{path}/work", role=role).json()["work"]
    if work is None:
        return None
    answer = search_answer(
        SearchWork.model_validate(work),
        search=checked,
        key=keys().openers[opener],
        suite=suite(),
    )
    sent = post(service, f"{path}/work", answer.model_dump(mode="json"), role=role)
    assert sent.status_code == 200, sent.text
    return sent.json()


def test_a_person_is_searched_for(service, world):
    members = registered(world, 3)
    body = {"identity": "customer 1", "reference": "2026/3"}
    started = post(service, "/person-searches", body, role="regulator").json()
    assert (started["total"], started["waiting_for"]) == (3, ["utility"])
    assert work_for(service, started, "regulator") is None
    for opener in ("utility", "regulator", "utility"):
        state = work_for(service, started, opener)
    assert state["found"] == [members[1].holder.name_in(BILLING)]
    assert (state["tested"], state["waiting_for"]) == (3, [])
    assert post(service, "/blocks", body).json() == {"blocked": False}


def test_an_office_cannot_do_the_others_step(service, world):
    registered(world, 1)
    body = {"identity": "customer 0", "reference": "r"}
    started = post(service, "/person-searches", body).json()
    path = f"/person-searches/{started['entry']['hash']}/work"
    work = SearchWork.model_validate(get(service, path).json()["work"])
    log = fetched_log(service, "custodian")
    checked = check_search(
        SearchDocument.model_validate(started["document"]),
        entries=log,
        leaves=fetched_leaves(service, log, "custodian"),
    )
    answer = search_answer(work, search=checked, key=keys().openers["utility"], suite=suite())
    sent = answer.model_dump(mode="json")
    assert post(service, path, sent, role="regulator").status_code == 409
    cheat = {**sent, "blindings": [sent["blindings"][0][:-64] + "00" * 32]}
    assert post(service, path, cheat).status_code == 401
    assert post(service, path, sent).status_code == 200


def test_a_block_is_kept(service):
    body = {"identity": "customer 0", "reference": "r"}
    assert [post(service, "/blocks", body).json()["blocked"] for _ in range(2)] == [True, False]


def test_a_key_is_replaced_by_both_offices(service, world):
    (member,) = registered(world, 1)

    def key(holder) -> str:
        return suite().group.encode(suite().group.sum((holder.m1, suite().g))).hex()

    said = RekeyOrder(
        identity="customer 0",
        old=key(member.holder),
        new=key(new_holder()),
        reference="r",
        issued_at=NOW.isoformat(),
    )
    one, two = (
        sign_message(said, key=keys().staters[name]).model_dump(mode="json") for name in OPENERS
    )
    stranger = sign_message(said, key=generate_private_key()).model_dump(mode="json")
    for orders in ([one, one], [one, stranger]):
        assert post(service, "/rekeys", {"orders": orders}).status_code == 401
    done = post(service, "/rekeys", {"orders": [one, two]}, role="regulator")
    assert (done.status_code, done.json()["action"]) == (200, "identity.rekeyed")
    again = post(service, "/rekeys", {"orders": [one, two]})
    assert (again.status_code, again.json()["reason"]) == (409, "conflict.rekey")


# --- the log -------------------------------------------------------------------------------------


def test_the_log_is_read_in_parts(service, world):
    registered(world, 1)
    whole = get(service, "/evidence").json()["entries"]
    rest = get(service, f"/evidence?after={whole[0]['index']}", role="regulator").json()["entries"]
    assert rest == whole[1:]
    assert get(service, f"/evidence?after={whole[-1]['index']}").json()["entries"] == []
    assert get(service, "/evidence?after=-2").status_code == 422
    some = f"/evidence?action={whole[-1]['action']}&action=identity.opened"
    wanted = [one for one in whole if one["action"] == whole[-1]["action"]]
    assert get(service, some).json()["entries"] == wanted
    assert get(service, f"{some}&after={whole[-1]['index']}").json()["entries"] == []


def test_both_logs_are_read_and_name_the_officer(service, world):
    registered(world, 1)
    body = {"identity": "customer 0", "reference": "2026/7"}
    post(service, "/blocks", body, role="regulator")
    logs = {
        name: get(service, f"/evidence?log={name}").json()["entries"]
        for name in ("registrations", "enrolments")
    }
    assert get(service, "/evidence").json()["entries"] == logs["registrations"]
    last = logs["enrolments"][-1]
    assert (last["action"], last["actor"]) == ("identity.blocked", "clerk")
    assert "customer" not in last["detail"]
    assert get(service, "/evidence?log=other").status_code == 422


def test_acts_are_logged_with_the_officer(service, world):
    subject = name_of(world)
    body = {"subject": subject, "reference": "2026/7"}
    warrant = order(service, subject)
    path = f"/warrants/{warrant['entry']['hash']}/shares"
    post(service, path, share_body(service, warrant, "utility"))
    post(service, "/revocations", body)
    search = {"identity": "customer 0", "reference": "2026/8"}
    post(service, "/person-searches", search)
    log = fetched_log(service, "regulator")
    assert {one.actor for one in log if one.index > 0} == {"clerk"}


def test_only_one_warrant_is_shown_with_its_leaves(service, world):
    warrant = order(service, name_of(world))
    assert len(warrant["leaves"]) == 2
    path = f"/warrants/{warrant['entry']['hash']}"
    assert get(service, path).json()["leaves"] == warrant["leaves"]
    assert [one["leaves"] for one in get(service, "/warrants").json()] == [[]]


def test_searches_are_listed_until_they_are_forgotten(service, world, clock):
    registered(world, 1)
    assert get(service, "/person-searches").json() == []
    bodies = [{"identity": "customer 0", "reference": f"2026/{number}"} for number in (3, 4)]
    started = [post(service, "/person-searches", body).json() for body in bodies]
    assert get(service, "/person-searches", role="regulator").json() == started
    clock.now = NOW + LIMIT
    late = service.get("/person-searches", headers=token("regulator", clock=clock))
    assert late.json() == []


@pytest.mark.parametrize("at", ["yesterday", "2026-03-01T08:00:00"], ids=["text", "naive"])
def test_an_entry_without_a_time_is_malformed(at):
    entry = LogEntry(
        index=0,
        at=at,
        actor="a",
        action="b",
        detail="{}",
        previous="",
        hash="1" * 64,
        salt="2" * 32,
    )
    with pytest.raises(InvalidMessageError):
        read_entry(entry)
