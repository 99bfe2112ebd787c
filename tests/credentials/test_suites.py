"""Known answers of our own suite, so that no formula changes unseen; and how proofs are bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.credentials.curves import IDENTITY
from gridsecure.credentials.group import available_backends
from gridsecure.credentials.presentations import subject
from gridsecure.credentials.ranges import commit_digits, committed_number, digit_bases
from gridsecure.credentials.sigma import Derived, Relation, holds, prove
from gridsecure.credentials.suites import frame_parts, sm2_suite
from tests.identity.identity_world import METER, UPLOAD, suite

SUITE = suite()
GROUP = SUITE.group


@pytest.mark.parametrize("backend", available_backends())
def test_known_answers(backend):
    """Computed by this code on 2026-03-01; a change of any is a new version of the suite."""
    made = sm2_suite(backend)
    assert made.group.backend.name == backend
    assert made.group.encode(made.h).hex() == (
        "03318796702455157bd60c7ba164c6790f017ce25f08ca0f16a0ed34669647ec8a"
    )
    nym = made.group.sum((12345, UPLOAD.base(made)))
    assert made.group.encode(nym).hex() == (
        "03592d46887457224f0b90e0fd1dd8a9f1db41d9a8f516c223e83c4348c9fddcce"
    )
    assert subject(nym, domain=UPLOAD, suite=made) == (
        "753e13b8776e99353783bb0f64cc5a11f61cba5991c16a7a11f5b5868d503e6f"
    )
    assert METER.scalar(made) == (
        0xA27FCC376D8418C1D9E1C6611616D80A5497574D33857C6E027AF665FE97974A
    )
    assert made.challenge(b"a", b"b", b"c") == (
        0xDC47F3A33CF52B92707420E0216614686E285A0A7604D0CB47D426B9FEF700F5
    )


@given(one=st.lists(st.binary(max_size=6)), two=st.lists(st.binary(max_size=6)))
def test_framing_is_unambiguous(one, two):
    assert (frame_parts(*one) == frame_parts(*two)) == (one == two)


def knowledge(point) -> Relation:
    statement = Relation(GROUP)
    (secret,) = statement.scalars(1)
    statement.equate(statement.element(point), (secret, statement.element(SUITE.g)))
    return statement


def test_a_proof_is_bound_to_statement_and_session():
    point, other = GROUP.sum((7, SUITE.g)), GROUP.sum((8, SUITE.g))
    proof = prove(knowledge(point), [7], suite=SUITE, session=b"s")
    assert holds(knowledge(point), proof, suite=SUITE, session=b"s")
    assert not holds(knowledge(point), proof, suite=SUITE, session=b"t")
    assert not holds(knowledge(other), proof, suite=SUITE, session=b"s")
    assert not holds(knowledge(point), proof[:-1], suite=SUITE, session=b"s")
    assert not holds(knowledge(point), b"\xff" * 64, suite=SUITE, session=b"s")
    zero = GROUP.encode_scalars(0, 0)  # commits to the identity
    assert not holds(knowledge(point), zero, suite=SUITE, session=b"s")


def test_a_false_witness_proves_nothing():
    proof = prove(knowledge(GROUP.sum((7, SUITE.g))), [8], suite=SUITE, session=b"s")
    assert not holds(knowledge(GROUP.sum((7, SUITE.g))), proof, suite=SUITE, session=b"s")


def test_statements_are_used_as_meant():
    statement = knowledge(GROUP.sum((7, SUITE.g)))
    with pytest.raises(ValueError, match="one number for each"):
        prove(statement, [7, 8], suite=SUITE, session=b"")
    with pytest.raises(ValueError, match="only be a target"):
        statement.point(statement.element(Derived(((1, SUITE.h),))))
    assert statement.element(SUITE.g) == statement.element(SUITE.g)


@given(limit=st.integers(2, 300))
def test_digits_reach_every_number_below_the_limit_and_no_other(limit):
    reached = {0}
    for base in digit_bases(limit):
        reached |= {number + base for number in reached}
    assert reached == set(range(limit))


@given(limit=st.integers(2, 1 << 16), data=st.data())
def test_digit_commitments_add_up_to_the_number(limit, data):
    number = data.draw(st.integers(0, limit - 1))
    digits = commit_digits(number, limit=limit, blinding=99, draw=GROUP.random_scalar, suite=SUITE)
    total = committed_number(digits.commitments, limit=limit, suite=SUITE)
    assert total == GROUP.sum((number, SUITE.g), (99, SUITE.h))


@pytest.mark.parametrize(("number", "limit"), [(8, 8), (-1, 8), (100, 8)])
def test_numbers_out_of_range_are_not_committed_to(number, limit):
    with pytest.raises(ValueError, match="out of range"):
        commit_digits(number, limit=limit, blinding=1, draw=GROUP.random_scalar, suite=SUITE)
    with pytest.raises(ValueError, match="at least two"):
        digit_bases(1)


def test_generators_are_different_points():
    assert len({SUITE.g, SUITE.h, IDENTITY, UPLOAD.base(SUITE)}) == 4
