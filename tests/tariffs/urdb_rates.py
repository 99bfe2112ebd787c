"""URDB rates for the import's tests, as small as each test allows."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from typing import Any

from gridsecure.tariffs.urdb.conversion import UrdbOptions, import_rate

Rate = dict[str, Any]
YEAR = 2018
ZONE = "Asia/Shanghai"
MONTHS = 12
HOURS = 24


def plain_rate(**changed: Any) -> Rate:
    """One price for all energy, with whatever a test adds to it."""
    return {"label": "L", "energyratestructure": [[{"rate": Decimal("0.1")}]], **changed}


def every_day(*hours: int) -> list[list[int]]:
    """A schedule whose days are all alike."""
    day = list(hours) if len(hours) > 1 else list(hours) * HOURS
    return [list(day) for _ in range(MONTHS)]


NIGHT_AND_DAY = every_day(*[0] * 8, *[1] * 16)


def two_periods(*tiers: list[Rate], **changed: Any) -> Rate:
    """Night and day, the same on all days."""
    night_and_day = NIGHT_AND_DAY
    schedules = {"energyweekdayschedule": night_and_day, "energyweekendschedule": night_and_day}
    return plain_rate(energyratestructure=list(tiers), **schedules, **changed)


def ladder(*prices: str, limits: tuple[int, ...], **every_tier: Any) -> list[Rate]:
    """Tiers with rising limits, the last one open."""
    tiers = [{"rate": Decimal(price), **every_tier} for price in prices]
    for tier, limit in zip(tiers, limits, strict=False):
        tier["max"] = limit
    return tiers


def imported(rate: Rate, **options: Any) -> dict[str, Any]:
    """The tariff file of a rate, read back as plain TOML."""
    return tomllib.loads(import_text(rate, **options))


def chosen(**options: Any) -> UrdbOptions:
    """Options with a year and a zone, which no rate of these tests names."""
    return UrdbOptions(**{"year": YEAR, "timezone": ZONE, **options})


def import_text(rate: Rate, **options: Any) -> str:
    return import_rate(rate, options=chosen(**options)).text


def notes(rate: Rate, **options: Any) -> tuple[str, ...]:
    return import_rate(rate, options=chosen(**options)).notes


def rates_of(tariff: dict[str, Any], charge: str) -> list[dict[str, Any]]:
    """Rate rows of a charge, without what all of them have."""
    common = ("charge", "source")
    return [
        {key: value for key, value in row.items() if key not in common}
        for row in tariff["rates"]
        if row["charge"] == charge
    ]
