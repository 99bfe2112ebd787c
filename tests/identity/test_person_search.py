"""A search by person: one registration among twenty is found, and of the others nothing is said."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlmodel import Session

from gridsecure.credentials.log_details import SEARCH
from gridsecure.credentials.opening import OPENERS, generate_opener_key, make_opening_share
from gridsecure.credentials.revocation import Difference, blind_difference, is_zero
from gridsecure.credentials.search_pairs import compute_differences
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
)
from gridsecure.identity.enrolments.blocking import BLOCK, block, blocked_name
from gridsecure.identity.enrolments.enrolled_keys import keys_of
from gridsecure.identity.enrolments.issuer import CredentialRequest, Issued
from gridsecure.identity.enrolments.tables import BlockedRow
from gridsecure.identity.office_desk import OfficeDesk
from gridsecure.identity.registrations.person_searches import BATCH, REFUSED, SEARCHED
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity.registrations.revoking import REVOKED, revoke
from gridsecure.identity.registrations.short_memory import LIMIT
from gridsecure.identity.registrations.vouching import vouch_deny_list
from gridsecure.offices.shares import check_search, search_answer
from gridsecure.store.database import read_session
from gridsecure.store.evidence import list_entries_of
from gridsecure.store.rows import load_row
from tests.identity.identity_world import (
    BILLING,
    CHANNEL,
    METER,
    NOW,
    SETTLEMENT,
    World,
    keys,
    new_holder,
    suite,
)
from tests.identity.office_world import (
    actions,
    answer_of,
    log_of,
    looked_up,
    new_desk,
    registered,
    run_search,
    step,
)

SUITE = suite()
GROUP = SUITE.group


@pytest.fixture
def desk(world: World) -> OfficeDesk:
    return new_desk(world)


def is_registered(world: World, name: str) -> bool:
    try:
        return bool(find_registration(world.service.engine, subject=name))
    except AccessDeniedError:
        return False


# --- the whole search ----------------------------------------------------------------------------


def test_one_among_twenty_is_found_and_nothing_is_said_of_the_others(world: World, desk):
    desk.searches.size = 8
    members = registered(world, 20)
    names = [member.holder.name_in(BILLING) for member in members]
    ordered = desk.order_search("customer 13", reference="2026/9", now=NOW)
    assert (ordered.tested, ordered.total, ordered.waiting_for) == (0, 20, ("utility",))
    assert len(ordered.document.batches) == 3
    state = run_search(desk, world, ordered)
    assert (state.tested, state.found, state.waiting_for) == (20, (names[13],), ())
    with read_session(world.service.engine) as session:
        assert vouch_deny_list(session, now=NOW).subjects == [names[13]]
    for at, member in enumerate(members):
        for domain in (BILLING, SETTLEMENT):
            assert is_registered(world, member.holder.name_in(domain)) == (at != 13)
    key = keys_of(world.issuer.engine, ["customer 13"])["customer 13"]
    told = [name for name in actions(world) if name in (SEARCH, BATCH, REVOKED, SEARCHED)]
    assert sorted(told) == sorted([SEARCH, BATCH, BATCH, BATCH, REVOKED, SEARCHED])
    details = "".join(entry.detail for entry in log_of(world))
    assert '"found":1' in details
    for secret in (key, "customer", *names[:13], *names[14:]):
        assert secret not in details


def test_the_person_gets_no_new_credential_from_the_order_on(world: World, desk):
    member, other = registered(world, 2)
    desk.order_search("customer 0", reference="r", now=NOW)
    with pytest.raises(AccessDeniedError, match=r"identity\.blocked"):
        world.enrol(member.holder, "customer 0")
    assert world.enrol(other.holder, "customer 1")


def test_pseudonyms_that_bills_are_under_and_revoked_ones_are_not_searched(world: World, desk):
    one, two = registered(world, 2)
    revoke(world.service.engine, subject=one.holder.name_in(BILLING), reference="r", now=NOW)
    state = desk.order_search("customer 0", reference="r", now=NOW)
    assert state.total == 1
    assert run_search(desk, world, state).found == ()
    assert is_registered(world, two.holder.name_in(BILLING))


def test_a_search_among_nobody_is_over_at_once(world: World, desk):
    world.enrol(new_holder(), "customer 0")
    state = desk.order_search("customer 0", reference="r", now=NOW)
    assert (state.total, state.waiting_for) == (0, ())
    assert actions(world)[-2:] == [SEARCH, SEARCHED]


def test_nobody_is_searched_for_who_has_no_key(world: World, desk):
    for identity in ("customer 0", "analyst/lin"):
        with pytest.raises(NotFoundError, match=r"not-found\.enrolment"):
            desk.order_search(identity, reference="r", now=NOW)
    assert actions(world) == []


def test_an_idle_search_and_one_before_a_restart_are_gone(world: World, desk):
    registered(world, 1)
    state = desk.order_search("customer 0", reference="r", now=NOW)
    checked = looked_up(world, state)
    step(desk, checked, "utility")
    for asked, now in ((new_desk(world), NOW), (desk, NOW + LIMIT)):
        with pytest.raises(NotFoundError, match=r"not-found\.search"):
            asked.searches.state(state.entry.hash, now=now)
    again = desk.order_search("customer 0", reference="r", now=NOW + timedelta(days=1))
    assert again.entry.hash != state.entry.hash


# --- cheating ------------------------------------------------------------------------------------


@pytest.fixture
def begun(world: World, desk: OfficeDesk):
    """A search among two, its order looked up."""
    registered(world, 2)
    return looked_up(world, desk.order_search("customer 0", reference="r", now=NOW))


def refused(desk, checked, opener, answer, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        desk.searches.take(checked.document.entry, opener=opener, answer=answer, now=NOW)


def to_step(desk, checked, name: str) -> None:
    for before, opener in (("blind", "utility"), ("blind-and-share", "regulator")):
        if before == name:
            return
        step(desk, checked, opener)


@pytest.mark.parametrize(
    ("name", "opener"), [("blind", "utility"), ("blind-and-share", "regulator")]
)
def test_a_cheating_blinding_is_refused_and_logged(world: World, desk, begun, name, opener):
    to_step(desk, begun, name)
    good = answer_of(desk, begun, opener)
    one, two = good.blindings
    stranger = Difference(SUITE.g, SUITE.h)
    head = begun.document.entry
    for blindings in (
        [two, one],
        [one],
        [one, two, two],
        [one, one[:-2] + ("00" if one[-2:] != "00" else "11")],
        [one, blind_difference(stranger, opener=opener, head=head, suite=SUITE).hex()],
    ):
        wrong = good.model_copy(update={"blindings": blindings})
        refused(desk, begun, opener, wrong, r"authenticity\.blinding")
    for blindings in ([one, two[:-2]], [one, "not hexadecimal"]):
        with pytest.raises(InvalidMessageError):
            desk.searches.take(
                head,
                opener=opener,
                answer=good.model_copy(update={"blindings": blindings}),
                now=NOW,
            )
    last = log_of(world)[-1]
    assert last.action == REFUSED
    assert f'"opener":"{opener}"' in last.detail
    desk.searches.take(head, opener=opener, answer=good, now=NOW)  # the right one still counts


@pytest.mark.parametrize(
    ("name", "opener"), [("blind-and-share", "regulator"), ("share", "utility")]
)
def test_a_cheating_share_is_refused_and_logged(world: World, desk, begun, name, opener):
    to_step(desk, begun, name)
    good = answer_of(desk, begun, opener)
    one, two = good.shares
    other = generate_opener_key(opener, suite=SUITE)
    wrong_key = make_opening_share(
        other, point=SUITE.g, head=begun.document.entry, suite=SUITE
    ).hex()
    for shares in ([two, one], [one], [], [one, two, two], [one, wrong_key]):
        wrong = good.model_copy(update={"shares": shares})
        refused(desk, begun, opener, wrong, r"authenticity\.share")
    assert log_of(world)[-1].action == REFUSED
    state = desk.searches.state(begun.document.entry, now=NOW)
    assert (state.tested, state.found) == (0, ())
    desk.searches.take(begun.document.entry, opener=opener, answer=good, now=NOW)


def test_no_step_is_taken_out_of_turn(world: World, desk, begun):
    first = answer_of(desk, begun, "utility")
    assert answer_of(desk, begun, "regulator") is None
    for opener, answer in (
        ("regulator", first),
        ("utility", first.model_copy(update={"step": "share"})),
        ("regulator", first.model_copy(update={"step": "blind-and-share"})),
        ("utility", first.model_copy(update={"batch": 1})),
    ):
        with pytest.raises(ConflictError, match=r"conflict\.search-step"):
            desk.searches.take(begun.document.entry, opener=opener, answer=answer, now=NOW)
    desk.searches.take(begun.document.entry, opener="utility", answer=first, now=NOW)
    with pytest.raises(ConflictError, match=r"conflict\.search-step"):
        desk.searches.take(begun.document.entry, opener="utility", answer=first, now=NOW)


def test_an_office_works_for_no_search_that_the_log_does_not_order(world: World, desk, begun):
    said = begun.document
    stranger = GROUP.encode(GROUP.sum((GROUP.random_scalar(), SUITE.g))).hex()
    for changed in (
        {"keys": [stranger]},
        {"keys": [*said.keys, stranger]},
        {"batches": []},
        {"batches": ["ab" * 32]},
        {"reference": "q"},
        {"entry": log_of(world)[0].hash},
        {"entry": "ab" * 32},
    ):
        with pytest.raises(AccessDeniedError, match=r"authenticity\.warrant"):
            check_search(said.model_copy(update=changed), entries=log_of(world), leaves={})


def test_an_office_works_on_no_batch_that_the_order_does_not_name(world: World, desk, begun):
    work = desk.searches.work(begun.document.entry, opener="utility", now=NOW)
    stranger = GROUP.encode(GROUP.sum((GROUP.random_scalar(), SUITE.g))).hex()
    for changed in (
        {"key": stranger},
        {"escrows": work.escrows[:1]},
        {"escrows": work.escrows[::-1]},
        {"batch": 1},
        {"entry": "ab" * 32},
    ):
        with pytest.raises(AccessDeniedError, match=r"authenticity\.warrant"):
            search_answer(
                work.model_copy(update=changed),
                search=begun,
                key=keys().openers["utility"],
                suite=SUITE,
            )
    with pytest.raises(AccessDeniedError, match=r"authenticity\.step"):
        search_answer(work, search=begun, key=keys().openers["regulator"], suite=SUITE)


def test_an_office_checks_the_others_blindings_itself(world: World, desk, begun):
    to_step(desk, begun, "blind-and-share")
    for_regulator = desk.searches.work(begun.document.entry, opener="regulator", now=NOW)
    to_share = for_regulator.model_copy(update={"first": for_regulator.first[::-1]})
    with pytest.raises(SignatureError, match=r"authenticity\.blinding"):
        search_answer(to_share, search=begun, key=keys().openers["regulator"], suite=SUITE)
    step(desk, begun, "regulator")
    for_utility = desk.searches.work(begun.document.entry, opener="utility", now=NOW)
    swapped = for_utility.model_copy(update={"second": for_utility.second[::-1]})
    with pytest.raises(SignatureError, match=r"authenticity\.blinding"):
        search_answer(swapped, search=begun, key=keys().openers["utility"], suite=SUITE)


def test_the_utility_shares_only_what_it_blinded_itself(world: World, desk, begun):
    """A regulator in league with the desk could otherwise blind twice, unblind, and open all."""
    head = begun.document.entry
    work = desk.searches.work(head, opener="utility", now=NOW)
    pairs = compute_differences(work.key, work.escrows, suite=SUITE)

    def forged(opener, of):
        return [blind_difference(pair, opener=opener, head=head, suite=SUITE).hex() for pair in of]

    first = forged("utility", pairs)
    blinded = [Difference(*GROUP.decode_points(bytes.fromhex(one)[:66])) for one in first]
    own = answer_of(desk, begun, "utility")
    for mark in ("", "00" * 32, own.mark):
        attack = work.model_copy(
            update={
                "step": "share",
                "first": first,
                "mark": mark,
                "second": forged("regulator", blinded),
            }
        )
        with pytest.raises(SignatureError, match=r"authenticity\.mark"):
            search_answer(attack, search=begun, key=keys().openers["utility"], suite=SUITE)


def test_a_decision_needs_a_share_of_each_office():
    with pytest.raises(InvalidMessageError, match=r"identity\.openers"):
        is_zero(Difference(SUITE.g, SUITE.h), shares=[SUITE.g], suite=SUITE)


@pytest.mark.parametrize("alone", OPENERS)
def test_one_office_alone_decides_nothing(world: World, desk, begun, alone):
    while step(desk, begun, alone):
        pass
    state = desk.searches.state(begun.document.entry, now=NOW)
    assert (state.tested, state.found) == (0, ())
    assert len(state.waiting_for) == 1


# --- blocking ------------------------------------------------------------------------------------


def test_a_blocked_identity_gets_no_credential_and_keeps_what_it_has(world: World):
    one, other = registered(world, 2)
    assert block(world.issuer.engine, identity="customer 0", reference="r", now=NOW)
    assert not block(world.issuer.engine, identity="customer 0", reference="again", now=NOW)
    requests = [
        (member.holder.ask(METER, channel=CHANNEL).message, f"customer {at}")
        for at, member in enumerate((one, other))
    ]
    (blocked, given), _ = world.issuer.issue_all(
        [CredentialRequest(who, message, CHANNEL) for message, who in requests],
        context=METER,
        now=NOW,
    )
    assert isinstance(blocked, AccessDeniedError)
    assert blocked.reason == "identity.blocked"
    assert isinstance(given, Issued)
    assert is_registered(world, one.holder.name_in(BILLING))


def test_the_log_of_a_block_has_a_digest_of_the_identity(world: World):
    block(world.issuer.engine, identity="customer 0", reference="2026/5", now=NOW)
    with Session(world.issuer.engine) as session:
        (entry,) = list_entries_of(session, BLOCK)
        kept = load_row(session, BlockedRow, identity="customer 0")
    assert "2026/5" in entry.detail
    assert "customer" not in entry.detail
    guessed = {sm3_hex(text) for text in (b"customer 0", frame_parts("customer 0"))}
    said = json.loads(entry.detail)["identity"]
    assert said not in guessed
    assert said == blocked_name(kept)
    assert blocked_name(BlockedRow(**kept.model_dump() | {"identity": "customer 1"})) != said


def test_blocks_of_two_are_under_two_keys_and_of_one_under_one(world: World):
    for identity, reference in (("a", "1"), ("b", "2"), ("a", "3")):
        block(world.issuer.engine, identity=identity, reference=reference, now=NOW)
    with Session(world.issuer.engine) as session:
        said = [json.loads(one.detail)["identity"] for one in list_entries_of(session, BLOCK)]
        found = [load_row(session, BlockedRow, identity=name).key for name in ("a", "b")]
    assert said[0] == said[2] != said[1]
    assert len(set(found)) == 2
