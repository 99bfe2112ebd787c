"""Giving credentials to many at once, the utility's books, and what people's logins need."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from gridsecure.credentials.issuer_keys import Context
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    GridSecureError,
    InvalidMessageError,
    SignatureError,
    StaleMessageError,
)
from gridsecure.identity.access_tokens import give_token
from gridsecure.identity.enrolments.accounts import Account, find_accounts, put_accounts
from gridsecure.identity.enrolments.books import WRITTEN, find_days, write_books
from gridsecure.identity.enrolments.enrolled_keys import identity_of, keys_of
from gridsecure.identity.enrolments.issuer import ENROLLED, CredentialRequest, Issued
from gridsecure.identity.enrolments.orders import SESSIONS
from gridsecure.identity.enrolments.signed_logins import FORGET_AFTER, MAX_AGE, admit_login
from gridsecure.identity.enrolments.tables import (
    SCHEMA,
    CredentialRow,
    EnrolmentRow,
    SessionRow,
    UsedLoginRow,
)
from gridsecure.identity.one_use import OneUse
from gridsecure.identity.registrations.token_service import GivenGrant
from gridsecure.identity_messages import PersonLogin, person_login, service_login
from gridsecure.messages import sign_message
from gridsecure.store.database import write_session
from gridsecure.store.evidence import EvidenceRow
from tests.grid_simulator import grid_keys, registry
from tests.identity.identity_world import (
    ANALYST,
    METER,
    NOW,
    World,
    account_of,
    in_books,
    new_holder,
    opened,
    suite,
)

CHANNEL = b"channel"
KEYS = grid_keys()


def refused(kind: type[GridSecureError], reason: str):
    return pytest.raises(kind, match=rf"^\[{reason}\]")


def evidence(engine) -> list[tuple[str, str, dict]]:
    with Session(engine) as session:
        rows = session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index)))
        return [(row.actor, row.action, json.loads(row.detail)) for row in rows]


def rows(engine, table):
    with Session(engine) as session:
        return list(session.exec(select(table)))


def request_of(holder, identity: str, context: Context = METER) -> CredentialRequest:
    pending = holder.ask(context, channel=CHANNEL)
    return CredentialRequest(identity, pending.message, CHANNEL)


def outcomes(answers) -> list[str]:
    return ["given" if isinstance(one, Issued) else one.reason for one in answers]


# --- batches of credentials ----------------------------------------------------------------------


def test_one_bad_request_hurts_nobody_else(world: World):
    holders = [new_holder() for _ in range(4)]
    world.enrol(holders[1], "customer 1")
    in_books(world.issuer.engine, *(f"customer {at}" for at in range(5)))
    good = [request_of(holder, f"customer {at}") for at, holder in enumerate(holders)]
    requests = [
        good[0],
        request_of(new_holder(), "customer 1"),
        replace(good[2], message=good[2].message[:-1]),
        replace(good[3], channel=b"another"),
        request_of(holders[1], "customer 4"),
        good[1],
    ]
    answers, _ = world.issuer.issue_all(requests, context=METER, now=NOW, actor="gateway:f")
    assert outcomes(answers) == [
        "given",
        "conflict.enrolment",
        "identity.length",
        "authenticity.credential-request",
        "conflict.enrolment",
        "given",
    ]
    identities = {row.identity for row in rows(world.issuer.engine, EnrolmentRow)}
    assert identities == {"customer 0", "customer 1"}
    actor, action, detail = evidence(world.issuer.engine)[-1]
    assert (actor, action) == ("gateway:f", ENROLLED)
    digest = detail.pop("digest")
    assert detail == {"role": "meter-point", "period": "2026", "issued": 2, "refused": 4}
    assert len(digest) == 64


def test_an_identity_keeps_its_kind(world: World):
    """A person, a gateway and a meter point of one name are three, and none hides another."""
    roles = ("meter-point", "gateway", "analyst")
    for role in roles:
        world.enrol(new_holder(), "44", Context(role, "2026"))
    identities = {row.identity for row in rows(world.issuer.engine, EnrolmentRow)}
    assert identities == {"44", "gateway/44", "analyst/44"}
    holder = new_holder()
    world.enrol(holder, "55", Context("gateway", "2026"))
    key = suite().group.encode(suite().group.multiply(suite().g, scalar=holder.m1))
    assert identity_of(world.issuer.engine, key=key) == "gateway/55"


def test_a_refused_credential_leaves_no_enrolment(world: World):
    world.enrol(new_holder(), "lin", ANALYST)
    with refused(ConflictError, "conflict.credential"):
        world.enrol(new_holder(), "lin", ANALYST)
    assert len(rows(world.issuer.engine, EnrolmentRow)) == 1
    assert len(rows(world.issuer.engine, CredentialRow)) == 1


def test_keys_are_told_of_customers_and_of_nobody_hidden(world: World):
    holder = new_holder()
    world.enrol(holder, "customer 1")
    world.enrol(new_holder(), "lin", ANALYST)
    key = suite().group.multiply(suite().g, scalar=holder.m1)
    found = keys_of(world.issuer.engine, ["customer 1", "customer 2", "analyst/lin", "lin"])
    assert found == {"customer 1": suite().group.encode(key).hex()}


# --- books ---------------------------------------------------------------------------------------


@pytest.fixture
def books(database_url):
    engine = opened(database_url, SCHEMA)
    yield engine
    engine.dispose()


def account(meter: str, gateway: str = "a", **changes) -> Account:
    chosen = {"gateway": gateway, "name": "Chen Wei", "address": "1 Futian Road"}
    return account_of(meter, **(chosen | changes))


def test_books_are_written_over_and_say_who_reads_what(books):
    write_books(books, [account("44"), account("45")], actor="ops", now=NOW)
    assert find_days(books, ["44", "45", "46"], gateway="a").keys() == {"44", "45"}
    write_books(books, [account("45", "b", name="Li Na")], actor="ops", now=NOW)
    assert find_days(books, ["44", "45"], gateway="a").keys() == {"44"}
    assert find_days(books, ["44", "45"], gateway="b").keys() == {"45"}
    with Session(books) as session:
        assert find_accounts(session, ["45"])["45"].name == "Li Na"


def test_books_of_before_accounts_had_days_let_neither_of_two_gateways_enrol(books):
    """Nothing refused them then: both would bill the meter point, each under a name of its own."""
    with write_session(books) as session:
        put_accounts(session, [account("44"), account("44~B", "b"), account("45")])
    assert find_days(books, ["44", "45"], gateway="a").keys() == {"45"}
    assert find_days(books, ["44~B"], gateway="b") == {}
    divided = [account("44", valid_to="2026-07-16"), account("44~B", "b", valid_from="2026-07-16")]
    write_books(books, divided, actor="ops", now=NOW)
    assert find_days(books, ["44"], gateway="a").keys() == {"44"}
    assert find_days(books, ["44~B"], gateway="b").keys() == {"44~B"}


def test_the_evidence_of_books_names_no_customer(books):
    write_books(books, [account("44"), account("44", name="Li Na")], actor="ops", now=NOW)
    ((actor, action, detail),) = evidence(books)
    assert (actor, action, detail["accounts"]) == ("ops", WRITTEN, 1)
    assert "44" not in str(detail | {"digest": ""})
    assert "Chen" not in repr(account("44"))
    assert "Futian" not in repr(account("44"))


def test_many_books_are_read_in_portions(books):
    names = [f"{number:05d}" for number in range(1201)]
    write_books(books, [account(name) for name in names], actor="ops", now=NOW)
    assert find_days(books, names, gateway="a").keys() == set(names)


# --- values that are good once -------------------------------------------------------------------


@pytest.fixture
def values(database_url):
    engine = opened(database_url, SCHEMA)
    yield engine
    engine.dispose()


def test_a_session_is_its_owners_and_good_once(values):
    value = SESSIONS.give(values, now=NOW, owner="gateway:a")
    for owner in ("gateway:b", ""):  # and an attempt does not use it up
        with refused(StaleMessageError, "authenticity.enrolment-session"):
            SESSIONS.use(values, value=value, now=NOW, owner=owner)
    SESSIONS.use(values, value=value, now=NOW, owner="gateway:a")
    with refused(StaleMessageError, "authenticity.enrolment-session"):
        SESSIONS.use(values, value=value, now=NOW, owner="gateway:a")


def test_values_that_are_over_are_forgotten_and_others_stay(values):
    brief = OneUse(SessionRow, timedelta(minutes=1))
    session = SESSIONS.give(values, now=NOW)
    old = [brief.give(values, now=NOW) for _ in range(3)]
    brief.use(values, value=old[0], now=NOW)
    brief.give(values, now=NOW + timedelta(seconds=60))
    assert len(rows(values, SessionRow)) == 5
    brief.give(values, now=NOW + timedelta(seconds=61))
    assert len(rows(values, SessionRow)) == 3
    with refused(StaleMessageError, "authenticity.enrolment-session"):
        brief.use(values, value=old[1], now=NOW + timedelta(seconds=61))
    SESSIONS.use(values, value=session, now=NOW)


# --- people --------------------------------------------------------------------------------------


def admit(engine, envelope, *, now=NOW) -> PersonLogin:
    return admit_login(
        envelope, expect=PersonLogin, trusted=registry(KEYS.stranger), engine=engine, now=now
    )


def test_a_person_logs_in_once_for_several_services(values):
    envelope = person_login(["identity", "platform"], key=KEYS.stranger, now=NOW)
    assert admit(values, envelope).audiences == ["identity", "platform"]
    with refused(StaleMessageError, "authenticity.login-replayed"):
        admit(values, envelope)


def test_a_login_of_another_kind_person_or_time_is_refused(values):
    service = service_login(audience="identity", key=KEYS.stranger, now=NOW)
    stranger = person_login(["identity"], key=KEYS.gateway, now=NOW)
    for envelope in (service, stranger):
        with pytest.raises(AuthenticityError):
            admit(values, envelope)
    late = person_login(["identity"], key=KEYS.stranger, now=NOW)
    with refused(StaleMessageError, "authenticity.login-time"):
        admit(values, late, now=NOW + MAX_AGE + timedelta(seconds=1))
    with pytest.raises(SignatureError):
        admit(values, late.model_copy(update={"body": late.body.replace("identity", "platform")}))


@pytest.mark.parametrize(
    "audiences", [[], ["identity"] * 2, ["elsewhere"], ["identity", "platform", "authority"] * 2]
)
def test_audiences_are_a_few_different_services(values, audiences):
    login = PersonLogin.model_construct(
        audiences=audiences, issued_at=NOW.isoformat(), nonce="0" * 32
    )
    with pytest.raises(InvalidMessageError):
        admit(values, sign_message(login, key=KEYS.stranger))


def test_old_nonces_are_forgotten_long_after_they_are_refused_by_time(values):
    assert FORGET_AFTER > 10 * MAX_AGE
    admit(values, person_login(["identity"], key=KEYS.stranger, now=NOW))
    later = NOW + FORGET_AFTER + timedelta(seconds=1)
    admit(values, person_login(["identity"], key=KEYS.stranger, now=later), now=later)
    assert len(rows(values, UsedLoginRow)) == 1


def test_tokens_stay_out_of_reprs():
    given = give_token(
        "lin", roles=("analyst",), audience="identity", key=KEYS.identity,
        valid=(NOW, NOW + MAX_AGE),
    )  # fmt: skip
    assert given.token not in repr(given)
    assert "secret" not in repr(GivenGrant({"platform": "secret"}, NOW))
