"""The identity service: what it starts with, and tokens for those who have names."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlmodel import col, select

from gridsecure.crypto.sm3 import PBKDF2_ITERATIONS
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InputError,
    SignatureError,
    StorageError,
)
from gridsecure.identity.enrolments.failed_attempts import ALLOWED_FAILURES
from gridsecure.identity.enrolments.passwords import (
    check_record,
    decoy_record,
    password_matches,
    password_record,
)
from gridsecure.identity.enrolments.signed_logins import MAX_AGE
from gridsecure.identity_messages import ServiceLogin, person_login, service_login
from gridsecure.messages import KeyNotice, sign_message
from gridsecure.store.database import write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure_api.identity import create_identity_app
from gridsecure_api.identity_zone import ISSUER_KEY, load_issuer_key
from gridsecure_api.settings import IdentitySettings, PersonEntry, ServiceEntry, UserEntry
from tests.apps.zone_apps import (
    TestClock,
    bearer,
    identity_app,
    identity_settings,
    point,
    refused_body,
)
from tests.grid_simulator import NOW, grid_keys
from tests.identity.identity_world import keys as identity_keys
from tests.identity.identity_world import suite as identity_suite

PASSWORD = "correct horse battery staple"
KEYS = grid_keys()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def users() -> tuple[UserEntry, ...]:
    return (UserEntry(user="lin", password=password_record(PASSWORD), roles=("billing",)),)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def service(tmp_path, users, clock):
    with TestClient(identity_app(tmp_path / "identity", users=users, clock=clock)) as client:
        yield client


def sign_in(service: TestClient, *, user="lin", password=PASSWORD, audience="platform"):
    body = {"user": user, "password": password, "audience": audience}
    return service.post("/sign-in", json=body)


def evidence_rows(service: TestClient) -> list[EvidenceRow]:
    with write_session(service.app.state.zone.enrolments) as session:
        verify_log(session)
        return list(session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index))))


# --- people ------------------------------------------------------------------------------------


def test_it_says_what_is_for_the_demonstration_only(service, tmp_path):
    about = service.get("/about").json()
    (passwords,) = about["local_demonstration_only"]
    assert "/sign-in" in passwords
    assert about["periods"] == ["2026", "2027"]
    with TestClient(identity_app(tmp_path / "other")) as without:
        assert without.get("/about").json()["local_demonstration_only"] == []


def test_without_users_nobody_signs_in_with_a_password(tmp_path):
    with TestClient(identity_app(tmp_path / "identity")) as service:
        answer = sign_in(service)
        assert (answer.status_code, answer.json()["reason"]) == (404, "http.404")
        assert "/sign-in" not in service.get("/openapi.json").json()["paths"]


def test_there_are_no_static_pseudonyms(service):
    headers = bearer("identity", "gateway")
    assert service.post("/pseudonyms", json={}, headers=headers).status_code == 404


def test_a_person_signs_in_for_one_service(service):
    answer = sign_in(service)
    assert answer.status_code == 200
    given = answer.json()
    assert given["roles"] == ["billing"]
    claims = verify_token(
        given["token"],
        key=KEYS.identity.public_key,
        audience="platform",
        issuer="gridsecure-identity",
        now=NOW,
    )
    assert (claims.subject, claims.roles) == ("lin", ("billing",))
    assert claims.expires_at.isoformat() == given["expires_at"]
    assert claims.expires_at == NOW + timedelta(minutes=60)


@pytest.mark.parametrize(
    ("user", "password"), [("lin", PASSWORD + " "), ("lin", "wrong-pass"), ("nobody", PASSWORD)]
)
def test_a_wrong_name_and_a_wrong_password_read_alike(service, caplog, user, password):
    with caplog.at_level(logging.DEBUG):
        answer = sign_in(service, user=user, password=password)
    assert (answer.status_code, answer.json()) == (401, refused_body(401))
    assert password not in caplog.text


@pytest.mark.parametrize("field", ["user", "password"])
def test_half_a_character_is_no_text(service, field):
    body = {"user": "lin", "password": PASSWORD, "audience": "platform", field: "\ud800"}
    answer = service.post("/sign-in", content=json.dumps(body), headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) in {
        (422, "message.invalid"),
        (401, "authenticity.refused"),
    }


def test_an_audience_that_does_not_exist_is_refused_without_the_password(service):
    answer = sign_in(service, audience="elsewhere")
    assert answer.status_code == 422
    assert PASSWORD not in answer.text


def test_failures_hold_up_a_name_until_the_window_is_over(service, clock):
    for _ in range(ALLOWED_FAILURES):
        assert sign_in(service, password="wrong").status_code == 401
        clock.advance(seconds=1)
    answer = sign_in(service)
    assert (answer.status_code, answer.json()["reason"]) == (429, "sign-in.attempts")
    assert answer.headers["Retry-After"] == "300"
    assert sign_in(service, user="nobody", password="x").status_code == 401
    clock.advance(minutes=5)
    assert sign_in(service).status_code == 200
    actions = [row.action for row in evidence_rows(service)]
    assert actions == ["sign-in.refused"] * ALLOWED_FAILURES + ["sign-in.done"]
    assert not any(PASSWORD in row.detail for row in evidence_rows(service))


def test_a_login_that_is_longer_than_any_is_refused_before_it_is_read(service):
    for path in ("/sign-in", "/person-tokens", "/service-tokens"):
        answer = service.post(path, content=b"x" * 65 * 1024, headers=JSON)
        assert (answer.status_code, answer.json()["reason"]) == (413, "message.too-large")


# --- passwords ---------------------------------------------------------------------------------


def test_password_records_are_salted_and_strong():
    first, second = password_record("a"), password_record("a")
    assert first != second
    assert int(first.split("$")[1]) == PBKDF2_ITERATIONS == 600_000
    assert password_matches("a", record=first)
    assert not password_matches("b", record=first)
    assert check_record(decoy_record())


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.replace("600000", "599999"),
        lambda record: record.replace("600000", "99999999"),
        lambda record: record.replace("sm3", "md5"),
        lambda record: record[:-1],
        lambda record: record + "0",
        lambda record: PASSWORD,
        lambda record: "",
    ],
)
def test_a_weak_or_malformed_record_keeps_the_service_from_starting(tmp_path, change):
    record = change(decoy_record())
    user = UserEntry(user="lin", password=record, roles=("billing",))
    with pytest.raises(InputError) as refused:
        identity_app(tmp_path, users=(user,))
    assert refused.value.reason == "identity.password-record"
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(user)


def test_an_empty_password_gets_no_record():
    with pytest.raises(InputError):
        password_record("")


# --- services ----------------------------------------------------------------------------------


def log_in(service: TestClient, envelope) -> httpx.Response:
    return service.post("/service-tokens", json=envelope.model_dump())


def test_a_registered_service_gets_a_token_for_five_minutes(service):
    answer = log_in(service, service_login(audience="platform", key=KEYS.gateway, now=NOW))
    claims = verify_token(
        answer.json()["token"],
        key=KEYS.identity.public_key,
        audience="platform",
        issuer="gridsecure-identity",
        now=NOW,
    )
    assert claims.roles == ("gateway",)
    assert claims.subject == f"gateway:{KEYS.gateway.public_key.thumbprint}"
    assert claims.expires_at == NOW + timedelta(minutes=5)


def test_a_login_counts_once_also_after_a_restart(service, tmp_path, users, clock):
    envelope = service_login(audience="platform", key=KEYS.gateway, now=NOW)
    assert log_in(service, envelope).status_code == 200
    assert log_in(service, envelope).json() == refused_body(401)
    with TestClient(identity_app(tmp_path / "identity", users=users, clock=clock)) as restarted:
        assert log_in(restarted, envelope).status_code == 401


def test_a_nonce_counts_once_for_another_body_too(service):
    nonce = "0" * 32
    for audience, status in (("platform", 200), ("authority", 401)):
        login = ServiceLogin(audience=audience, issued_at=NOW.isoformat(), nonce=nonce)
        assert log_in(service, sign_message(login, key=KEYS.gateway)).status_code == status
    login = ServiceLogin(audience="platform", issued_at=NOW.isoformat(), nonce=nonce)
    assert log_in(service, sign_message(login, key=KEYS.platform)).status_code == 200


@pytest.mark.parametrize("away", [-MAX_AGE, MAX_AGE])
def test_a_login_is_good_for_a_minute_either_way(service, away):
    inside = service_login(audience="platform", key=KEYS.gateway, now=NOW + away)
    outside = service_login(audience="platform", key=KEYS.gateway, now=NOW + away * 61 / 60)
    assert log_in(service, inside).status_code == 200
    assert log_in(service, outside).json() == refused_body(401)


@pytest.mark.parametrize("issued_at", ["yesterday", "2026-08-03T09:00:00", ""])
def test_a_login_without_a_real_time_is_refused(service, issued_at):
    login = ServiceLogin(audience="platform", issued_at=issued_at, nonce="1" * 32)
    assert log_in(service, sign_message(login, key=KEYS.gateway)).status_code == 401


def test_logins_of_strangers_and_of_another_kind_are_refused_alike(service):
    good = service_login(audience="platform", key=KEYS.gateway, now=NOW)
    strange = service_login(audience="platform", key=KEYS.stranger, now=NOW)
    pretending = strange.model_copy(update={"signer": KEYS.gateway.public_key.thumbprint})
    body = json.loads(good.body) | {"audience": "authority"}
    changed = good.model_copy(update={"body": json.dumps(body)})
    notice = KeyNotice(
        key_id="k",
        gateway="a" * 64,
        generation=1,
        parameters="p",
        parameters_digest="d",
        public_key="d",
        relinearisation_keys=None,
        created_at="t",
    )
    other_kind = sign_message(notice, key=KEYS.gateway)
    for envelope in (strange, pretending, changed, other_kind):
        answer = log_in(service, envelope)
        assert (answer.status_code, answer.json()) == (401, refused_body(401))


def test_a_service_key_is_registered_once(tmp_path):
    entries = tuple(
        ServiceEntry(role=role, public_key=point(KEYS.gateway)) for role in ("gateway", "platform")
    )
    with pytest.raises(GridSecureError) as refused:
        identity_app(tmp_path, services=entries)
    assert refused.value.reason == "authenticity.services"


# --- people with keys ----------------------------------------------------------------------------


def log_person_in(service: TestClient, envelope) -> httpx.Response:
    return service.post("/person-tokens", json=envelope.model_dump())


def test_a_person_gets_a_token_for_each_service_asked_for(service):
    key = identity_keys().people["inspector"]
    answer = log_person_in(service, person_login(["identity", "authority"], key=key, now=NOW))
    given = answer.json()
    assert (given["name"], given["roles"]) == ("inspector", ["regulator"])
    assert sorted(given["tokens"]) == ["authority", "identity"]
    for audience, token in given["tokens"].items():
        claims = verify_token(
            token,
            key=KEYS.identity.public_key,
            audience=audience,
            issuer="gridsecure-identity",
            now=NOW,
        )
        assert (claims.subject, claims.roles) == ("inspector", ("regulator",))
        assert claims.expires_at.isoformat() == given["expires_at"]
    row = evidence_rows(service)[-1]
    assert (row.actor, row.action) == ("inspector", "person-login.done")
    assert json.loads(row.detail) == {"audiences": ["authority", "identity"]}


def test_a_persons_login_counts_once_also_after_a_restart(service, tmp_path, users, clock):
    envelope = person_login(["identity"], key=identity_keys().people["lin"], now=NOW)
    assert log_person_in(service, envelope).status_code == 200
    assert log_person_in(service, envelope).json() == refused_body(401)
    with TestClient(identity_app(tmp_path / "identity", users=users, clock=clock)) as restarted:
        assert log_person_in(restarted, envelope).json() == refused_body(401)


def test_people_and_services_do_not_pass_for_each_other(service, clock):
    person, key = identity_keys().people["lin"], KEYS.gateway
    wrong = [
        person_login(["identity"], key=key, now=NOW),
        person_login(["identity"], key=KEYS.stranger, now=NOW),
        service_login(audience="identity", key=person, now=NOW),
        person_login(["identity"], key=person, now=NOW - 2 * MAX_AGE),
    ]
    for envelope in wrong:
        for send in (log_in, log_person_in):
            answer = send(service, envelope)
            assert (answer.status_code, answer.json()) == (401, refused_body(401))


# --- starting ------------------------------------------------------------------------------------


def refused_start(folder, **changes) -> str:
    with pytest.raises(GridSecureError) as refused:
        identity_app(folder, **changes)
    return refused.value.reason


def test_without_statements_the_service_does_not_start(tmp_path):
    with pytest.raises(ValidationError, match="statements"):
        IdentitySettings(
            folder=tmp_path,
            utility_public_key=point(KEYS.gateway),
            regulator_public_key=point(KEYS.platform),
            periods=("2026",),
        )
    assert refused_start(tmp_path, statements=("", "{}")) == "message.invalid"


def test_statements_must_be_of_both_and_the_same(tmp_path):
    good = identity_settings(tmp_path).statements
    assert refused_start(tmp_path, statements=(good[0], good[0])) == "authenticity.identity-keys"
    stranger = point(KEYS.stranger)
    assert refused_start(tmp_path, regulator_public_key=stranger) == "authenticity.unknown"
    swapped = identity_app(tmp_path, statements=good[::-1])
    swapped.state.zone.close()


def test_the_issuers_key_is_the_one_that_is_stated(tmp_path):
    settings = identity_settings(tmp_path)
    path = tmp_path / ISSUER_KEY
    path.unlink()
    with pytest.raises(SignatureError, match=r"authenticity\.issuer-key.*There is no"):
        create_identity_app(settings)
    assert not path.exists()  # a key made now would be stated by nobody
    made = load_issuer_key(tmp_path, suite=identity_suite())
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SignatureError, match=r"authenticity\.issuer-key.*is not the key") as error:
        create_identity_app(settings)
    assert str(made.x1) not in str(error.value)
    assert made.to_bytes(identity_suite()).hex() not in str(error.value)


@pytest.mark.parametrize(
    ("data", "mode", "reason"),
    [(b"x" * 127, 0o600, "keys.damaged"), (b"\xff" * 128, 0o600, "keys.damaged"),
     (None, 0o640, "keys.permissions")],
)  # fmt: skip
def test_a_damaged_or_readable_issuer_key_is_refused(tmp_path, data, mode, reason):
    settings = identity_settings(tmp_path)
    path = tmp_path / ISSUER_KEY
    path.write_bytes(data or path.read_bytes())
    path.chmod(mode)
    with pytest.raises(StorageError, match=reason.replace(".", r"\.")):
        create_identity_app(settings)


def test_the_two_databases_are_two_and_where_they_were_configured(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("people", "names")]
    changes = {"enrolments_url": urls[0], "registrations_url": urls[1]}
    with TestClient(identity_app(tmp_path / "identity", **changes)) as service:
        assert service.post("/challenges").status_code == 200
    assert (tmp_path / "people.db").exists()
    assert (tmp_path / "names.db").exists()
    assert not list((tmp_path / "identity").glob("*.db"))
    changes["registrations_url"] = urls[0]
    assert refused_start(tmp_path / "identity", **changes) == "identity.databases"


def test_a_person_is_registered_once(tmp_path):
    people = identity_settings(tmp_path).people
    twice = (*people, people[0].model_copy(update={"name": "another"}))
    assert refused_start(tmp_path, people=twice) == "authenticity.services"
    named = (people[0], people[1].model_copy(update={"name": people[0].name}))
    assert refused_start(tmp_path, people=named) == "authenticity.services"
    service = ServiceEntry(role="gateway", public_key=people[0].public_key)
    assert refused_start(tmp_path, services=(service,)) == "authenticity.services"


@pytest.mark.parametrize("name", ["", "gateway:ab", "analyst/lin"])
def test_peoples_names_are_no_other_kinds(name):
    with pytest.raises(ValidationError):
        PersonEntry(name=name, roles=("analyst",), public_key=point(KEYS.stranger))


def test_the_zone_shows_no_secret(tmp_path, users):
    app = identity_app(tmp_path / "identity", users=users)
    zone, shown = app.state.zone, repr(app.state.zone)
    made = identity_keys().issuer
    secrets = [made.x0, made.x1, made.x2, made.xb, zone.key.to_bytes().hex(), users[0].password]
    zone.close()
    assert [secret for secret in secrets if str(secret) in shown] == []


# --- the client that attaches tokens -----------------------------------------------------------


@pytest.fixture
def auth(service, clock) -> ServiceAuth:
    login = ServiceLoginClient(service, KEYS.gateway, clock)
    return ServiceAuth(login, audience="platform")


def test_a_client_keeps_its_token_and_renews_it_in_time(auth, clock):
    sent: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["Authorization"])
        return httpx.Response(200)

    with httpx.Client(
        transport=httpx.MockTransport(note), base_url="http://peer", auth=auth
    ) as peer:
        for minutes in (0, 3, 2):
            clock.advance(minutes=minutes)
            peer.get("/")
    assert sent[0] == sent[1] != sent[2]


@pytest.mark.parametrize(("refusals", "status", "requests"), [(1, 200, 2), (9, 401, 2)])
def test_a_refused_token_is_renewed_once(auth, refusals, status, requests):
    sent: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["Authorization"])
        return httpx.Response(401 if len(sent) <= refusals else 200)

    with httpx.Client(
        transport=httpx.MockTransport(refuse), base_url="http://peer", auth=auth
    ) as peer:
        assert peer.get("/").status_code == status
    assert len(sent) == len(set(sent)) == requests


def test_a_service_that_is_not_registered_gets_no_token(service, clock):
    with pytest.raises(AuthenticityError) as refused:
        ServiceLoginClient(service, KEYS.stranger, clock).token("platform")
    assert refused.value.reason == "authenticity.login-refused"
