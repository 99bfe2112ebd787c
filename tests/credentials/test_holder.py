"""A holder's keys and secrets: what follows from what, and that nothing repeats across domains."""

from __future__ import annotations

import pytest

from gridsecure.credentials.access import batch_challenge, enrolment_channel, login_text
from gridsecure.credentials.holder import Holder, derive_secret, publics_in
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.presentations import Domain
from gridsecure.crypto.sm2_curve import N
from gridsecure.crypto.sm3 import sm3_digest
from tests.identity.identity_world import ANALYST, METER, SETTLE, UPLOAD, keys, suite

SEED = b"s" * 32


def holder_of(name: str, seed: bytes = SEED) -> Holder:
    return Holder(suite(), keys().public, derive_secret(seed, name=name, suite=suite()))


def test_a_holder_has_one_key_a_domain_and_always_the_same():
    domains = (UPLOAD, SETTLE, Domain("platform", "upload", "2027"))
    points = [
        holder_of(name).key_in(domain).public_key.point for name in "ab" for domain in domains
    ]
    assert len(set(points)) == 6
    assert holder_of("a").key_in(UPLOAD).public_key.point == points[0]


def test_public_keys_made_together_are_those_made_alone():
    holders = [holder_of(name) for name in "abc"]
    alone = [holder.key_in(UPLOAD).public_key for holder in holders]
    assert publics_in(UPLOAD, holders) == alone
    assert publics_in(UPLOAD, []) == []


@pytest.mark.parametrize("drawn", [0, 1, N - 3, N - 2, N - 1])
def test_every_scalar_gives_an_sm2_key(monkeypatch, drawn):
    holder = holder_of("a")
    monkeypatch.setattr(type(suite()), "hash_to_scalar", lambda *args, **kwargs: drawn)
    scalar = int.from_bytes(holder.key_in(UPLOAD).to_bytes(), "big")
    assert 1 <= scalar <= N - 2


def test_a_holder_acts_in_the_first_domain_it_shows():
    holder, u = holder_of("a"), suite().g  # who shows a credential does not check it again
    credential = Credential(holder.m1, u, u, METER)
    for domains in ((UPLOAD, SETTLE), (SETTLE, UPLOAD)):
        occasion, message = holder.show(credential, domains=domains, challenge=bytes(32))
        assert occasion.holder == holder.key_in(domains[0]).public_key
        assert len(message) == 12 * 64 + 2 * 32
        text = login_text(holder.name_in(domains[0]), domain=domains[0], challenge=b"1")
        occasion.holder.verify(text, holder.sign_in(domains[0], challenge=b"1"))


def test_one_seed_gives_every_name_a_secret_of_its_own():
    names = ["44", "45", "4", "44 "]
    secrets = {derive_secret(SEED, name=name, suite=suite()) for name in names}
    assert len(secrets) == len(names)
    assert derive_secret(SEED, name="44", suite=suite()) in secrets
    assert derive_secret(b"t" * 32, name="44", suite=suite()) not in secrets
    assert all(1 <= secret < N for secret in secrets)
    with pytest.raises(ValueError, match="32 bytes"):
        derive_secret(b"short", name="44", suite=suite())


def test_an_analyst_that_keeps_what_hides_it_asks_again_for_the_same():
    m1 = derive_secret(SEED, name="analyst", suite=suite())
    kept, forgetful = Holder(suite(), keys().public, m1, 7), Holder(suite(), keys().public, m1)
    for holder, distinct in ((kept, 1), (forgetful, 2)):
        commitments = {holder.ask(ANALYST, channel=b"c").message[:33] for _ in range(2)}
        assert len(commitments) == distinct


def test_channels_and_batch_challenges_follow_the_protocol():
    channel = enrolment_channel("ab" * 32, sender="s" * 64, service="t" * 64, identity="4403")
    parts = (b"gridsecure-enrolment-1", b"\xab" * 32, b"s" * 64, b"t" * 64, b"4403")
    assert channel == b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    with pytest.raises(ValueError, match="non-hexadecimal"):
        enrolment_channel("x", sender="s", service="t", identity="4403")
    framed = b"\0\0\0\x12gridsecure-batch-1\0\0\0\x20" + b"c" * 32 + b"\0\0\0\4\0\0\1\2"
    assert batch_challenge(b"c" * 32, index=258) == sm3_digest(framed)
