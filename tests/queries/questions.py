"""Questions that tests ask."""

from __future__ import annotations

import json
from typing import Any

from gridsecure.messages import RosterManifest
from gridsecure.queries.language import Question, parse_question

JULY = {"month": "2026-07"}


def question(**fields: Any) -> Question:
    """A question about the energy of July 2026, but for what is said otherwise."""
    return parse_question(json.dumps({"measure": "energy", "period": JULY} | fields))


def roster(
    name: str,
    cells: list[tuple[str, str]],
    *,
    tariff: str = "0" * 64,
    kva: list[int] | None = None,
    large: bool = False,
) -> RosterManifest:
    """A roster of meter points in zones and classes.

    Args:
        kva: Contracted capacity of each.
    """
    slots = len(cells)
    return RosterManifest(
        roster_id=name,
        gateway_id="g" * 64,
        domain="test",
        tariff=tariff,
        pseudonyms=[f"{name}-{slot}" for slot in range(slots)],
        zones=[zone for zone, _ in cells],
        customer_classes=[customer_class for _, customer_class in cells],
        household_quota_wh=[0] * slots,
        contracted_va=[1000 * each for each in kva or [0] * slots],
        large=large,
    )
