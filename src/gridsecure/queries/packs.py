"""Questions that ship: what cities and utilities ask, ready for a month, zones and classes.

Each file in `packs/` is a whole question, answered by the tests as it stands. What it says of July
2026 is put into another month; everything else stays, unless it is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from gridsecure.errors import InputError
from gridsecure.queries.language import Question, parse_question
from gridsecure.queries.spans import Period

TITLES: Final = {
    "load-curve": "the load curve of each zone",
    "revenue-by-period": "revenue by time-of-use period (峰平谷) and customer class",
    "average-bill": "the average bill of a customer, by class",
    "average-use": "the average use of a meter point, by class",
    "what-if-rates": "revenue if peak hours cost more and valleys less",
    "private-segment": "energy of customers by tariff, zone or contracted capacity",
    "coincident-peak": "the share that shops have in each zone's peak",
    "load-factor": "mean and peak power, and the load factor, by class",
    "recovery-index": "daily activity beside another month's (复工电力指数)",
    "vacancy": "the share of homes that use next to nothing (空置率)",
    "deciles": "median and deciles of households' use",
    "variation": "how much households differ, by zone",
    "unusual-months": "how many homes used nothing, or far more than others (异常用电)",
    "weather": "how much energy a degree costs a zone",
    "demand-response": "what an event of demand response saved (需求响应)",
    "tier-energy": "energy in the second tier (阶梯), by zone",
    "tier-revenue": "revenue of the second tier at a rate that you name (阶梯), by zone",
    "revenue-index": "what classes were billed, beside another month (电费指数)",
    "energy-intensity": "shops' energy by floor area, by zone",
    "feeder-losses": "what a feeder gave and nobody used (线损)",
    "collection-rate": "what was paid of what was billed, by class (回收率)",
    "maximum-demand": "the sum of maximum demands, by tariff",
    "peak-shift": "how use moved between peak and valley (峰谷转移)",
    "fused-total": "the load of several utilities' zones together",
    "day-ahead-forecast": "tomorrow's load of a zone, and how far off such forecasts were",
}
"""What each is about."""
BASELINE_DAYS: Final = 10
"""Workdays that an event is compared with."""
_FOLDER: Final = Path(__file__).with_name("packs")
_NUMBER: Final = re.compile(r"^[0-9]+-")
_SATURDAY: Final = 5


def list_packs() -> dict[str, Question]:
    """The questions that ship, by name, in the order of `TITLES`."""
    return {name: parse_question(json.dumps(_load(name))) for name in TITLES}


def fit_pack(
    name: str,
    *,
    month: str | None = None,
    base: str | None = None,
    event: str | None = None,
    timezone: str | None = None,
    cohort: Mapping[str, Sequence[str]] | None = None,
) -> Question:
    """A question that ships, for another month and other customers.

    Args:
        month: YYYY-MM.
        base: The month that it is compared with; by default the one before.
        event: The day of an event of demand response; the workdays before it are its baseline.
        timezone: IANA name of the supply area's local time.
        cohort: Names of `zone`, `customer_class` or `tariff` that it is about; one that is not here
            stays as it is.

    Raises:
        InputError: No question of this name ships (`query.pack`), an event is missing or has no ten
            workdays before it in its month (`query.event`), or as `language.parse_question`.
    """
    document = _load(name)
    statistic = document.get("statistic", {})
    if month is not None:
        document["period"] = {"month": month}
    if timezone is not None:
        document["period"]["timezone"] = timezone
    period = Period.model_validate(document["period"])
    if "base" in statistic:
        statistic["base"] = document["period"] | {"month": base or _month_before(period)}
    if "event" in statistic and (event or month):
        statistic["event"] = [event] if event else []
        statistic["baseline"] = _workdays_before(event, period=period)
    given = {key: list(names) for key, names in (cohort or {}).items() if names}
    if given:
        document["where"] = document.get("where", {}) | given
    return parse_question(json.dumps(document))


def _load(name: str) -> dict[str, Any]:
    for path in _FOLDER.glob("*.json"):
        if _NUMBER.sub("", path.stem) == name:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    raise InputError(
        "No question of this name ships.",
        reason="query.pack",
        remedy="Name one that `gridsecure query pack list` prints.",
    )


def _month_before(period: Period) -> str:
    first = period.days[0].replace(day=1)
    return f"{first - timedelta(days=1):%Y-%m}"


def _workdays_before(event: str | None, *, period: Period) -> list[str]:
    """The last ten workdays of the month that lie before an event."""
    days = [day for day in period.days if event and day.isoformat() < event]
    workdays = [day for day in days if day.weekday() < _SATURDAY][-BASELINE_DAYS:]
    if len(workdays) < BASELINE_DAYS:
        raise InputError(
            "An event has no ten workdays before it in its month.",
            reason="query.event",
            remedy="Give --event, a day from about the 15th on, or write its baseline yourself.",
        )
    return list(map(date.isoformat, workdays))
