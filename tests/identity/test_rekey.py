"""A new key for an identity: by both offices' order, once, and only for the key it has now."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from sqlmodel import Session

from gridsecure.credentials.opening import OPENERS
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    ConflictError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
    StaleMessageError,
)
from gridsecure.identity.enrolments.blocking import block
from gridsecure.identity.enrolments.enrolled_keys import identity_of, keys_of
from gridsecure.identity.enrolments.rekeying import CLOCKS_DIFFER, ORDER_AGE, REKEY, rekey
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity_messages import RekeyOrder
from gridsecure.messages import Signed, sign_message
from gridsecure.store.evidence import list_entries_of
from tests.identity.identity_world import (
    ANALYST,
    BILLING,
    METER,
    NOW,
    World,
    keys,
    new_holder,
    suite,
)
from tests.identity.office_world import give, new_desk, registered, run_search

SUITE = suite()
WHO = "customer 0"


def key_of(holder) -> str:
    """The key a holder enrols with."""
    return SUITE.group.encode(SUITE.group.multiply(SUITE.g, scalar=holder.m1)).hex()


def order_for(old, new, *, issued_at=NOW, identity: str = WHO) -> RekeyOrder:
    return RekeyOrder(
        identity=identity,
        old=key_of(old),
        new=key_of(new),
        reference="2026/21",
        issued_at=issued_at.isoformat(),
    )


def both(order: RekeyOrder) -> list[Signed]:
    return [sign_message(order, key=keys().staters[name]) for name in OPENERS]


def carry_out(world: World, orders: list[Signed], now=NOW):
    return rekey(world.issuer.engine, orders, offices=keys().signers, suite=SUITE, now=now)


@pytest.fixture
def old(world: World):
    holder = new_holder()
    world.enrol(holder, WHO)
    return holder


def current(world: World) -> str:
    return keys_of(world.issuer.engine, [WHO])[WHO]


def test_the_new_key_gets_credentials_and_the_old_one_none(world: World, old):
    new, third = new_holder(), new_holder()
    with pytest.raises(ConflictError, match=r"conflict\.enrolment"):
        world.enrol(new, WHO)
    entry = carry_out(world, both(order_for(old, new)))
    assert current(world) == key_of(new)
    for gone in (old, third):
        with pytest.raises(ConflictError, match=r"conflict\.enrolment"):
            world.enrol(gone, WHO)
    for _ in range(2):
        credential = world.enrol(new, WHO)
    assert world.register(new, credential, BILLING)
    with Session(world.issuer.engine) as session:
        assert list_entries_of(session, REKEY) == [entry]
    assert "2026/21" in entry.detail
    assert WHO not in entry.detail


def test_a_key_can_be_replaced_again(world: World, old):
    holders = [old, new_holder(), new_holder(), new_holder()]
    for before, after in pairwise(holders):
        carry_out(world, both(order_for(before, after)))
        assert world.enrol(after, WHO)
    assert current(world) == key_of(holders[-1])
    assert [
        identity_of(world.issuer.engine, key=bytes.fromhex(key_of(each))) for each in holders
    ] == [WHO] * 4
    for gone in holders[:-1]:
        with pytest.raises(ConflictError, match=r"conflict\.enrolment"):
            world.enrol(gone, WHO)


def test_an_escrow_of_the_old_key_still_opens(world: World):
    desk = new_desk(world)
    (member,) = registered(world, 1)
    carry_out(world, both(order_for(member.holder, new_holder())))
    warrant = desk.openings.order(member.holder.name_in(BILLING), reference="r", now=NOW)
    give(desk, world, warrant)
    assert desk.openings.result(warrant.entry.hash, now=NOW).person.identity == WHO


@pytest.mark.parametrize("replaced", [False, True])
def test_a_search_finds_what_was_registered_under_the_old_key(world: World, replaced):
    desk = new_desk(world)
    member, _ = registered(world, 2)
    new = new_holder()
    carry_out(world, both(order_for(member.holder, new)))
    world.register(new, world.enrol(new, WHO), BILLING)
    ordered = desk.order_search(WHO, reference="r", now=NOW, replaced=replaced)
    assert ordered.total == (3 if replaced else 6)
    state = run_search(desk, world, ordered)
    lost, fresh = (each.name_in(BILLING) for each in (member.holder, new))
    assert set(state.found) == ({lost} if replaced else {lost, fresh})
    if replaced:
        assert find_registration(world.service.engine, subject=fresh)
        assert world.enrol(new, WHO)
    else:
        with pytest.raises(AccessDeniedError, match=r"identity\.blocked"):
            world.enrol(new, WHO)


def test_where_no_key_was_replaced_there_is_none_to_search_for(world: World, old):
    with pytest.raises(NotFoundError, match=r"not-found\.enrolment"):
        new_desk(world).order_search(WHO, reference="r", now=NOW, replaced=True)


def test_a_block_outlives_a_re_key(world: World, old):
    new = new_holder()
    block(world.issuer.engine, identity=WHO, reference="r", now=NOW)
    carry_out(world, both(order_for(old, new)))
    with pytest.raises(AccessDeniedError, match=r"identity\.blocked"):
        world.enrol(new, WHO)


# --- refusals ------------------------------------------------------------------------------------


def test_it_takes_the_same_order_of_both_offices(world: World, old):
    order, other = order_for(old, new_holder()), order_for(old, new_holder())
    one, two = both(order)
    for orders in (
        [one],
        [two],
        [],
        [one, one],
        [one, both(other)[1]],
        [one, two, two],
        [one, two.model_copy(update={"signature": one.signature})],
        [one, one.model_copy(update={"signer": two.signer})],
        [one, two.model_copy(update={"body": other.model_dump_json()})],
    ):
        with pytest.raises(SignatureError):
            carry_out(world, orders)
    stranger = sign_message(order, key=generate_private_key())
    with pytest.raises(AuthenticityError):
        carry_out(world, [one, stranger])
    assert current(world) == key_of(old)


def test_one_office_with_both_keys_is_not_two(world: World, old):
    order = order_for(old, new_holder())
    key = keys().staters["utility"]
    offices = dict.fromkeys(OPENERS, key.public_key)
    with pytest.raises(SignatureError, match=r"authenticity\.rekey"):
        rekey(
            world.issuer.engine,
            [sign_message(order, key=key)] * 2,
            offices=offices,
            suite=SUITE,
            now=NOW,
        )


def test_an_order_works_once(world: World, old):
    new = new_holder()
    orders = both(order_for(old, new))
    carry_out(world, orders)
    for again in (orders, orders[::-1]):
        with pytest.raises(ConflictError, match=r"conflict\.rekey"):
            carry_out(world, again)
    with pytest.raises(ConflictError, match=r"conflict\.enrolment"):
        carry_out(world, both(order_for(new, old)))  # a key that was replaced never returns
    assert current(world) == key_of(new)


def test_the_old_key_is_the_one_it_has_now(world: World, old):
    other = new_holder()
    world.enrol(other, "customer 1")
    for orders, reason in (
        (both(order_for(other, new_holder())), r"conflict\.rekey"),
        (both(order_for(new_holder(), new_holder())), r"conflict\.rekey"),
        (both(order_for(old, other)), r"conflict\.enrolment"),
        (both(order_for(old, old)), r"conflict\.enrolment"),
    ):
        with pytest.raises(ConflictError, match=reason):
            carry_out(world, orders)
    assert current(world) == key_of(old)


def test_who_has_no_key_has_none_to_replace(world: World):
    world.enrol(new_holder(), "lin", ANALYST)
    for identity in ("customer 9", "analyst/lin"):
        with pytest.raises(NotFoundError, match=r"not-found\.enrolment"):
            carry_out(world, both(order_for(new_holder(), new_holder(), identity=identity)))


def test_an_order_is_of_these_days(world: World, old):
    new = new_holder()
    for issued_at in (
        NOW - ORDER_AGE - timedelta(seconds=1),
        NOW + CLOCKS_DIFFER + timedelta(seconds=1),
    ):
        with pytest.raises(StaleMessageError, match=r"authenticity\.rekey-time"):
            carry_out(world, both(order_for(old, new, issued_at=issued_at)))
    good = order_for(old, new)
    for text in ("yesterday", NOW.replace(tzinfo=None).isoformat()):
        with pytest.raises(InvalidMessageError):
            carry_out(world, both(good.model_copy(update={"issued_at": text})))
    with pytest.raises(InvalidMessageError):
        carry_out(world, both(good.model_copy(update={"new": "02" + "ff" * 32})))
    assert carry_out(world, both(order_for(old, new, issued_at=NOW - ORDER_AGE)))


def test_another_period_after_a_re_key(world: World, old):
    """The credential of a period is counted by generation, so that the new key has one too."""
    world.enrol(old, WHO)
    new = new_holder()
    carry_out(world, both(order_for(old, new)))
    assert world.enrol(new, WHO, METER)
    later = type(METER)(METER.role, "2027")
    assert world.enrol(new, WHO, later)
    with pytest.raises(ConflictError):
        world.enrol(old, WHO, later)
