"""Trap: `make_context_public()` drops a pointer; the live context can still decrypt."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import numpy as np
import pytest
import tenseal
from tenseal import sealapi

from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.secret_key import SecretKeySet


def test_public_context_still_decrypts() -> None:
    """The library's own trap: refused at the front door, answered at the back."""
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193
    )
    vector = tenseal.bfv_vector(context, [17, 4, 2026])
    context.make_context_public()
    assert not context.has_secret_key()
    with pytest.raises(ValueError, match="secret_key"):
        vector.decrypt()
    plaintext = sealapi.Plaintext()
    context.data.decryptor().decrypt(vector.ciphertext()[0], plaintext)
    read = sealapi.BatchEncoder(context.seal_context().data).decode_int64(plaintext)
    assert read[:3] == [17, 4, 2026]


def reachable(root: object) -> list[Any]:
    """Everything that our objects hold: fields, slots, closures and containers, not modules."""
    found: list[Any] = []
    todo, seen = [root], set()
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type) or type(item).__name__ == "module":
            continue
        seen.add(id(item))
        found.append(item)
        if callable(item) and hasattr(item, "__closure__"):
            todo += [cell.cell_contents for cell in item.__closure__ or ()]
            continue
        if isinstance(item, (dict, list, tuple, set)) or dataclasses.is_dataclass(item):
            todo += gc.get_referents(item)
        todo += list(getattr(item, "__dict__", {}).values())
    return found


SECRETS = (sealapi.SecretKey, sealapi.Decryptor, sealapi.KeyGenerator)


def test_public_key_set_holds_nothing_that_decrypts(tier_keys: SecretKeySet) -> None:
    """Built from public bytes, it has no way back to the secret key."""
    public = PublicKeySet(
        tier_keys.public.parameters,
        tier_keys.public.public_key,
        tier_keys.public.relinearisation_keys,
    )
    column = public.encrypt(np.arange(3), high=2)
    for root in (public, column, tier_keys.public):
        held = reachable(root)
        assert any(isinstance(item, sealapi.RelinKeys) for item in held), "the walk went deep"
        assert not any(isinstance(item, SECRETS) for item in held)
        assert not hasattr(root, "decrypt")


def test_walk_finds_a_secret_where_there_is_one(tier_keys: SecretKeySet) -> None:
    assert any(isinstance(item, SECRETS) for item in reachable([tier_keys._secret_key]))
    assert any(isinstance(i, SECRETS) for i in reachable({"a": (tier_keys._decryptor,)}))
