"""What offices ask, against the identity service's own routes where it matters, and signing in."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from gridsecure.credentials.opening import OPENERS, Opener
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
)
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity_messages import LogEntry, WarrantDocument, person_login
from gridsecure.messages import KeyNotice, sign_message
from gridsecure.offices.shares import share_for
from gridsecure.offices.warrants import OfficeClient, office_of
from gridsecure.store.log_entries import read_entry
from gridsecure.wire.sessions import Session, offers_passwords, sign_in_by_code
from tests.analyst.office_services import SUBJECT, UNKNOWN, code_of, search, share_of
from tests.analyst.zone_services import ZoneServices
from tests.apps.warrant_app import warrant_app
from tests.apps.zone_apps import TestClock, bearer
from tests.identity.identity_world import BILLING, NOW, World, account_of, keys, new_world, suite
from tests.identity.office_world import registered

URL = "http://identity.test/"
ROLES: dict[Opener, str] = {"utility": "custodian", "regulator": "regulator"}
NAME = "ab" * 32


def session_of(*roles: str, token: str | None = None) -> Session:
    return Session(
        user="somebody",
        roles=frozenset(roles),
        expires_at=datetime(2099, 1, 1, tzinfo=UTC),
        tokens={"identity": token or f"{roles[0]}:identity"},
    )


def through(handle: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(handle))


def answering(body: object) -> OfficeClient:
    return OfficeClient(through(lambda _: httpx.Response(200, json=body)), identity_url=URL)


@pytest.fixture
def services() -> ZoneServices:
    return ZoneServices()


@pytest.fixture
def client(services) -> OfficeClient:
    return OfficeClient(through(services.handle), identity_url=URL)


# --- with the real routes ------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path):
    made = new_world(tmp_path)
    yield made
    for engine in (made.issuer.engine, made.service.engine, made.platform):
        engine.dispose()


@pytest.fixture
def real(world: World):
    clock = TestClock()
    clock.now = NOW
    with TestClient(warrant_app(world, clock)) as http:
        yield http


def real_session(opener: Opener) -> Session:
    valid = (NOW, NOW + timedelta(minutes=5))
    header = bearer("identity", ROLES[opener], valid=valid)["Authorization"]
    return session_of(ROLES[opener], token=header.removeprefix("Bearer "))


def computed_share(http: TestClient, name: str, opener: Opener) -> str:
    """What the office computes on its own machine."""
    header = {"Authorization": f"Bearer {real_session(opener).tokens['identity']}"}
    shown = http.get(f"/warrants/{name}", headers=header).json()
    log = http.get("/evidence", headers=header).json()["entries"]
    said = {key: shown[key] for key in WarrantDocument.model_fields if key != "entry"}
    document = WarrantDocument(entry=name, **said)
    entries = [read_entry(LogEntry.model_validate(one)) for one in log]
    return share_for(document, entries=entries, key=keys().openers[opener], suite=suite()).hex()


def test_both_offices_open_a_pseudonym_at_the_real_service(world, real) -> None:
    subject = registered(world, 1)[0].holder.name_in(BILLING)
    account = account_of("customer 0")
    write_books(world.issuer.engine, [account], actor="operator", now=NOW)
    offices = OfficeClient(real, identity_url="http://testserver/")
    utility, regulator = (real_session(opener) for opener in OPENERS)

    ordered = offices.order_opening(utility, subject=f" {subject} ", reference="2026/1")
    assert (ordered.subject, ordered.reference, ordered.ordered_at) == (subject, "2026/1", NOW)
    assert (ordered.state, ordered.waiting_for) == ("ordered", OPENERS)
    assert offices.result(regulator, name=ordered.hash) is None

    wrong = computed_share(real, ordered.hash, "regulator")
    with pytest.raises(SignatureError) as caught:
        offices.give_share(utility, name=ordered.hash, share=wrong)
    assert caught.value.reason == "share.refused"
    assert wrong not in str(caught.value)

    share = computed_share(real, ordered.hash, "utility")
    half = offices.give_share(utility, name=ordered.hash, share=f"{share[:100]}\n{share[100:]}\n")
    assert (half.state, half.waiting_for) == ("half", ("regulator",))
    share = computed_share(real, ordered.hash, "regulator")
    done = offices.give_share(regulator, name=ordered.hash, share=share)
    assert (done.state, done.is_open, done.opened) == ("open", True, 1)
    assert offices.warrants(regulator) == (done,)

    opening = offices.result(utility, name=done.hash)
    assert opening is not None
    assert (opening.subject, opening.identity) == (subject, "customer 0")
    assert (opening.name, opening.address) == ("Lin", "Harbour Road 1")
    assert opening.expires_at > NOW
    assert not [word for word in ("Lin", "Harbour", "customer") if word in repr(opening)]


def test_a_pseudonym_is_revoked_at_the_real_service(world, real) -> None:
    subject = registered(world, 1)[0].holder.name_in(BILLING)
    offices = OfficeClient(real, identity_url="http://testserver")
    for count in (2, 0):
        told = offices.revoke(real_session("utility"), subject=subject, reference="2026/2")
        assert told == count
    with pytest.raises(NotFoundError):
        offices.revoke(real_session("utility"), subject=UNKNOWN, reference="2026/2")


# --- who and what is asked for -------------------------------------------------------------------


@pytest.mark.parametrize(
    "roles",
    [("billing",), ("analyst", "operator"), ("custodian", "regulator"), ("analyst", "regulator")],
    ids="-".join,
)
def test_who_is_not_one_office_asks_nothing(services, client, roles) -> None:
    session = session_of(*roles)
    calls: list[Callable[[], object]] = [
        lambda: office_of(session),
        lambda: client.warrants(session),
        lambda: client.warrant(session, name=NAME),
        lambda: client.order_opening(session, subject=SUBJECT, reference="r"),
        lambda: client.give_share(session, name=NAME, share="ab" * 97),
        lambda: client.result(session, name=NAME),
        lambda: client.revoke(session, subject=SUBJECT, reference="r"),
        lambda: client.searches(session),
    ]
    for call in calls:
        with pytest.raises(AccessDeniedError) as caught:
            call()
        assert caught.value.reason == "session.offices"
    assert services.asked == []


def test_without_a_token_for_the_identity_service_nothing_is_asked(services, client) -> None:
    session = Session("x", frozenset({"custodian"}), datetime(2099, 1, 1, tzinfo=UTC), {})
    with pytest.raises(AccessDeniedError) as caught:
        client.warrants(session)
    assert caught.value.reason == "session.service"
    assert services.asked == []


@pytest.mark.parametrize("subject", ["", "5a", "zz" * 32, "5a" * 33, "../" + "5a" * 31])
def test_what_is_no_pseudonym_is_not_sent(services, client, subject) -> None:
    for call in (client.order_opening, client.revoke):
        with pytest.raises(InputError) as caught:
            call(session_of("custodian"), subject=subject, reference="r")
        assert caught.value.reason == "warrant.subject"
    assert services.asked == []


@pytest.mark.parametrize("reference", ["", "  ", "r" * 257], ids=["none", "spaces", "long"])
def test_an_order_has_a_reference(services, client, reference) -> None:
    with pytest.raises(InputError) as caught:
        client.revoke(session_of("custodian"), subject=SUBJECT, reference=reference)
    assert caught.value.reason == "warrant.reference"
    assert services.asked == []


@pytest.mark.parametrize("name", ["", "ab", "../warrants", "ab" * 32 + "\n", "AB" * 32])
def test_what_is_no_name_of_a_warrant_is_not_sent(services, client, name) -> None:
    session = session_of("custodian")
    for call in (client.warrant, client.result):
        with pytest.raises(InputError) as caught:
            call(session, name=name)
        assert caught.value.reason == "warrant.hash"
    assert services.asked == []


@pytest.mark.parametrize("share", ["", "ab" * 96, "zz" * 97, "ab" * 98])
def test_what_is_no_share_is_not_sent_and_not_repeated(services, client, share) -> None:
    with pytest.raises(InputError) as caught:
        client.give_share(session_of("custodian"), name=NAME, share=share)
    assert caught.value.reason == "share.shape"
    assert not share or share not in str(caught.value)
    assert services.asked == []


def test_an_ended_token_is_told_from_a_wrong_share(services, client) -> None:
    session = session_of("custodian")
    warrant = client.order_opening(session, subject=SUBJECT, reference="r")
    services.tokens_expired = True
    share = share_of(warrant.hash, "utility")
    with pytest.raises(AuthenticityError) as caught:
        client.give_share(session, name=warrant.hash, share=share)
    assert type(caught.value) is AuthenticityError
    assert caught.value.reason == "authenticity.refused"


def test_warrants_are_listed_newest_first_with_their_state(services, client) -> None:
    session = session_of("regulator")
    names = [
        client.order_opening(session, subject=SUBJECT, reference=f"r{number}").hash
        for number in range(4)
    ]
    services.offices.shares = {names[0]: {"utility", "regulator"}, names[1]: {"utility"}}
    services.offices.opened = [names[0], names[2]]
    listed = client.warrants(session)
    assert [item.hash for item in listed] == names[::-1]
    assert [item.state for item in listed] == ["ordered", "past", "half", "open"]


# --- searches ------------------------------------------------------------------------------------


def test_searches_are_read_with_fields_nobody_knows(services, client) -> None:
    services.offices.searches = [
        search(1, identity_digest=None, later="field"),
        {"hash": NAME, "waiting_for": [], "found": [SUBJECT, UNKNOWN]},
    ]
    first, second = client.searches(session_of("custodian")) or ()
    assert (first.waiting_for, first.done, first.of, first.found) == (("utility",), 512, 4096, 1)
    assert (second.hash, second.state, second.done, second.of, second.found) == (NAME, "", 0, 0, 2)


def test_searches_of_the_real_service_are_read(world, real) -> None:
    """As one order is answered, so searches may be listed."""
    registered(world, 3)
    session = real_session("regulator")
    body = {"identity": "customer 1", "reference": "2026/3"}
    header = {"Authorization": f"Bearer {session.tokens['identity']}"}
    started = real.post("/person-searches", json=body, headers=header).json()
    (read,) = answering([started]).searches(session) or ()
    assert read.hash == started["entry"]["hash"]
    assert (read.waiting_for, read.done, read.of, read.found) == (("utility",), 0, 3, 0)


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_that_lists_no_searches(status) -> None:
    body = {"reason": f"http.{status}", "detail": "m", "remedy": ""}
    client = OfficeClient(through(lambda _: httpx.Response(status, json=body)), identity_url=URL)
    assert client.searches(session_of("custodian")) is None


def test_another_failure_is_none_of_that() -> None:
    client = OfficeClient(through(lambda _: httpx.Response(500)), identity_url=URL)
    with pytest.raises(GridSecureError) as caught:
        client.searches(session_of("custodian"))
    assert caught.value.reason == "service.failed"


# --- answers of another shape --------------------------------------------------------------------

WARRANT = {
    "entry": {"hash": NAME, "index": 1, "actor": "wang", "at": "2026-07-01T08:00:00+00:00"},
    "subject": SUBJECT,
    "reference": "r",
    "waiting_for": [],
    "opened": 0,
}
OPENING = {
    "subject": SUBJECT,
    "identity": "i",
    "account": None,
    "expires_at": "2026-07-01T08:00:00+00:00",
}


@pytest.mark.parametrize(
    "change",
    [
        {"entry": None},
        {"entry": {**WARRANT["entry"], "hash": "$(rm -r .)"}},  # it would stand in a command
        {"entry": {**WARRANT["entry"], "index": -1}},
        {"entry": {**WARRANT["entry"], "actor": None}},
        {"entry": {**WARRANT["entry"], "at": "2026-07-01T08:00:00"}},
        {"subject": "5A" * 32},
        {"waiting_for": "utility"},
        {"waiting_for": ["**operator**"]},
        {"opened": True},
        {"reference": None},
    ],
    ids=[
        "entry",
        "hash",
        "index",
        "actor",
        "time",
        "subject",
        "waiting",
        "office",
        "opened",
        "reference",
    ],
)  # fmt: skip
def test_a_warrant_of_another_shape_is_an_error(change) -> None:
    session = session_of("custodian")
    assert answering(WARRANT).warrant(session, name=NAME).is_open
    with pytest.raises(InvalidMessageError) as caught:
        answering({**WARRANT, **change}).warrant(session, name=NAME)
    assert caught.value.reason == "message.answer"


@pytest.mark.parametrize(
    "change",
    [{"subject": None}, {"identity": 3}, {"account": {"name": 1}},
     {"account": ["x"]}, {"expires_at": "soon"}],
    ids=["subject", "identity", "name", "list", "time"],
)  # fmt: skip
def test_an_opening_of_another_shape_is_an_error(change) -> None:
    session = session_of("custodian")
    opening = answering(OPENING).result(session, name=NAME)
    assert opening is not None
    assert opening.meter_point_id == opening.name == opening.address == ""
    with pytest.raises(InvalidMessageError):
        answering({**OPENING, **change}).result(session, name=NAME)


@pytest.mark.parametrize(
    "item",
    [None, {}, {**search(1), "hash": "x; y"}, {**search(1), "of": -1}, search(1, waiting_for=[""])],
)
def test_a_search_of_another_shape_is_an_error(item) -> None:
    with pytest.raises(InvalidMessageError):
        answering([item]).searches(session_of("custodian"))


@pytest.mark.parametrize("body", [None, {}, {"revoked": "2"}, {"revoked": -1}, [2]])
def test_a_revocation_of_another_shape_is_an_error(body) -> None:
    with pytest.raises(InvalidMessageError):
        answering(body).revoke(session_of("custodian"), subject=SUBJECT, reference="r")


# --- signing in with a code ----------------------------------------------------------------------


def by_code(services: ZoneServices, code: str) -> Session:
    return sign_in_by_code(through(services.handle), identity_url=URL, code=code)


@pytest.mark.parametrize(
    ("roles", "wanted"),
    [
        (("billing",), {"authority", "platform", "gateway"}),
        (("analyst",), {"authority"}),
        (("custodian",), {"authority", "identity"}),
        (("regulator",), {"authority", "identity"}),
        (("analyst", "regulator"), {"authority", "identity"}),
        (("stranger",), set()),
    ],
    ids=lambda value: "-".join(sorted(value)) or "none",
)
def test_a_code_gives_the_tokens_that_its_roles_work_with(services, roles, wanted) -> None:
    code = services.offices.code(*roles)
    session = by_code(services, f"{code[:200]}\n{code[200:]}\n")
    assert (session.user, session.roles) == (f"{roles[0]} by key", set(roles))
    assert set(session.tokens) == wanted
    assert session.is_valid(at=datetime(2098, 1, 1, tzinfo=UTC))
    assert ":identity" not in repr(session)


def test_an_audience_that_was_not_signed_for_has_no_token(services) -> None:
    code = services.offices.code("custodian", audiences=("authority",))
    assert set(by_code(services, code).tokens) == {"authority"}


def test_a_code_is_refused_the_second_time_too_late_or_of_a_stranger(services) -> None:
    once = services.offices.code("billing")
    by_code(services, once)
    late = services.offices.code("billing", age=timedelta(minutes=2))
    login = person_login(["authority"], key=generate_private_key(), now=datetime.now(UTC))
    for code in (once, late, code_of(login)):
        with pytest.raises(AuthenticityError) as caught:
            by_code(services, code)
        assert caught.value.reason == "session.code"
        assert code not in str(caught.value)


def other_message() -> str:
    notice = KeyNotice(
        key_id="k", gateway="a" * 64, generation=1, parameters="p",
        parameters_digest="d", public_key="k",
        relinearisation_keys=None, created_at="2026-07-01T00:00:00+08:00",
    )  # fmt: skip
    return code_of(sign_message(notice, key=generate_private_key()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: "",
        lambda: "gridsecure: command not found",
        lambda: "密码",
        lambda: "A" * 9000,
        lambda: base64.urlsafe_b64encode(b'{"body": "x"}').decode(),
        lambda: base64.urlsafe_b64encode(b"[]").decode(),
        other_message,
    ],
    ids=["empty", "sentence", "other script", "long", "fields", "list", "other message"],
)
def test_what_is_no_code_is_not_sent_and_not_repeated(services, make) -> None:
    code = make()
    with pytest.raises(InputError) as caught:
        by_code(services, code)
    assert caught.value.reason == "session.code-shape"
    assert caught.value.__cause__ is None
    assert not code or code not in str(caught.value)
    assert services.asked == []


@pytest.mark.parametrize(
    "change",
    [{"tokens": [1]}, {"tokens": {"authority": 1}}, {"roles": "billing"}, {"name": None},
     {"expires_at": "soon"}],
    ids=["tokens", "token", "roles", "name", "time"],
)  # fmt: skip
def test_tokens_of_another_shape_are_an_error(services, change) -> None:
    body = {"name": "n", "roles": ["billing"], "tokens": {"authority": "t"},
            "expires_at": "2099-01-01T00:00:00+00:00"}  # fmt: skip
    http = through(lambda _: httpx.Response(200, json={**body, **change}))
    with pytest.raises(InvalidMessageError):
        sign_in_by_code(http, identity_url=URL, code=services.offices.code("billing"))


@pytest.mark.parametrize("passwords", [True, False])
def test_the_service_says_whether_it_takes_passwords(services, passwords) -> None:
    services.offices.passwords = passwords
    assert offers_passwords(through(services.handle), identity_url=URL) is passwords
