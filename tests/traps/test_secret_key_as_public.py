"""Trap: bytes with a secret key in them, handed in where a public key set is expected."""

from __future__ import annotations

import numpy as np
import pytest
import tenseal

from gridsecure.errors import KeyMismatchError
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER, TIER, Parameters
from gridsecure.homomorphic.secret_key import SecretKeySet


@pytest.fixture(params=[INTERVAL, REGISTER, TIER], ids=lambda p: p.name)
def keys(request: pytest.FixtureRequest) -> SecretKeySet:
    name = {INTERVAL: "interval_keys", REGISTER: "register_keys", TIER: "tier_keys"}[request.param]
    found: SecretKeySet = request.getfixturevalue(name)
    return found


def refused(parameters: Parameters, *parts: bytes) -> KeyMismatchError:
    with pytest.raises(KeyMismatchError) as caught:
        PublicKeySet(parameters, *parts)
    return caught.value


def test_secret_key_is_no_public_key(keys: SecretKeySet) -> None:
    error = refused(keys.public.parameters, keys.to_bytes())
    assert error.reason == "keys.malformed"
    assert len(str(error)) < 200, "the refusal repeats no bytes"


def test_secret_key_is_no_relinearisation_key(keys: SecretKeySet) -> None:
    refused(keys.public.parameters, keys.public.public_key, keys.to_bytes())


def test_secret_key_does_not_hide_behind_a_public_one(keys: SecretKeySet) -> None:
    """The library reads as far as its header says, and would never have noticed."""
    public = keys.public
    refused(public.parameters, public.public_key + keys.to_bytes())
    refused(public.parameters, keys.to_bytes() + public.public_key)
    if public.relinearisation_keys:
        hidden = public.relinearisation_keys + keys.to_bytes()
        refused(public.parameters, public.public_key, hidden)


def test_context_with_a_secret_key_is_no_public_key_set() -> None:
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=INTERVAL.plain_modulus
    )
    with_secret = context.serialize(save_secret_key=True)
    without = context.serialize(save_secret_key=False)
    assert tenseal.context_from(with_secret).has_secret_key()
    for data in (with_secret, without):
        assert refused(INTERVAL, data).reason == "keys.malformed"


def test_honest_public_half_is_accepted(keys: SecretKeySet) -> None:
    public = PublicKeySet(
        keys.public.parameters, keys.public.public_key, keys.public.relinearisation_keys
    )
    assert keys.decrypt(public.encrypt(np.arange(3), high=2)).tolist() == [0, 1, 2]
