"""Enrolment over HTTP: who gets a credential for whom, and everything that is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, col, select

from gridsecure.credentials.holder import Holder, derive_secret
from gridsecure.credentials.issuance import Credential
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.identity.enrolments.issuer import ENROLLED
from gridsecure.messages import sign_message
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from tests.apps.identity_peers import (
    Ordering,
    account,
    enrolled,
    gateway_order,
    person_token,
    service_token,
)
from tests.apps.zone_apps import TestClock, bearer, identity_app, refused_body
from tests.grid_simulator import grid_keys
from tests.identity.identity_world import keys, new_holder, suite

KEYS = grid_keys()
OTHER_GATEWAY = generate_private_key()
GATEWAY = KEYS.gateway.public_key.thumbprint


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def service(tmp_path, clock):
    with TestClient(identity_app(tmp_path / "identity", clock=clock)) as client:
        books = [account("44"), account("45"), account("46", gateway=OTHER_GATEWAY)]
        assert put_books(client, books).json() == {"accounts": 3}
        yield client


def put_books(service, books, *, name="ops"):
    return service.put("/books", json=books, headers=person_token(service, name))


def evidence(service: TestClient) -> list[EvidenceRow]:
    with Session(service.app.state.zone.enrolments) as session:
        verify_log(session)
        return list(session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index))))


def analyst_order(service: TestClient, name: str = "lin", **choices: object) -> Ordering:
    headers = person_token(service, name)
    return Ordering(service, headers, keys().people[name], **{"role": "analyst"} | choices)


# --- who gets one --------------------------------------------------------------------------------


def test_a_gateway_enrols_the_meter_points_that_the_books_give_it(service):
    holders = {name: new_holder() for name in ("44", "46", "45", "47")}
    answers = enrolled(gateway_order(service), holders)
    assert isinstance(answers["44"], Credential)
    assert isinstance(answers["45"], Credential)
    # another gateway's meter point and none at all read alike
    assert answers["46"] == answers["47"] == "identity.unknown-account"
    row = next(row for row in evidence(service) if row.action == ENROLLED)
    assert row.actor == f"gateway:{GATEWAY}"
    detail = json.loads(row.detail)
    assert (detail["issued"], detail["period"], detail["role"]) == (2, "2026", "meter-point")
    assert not any(f'"{name}"' in row.detail for name in holders)


def test_a_wallet_of_one_seed_enrols_again_after_a_crash(service):
    def holder() -> Holder:
        return Holder(suite(), keys().public, derive_secret(b"s" * 32, name="44", suite=suite()))

    for _ in range(2):
        assert isinstance(enrolled(gateway_order(service), {"44": holder()})["44"], Credential)
    another = enrolled(gateway_order(service), {"44": new_holder()})
    assert another["44"] == "conflict.enrolment"


def test_a_meter_point_that_moved_is_enrolled_by_its_new_gateway(service):
    holders = {"46": new_holder()}
    assert enrolled(gateway_order(service), holders)["46"] == "identity.unknown-account"
    put_books(service, [account("46")])
    assert isinstance(enrolled(gateway_order(service), holders)["46"], Credential)


def test_a_gateway_enrols_itself_and_no_other(service):
    order = gateway_order(service, role="gateway")
    assert isinstance(enrolled(order, {GATEWAY: new_holder()})[GATEWAY], Credential)
    other = OTHER_GATEWAY.public_key.thumbprint
    assert enrolled(order, {other: new_holder()})[other] == "identity.unknown-account"


def test_an_analyst_enrols_once_a_period_and_under_no_other_name(service):
    holder = replace(new_holder(), r1=suite().group.random_scalar())
    assert isinstance(enrolled(analyst_order(service), {"lin": holder})["lin"], Credential)
    # the answer was lost: what hides the secret was kept, so the commitment is the same
    assert isinstance(enrolled(analyst_order(service), {"lin": holder})["lin"], Credential)
    assert enrolled(analyst_order(service), {"lin": new_holder()})["lin"] == "conflict.credential"
    assert enrolled(analyst_order(service), {"wei": holder})["wei"] == "identity.unknown-account"
    later = enrolled(analyst_order(service, period="2027"), {"lin": new_holder()})
    assert isinstance(later["lin"], Credential)


# --- whole orders refused ------------------------------------------------------------------------


def refused(response, status: int = 401) -> bool:
    return (response.status_code, response.json()) == (status, refused_body(status))


def prepared(ordering: Ordering, *identities: str):
    ordering.open_session()
    holders = {name: new_holder() for name in identities or ("44",)}
    return ordering.order(ordering.pending(holders))


def test_a_closed_period_is_refused(service):
    ordering = gateway_order(service, period="2025")
    answer = ordering.send(sign_message(prepared(ordering), key=KEYS.gateway))
    assert (answer.status_code, answer.json()["reason"]) == (400, "identity.period")


def test_a_session_is_good_for_one_order(service):
    ordering = gateway_order(service)
    order = sign_message(prepared(ordering), key=KEYS.gateway)
    assert ordering.send(order).status_code == 200
    assert refused(ordering.send(order))


def test_a_session_must_have_been_given_to_the_sender(service):
    ordering = gateway_order(service)
    for session in ("ab" * 32, analyst_order(service).open_session()):
        ordering.session = session
        pending = ordering.pending({"44": new_holder()})
        assert refused(ordering.send(sign_message(ordering.order(pending), key=KEYS.gateway)))


def test_a_session_ends(service, clock):
    ordering = gateway_order(service)
    for minutes, is_over in ((9, False), (10, True)):
        order = sign_message(prepared(ordering), key=KEYS.gateway)
        clock.advance(minutes=minutes)
        ordering.headers = service_token(service, KEYS.gateway, now=clock.now)
        assert ordering.send(order).status_code == (401 if is_over else 200)


def test_a_request_is_bound_to_its_session_sender_and_account(service):
    ordering = gateway_order(service)
    ordering.open_session()
    holder = new_holder()
    for changed in (
        replace(ordering, channel_session="ab" * 32),
        replace(ordering, sender=KEYS.stranger),
    ):
        changed.session = ordering.session
        pending = changed.pending({"44": holder})
        answer = ordering.answer(
            ordering.send(sign_message(ordering.order(pending), key=KEYS.gateway))
        )
        assert answer.items[0].reason == "authenticity.credential-request"
        ordering.open_session()
    pending = {"44": ordering.pending({"45": holder})["45"]}
    answer = ordering.answer(ordering.send(sign_message(ordering.order(pending), key=KEYS.gateway)))
    assert answer.items[0].reason == "authenticity.credential-request"


def test_an_order_is_signed_by_who_is_registered_and_came_with_the_token(service):
    ordering = gateway_order(service)
    order = prepared(ordering)
    stranger = sign_message(order, key=generate_private_key())
    posing = stranger.model_copy(update={"signer": GATEWAY})
    changed = sign_message(order, key=KEYS.gateway)
    changed = changed.model_copy(update={"body": changed.body.replace('"44"', '"45"')})
    for envelope in (stranger, posing, changed):
        assert refused(ordering.send(envelope))
    assert refused(ordering.send(sign_message(order, key=keys().people["lin"])), 403)
    assert ordering.send(sign_message(order, key=KEYS.gateway)).status_code == 200


def test_an_order_that_does_not_open_or_read_is_refused(service):
    ordering = gateway_order(service)
    for content in (b"", b"x" * 400):
        answer = service.post("/enrolments", content=content, headers=ordering.headers)
        assert refused(answer)
    ordering.open_session()
    notice = sign_message(ordering.order(ordering.pending({"44": new_holder()})), key=KEYS.gateway)
    assert refused(ordering.send(notice.model_copy(update={"body_kind": "roster"})))


@pytest.mark.parametrize(
    ("sender", "role"),
    [
        ("lin", "meter-point"),
        ("lin", "gateway"),
        ("gateway", "analyst"),
    ],
)
def test_a_sender_enrols_its_own_kind(service, sender, role):
    choices = {"role": role}
    ordering = (
        gateway_order(service, **choices)
        if sender == "gateway"
        else analyst_order(service, sender, **choices)
    )
    assert refused(ordering.send(sign_message(prepared(ordering, "lin"), key=ordering.sender)), 403)


def test_one_enrols_for_oneself_once(service):
    ordering = gateway_order(service, role="gateway")
    answer = ordering.send(sign_message(prepared(ordering, GATEWAY, "44"), key=KEYS.gateway))
    assert (answer.status_code, answer.json()["reason"]) == (422, "identity.items")


@pytest.mark.parametrize("request_text", ["", "abc", "AB", "zz", "00" * 513])
def test_requests_are_whole_bytes(service, request_text):
    ordering = gateway_order(service)
    order = prepared(ordering)
    item = order.items[0].model_copy(update={"request": request_text})
    malformed = order.model_copy(update={"items": [item]})
    answer = ordering.send(sign_message(malformed, key=KEYS.gateway))
    assert (answer.status_code, answer.json()["reason"]) == (422, "message.invalid")


@pytest.mark.parametrize("path", ["/enrolments", "/enrolments/sessions"])
def test_only_gateways_and_analysts_enrol(service, path):
    for headers in (
        person_token(service, "clerk"),
        person_token(service, "ops"),
        service_token(service, KEYS.platform),
        bearer("platform", "gateway"),
    ):
        assert service.post(path, headers=headers).status_code == 403
    assert service.post(path).status_code == 401


def test_a_token_whose_bearer_is_not_registered_enrols_nobody(service):
    """A person who signs in with a password has no key to sign an order with."""
    ordering = replace(analyst_order(service), headers=bearer("identity", "analyst"))
    assert refused(
        ordering.send(sign_message(prepared(ordering, "clerk"), key=ordering.sender)), 403
    )


# --- books and keys ------------------------------------------------------------------------------


def test_the_books_are_the_operators(service):
    for name in ("clerk", "lin", "inspector"):
        assert put_books(service, [account("48")], name=name).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"meter_point_id": ""},
        {"meter_point_id": "analyst/lin"},
        {"gateway": "ab"},
        {"name": 4},
        {"phone": "1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_malformed_books_are_refused_without_repeating_them(service, change):
    answer = put_books(service, [account("48") | change])
    assert answer.status_code == 422
    assert "Futian" not in answer.text
    assert put_books(service, []).status_code == 422


def test_the_billing_office_reads_keys_of_accounts(service):
    holder = new_holder()
    enrolled(gateway_order(service), {"44": holder})
    enrolled(analyst_order(service), {"lin": new_holder()})
    body = {"identities": ["44", "45", "lin"]}
    answer = service.post("/accounts/keys", json=body, headers=person_token(service, "clerk"))
    key = suite().group.multiply(suite().g, scalar=holder.m1)
    assert answer.json() == {"keys": {"44": suite().group.encode(key).hex()}}
    assert evidence(service)[-1].action == "identity.keys-read"
    assert evidence(service)[-1].actor == "clerk"
    for name in ("ops", "lin", "inspector"):
        headers = person_token(service, name)
        assert service.post("/accounts/keys", json=body, headers=headers).status_code == 403
    hidden = {"identities": ["analyst/lin"]}
    answer = service.post("/accounts/keys", json=hidden, headers=person_token(service, "clerk"))
    assert answer.status_code == 422


def test_a_gateway_is_told_on_which_days_accounts_are_its_own(service):
    other = generate_private_key()
    ends, begins = {"valid_to": "2026-07-16"}, {"valid_from": "2026-07-16"}
    moved = [account("48") | ends, account("48~B", gateway=other) | begins]
    assert put_books(service, [account("47"), *moved]).json() == {"accounts": 3}
    body = {"identities": ["47", "48", "48~B", "nobody"]}
    asked = service.post(
        "/accounts/days", json=body, headers=service_token(service, grid_keys().gateway)
    )
    assert asked.json() == {"days": {"47": ["", ""], "48": ["", "2026-07-16"]}}
    claimed = put_books(service, [account("48~B", gateway=other)])
    assert (claimed.status_code, claimed.json()["reason"]) == (409, "books.two-gateways")
    for days in ({"valid_from": "2026-07-32"}, {"valid_from": "20260716"}, begins | ends):
        refused = put_books(service, [account("49") | days])
        assert refused.json()["reason"] == "books.days"
    for name in ("ops", "clerk", "lin"):
        headers = person_token(service, name)
        assert service.post("/accounts/days", json=body, headers=headers).status_code == 403


# --- facts of the books --------------------------------------------------------------------------


def test_a_holder_is_told_what_the_books_say_of_it(service):
    chain = {"customer_id": "a chain", "zone": "luohu", "customer_class": "shop"}
    put_books(service, [account("44") | chain, account("45") | chain])
    answers = enrolled(gateway_order(service), {name: new_holder() for name in ("44", "45")})
    facts = [answers[name].context.facts for name in ("44", "45")]
    assert [one.zone for one in facts] == ["luohu"] * 2
    assert [one.customer_class for one in facts] == ["shop"] * 2
    assert [one.counted for one in facts] == [True, False]


def test_an_operator_says_who_runs_a_gateway(service):
    entries = [{"gateway": GATEWAY, "owner": "operator 7"}]
    answer = service.put("/books/gateways", json=entries, headers=person_token(service, "ops"))
    assert answer.json() == {"gateways": 1}
    order = gateway_order(service, role="gateway")
    credential = enrolled(order, {GATEWAY: new_holder()})[GATEWAY]
    assert len(credential.context.facts.owner) == 64
    refused = service.put("/books/gateways", json=entries, headers=person_token(service, "lin"))
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "change",
    [{"zone": "fu\tian"}, {"customer_class": " shop"}, {"zone": "x" * 65}, {"customer_id": ""}],
)
def test_books_take_short_printable_facts_and_a_customer(service, change):
    assert put_books(service, [account("48") | change]).status_code == 422
