"""Why no hashes of meter numbers: whoever has the hash has the number.

A meter address has twelve digits, of which region and batch are known; the rest is tried out. The
search here is over 40,000 numbers, and takes a tenth of a second; all 100 million of one batch take
a minute or two. A salt that is public changes nothing. A key does, and so do credentials, where not
even the holder of all the authority's keys can go through the numbers.
"""

from __future__ import annotations

import secrets

from gridsecure.identity.pseudonyms import pseudonym

from gridsecure.crypto.sm3 import hmac_sm3, sm3_digest

REGION = "440300"
TRIED = 40_000


def inverted(seen: bytes | str, name) -> str | None:
    """The number whose name was seen, if it is among those tried."""
    return next(
        (number for suffix in range(TRIED) if name(number := f"{REGION}{suffix:06d}") == seen),
        None,
    )


def a_number() -> str:
    return f"{REGION}{secrets.randbelow(TRIED):06d}"


def test_a_bare_hash_is_inverted():
    number = a_number()
    seen = sm3_digest(number.encode())
    assert inverted(seen, lambda guess: sm3_digest(guess.encode())) == number


def test_a_public_salt_changes_nothing():
    number, salt = a_number(), secrets.token_bytes(16)
    seen = sm3_digest(salt + number.encode())
    assert inverted(seen, lambda guess: sm3_digest(salt + guess.encode())) == number


def test_a_key_stops_the_search_but_not_its_holder():
    number, key = a_number(), secrets.token_bytes(32)
    seen = pseudonym(number, domain="billing", key=key)
    guessed = secrets.token_bytes(32)
    assert inverted(seen, lambda guess: hmac_sm3(guessed, guess.encode()).hex()[:32]) is None
    holder = inverted(seen, lambda guess: pseudonym(guess, domain="billing", key=key))
    assert holder == number
