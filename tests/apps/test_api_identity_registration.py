"""Pseudonyms over HTTP: registering, log-in, what is vouched for, and all that is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, col, select

from gridsecure.credentials.access import batch_challenge
from gridsecure.credentials.pinning import pin_keys
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.tokens import verify_token
from gridsecure.identity.registrations import revoking
from gridsecure.identity_messages import DenyList, Registrations, SettlementNames
from gridsecure.messages import Signed, open_message
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from tests.apps.identity_peers import (
    account,
    challenge,
    enrolled,
    gateway_order,
    logged_in,
    login_body,
    person_token,
    presented,
    registered,
    service_token,
)
from tests.apps.zone_apps import TestClock, identity_app, refused_body
from tests.grid_simulator import NOW, grid_keys, registry
from tests.identity.identity_world import (
    BILLING,
    NEXT_BILLING,
    SETTLEMENT,
    keys,
    new_holder,
    shown_with,
    suite,
)

KEYS = grid_keys()
IDENTITY = registry(KEYS.identity)
METERS = ("44", "45", "46")
STRANGER = "ab" * 32


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def service(tmp_path, clock):
    with TestClient(identity_app(tmp_path / "identity", clock=clock)) as client:
        yield client


@pytest.fixture
def members(service):
    """Meter points with credentials of this year, by holder."""
    books = [account(name) for name in METERS]
    service.put("/books", json=books, headers=person_token(service, "ops"))
    holders = {name: new_holder() for name in METERS}
    credentials = enrolled(gateway_order(service), holders)
    return [(holders[name], credentials[name]) for name in METERS]


@pytest.fixture
def pseudonyms(service, members) -> list[str]:
    """They registered, in their order."""
    return [item["subjects"][0] for item in registered(service, members)]


def post(service, path: str, body: dict, status: int = 200, **choices):
    answer = service.post(path, json=body, **choices)
    assert answer.status_code == status, answer.text
    return answer.json()


def rows(engine) -> list[EvidenceRow]:
    with Session(engine) as session:
        verify_log(session)
        return list(session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index))))


def evidence(service) -> list[EvidenceRow]:
    return rows(service.app.state.zone.registrations)


def revoke(service, subject: str) -> None:
    assert revoking.revoke(
        service.app.state.zone.registrations, subject=subject, reference="w", now=NOW
    )


# --- keys ----------------------------------------------------------------------------------------


def test_holders_pin_what_both_openers_state(service):
    statements = [Signed(**one) for one in service.get("/identity-keys").json()["statements"]]
    assert pin_keys(statements, signers=keys().signers, suite=suite()) == keys().public


# --- registering ---------------------------------------------------------------------------------


def test_meter_points_register_in_both_domains(service, members):
    items = registered(service, members)
    assert items == [
        {"subjects": [holder.name_in(BILLING), holder.name_in(SETTLEMENT)]} for holder, _ in members
    ]
    assert registered(service, members[::-1]) == items[::-1]


def test_a_gateway_registers_and_logs_in_under_its_own_pseudonym(service):
    name, holder = KEYS.gateway.public_key.thumbprint, new_holder()
    credential = enrolled(gateway_order(service, role="gateway"), {name: holder})[name]
    (item,) = registered(service, [(holder, credential)], role="gateway")
    assert item == {"subjects": [holder.name_in(BILLING)]}
    given = logged_in(service, holder, BILLING).json()
    claims = verify_token(
        given["token"],
        key=KEYS.identity.public_key,
        audience="platform",
        issuer="gridsecure-identity",
        now=NOW,
    )
    assert (claims.subject, claims.roles) == (item["subjects"][0], ("gateway",))
    assert claims.holder_thumbprint == holder.key_in(BILLING).public_key.thumbprint
    assert claims.expires_at == NOW + timedelta(minutes=5)
    assert given["expires_at"] == claims.expires_at.isoformat()


def test_registrations_carry_the_year_over(service, members, pseudonyms, clock):
    holders = {name: holder for name, (holder, _) in zip(METERS, members, strict=True)}
    renewed = enrolled(gateway_order(service, period="2027"), holders)
    pairs = [(holders[name], renewed[name]) for name in METERS]
    revoke(service, pseudonyms[1])
    items = registered(service, pairs, period="2027", carry="2026")
    assert items[1] == {"reason": "authenticity.registration"}
    asked = [holder.name_in(NEXT_BILLING) for holder, _ in pairs]
    said, refused = listing(service, asked, domain=NEXT_BILLING.text)
    assert [entry.carried for entry in said.entries] == [[pseudonyms[0]], [pseudonyms[2]]]
    assert refused == [asked[1]]


def test_presentations_that_do_not_hold_are_refused_alone(service, members, pseudonyms):
    clone, thief = generate_private_key(), generate_private_key()
    newcomers = [new_holder() for _ in range(2)]
    service.put("/books", json=[account("50"), account("51")], headers=person_token(service, "ops"))
    credentials = enrolled(gateway_order(service), dict(zip(("50", "51"), newcomers, strict=True)))
    fresh = list(zip(newcomers, credentials.values(), strict=True))
    asked = challenge(service)
    body = presented([members[0], *fresh, members[1]], challenge=asked)
    occasion, cloned = shown_with(
        *members[0], BILLING, SETTLEMENT, key=clone, challenge=batch_challenge(asked, 0)
    )
    body["items"][0] |= {"holder": occasion.holder.point.hex(), "presentation": cloned.hex()}
    body["items"][1]["holder"] = thief.public_key.point.hex()
    items = post(service, "/registrations", body)["items"]
    assert items[0] == {"reason": "authenticity.cloned"}
    assert items[1] == {"reason": "authenticity.presentation"}
    assert items[2] == {"subjects": [newcomers[1].name_in(d) for d in (BILLING, SETTLEMENT)]}
    assert items[3]["subjects"][0] == pseudonyms[1]
    alarms = [row for row in evidence(service) if row.action == "identity.clone-alarm"]
    assert len(alarms) == 1
    assert clone.public_key.thumbprint in alarms[0].detail


def test_a_challenge_is_good_once_and_for_two_minutes(service, members, clock):
    body = presented(members, challenge=challenge(service))
    post(service, "/registrations", body)
    for replayed in (body, body | {"challenge": STRANGER}):
        assert post(service, "/registrations", replayed, 401) == refused_body(401)
    late = presented(members, challenge=challenge(service))
    clock.advance(minutes=2)
    assert post(service, "/registrations", late, 401) == refused_body(401)


def test_a_replayed_presentation_is_refused(service, members):
    body = presented(members, challenge=challenge(service))
    again = body | {"challenge": challenge(service).hex()}
    items = post(service, "/registrations", again)["items"]
    assert items == [{"reason": "authenticity.presentation"}] * len(members)
    swapped = presented(members, challenge=challenge(service))
    swapped["items"] = swapped["items"][1:] + swapped["items"][:1]
    items = post(service, "/registrations", swapped)["items"]
    assert items == [{"reason": "authenticity.presentation"}] * len(members)


@pytest.mark.parametrize(
    "change", [{"role": "gateway"}, {"period": "2027"}, {"carry": "2025"}], ids=str
)
def test_a_presentation_is_for_its_role_and_periods(service, members, change):
    body = presented(members, challenge=challenge(service)) | change
    items = post(service, "/registrations", body)["items"]
    assert {item["reason"] for item in items} <= {
        "authenticity.presentation",
        "identity.context",
        "identity.length",
    }
    assert evidence(service) == []


@pytest.mark.parametrize(
    "change",
    [
        {"role": "analyst"},
        {"period": "26"},
        {"carry": "2026"},
        {"carry": "2027"},
        {"role": "gateway", "carry": "2025"},
        {"items": []},
        {"items": [{"holder": "04", "presentation": "00"}]},
        {"items": [{"holder": "04" + "0" * 128, "presentation": "000"}]},
        {"challenge": "xy"},
        {"more": 1},
    ],
    ids=str,
)
def test_malformed_registrations_are_refused(service, change):
    body = {
        "challenge": challenge(service).hex(),
        "role": "meter-point",
        "period": "2026",
        "items": [{"holder": "04" + "0" * 128, "presentation": "00"}],
    }
    assert post(service, "/registrations", body)["items"] == [{"reason": "sm2.point"}]
    answer = post(service, "/registrations", body | change, 422)
    assert answer["reason"] in ("message.invalid", "identity.domain")


# --- log-in --------------------------------------------------------------------------------------


def test_unknown_and_revoked_pseudonyms_read_alike_everywhere(service, members, pseudonyms):
    revoke(service, pseudonyms[0])
    never = new_holder()
    answers = [logged_in(service, holder, BILLING) for holder in (members[0][0], never)]
    assert answers[0].status_code == answers[1].status_code == 403
    assert answers[0].json() == answers[1].json() == refused_body(403)
    assert answers[0].headers.keys() == answers[1].headers.keys()
    said, refused = listing(service, [never.name_in(BILLING), pseudonyms[0]])
    assert (said, refused) == (None, [never.name_in(BILLING), pseudonyms[0]])


def test_a_log_in_is_for_its_domain_key_and_challenge(service, members, pseudonyms):
    holder, other = members[0][0], members[1][0]
    assert logged_in(service, holder, BILLING).status_code == 200
    assert logged_in(service, holder, SETTLEMENT).json() == refused_body(403)
    assert logged_in(service, holder, NEXT_BILLING).json() == refused_body(403)
    stolen = login_body(other, BILLING, challenge=challenge(service))
    assert post(service, "/logins", stolen | {"subject": pseudonyms[0]}, 401) == refused_body(401)
    body = login_body(holder, BILLING, challenge=challenge(service))
    post(service, "/logins", body)
    assert post(service, "/logins", body, 401) == refused_body(401)
    body = login_body(holder, BILLING, challenge=challenge(service))
    assert post(service, "/logins", body | {"domain": SETTLEMENT.text}, 403) == refused_body(403)


@pytest.mark.parametrize(
    "domain", ["platform", "a/b/c/d", "platform//2026", "platform/billing/" + "9" * 41]
)
def test_malformed_domains_are_refused(service, members, pseudonyms, domain):
    body = login_body(members[0][0], BILLING, challenge=challenge(service)) | {"domain": domain}
    assert post(service, "/logins", body, 422)["reason"] == "identity.domain"


# --- what is vouched for -------------------------------------------------------------------------


def listing(service, subjects, *, domain: str = BILLING.text, role: str = "meter-point"):
    body = {"domain": domain, "role": role, "subjects": subjects}
    answer = post(service, "/registrations/list", body)
    envelope = answer["registrations"]
    said = (
        None
        if envelope is None
        else open_message(Signed(**envelope), expect=Registrations, trusted=IDENTITY)
    )
    return said, answer["refused"]


def test_a_list_leaves_the_revoked_out(service, pseudonyms):
    revoke(service, pseudonyms[1])
    said, refused = listing(service, [pseudonyms[2], pseudonyms[1], STRANGER, pseudonyms[0]])
    assert [entry.subject for entry in said.entries] == [pseudonyms[2], pseudonyms[0]]
    assert refused == [pseudonyms[1], STRANGER]
    assert listing(service, pseudonyms, role="gateway") == (None, pseudonyms)


def test_the_deny_list_is_signed_and_grows(service, pseudonyms):
    for count in range(3):
        answer = service.get("/deny-list")
        tag = {"If-None-Match": answer.headers["ETag"]}
        assert service.get("/deny-list").content == answer.content
        assert service.get("/deny-list", headers=tag).status_code == 304
        envelope = Signed(**answer.json())
        said = open_message(envelope, expect=DenyList, trusted=IDENTITY)
        assert (said.sequence, said.subjects) == (count, sorted(pseudonyms[:count]))
        revoke(service, pseudonyms[count])
        assert service.get("/deny-list", headers=tag).status_code == 200


def test_settlement_names_are_for_the_authority_alone(service, members, pseudonyms):
    body = {"domain": BILLING.text, "subjects": pseudonyms[::-1]}
    headers = service_token(service, KEYS.authority)
    envelope = Signed(**post(service, "/settlement-names", body, headers=headers))
    said = open_message(envelope, expect=SettlementNames, trusted=IDENTITY)
    assert said.names == [holder.name_in(SETTLEMENT) for holder, _ in members[::-1]]
    assert evidence(service)[-1].actor == f"authority:{KEYS.authority.public_key.thumbprint}"
    for others in (
        service_token(service, KEYS.platform),
        service_token(service, KEYS.gateway),
        *(person_token(service, name) for name in ("ops", "clerk", "lin", "inspector")),
    ):
        refused = post(service, "/settlement-names", body, 403, headers=others)
        assert refused["reason"] == "authenticity.role"
    assert post(service, "/settlement-names", body, 401) == refused_body(401)
    unknown = body | {"subjects": [*pseudonyms, STRANGER]}
    answer = post(service, "/settlement-names", unknown, 404, headers=headers)
    assert answer["reason"] == "not-found.settlement"
    assert STRANGER not in str(answer)


# --- two databases -------------------------------------------------------------------------------


def stored(folder: Path, name: str) -> bytes:
    """All that a database has on the disk, its log included."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{name}.db*")))


