"""Enrolment: everybody once a year, whatever is lost or killed; the refused stop nobody else."""

from __future__ import annotations

import inspect
import random
import secrets
from dataclasses import replace

import httpx
import pytest
from sqlmodel import col, delete, select

from gridsecure.credentials.access import ISSUER
from gridsecure.credentials.issuer_keys import Context, generate_issuer_key
from gridsecure.credentials.seats import billing_domain, settlement_domain
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
    UnknownMeterError,
)
from gridsecure.gateway import enrolment_passes
from gridsecure.gateway.agent_records import (
    Member,
    map_settlement_names,
    recall_gateway,
    recall_members,
)
from gridsecure.gateway.agents import agents_of
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.enrolment_passes import batch_size
from gridsecure.gateway.identity_peer import HolderLogin, IdentityPeer
from gridsecure.gateway.tables import CredentialRow
from gridsecure.identity.enrolments import tables as enrolments
from gridsecure.identity.enrolments.issuer import Issuer
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity.registrations.revoking import revoke
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.identity_messages import (
    MAX_BATCH,
    NO_FACTS,
    EnrolmentAnswer,
    EnrolmentOrder,
    IdentityKeys,
    Registrations,
)
from gridsecure.messages import Signed, sign_message
from gridsecure.store.database import write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.wire.client import PAUSES_S
from tests.gateway.gateway_world import SEED, YEAR, GatewayWorld, Killed
from tests.gateway.identity_wire import Authority
from tests.grid_simulator import NOW, grid_keys
from tests.identity.identity_world import keys, shown_with, suite

NAMES = ["meter-1", "meter-2", "meter-3"]
REQUESTS = [
    "GET /identity-keys",
    "POST /service-tokens",
    "POST /enrolments/sessions",
    "POST /enrolments",
    "POST /challenges",
    "POST /registrations",
]
"""What enrolling one batch takes, in order."""
BILLING, SETTLEMENT = billing_domain(YEAR), settlement_domain(YEAR)


@pytest.fixture
def world(tmp_path):
    """A gateway that nobody has met yet, and an identity authority of its own."""
    (tmp_path / "identity").mkdir()
    authority = Authority(tmp_path / "identity", [grid_keys().gateway.public_key])
    made = GatewayWorld(tmp_path, enrolled=False, authority=authority)
    made.list_accounts(NAMES)
    yield made
    made.close()
    authority.close()


def enrolled(world, names=NAMES, *, start=f"{YEAR}-07-01T00:00:00+08:00"):
    return world.peers.identity.enrol(names, start=start)


def batches_of(monkeypatch, size):
    monkeypatch.setattr(enrolment_passes, "MAX_BATCH", size)


def own_names(world, *domains, names=NAMES):
    """What the holders themselves compute."""
    found = [tuple(world.meter_point(name).name_in(d) for d in domains) for name in names]
    return dict(zip(names, found, strict=True))


def registered(world):
    with write_session(world.registry.registrations) as session:
        return set(session.exec(select(RegistrationRow.subject)))


# --- once ---------------------------------------------------------------------------------------


def test_everybody_is_registered_for_billing_and_settlement(world):
    found = enrolled(world)
    own = own_names(world, BILLING, SETTLEMENT)
    assert found.names == {name: subjects[0] for name, subjects in own.items()}
    assert found.refused == {}
    kept = recall_members(world.zone, YEAR)
    assert {name: member.subjects for name, member in kept.items()} == own
    assert all(member.facts.counted for member in kept.values())
    assert map_settlement_names(world.zone, f"{YEAR}-12-01") == dict(own.values())
    assert registered(world) == {name for subjects in own.values() for name in subjects}
    assert world.identity.log == REQUESTS


def test_the_second_month_of_a_year_asks_for_nobody(world):
    first = enrolled(world)
    world.restart()
    world.identity.log.clear()
    assert enrolled(world, start=f"{YEAR}-08-01T00:00:00+08:00") == first
    assert world.identity.log == []


