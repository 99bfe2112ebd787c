"""The algebra of the MAC: making it blindly, proving it, unblinding it.

Apart from who chooses m2 these are the formulas of the IETF draft "Anonymous Rate-Limited
Credentials", in its order, so that its vectors check them byte for byte.
"""

from __future__ import annotations

from gridsecure.credentials.curves import Point
from gridsecure.credentials.issuer_keys import IssuerPrivateKey, IssuerPublicKey
from gridsecure.credentials.sigma import Relation
from gridsecure.credentials.suites import Suite


def mac_points(
    suite: Suite, *, key: IssuerPrivateKey, attributes: tuple[Point, Point], b: int
) -> tuple[Point, ...]:
    """U, the blinded MAC, X0', X1', X2' and H', each a multiple by b.

    Args:
        suite: The group.
        key: The issuer's key.
        attributes: Commitments to m1 and m2.
        b: Random, used once.
    """
    group, n = suite.group, suite.group.order
    m1, m2 = attributes
    multiples = [
        [(b, suite.g)],
        # b·(X0 + x1·C1 + x2·C2), with X0 written out
        [
            (b * key.x0 % n, suite.g),
            (b * key.xb % n, suite.h),
            (b * key.x1 % n, m1),
            (b * key.x2 % n, m2),
        ],
        [(b * key.xb % n, suite.h)],
        [(b * key.x1 % n, suite.h)],
        [(b * key.x2 % n, suite.h)],
        [(b, suite.h)],
    ]
    return tuple(
        group.sums(
            [[share for term in terms for share in group.blinded(*term)] for terms in multiples]
        )
    )


def unblind_mac(suite: Suite, *, answer: tuple[Point, ...], blindings: tuple[int, int]) -> Point:
    """U' from the blinded MAC.

    Args:
        suite: The group.
        answer: What `mac_points` returned.
        blindings: The multiples of H in the two commitments.
    """
    group = suite.group
    _, blinded, x0, x1, x2, _ = answer
    hidden = [
        share
        for blinding, point in zip(blindings, (x1, x2), strict=True)
        if blinding
        for share in group.blinded(-blinding, point)
    ]
    return group.sum((1, blinded), (-1, x0), *hidden)


def issuance_relation(
    suite: Suite,
    *,
    public: IssuerPublicKey,
    attributes: tuple[Point, Point],
    answer: tuple[Point, ...],
) -> Relation:
    """That one published key made an answer: eleven equations in the draft's order.

    Args:
        suite: The group.
        public: The published key.
        attributes: Commitments to m1 and m2.
        answer: What `mac_points` returned.
    """
    statement = Relation(suite.group)
    x0, x1, x2, xb, b, t1, t2 = statement.scalars(7)
    g, h, c1, c2 = map(statement.element, (suite.g, suite.h, *attributes))
    u, blinded = map(statement.element, answer[:2])
    key0, key1, key2 = map(statement.element, (public.x0, public.x1, public.x2))
    aux0, aux1, aux2, aux_h = map(statement.element, answer[2:])
    statement.equate(key0, (x0, g), (xb, h))
    statement.equate(key1, (x1, h))
    statement.equate(key2, (x2, h))
    statement.equate(aux_h, (b, h))
    statement.equate(aux0, (xb, aux_h))
    statement.equate(aux1, (t1, h))
    statement.equate(aux1, (b, key1))
    statement.equate(aux2, (b, key2))
    statement.equate(aux2, (t2, h))
    statement.equate(u, (b, g))
    statement.equate(blinded, (b, key0), (t1, c1), (t2, c2))
    return statement


def issuance_witness(key: IssuerPrivateKey, *, b: int, order: int) -> list[int]:
    """The scalars of `issuance_relation`: the key, b, and b times x1 and x2."""
    return [key.x0, key.x1, key.x2, key.xb, b, b * key.x1 % order, b * key.x2 % order]
