"""Pinning: both the utility and the regulator say the same keys, or nothing is pinned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gridsecure.credentials.issuer_keys import generate_issuer_key
from gridsecure.credentials.opening import generate_opener_key
from gridsecure.credentials.pinning import check_statements, pin_keys
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError, GridSecureError, SignatureError
from gridsecure.identity_messages import IdentityKeys
from gridsecure.messages import sign_message
from tests.identity.identity_world import keys, suite


def pinned(*statements, signers=None):
    return pin_keys(statements, signers=signers or keys().signers, suite=suite())


def stated(signer: str, **changes: str):
    said = IdentityKeys.parse(keys().statements[0].body).model_copy(update=changes)
    return sign_message(said, key=keys().staters[signer])


def test_what_both_state_is_pinned_in_any_order():
    one, two = keys().statements
    assert pinned(one, two) == pinned(two, one) == keys().public
    said = check_statements([one, two], signers=keys().signers)
    assert said.utility == keys().published["utility"].hex()


def other_issuer() -> str:
    return generate_issuer_key(suite()).public_key(suite()).to_bytes(suite()).hex()


def test_one_statement_twice_one_alone_or_two_that_differ_are_not_enough():
    one, two = keys().statements
    for statements in ((one, one), (one,), (), (one, two, two)):
        with pytest.raises(SignatureError, match=r"authenticity\.identity-keys"):
            pinned(*statements)
    with pytest.raises(SignatureError, match=r"authenticity\.identity-keys"):
        pinned(one, stated("regulator", issuer=other_issuer()))


def test_the_two_signers_are_two():
    one, _ = keys().statements
    alone = {name: keys().signers["utility"] for name in ("utility", "regulator")}
    for statements in ((one, one), (one,)):
        with pytest.raises(SignatureError, match=r"authenticity\.identity-keys"):
            pinned(*statements, signers=alone)


def test_a_stranger_states_nothing():
    one, two = keys().statements
    stranger = sign_message(IdentityKeys.parse(two.body), key=generate_private_key())
    posing = stranger.model_copy(update={"signer": two.signer})
    for statement in (stranger, posing):
        with pytest.raises(AuthenticityError):
            pinned(one, statement)


def test_an_openers_key_needs_its_proof():
    key = generate_opener_key("regulator", suite=suite()).publish(suite())
    for half in (keys().published["utility"], key[:33] + keys().published["regulator"][33:]):
        changed = {"regulator": half.hex()}
        with pytest.raises(GridSecureError, match=r"authenticity\.opener-key"):
            pinned(stated("utility", **changed), stated("regulator", **changed))
    good = {"regulator": key.hex()}
    found = pinned(stated("utility", **good), stated("regulator", **good))
    assert found == replace(keys().public, opening=found.opening) != keys().public