def test_only_who_is_new_is_asked_for(world):
    enrolled(world)
    world.list_accounts(["meter-4"])
    world.identity.log.clear()
    found = enrolled(world, [*NAMES, "meter-4"])
    assert len(found.names) == 4
    assert world.identity.log == REQUESTS
    with write_session(world.registry.enrolments) as session:
        assert len(session.exec(select(enrolments.CredentialRow)).all()) == 4


def test_another_year_gives_other_pseudonyms_of_the_same_keys(world):
    first = enrolled(world)
    second = enrolled(world, start="2027-01-01T00:00:00+08:00")
    assert first.names.keys() == second.names.keys()
    assert not set(first.names.values()) & set(second.names.values())
    with write_session(world.registry.enrolments) as session:
        assert len(session.exec(select(enrolments.EnrolmentRow)).all()) == len(NAMES)
    assert enrolled(world) == first
    for name in second.names.values():
        assert find_registration(world.registry.registrations, subject=name).carried == ()


def test_with_carry_the_earlier_pseudonyms_are_shown_by_who_has_them(world):
    world.list_accounts(["meter-4"])
    first = enrolled(world)
    world.carry = True
    second = enrolled(world, [*NAMES, "meter-4"], start="2027-01-01T00:00:00+08:00")
    for name, subject in second.names.items():
        found = find_registration(world.registry.registrations, subject=subject)
        assert found.carried == ((first.names[name],) if name in NAMES else ())


def test_several_batches_go_side_by_side(world, monkeypatch):
    batches_of(monkeypatch, 2)
    names = [f"meter-{number}" for number in range(7)]
    world.list_accounts(names)
    counts = []
    found = world.peers.identity.enrol(
        names, start=YEAR, counted=lambda done, of: counts.append((done, of))
    )
    assert found.names == {n: s for n, (s,) in own_names(world, BILLING, names=names).items()}
    assert [of for _, of in counts] == [7] * 8
    done = [done for done, _ in counts]
    assert (done == sorted(done), done[-1]) == (True, 7)
    assert world.identity.count("/registrations") == 4


def test_the_gateway_joins_once_under_a_pseudonym_of_its_own(world):
    client = world.peers.identity
    subject = client.join(YEAR)
    assert subject == world.holder("gateway").name_in(BILLING)
    assert recall_gateway(world.zone, YEAR) == Member((subject,), NO_FACTS)
    found = find_registration(world.registry.registrations, subject=subject)
    assert (found.role, found.domain, found.settlement) == ("gateway", BILLING.text, "")
    assert found.holder == world.gateway_key.public_key.point
    requests = len(world.identity.log)
    assert client.join(YEAR) == subject
    assert len(world.identity.log) == requests


def test_a_gateway_that_is_cloned_does_not_join(world):
    cloned(world, "gateway", identity=world.zone.service_id, role="gateway")
    with pytest.raises(AccessDeniedError) as refusal:
        world.peers.identity.join(YEAR)
    assert refusal.value.reason == "identity.gateway"
    assert recall_gateway(world.zone, YEAR) is None


# --- in which order -----------------------------------------------------------------------------


def orders(world):
    """Batches as the authority sees them, from now on: names that enrol, subjects that register."""
    real, enrolling, registering = world.identity.answer, [], []

    def answer(request):
        response = real(request)
        if request.url.path == "/enrolments":
            assert not registering
            text = open_from(request.read(), private_key=world.registry.signer, purpose="enrolment")
            order = EnrolmentOrder.parse(Signed.parse(text).body)
            enrolling.append([item.identity for item in order.items])
        if request.url.path == "/registrations":
            registering.append([item["subjects"][0] for item in response.json()["items"]])
        return response

    world.identity.answer = answer
    return enrolling, registering


def twenty(world, monkeypatch):
    batches_of(monkeypatch, 5)
    names = [f"meter-{number:02}" for number in range(20)]
    world.list_accounts(names)
    return names


