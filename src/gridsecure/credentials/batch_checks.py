"""Many claims checked by one sum, and the false ones found.

A claim is a list of sums that are all the identity where it is true. Claims are checked together:

    1. every sum gets a weight of 128 bits, drawn when all claims are in, known to nobody before;
    2. the weighted sums are added up, with one scalar for each point, and must give the identity;
    3. if they do not, each half is checked with weights of its own, down to the single claim.

Why that is enough. The group's order is a prime beyond 2^128. Take any sum that is not the
identity and fix all other weights: at most one value of its own weight makes the whole the
identity. So false claims pass with a probability of 2^-128, whatever they are and whoever made them
together; claims that cancel each other under one weighting do not under the next. The weights must
come after the claims, which is why they are drawn here and follow from nothing a sender chooses.

What it saves. Points that all claims share, as generators and keys, are multiplied once; for the
rest doublings are shared, and a commitment has a scalar of half the length.

The weights also blind what secret scalars a checker's own sums hold: the product is new each time.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from gridsecure.credentials.curves import IDENTITY, Point, Term
from gridsecure.credentials.group import Group

WEIGHT_BITS: Final = 128

Claim = Sequence[Sequence[Term]]
"""Sums that must all be the identity."""


def find_false(claims: Sequence[Claim], *, group: Group) -> set[int]:
    """The places of claims that do not hold.

    Args:
        claims: Of any length each.
    """
    return _search(range(len(claims)), claims, group)


def _search(places: range, claims: Sequence[Claim], group: Group) -> set[int]:
    if not places or _hold([claims[at] for at in places], group):
        return set()
    if len(places) == 1:
        return {places[0]}
    half = len(places) // 2
    return _search(places[:half], claims, group) | _search(places[half:], claims, group)


def _hold(claims: Sequence[Claim], group: Group) -> bool:
    totals: dict[Point, int] = {}
    for claim in claims:
        for terms in claim:
            weight = 1 + secrets.randbits(WEIGHT_BITS)
            for scalar, point in terms:
                totals[point] = totals.get(point, 0) + weight * scalar
    return group.sum(*((scalar, point) for point, scalar in totals.items())) == IDENTITY
