"""What validation and admission found of each meter point that somebody may have to look at.

One finding is a meter point and a rule, with how many intervals are concerned; never a reading.
What is no work for anybody is left out: repeats of a reading, rows that say themselves that nothing
was read, gaps that were estimated within their limits, and totals that nothing was compared with.
The month's report counts those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import pandas as pd

from gridsecure.billing.readings import ReadingProblem
from gridsecure.billing.sum_checks import NOT_COMPARED
from gridsecure.billing.validation_rules import COMPARED, NEGATIVE, NET_METERED

_NO_WORK: Final = frozenset(
    {
        *("duplicate", "superseded", "missing", "future", "outside-period"),
        *("unknown-meter-point", NET_METERED, COMPARED, NOT_COMPARED),
    }
)
_HELD: Final = "held"
_QUARANTINED: Final = "quarantined"


@dataclass(frozen=True, slots=True)
class Found:
    """A meter point and what a rule found of it.

    Args:
        rule: The rule, or the reason of admission that leaves the meter point out.
        intervals: How many intervals are concerned; 0 where none in particular is.
        first_at: Start of the first of them.
        is_unbilled: Whether the meter point is not billed because of it.
    """

    meter_point_id: str
    rule: str
    intervals: int = 0
    first_at: datetime | None = None
    is_unbilled: bool = False


def list_found(
    problems: Iterable[ReadingProblem], *, held: Mapping[str, str], excluded: pd.DataFrame
) -> list[Found]:
    """Findings of a month, one for each meter point and rule.

    Args:
        problems: What validation found.
        held: Meter points whose bill a rule holds -> the rule.
        excluded: `meter_point_id` and `reason` of meter points that are not billed.
    """
    found: dict[tuple[str, str], Found] = {}
    gaps: dict[str, Found] = {}
    for problem in problems:
        name, rule = problem.meter_point_id, problem.rule
        if rule == "gap":
            gaps[name] = _added(gaps.get(name), problem)
        elif rule not in _NO_WORK:
            found[name, rule] = _added(found.get((name, rule)), problem)
    for name, rule in held.items():
        known = gaps.get(name) if rule == "gap" else found.get((name, rule))
        found[name, rule] = replace(known or Found(name, rule), is_unbilled=True)
    of_meter: dict[str, list[str]] = {}
    for name, rule in found:
        of_meter.setdefault(name, []).append(rule)
    for name, reason in zip(excluded["meter_point_id"], excluded["reason"], strict=True):
        if reason == _HELD:
            continue
        own = of_meter.get(name, []) if reason == _QUARANTINED else []
        rule = NEGATIVE if reason == NET_METERED else reason
        for each in own or [rule]:
            known = found.get((name, each), Found(name, each))
            found[name, each] = replace(known, is_unbilled=True)
    return list(found.values())


def _added(known: Found | None, problem: ReadingProblem) -> Found:
    start = None if problem.start is None else problem.start.to_pydatetime()
    if known is None:
        return Found(problem.meter_point_id, problem.rule, problem.intervals, start)
    starts = [one for one in (known.first_at, start) if one is not None]
    return replace(
        known,
        intervals=known.intervals + problem.intervals,
        first_at=min(starts, default=None),
    )