def test_the_order_of_registering_says_nothing_about_that_of_enrolling(world, monkeypatch):
    names = twenty(world, monkeypatch)
    enrolling, registering = orders(world)
    found = enrolled(world, names)
    meters = {subject: name for name, subject in found.names.items()}
    cut = [[meters[subject] for subject in batch] for batch in registering]
    assert sorted(name for batch in cut for name in batch) == names
    # One run in 5e8 has the batches of before by chance, one in 2e18 the order.
    assert {frozenset(batch) for batch in cut} != {frozenset(batch) for batch in enrolling}
    assert [n for batch in cut for n in batch] != [n for batch in enrolling for n in batch]


def test_batches_are_cut_across_those_that_enrolled(world, monkeypatch):
    names = twenty(world, monkeypatch)
    monkeypatch.setattr(enrolment_passes, "IN_FLIGHT", 1)
    world.shuffle = lambda given: given.sort(key=lambda pair: pair[0].identity[::-1])
    _, registering = orders(world)
    found = enrolled(world, names)
    assert registering[0] == [found.names[n] for n in sorted(names, key=lambda n: n[::-1])[:5]]


def test_nobody_registers_before_everybody_enrolled(world, monkeypatch):
    names = twenty(world, monkeypatch)
    enrolled(world, names)
    log = [line for line in world.identity.log if line in ("POST /enrolments", REQUESTS[-1])]
    assert log == ["POST /enrolments"] * 4 + [REQUESTS[-1]] * 4


def test_the_order_is_drawn_by_the_system():
    default = inspect.signature(IdentityClient).parameters["shuffle"].default
    assert isinstance(default.__self__, secrets.SystemRandom)
    assert default.__func__ is random.Random.shuffle


def test_what_the_authority_says_of_the_gateway_is_not_repeated(world):
    real, said = world.identity.answer, "Zhang Wei, 5 Long Street"

    def answer(request):
        if request.url.path == "/registrations":
            return httpx.Response(200, json={"items": [{"reason": said}]})
        return real(request)

    world.identity.answer = answer
    with pytest.raises(AccessDeniedError) as refusal:
        world.peers.identity.join(YEAR)
    assert said not in f"{refusal.value!r} {refusal.value} {refusal.value.remedy}"
    assert "(identity.refused)" in refusal.value.message


# --- an authority that lost something -----------------------------------------------------------


def lose(world, *subjects):
    """As after a restore from a backup that was made before they registered."""
    with write_session(world.registry.registrations) as session:
        session.exec(delete(RegistrationRow).where(col(RegistrationRow.subject).in_(subjects)))


def asked(world, found):
    world.restart()
    world.identity.log.clear()
    return world.peers.identity.registrations(list(found.names.values()), start=YEAR)


def test_who_is_remembered_and_lost_registers_once_more_without_a_name(world):
    found = enrolled(world)
    lost = recall_members(world.zone, YEAR)["meter-2"].subjects
    lose(world, *lost)
    envelope, refused = asked(world, found)
    assert refused == frozenset()
    entries = Registrations.parse(envelope.body).entries
    assert [entry.subject for entry in entries] == list(found.names.values())
    assert set(lost) <= registered(world)
    again = ["GET /identity-keys", "POST /challenges", "POST /registrations"]
    assert world.identity.log == [
        "POST /registrations/list", *again, "POST /registrations/list"
    ]  # fmt: skip


def test_who_is_refused_again_is_left_out_after_one_attempt(world):
    found = enrolled(world)
    revoke(world.registry.registrations, subject=found.names["meter-3"], reference="w", now=NOW)
    envelope, refused = asked(world, found)
    assert refused == {found.names["meter-3"]}
    assert len(Registrations.parse(envelope.body).entries) == 2
    assert world.identity.count("/registrations") == 1
    assert world.identity.count("/enrolments") == 0


def test_one_that_is_lost_comes_back_beside_one_that_is_revoked(world):
    found = enrolled(world)
    lose(world, *recall_members(world.zone, YEAR)["meter-2"].subjects)
    revoke(world.registry.registrations, subject=found.names["meter-3"], reference="w", now=NOW)
    _, refused = asked(world, found)
    assert refused == {found.names["meter-3"]}


