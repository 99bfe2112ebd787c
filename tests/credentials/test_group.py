"""The group: backends agree, encodings are strict, secret scalars arrive split."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.credentials import big_integers, libcrypto_points
from gridsecure.credentials import group as group_module
from gridsecure.credentials.curves import IDENTITY, P256, SM2, Point
from gridsecure.credentials.group import Group, available_backends, group_on
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto import libcrypto
from gridsecure.errors import GridSecureError, InvalidMessageError

CURVES = [SM2, P256]
BACKENDS = [(curve, name) for curve in CURVES for name in available_backends(curve)]
PLAIN = {curve.name: group_on(curve, backend="python") for curve in CURVES}
SCALARS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, -1, -2, 2**255, 2**256]),
    st.integers(min_value=0, max_value=2**256),
)


def naive(curve, scalar, point):
    """Double and add by the school-book formulas of the affine group law."""
    total, scalar = IDENTITY, scalar % curve.order
    while scalar:
        if scalar & 1:
            total = added(curve, total, point)
        point, scalar = added(curve, point, point), scalar >> 1
    return total


def added(curve, one, two):
    p = curve.p
    if IDENTITY in (one, two):
        return two if one == IDENTITY else one
    if one.x == two.x and (one.y + two.y) % p == 0:
        return IDENTITY
    if one == two:
        slope = 3 * (one.x**2 - 1) * pow(2 * one.y, -1, p)
    else:
        slope = (two.y - one.y) * pow(two.x - one.x, -1, p)
    x = (slope**2 - one.x - two.x) % p
    return Point(x, (slope * (one.x - x) - one.y) % p)


@pytest.mark.parametrize(("curve", "backend"), BACKENDS)
@given(data=st.data())
def test_every_backend_sums_as_the_school_book(curve, backend, data):
    group = Group(curve, backend=group_on(curve, backend=backend).backend)
    seeds = data.draw(st.lists(st.integers(0, 6), min_size=0, max_size=5))
    base = [naive(curve, seed * seed, curve.generator) for seed in range(7)]
    terms = [(data.draw(SCALARS), base[seed]) for seed in seeds]
    expected = IDENTITY
    for scalar, point in terms:
        expected = added(curve, expected, naive(curve, scalar, point))
    if data.draw(st.booleans()):
        group.prepare(*base[:3])
    assert group.sum(*terms) == expected


@pytest.mark.parametrize(("curve", "backend"), BACKENDS)
def test_backends_agree_on_many_sums_at_once(curve, backend):
    """300 sums, on two curves and up to three backends."""
    plain, group = PLAIN[curve.name], group_on(curve, backend=backend)
    points = [plain.sum((plain.random_scalar(), curve.generator)) for _ in range(6)]
    combinations = [
        [(plain.random_scalar(), point) for point in points[: size % 7]] for size in range(300)
    ]
    assert group.sums(combinations) == plain.sums(combinations)


@pytest.mark.parametrize("terms", [255, 256, 257, 600])
def test_sums_of_any_length_miss_no_term(terms):
    """libcrypto gets long sums in pieces; with every logarithm known, one multiple is the sum."""
    group = group_on(SM2)
    logs = [group.random_scalar() for _ in range(terms)]
    points = group.multiply_all(SM2.generator, scalars=logs)
    scalars = [group.random_scalar() for _ in points]
    whole = sum(scalar * log for scalar, log in zip(scalars, logs, strict=True))
    found = group.sum((1, points[0]), *zip(scalars, points, strict=True))
    assert found == group.sum((whole + logs[0], SM2.generator))


@pytest.mark.parametrize(("curve", "backend"), BACKENDS)
def test_prepared_points_give_what_fresh_ones_give(curve, backend):
    fresh = big_integers.python_arithmetic(curve)
    ready = group_module._MAKERS[backend](curve)
    ready.prepare(curve.generator)
    scalars = [*range(130), *(curve.order - k for k in range(1, 70)), 2**255, 2**252 - 1]
    combinations = [[(scalar, curve.generator)] for scalar in scalars]
    assert ready.sums(combinations) == fresh.sums(combinations)


@pytest.mark.parametrize(("curve", "backend"), BACKENDS)
def test_every_backend_takes_pythons_powers_and_roots(curve, backend):
    group, draw = group_on(curve, backend=backend), secrets.SystemRandom()
    p = curve.p
    for base in (0, 1, p - 1, *(draw.randrange(p) for _ in range(40))):
        for exponent in (0, 1, (p + 1) // 4, p - 2):
            assert group.backend.power(base, exponent) == pow(base, exponent, p)
        root = group.square_root(base * base % p)
        assert root in (base, p - base)
        # -1 is no square here, so of a number and its opposite one alone has a root
        assert base == 0 or (group.square_root(base) is None) != (
            group.square_root(p - base) is None
        )


@pytest.mark.parametrize("backend", available_backends())
def test_prepared_points_are_bounded(monkeypatch, backend):
    for module in (big_integers, libcrypto_points):
        monkeypatch.setattr(module, "MAX_PREPARED", 2)
    arithmetic = group_module._MAKERS[backend](SM2)
    points = [PLAIN["SM2"].sum((k, SM2.generator)) for k in (1, 2, 3)]
    for point in points:
        arithmetic.prepare(point)
    assert list(arithmetic._prepared) == points[1:]
    arithmetic.prepare(IDENTITY)
    assert arithmetic.sums([[(5, points[0])]]) == [PLAIN["SM2"].sum((5, points[0]))]


@pytest.mark.parametrize("curve", CURVES)
@given(scalar=st.integers(0, 2**256))
def test_blinded_terms_add_up_and_never_repeat(curve, scalar):
    group = PLAIN[curve.name]
    one, two = (group.blind(scalar, curve.generator) for _ in range(2))
    assert one != two
    assert (one[0][0] + one[1][0] - scalar) % curve.order == 0


@pytest.mark.parametrize("backend", available_backends())
def test_secret_multiples_are_split_and_right(monkeypatch, backend):
    """No secret scalar reaches the backend whole."""
    group = Group(SM2, backend=group_on(SM2, backend=backend).backend)
    group.prepare(SM2.generator)
    other = PLAIN["SM2"].sum((7, SM2.generator))
    scalars, points, seen = [5, 0, SM2.order - 1], [SM2.generator, other], []
    sums = group.sums

    def noted(combinations):
        seen.extend(scalar % SM2.order for terms in combinations for scalar, _ in terms)
        return sums(combinations)

    monkeypatch.setattr(Group, "sums", lambda _, combinations: noted(combinations))
    blinding = group.blinding(*points)
    found = group.sums([blinding.split(one, point) for one in scalars for point in points])
    plain = PLAIN["SM2"].backend
    wanted = [plain.sums([[(one, point)]])[0] for one in scalars for point in points]
    assert found == wanted
    assert group.multiply_all(other, scalars=scalars) == wanted[1::2]
    assert group.multiply_all(other, scalars=[]) == []
    assert not set(scalars) & set(seen)


def test_every_batch_is_split_by_a_share_of_its_own():
    """Within a batch rests differ by what secrets differ; between two they tell nothing."""
    group, one = PLAIN["SM2"], SM2.generator
    first, second = group.blinding(one), group.blinding(one)
    rests = [blinding.split(9, one)[1][0] for blinding in (first, second)]
    assert rests[0] != rests[1]
    assert first.split(9, one)[0] == (1, group.sum((first.share, one)))
    assert str(first.share) not in repr(first)


@pytest.mark.parametrize("curve", CURVES)
@given(scalar=st.integers(1, 2**255))
def test_encodings_round_trip(curve, scalar):
    group = group_on(curve)
    point = group.sum((scalar, curve.generator))
    assert group.decode(group.encode(point)) == point
    assert group.decode_scalars(group.encode_scalars(scalar, 0)) == [scalar % curve.order, 0]
    assert group.multiply(point, scalar=group.invert(scalar)) == curve.generator


def hostile(curve):
    good = PLAIN[curve.name].encode(curve.generator)
    no_root = next(
        x
        for x in range(1, 99)
        if PLAIN[curve.name].square_root((x**3 - 3 * x + curve.b) % curve.p) is None
    )
    yield from (b"", b"\0", good[:-1], good + b"\0", b"\0" * 33, b"\4" + good[1:], b"\5" + good[1:])
    yield b"\2" + curve.p.to_bytes(32, "big")
    yield b"\2" + (curve.p + 1).to_bytes(32, "big")
    yield b"\3" + no_root.to_bytes(32, "big")


@pytest.mark.parametrize(
    ("curve", "data"), [(curve, data) for curve in CURVES for data in hostile(curve)]
)
def test_other_bytes_are_no_point(curve, data):
    with pytest.raises(InvalidMessageError) as refused:
        group_on(curve).decode(data)
    assert refused.value.reason == "identity.point"


def test_every_caller_gets_the_one_group_with_its_prepared_points():
    group = sm2_suite().group
    assert group_on() is group_on(SM2) is group_on(SM2, backend="auto") is group
    if group.backend.name == "libcrypto":
        assert group.generator in group.backend._prepared


def test_identity_has_no_encoding():
    group = group_on(SM2)
    with pytest.raises(ValueError, match="identity"):
        group.encode(IDENTITY)


def test_scalars_are_reduced_and_whole():
    group = group_on(SM2)
    for data in (SM2.order.to_bytes(32, "big"), b"\xff" * 32, bytes(31), bytes(33)):
        with pytest.raises(InvalidMessageError):
            group.decode_scalars(data)
    with pytest.raises(InvalidMessageError):
        group.decode_points(bytes(34))


def test_backends_are_named_and_missing_ones_refused(monkeypatch):
    assert available_backends()[-1] == "python"
    with pytest.raises(ValueError, match="backends are"):
        group_on(SM2, backend="abacus")
    monkeypatch.setattr(big_integers.importlib, "import_module", _missing)
    with pytest.raises(GridSecureError) as refused:
        big_integers.gmpy2_arithmetic(SM2)
    assert refused.value.reason == "identity.backend.unavailable"


def test_auto_takes_what_is_there(monkeypatch):
    def unavailable(curve):
        raise GridSecureError("not here", reason="identity.backend.unavailable")

    for gone, left in ((["libcrypto"], None), (["libcrypto", "gmpy2"], "python")):
        for name in gone:
            monkeypatch.setitem(group_module._MAKERS, name, unavailable)
        found = group_module._group_on.__wrapped__(SM2, "auto")
        assert found.backend.name not in gone
        assert left is None or found.backend.name == left
        assert not set(available_backends()) & set(gone)


def test_a_libcrypto_without_what_is_needed_is_refused(monkeypatch):
    for missing in ("curve", "function", "library"):
        with monkeypatch.context() as patch:
            curve = SM2
            if missing == "curve":
                curve = replace(SM2, nid=9999)
            elif missing == "function":
                patch.setitem(libcrypto_points._SIGNATURES, "EC_POINTS_no_such", (None, []))
            else:
                patch.setattr(libcrypto, "NAMES", ("libnothing.so.0",))
            with pytest.raises(GridSecureError) as refused:
                libcrypto_points.LibcryptoArithmetic(curve)
            assert refused.value.reason == "identity.backend.unavailable"


def test_libcrypto_refuses_a_point_off_the_curve_even_if_we_did_not():
    if "libcrypto" in available_backends():
        arithmetic = libcrypto_points.LibcryptoArithmetic(SM2)
        with pytest.raises(GridSecureError) as refused:
            arithmetic.sums([[(5, Point(1, 1))]])
        assert refused.value.reason == "identity.backend.failed"
        assert arithmetic.sums([[(1, SM2.generator)]]) == [SM2.generator]


def _missing(name):
    raise ImportError(name)
