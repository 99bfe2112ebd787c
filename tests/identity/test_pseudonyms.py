"""Static pseudonyms: one name a meter point and domain, useless without the key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.sm3 import hmac_sm3
from gridsecure.errors import InputError
from gridsecure.identity.pseudonyms import MAX_TEXT_BYTES, pseudonym, pseudonyms

KEY = bytes(range(32))
NAMES = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() != "")


def test_pseudonym_is_the_published_formula():
    framed = b"\x00\x00\x00\x04home" + b"\x00\x00\x00\x0244"
    assert pseudonym("44", domain="home", key=KEY) == hmac_sm3(KEY, framed).hex()[:32]


@given(first=st.tuples(NAMES, NAMES), second=st.tuples(NAMES, NAMES))
def test_pairs_of_domain_and_meter_point_never_share_a_name(first, second):
    names = {pseudonym(meter, domain=domain, key=KEY) for domain, meter in {first, second}}
    assert len(names) == len({first, second})


def test_moving_a_letter_between_domain_and_meter_point_changes_the_name():
    assert pseudonym("bc", domain="a", key=KEY) != pseudonym("c", domain="ab", key=KEY)


def test_another_key_gives_other_names():
    assert pseudonym("1", domain="a", key=KEY) != pseudonym("1", domain="a", key=bytes(32))


def test_names_keep_the_order_asked_for():
    asked = ["3", "1", "2", "1"]
    given_names = pseudonyms(asked, domain="a", key=KEY)
    assert given_names == [pseudonym(name, domain="a", key=KEY) for name in asked]


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_TEXT_BYTES + 1)])
@pytest.mark.parametrize("place", ["domain", "meter point"])
def test_blank_and_endless_names_are_refused_without_repeating_them(name, place):
    domain, meter = (name, "1") if place == "domain" else ("a", name)
    with pytest.raises(InputError) as refused:
        pseudonym(meter, domain=domain, key=KEY)
    assert refused.value.reason == "identity.name"
    assert "xxx" not in str(refused.value)


def test_a_short_key_is_a_programming_mistake():
    with pytest.raises(ValueError, match="32 bytes"):
        pseudonym("1", domain="a", key=b"short")