def test_who_has_no_credential_any_more_is_left_out_and_not_named(world):
    found = enrolled(world)
    lose(world, *recall_members(world.zone, YEAR)["meter-2"].subjects)
    with write_session(world.zone.engine) as session:
        session.exec(delete(CredentialRow))
    _, refused = asked(world, found)
    assert refused == {found.names["meter-2"]}
    assert world.identity.count("/enrolments") == 0


# --- lost and killed ----------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["request lost", "answer lost", "fault"])
@pytest.mark.parametrize("number", range(1, len(REQUESTS) + 1))
def test_whatever_one_request_suffers_everybody_is_registered_once(world, number, fate):
    world.identity.break_at = {number: fate}
    assert len(enrolled(world).names) == len(NAMES)
    assert len(registered(world)) == 2 * len(NAMES)
    assert world.pauses in ([], [PAUSES_S[0]])


@pytest.mark.parametrize("request_number", range(1, len(REQUESTS) + 1))
def test_killed_at_any_step_the_next_run_has_the_same_pseudonyms(world, request_number):
    real = world.identity.answer

    def answer_then_die(request):
        response = real(request)
        if len(world.identity.log) == request_number:
            raise Killed
        return response

    world.identity.answer = answer_then_die
    with pytest.raises(Killed):
        enrolled(world)
    assert recall_members(world.zone, YEAR) == {}
    world.identity.answer = real
    world.restart()
    assert enrolled(world).names == {n: s for n, (s,) in own_names(world, BILLING).items()}
    assert len(registered(world)) == 2 * len(NAMES)
    with write_session(world.registry.registrations) as session:
        actions = {row.action for row in session.exec(select(EvidenceRow))}
    assert "identity.clone-alarm" not in actions


def test_killed_between_batches_the_next_run_asks_for_the_others_only(world, monkeypatch):
    batches_of(monkeypatch, 1)
    monkeypatch.setattr(enrolment_passes, "IN_FLIGHT", 1)
    real = world.identity.answer

    def die_at_the_second(request):
        if world.identity.count("/registrations") == 2:
            raise Killed
        return real(request)

    world.identity.answer = die_at_the_second
    with pytest.raises(Killed):
        enrolled(world)
    assert len(recall_members(world.zone, YEAR)) == 1
    world.identity.answer = real
    world.restart()
    world.identity.log.clear()
    assert len(enrolled(world).names) == len(NAMES)
    assert world.identity.count("/registrations") == 2


# --- refused ------------------------------------------------------------------------------------


def cloned(world, name, *, identity, role="meter-point"):
    """Somebody with a copy of a holder's secret registers another key before it does."""
    holder, context = world.holder(name), Context(role, YEAR)
    pending = holder.ask(context, channel=b"stolen")
    issued = world.registry.issuer.issue(
        pending.message, identity=identity, context=context, channel=b"stolen", now=NOW
    )
    credential = holder.take(
        pending, response=issued.response, channel=b"stolen", facts=issued.facts
    )
    domains = (BILLING,) if role == "gateway" else (BILLING, SETTLEMENT)
    challenge = world.registry.tokens.challenge(now=NOW)
    key = generate_private_key()
    occasion, message = shown_with(holder, credential, *domains, key=key, challenge=challenge)
    world.registry.registrar.register(message, occasion=occasion, now=NOW)


def test_an_account_that_is_not_in_the_books_is_left_out_alone(world):
    found = enrolled(world, ["stranger", *NAMES])
    assert found.refused == {"stranger": "identity.unknown-account"}
    assert sorted(found.names) == NAMES


def test_a_name_that_fits_no_order_is_left_out_alone(world):
    found = enrolled(world, ["x" * 257, *NAMES])
    assert found.refused == {"x" * 257: "identity.unknown-account"}
    assert sorted(found.names) == NAMES
    assert enrolled(world, ["y" * 257]).refused == {"y" * 257: "identity.unknown-account"}


def test_an_account_of_another_gateway_is_left_out_alone(world):
    other = generate_private_key().public_key
    world.registry.list_accounts(["meter-2"], gateway=other, at=NOW)
    assert enrolled(world).refused == {"meter-2": "identity.unknown-account"}


