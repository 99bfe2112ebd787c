"""What tests hold to where they do not say otherwise: 15 customers for everything."""

from __future__ import annotations

from gridsecure.plans.cells import MEASURES, Minima, ToldSet
from gridsecure.policy.packs import UNIFORM, load_pack

POLICY = load_pack(UNIFORM)
FEWEST = 15
BY_MEASURE = dict.fromkeys(MEASURES, FEWEST)
FIFTEEN = Minima({"*": BY_MEASURE})


def told(*sets, minimum=FEWEST):
    """Sets of members that something is told of."""
    return [ToldSet(members, minimum) for members in sets]