def test_no_database_knows_a_person_and_a_pseudonym(service, members, pseudonyms, tmp_path):
    gateway, holder = KEYS.gateway.public_key.thumbprint, new_holder()
    credential = enrolled(gateway_order(service, role="gateway"), {gateway: holder})[gateway]
    registered(service, [(holder, credential)], role="gateway")
    logged_in(service, holder, BILLING)
    revoke(service, pseudonyms[0])
    folder = tmp_path / "identity"
    people = [gateway.encode(), b"Futian Road", b"Customer of"]
    people += [f'"{name}"'.encode() for name in METERS]
    points = [suite().group.multiply(suite().g, scalar=one.m1) for one, _ in members]
    people += [suite().group.encode(point).hex().encode() for point in points]
    names = [one.name_in(domain) for one, _ in members for domain in (BILLING, SETTLEMENT)]
    names += [holder.name_in(BILLING)]
    nyms = [one.key_in(BILLING).public_key.point.hex() for one, _ in members]
    enrolments, registrations = (stored(folder, name) for name in ("enrolments", "registrations"))
    assert gateway.encode() in enrolments
    assert people[-1] in enrolments
    assert names[0].encode() in registrations
    assert [name for name in [*names, *nyms] if name.encode() in enrolments] == []
    assert [person for person in people if person in registrations] == []
    assert sorted(path.name for path in folder.glob("*.db")) == [
        "enrolments.db",
        "registrations.db",
    ]


def test_the_evidence_of_one_never_speaks_of_the_other(service, members, pseudonyms):
    zone = service.app.state.zone
    pseudonymous = " ".join(f"{row.actor} {row.detail}" for row in rows(zone.registrations))
    named = " ".join(f"{row.actor} {row.detail}" for row in rows(zone.enrolments))
    assert KEYS.gateway.public_key.thumbprint in named
    assert KEYS.gateway.public_key.thumbprint not in pseudonymous
    assert {row.actor for row in rows(zone.registrations)} == {"identity"}
    assert {row.actor for row in rows(zone.enrolments)} >= {"ops"}
    assert not any(name in named for name in pseudonyms)