def test_a_clone_is_left_out_alone(world):
    cloned(world, "meter-point/meter-2", identity="meter-2")
    found = enrolled(world)
    assert found.refused == {"meter-2": "identity.cloned"}
    assert sorted(found.names) == ["meter-1", "meter-3"]


def test_who_is_known_under_another_secret_is_left_out_alone(world, tmp_path):
    enrolled(world, ["meter-1"])
    (tmp_path / "restored").mkdir()
    restored = GatewayWorld(tmp_path / "restored", enrolled=False, authority=world.registry)
    restored.zone = replace(restored.zone, seed=bytes(32))
    found = enrolled(restored)
    assert found.refused == {"meter-1": "identity.other-key"}
    assert sorted(found.names) == ["meter-2", "meter-3"]
    restored.close()


def test_a_reason_it_does_not_know_is_one_all_the_same(world, monkeypatch):
    def refused(*_args, **_kwargs):
        return [InvalidMessageError("No.", reason="identity.something-new")] * len(NAMES), b""

    monkeypatch.setattr(Issuer, "issue_all", refused)
    assert enrolled(world).refused == dict.fromkeys(NAMES, "identity.refused")


def test_who_was_revoked_last_year_is_not_carried_over(world):
    first = enrolled(world)
    revoke(world.registry.registrations, subject=first.names["meter-3"], reference="w", now=NOW)
    world.carry = True
    found = enrolled(world, start="2027-01-01T00:00:00+08:00")
    assert found.refused == {"meter-3": "identity.revoked"}
    assert sorted(found.names) == ["meter-1", "meter-2"]


def test_whoever_was_refused_is_asked_for_again(world):
    assert enrolled(world, ["late"]).refused == {"late": "identity.unknown-account"}
    world.list_accounts(["late"])
    assert enrolled(world, ["late"]).refused == {}


def test_who_may_have_no_new_credential_is_revoked(world, monkeypatch):
    def blocked(*_args, **_kwargs):
        return [AccessDeniedError("No.", reason="identity.blocked")] * len(NAMES), b""

    monkeypatch.setattr(Issuer, "issue_all", blocked)
    assert enrolled(world).refused == dict.fromkeys(NAMES, "identity.revoked")


def test_without_revoked_pseudonyms_their_meter_points_are_refused(world):
    found = enrolled(world)
    left = found.leave_out(frozenset({found.names["meter-1"], "0" * 64}))
    assert left.excluded == {"meter-1": "identity.revoked"}
    assert left.names == found.names


# --- whom it believes ---------------------------------------------------------------------------


SAID = IdentityKeys.parse(keys().statements[0].body)
UTILITY, REGULATOR = keys().staters["utility"], keys().staters["regulator"]
OTHER_ISSUER = generate_issuer_key(suite()).public_key(suite()).to_bytes(suite()).hex()


def test_keys_that_one_opener_alone_signed_are_refused(world):
    stranger = grid_keys().stranger
    for signers in ([UTILITY], [UTILITY, UTILITY], [UTILITY, stranger], []):
        world.registry.statements = tuple(sign_message(SAID, key=key) for key in signers)
        with pytest.raises(AuthenticityError):
            enrolled(world)
    assert world.identity.count("/enrolments/sessions") == 0
    with pytest.raises(NotFoundError):
        agents_of(world.zone)


def test_keys_the_openers_do_not_agree_on_are_refused(world):
    other = SAID.model_copy(update={"issuer": OTHER_ISSUER})
    world.registry.statements = (
        sign_message(SAID, key=UTILITY),
        sign_message(other, key=REGULATOR),
    )
    with pytest.raises(SignatureError) as refusal:
        enrolled(world)
    assert refusal.value.reason == "authenticity.identity-keys"


def test_other_keys_than_before_are_refused_though_both_signed(world):
    enrolled(world)
    other = SAID.model_copy(update={"issuer": OTHER_ISSUER})
    world.registry.statements = (
        sign_message(other, key=UTILITY),
        sign_message(other, key=REGULATOR),
    )
    world.restart()
    world.list_accounts(["meter-4"])
    with pytest.raises(AuthenticityError) as refusal:
        enrolled(world, ["meter-4"])
    assert refusal.value.reason == "identity.keys-changed"


