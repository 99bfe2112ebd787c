"""Prices by interval of a year (`ts_buy_rate`), as SAM takes them beside a URDB rate.

The series starts on 1 January; its length tells the interval. SAM's year has 365 days, so the
series is laid on a year that has as many.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Mapping
from typing import Any

from gridsecure.tariffs.urdb import elements as read
from gridsecure.tariffs.urdb.elements import refuse
from gridsecure.tariffs.urdb.rows import SOURCE, ConvertedElement, Row

NAME = "ts_buy_rate"
MINUTES_PER_YEAR = 365 * 1440
INTERVALS = (5, 10, 15, 30, 60)


def convert_dynamic(
    elements: Mapping[str, Any], energy: ConvertedElement, *, year: int | None
) -> ConvertedElement:
    """Return the series of prices, or `energy` if the rate has none.

    Raises:
        InvalidTariffError: `urdb.ts_buy_rate`, `urdb.year`, and as the readers of numbers.
    """
    if NAME not in elements:
        return energy
    if any(row.values.get("rate", "0") != "0" for row in energy.rows):
        refuse(NAME, "the rate has other energy prices besides", code=NAME)
    written = read.read_items(elements[NAME], where=NAME)
    lengths = {MINUTES_PER_YEAR // minutes: minutes for minutes in INTERVALS}
    if len(written) not in lengths:
        refuse(
            NAME,
            f"{len(written)} prices are no year of {read.join_names(INTERVALS)} minutes",
            code=NAME,
        )
    if year is None or isleap(year):
        refuse(
            NAME,
            "the prices are those of a year with 365 days",
            code="year",
            remedy=read.import_with("year", "2025"),
        )
    prices = tuple(
        read.read_price(value, where=f"{NAME}[{at}]") for at, value in enumerate(written)
    )
    row = Row(
        "dynamic",
        {
            "source": SOURCE,
            "start": f"{year}-01-01T00:00",
            "interval_minutes": lengths[len(written)],
            "rates": prices,
        },
        repeats=False,
    )
    return ConvertedElement((row,), notes=energy.notes)
