"""What each plan may be released for, and by whose order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.messages import PlanName

RESEARCH: Final = "research"
"""An analyst's query, with a grant; no member of staff orders for it."""

RESEARCH_PLANS: Final[frozenset[PlanName]] = frozenset({"load-curve", "query"})
"""What analysts may ask for: load curves in the open, and whatever a sealed question says."""

BILLING: Final = "billing"

STAFF_PURPOSES: Final[Mapping[PlanName, frozenset[str]]] = {
    "bill": frozenset({BILLING}),
    "load-curve": frozenset({"operations", "tariff-design"}),
    "query": frozenset(),
    "rebill": frozenset({BILLING}),
}
"""What staff may order each plan for."""

PREVIEW: Final = "preview"
"""What a shadow run tells; nobody may order a plan for it."""

PURPOSES: Final = tuple(sorted({PREVIEW, RESEARCH}.union(*STAFF_PURPOSES.values())))
"""All there are."""