def test_the_same_keys_signed_anew_are_the_same(world):
    enrolled(world)
    world.registry.statements = (sign_message(SAID, key=REGULATOR), sign_message(SAID, key=UTILITY))
    world.list_accounts(["meter-4"])
    assert enrolled(world, ["meter-4"]).refused == {}


def changed_answers(world, change):
    """Let the authority sign other enrolment results than it found."""
    real = world.identity.answer

    def answer(request):
        response = real(request)
        if request.url.path != "/enrolments":
            return response
        text = open_from(
            response.content, private_key=world.zone.signing_key, purpose="enrolment-answer"
        )
        found = change(EnrolmentAnswer.parse(Signed.parse(text).body))
        data = sign_message(found, key=world.grid.identity_key).model_dump_json().encode()
        return httpx.Response(200, content=sealed_answer(world, data))

    world.identity.answer = answer


def with_items(found, items):
    return found.model_copy(update={"items": items})


def with_response(found, response):
    first, *others = found.items
    return with_items(found, [first.model_copy(update={"response": response}), *others])


def test_a_credential_whose_proof_does_not_hold_stops_everything(world):
    changed_answers(world, lambda found: with_response(found, found.items[1].response))
    with pytest.raises(SignatureError) as refusal:
        enrolled(world)
    assert refusal.value.reason == "authenticity.credential-response"
    assert registered(world) == set()
    assert recall_members(world.zone, YEAR) == {}


def test_an_answer_that_another_key_signed_is_refused(world):
    real = world.identity.answer

    def answer(request):
        if request.url.path != "/enrolments":
            return real(request)
        forged = EnrolmentAnswer(session="0" * 64, items=[])
        data = sign_message(forged, key=grid_keys().stranger).model_dump_json().encode()
        return httpx.Response(200, content=sealed_answer(world, data))

    world.identity.answer = answer
    with pytest.raises(UnknownMeterError):
        enrolled(world)


