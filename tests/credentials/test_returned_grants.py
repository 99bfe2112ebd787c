"""Grants that are given back: what each side sees, and that nothing of it meets again."""

from __future__ import annotations

import secrets

import pytest

from gridsecure.credentials.grants import Quota
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.returned_grants import (
    RETURNED_BYTES,
    TICKET_BYTES,
    ReturnedGrant,
    Ticket,
    check_returned,
    give_back,
    hidden_digest,
    new_ticket,
    public_return_key,
    return_key,
    returned_quota,
    take_back,
)
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import GridSecureError
from tests.identity.identity_world import suite

KEY = return_key(generate_private_key(), suite=suite())
PUBLIC = public_return_key(KEY, suite=suite())
DIGEST = secrets.token_bytes(32)


def came_back(ticket: Ticket, *, key: int = KEY) -> ReturnedGrant:
    given = give_back(ticket.blinded(suite()), key=key, suite=suite())
    assert len(given) == RETURNED_BYTES
    return take_back(ticket, given, suite=suite())


def test_what_comes_back_is_good_for_one_query_and_for_whoever_has_it():
    ticket = new_ticket(PUBLIC, suite=suite())
    assert len(ticket.to_bytes(suite())) == TICKET_BYTES
    kept = Ticket.from_bytes(ticket.to_bytes(suite()), suite=suite())
    own, again = came_back(kept), came_back(ticket)
    assert own == again, "however often it is made, it is one"
    check_returned(own.code(DIGEST), seed=own.seed, digest=DIGEST, key=KEY, suite=suite())
    for seed, digest, code in (
        (own.seed, bytes(32), own.code(DIGEST)),
        (bytes(32), DIGEST, own.code(DIGEST)),
        (own.seed, DIGEST, "00" * 32),
        (own.seed, DIGEST, ReturnedGrant(own.seed, PUBLIC).code(DIGEST)),
    ):
        with pytest.raises(GridSecureError) as refused:
            check_returned(code, seed=seed, digest=digest, key=KEY, suite=suite())
        assert refused.value.reason == "grants.returned"


def test_what_the_authority_is_told_of_the_next_query_says_nothing_without_its_salt():
    salts = [secrets.token_bytes(32) for _ in range(2)]
    hidden = {hidden_digest(DIGEST, salt=salt) for salt in salts}
    assert len({*hidden, DIGEST}) == 3, "nor are two orders for one query alike"
    assert hidden_digest(bytes(32), salt=salts[0]) not in hidden


def test_a_key_of_its_own_for_somebody_is_noticed():
    """It would know the grant again by which of its keys verifies it."""
    ticket = new_ticket(PUBLIC, suite=suite())
    with pytest.raises(GridSecureError) as refused:
        came_back(ticket, key=KEY + 1)
    assert refused.value.reason == "grants.returned"
    good = give_back(ticket.blinded(suite()), key=KEY, suite=suite())
    for bad in (good[:-1], good[:33] + bytes(64), PUBLIC + good[33:], b"\5" * len(good)):
        with pytest.raises(GridSecureError):
            take_back(ticket, bad, suite=suite())


def test_any_seed_may_have_been_behind_any_blinded_point():
    """So the authority's two views fit whatever it tries to link: nothing of it is known then."""
    group = suite().group
    first, other = (new_ticket(PUBLIC, suite=suite()) for _ in range(2))
    views = [bytes.fromhex(one.blinded(suite()).hex()) for one in (first, other)]
    assert len({*views, Ticket(first.seed, other.blinding, PUBLIC).blinded(suite())}) == 3
    own = came_back(first)
    shown = own.seed + bytes.fromhex(own.code(DIGEST))
    given = b"".join([*views, give_back(views[0], key=KEY, suite=suite())])
    pieces = {shown[at : at + 16] for at in range(len(shown) - 15)}
    assert not pieces & {given[at : at + 16] for at in range(len(given) - 15)}
    assert group.decode(own.value) != group.decode(views[0])


def test_half_as_many_as_grants_and_counted_apart():
    quota = Quota(Context("analyst", "2026"), "2026-08", 64)
    own = returned_quota(quota)
    assert (own.limit, own.context) == (32, quota.context)
    assert own.base(suite()) != quota.base(suite())
    assert returned_quota(Quota(quota.context, "2026-08", 2)).limit == 2
