"""What tests hold to where they do not say otherwise: 15 customers for everything."""

from __future__ import annotations

from gridsecure.plans.cells import MEASURES, Minima, ToldSet
from gridsecure.policy.decisions import asked_for, find_minima
from gridsecure.policy.packs import UNIFORM, load_pack

POLICY = load_pack(UNIFORM)
FEWEST = 15
BY_MEASURE = dict.fromkeys(MEASURES, FEWEST)
FIFTEEN = find_minima(POLICY, asked_for("billing", resolution="monthly"))
APART = Minima({"*": BY_MEASURE})
"""The same without merging."""


def told(*sets, minimum=FEWEST):
    """Sets of members that something is told of."""
    return [ToldSet(members, minimum) for members in sets]