CHANGES = {
    "another session": lambda found: found.model_copy(update={"session": "0" * 64}),
    "another order": lambda found: with_items(found, found.items[::-1]),
    "one missing": lambda found: with_items(found, found.items[1:]),
    "no hexadecimal": lambda found: with_response(found, "no hexadecimal"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_answer_about_something_else_is_refused(world, change):
    changed_answers(world, change)
    with pytest.raises(InvalidMessageError) as refusal:
        enrolled(world)
    assert refusal.value.reason == "identity.answer"


def sealed_answer(world, data: bytes) -> bytes:
    recipient = world.zone.signing_key.public_key
    return seal_to(data, recipient=recipient, purpose="enrolment-answer", owner="s", created_at=NOW)


SUBJECTS = {"subjects": ["0" * 64, "1" * 64]}
ANSWERS = {
    "keys, no object": ("/identity-keys", []),
    "keys, no list": ("/identity-keys", {"statements": {}}),
    "session, nothing": ("/enrolments/sessions", {}),
    "session, another form": ("/enrolments/sessions", {"session": "g" * 64}),
    "challenge, too short": ("/challenges", {"challenge": "00"}),
    "challenge, a number": ("/challenges", {"challenge": 1}),
    "registered, too few": ("/registrations", {"items": [SUBJECTS]}),
    "registered, others": ("/registrations", {"items": [SUBJECTS] * 3}),
    "registered, nothing": ("/registrations", {"items": [{}] * 3}),
    "registered, both": ("/registrations", {"items": [SUBJECTS | {"reason": "x"}] * 3}),
    "registered, numbers": ("/registrations", {"items": [{"subjects": [1, 2]}] * 3}),
}


@pytest.mark.parametrize(("path", "said"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_of_another_shape_is_refused(world, path, said):
    real = world.identity.answer

    def answer(request):
        return httpx.Response(200, json=said) if request.url.path == path else real(request)

    world.identity.answer = answer
    with pytest.raises(InvalidMessageError) as refusal:
        enrolled(world)
    assert refusal.value.reason == "identity.answer"
    assert recall_members(world.zone, YEAR) == {}


# --- logging in ---------------------------------------------------------------------------------


def test_the_gateway_logs_in_under_its_pseudonym(world):
    login, key = world.peers.identity.log_in(YEAR)
    claims = verify_token(
        login.token,
        key=world.grid.identity_key.public_key,
        audience="platform",
        issuer=ISSUER,
        now=world.clock(),
    )
    assert claims.subject == world.holder("gateway").name_in(BILLING)
    assert claims.holder_thumbprint == key.public_key.thumbprint
    assert key.public_key.point == world.gateway_key.public_key.point
    assert login.token not in repr(login)


@pytest.mark.parametrize("fate", ["request lost", "answer lost", "fault"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_login_is_tried_again_with_another_challenge(world, number, fate):
    client = world.peers.identity
    client.join(YEAR)
    world.identity.log.clear()
    world.identity.break_at = {number: fate}
    login, _ = client.log_in(YEAR)
    assert isinstance(login, HolderLogin)


@pytest.mark.parametrize(
    "said",
    [[], {"token": 1, "expires_at": NOW.isoformat()}, {"token": "t", "expires_at": "soon"},
     {"token": "t", "expires_at": 5}, {"token": "t", "expires_at": "2026-08-03T09:00:00"}],
    ids=["no object", "token", "time", "number", "no zone"],
)  # fmt: skip
def test_a_login_of_another_shape_is_refused(said):
    http = httpx.Client(
        transport=httpx.MockTransport(lambda _r: httpx.Response(200, json=said)),
        base_url="http://identity",
    )
    peer = IdentityPeer(http, http, pause=lambda _s: None)
    with pytest.raises(InvalidMessageError) as refusal:
        peer.log_in(subject="0" * 64, domain=BILLING.text, challenge=bytes(32), signature=bytes(64))
    assert refusal.value.reason == "identity.answer"


def test_a_revoked_gateway_gets_no_token_and_no_seat(world):
    client = world.peers.identity
    revoke(world.registry.registrations, subject=client.join(YEAR), reference="w", now=NOW)
    with pytest.raises(AuthenticityError):
        client.log_in(YEAR)
    with pytest.raises(AccessDeniedError) as refusal:
        client.own_registration(YEAR)
    assert refusal.value.reason == "identity.gateway"


# --- what leaves --------------------------------------------------------------------------------


def test_names_leave_sealed_and_pseudonyms_without_a_name(world):
    requests = []
    real = world.identity.answer

    def answer(request):
        requests.append(request)
        return real(request)

    world.identity.answer = answer
    enrolled(world)
    world.peers.identity.log_in(YEAR)
    for request in requests:
        sent = request.read() + str(request.headers).encode() + request.url.path.encode()
        assert not any(name.encode() in sent for name in NAMES)
        assert SEED not in sent
        assert SEED.hex().encode() not in sent
        if request.url.path in ("/registrations", "/registrations/list", "/logins", "/challenges"):
            assert "authorization" not in request.headers
            assert world.zone.service_id.encode() not in sent


def test_no_secret_is_in_what_is_printed(world):
    enrolled(world)
    agents = agents_of(world.zone)
    agent = agents.meter_point("meter-1")
    shown = f"{world.zone!r} {agents!r} {agent!r} {agent.holder!r}"
    assert repr(SEED) not in shown
    assert SEED.hex() not in shown
    assert str(agent.holder.m1) not in shown
    assert agent is agents.meter_point("meter-1")
    assert agent.key_in(BILLING) is agent.key_in(BILLING)
    assert agent.key_in(BILLING).public_key != agent.key_in(SETTLEMENT).public_key


@pytest.mark.parametrize(
    ("holders", "size"), [(1, 24), (20, 24), (73, 24), (300, 50), (768, 128), (10**7, 128)]
)
def test_a_small_run_has_batches_side_by_side_and_none_is_too_large(
    holders: int, size: int
) -> None:
    assert batch_size(holders) == size <= MAX_BATCH
