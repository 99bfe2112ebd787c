"""Many claims checked by one sum, and the false ones found.

A claim is a list of sums that are all the identity where it is true. Claims are checked together:

    1. every sum gets a weight of 128 bits, drawn when all claims are in, known to nobody before;
    2. the weighted sums are added up, with one scalar for each point, and must give the identity;
    3. if they do not, each quarter is checked with weights of its own, down to the single claim;
       where all quarters fail, every claim is checked alone.

Why that is enough. The group's order is a prime beyond 2^128. Take any sum that is not the
identity and fix all other weights: at most one value of its own weight makes the whole the
identity. So false claims pass with a probability of 2^-128, whatever they are and whoever made them
together; claims that cancel each other under one weighting do not under the next. The weights must
come after the claims, which is why they are drawn here and follow from nothing a sender chooses.

What it saves. Points that all claims share, as generators and keys, are multiplied once; for the
rest doublings are shared, and a commitment has a scalar of half the length.

What it costs where nobody keeps to the rules: each claim is weighed three times if all are false,
about five times at most. One false claim among many costs less than two and a half times the sum.

Secret scalars in a checker's own sums meet another weight each time, so the product changes every
time. That is less than blinding: 128 bits do not make a scalar of 256 uniform.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from gridsecure.credentials.curves import IDENTITY, Point, Term
from gridsecure.credentials.group import Group

WEIGHT_BITS: Final = 128
PARTS: Final = 4

Claim = Sequence[Sequence[Term]]
"""Sums that must all be the identity."""


def find_false(claims: Sequence[Claim], *, group: Group) -> Iterator[int]:
    """The places of claims that do not hold, as they are found: whom one decides asks no further.

    Args:
        claims: Of any length each.
    """
    places = range(len(claims))
    if not _hold(claims, group):
        yield from _search(places, claims, group)


def _search(places: range, claims: Sequence[Claim], group: Group) -> Iterator[int]:
    """Search places of which at least one is false."""
    if len(places) == 1:
        yield places[0]
        return
    size = -(-len(places) // PARTS)
    parts = [places[at : at + size] for at in range(0, len(places), size)]
    bad = [part for part in parts if not _hold([claims[at] for at in part], group)]
    if len(bad) == len(parts) and size > 1:  # many are false: weighing them together finds nothing
        yield from (at for at in places if not _hold([claims[at]], group))
        return
    for part in bad:
        yield from _search(part, claims, group)


def _hold(claims: Sequence[Claim], group: Group) -> bool:
    totals: dict[Point, int] = {}
    for claim in claims:
        for terms in claim:
            weight = 1 + secrets.randbits(WEIGHT_BITS)
            for scalar, point in terms:
                totals[point] = totals.get(point, 0) + weight * scalar
    return group.sum(*((scalar, point) for point, scalar in totals.items())) == IDENTITY
