"""What the books say of a month: who is billed, for which days, under which contract.

A reading belongs to whoever holds the meter point on its day. So readings are named by holder
before anything else looks at them: who moves in on the 15th has the readings from then on, and who
moved out has those before. What nobody held stays under the meter point's own id and is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.readings import as_categories
from gridsecure.periods import BillingPeriod

Days = tuple[date, date]
"""The first day, and the day after the last one."""

Window = tuple[datetime, datetime]
"""Two moments, the later one exclusive."""

CHANGED: Final = "books.changed"
TWICE: Final = "books.twice"


@dataclass(frozen=True, slots=True)
class Holding:
    """Days of a month that a holder has a meter point."""

    holder: str
    meter_point_id: str
    days: Days


@dataclass(frozen=True, slots=True, eq=False)
class MonthContracts:
    """The books of a month.

    Args:
        contracts: A contract frame, by holder.
        moved: Who holds a meter point for a part of the month, or under another name than its own.
        objections: Holder -> why the books let no bill be, of `admission.REASONS`.
    """

    contracts: pd.DataFrame
    moved: tuple[Holding, ...] = ()
    objections: Mapping[str, str] = field(default_factory=dict)

    def parts(self, period: BillingPeriod) -> dict[str, Window]:
        """The time of each holder that has less than the month."""
        zone = period.start.tzinfo
        found = {}
        for one in self.moved:
            start, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in one.days)
            if (start, end) != (period.start, period.end) and one.holder not in self.objections:
                found[one.holder] = (start, end)
        return found

    def name_holders(self, readings: pd.DataFrame, *, timezone: str) -> pd.DataFrame:
        """Readings under the names of who held their meter points then.

        Args:
            readings: A readings frame, by meter point.
            timezone: Local time of days.
        """
        if not self.moved:
            return readings
        readings = as_categories(readings)
        ids = readings["meter_point_id"].cat
        moved = {one.meter_point_id for one in self.moved}
        (affected,) = np.nonzero(np.isin(ids.codes, np.flatnonzero(ids.categories.isin(moved))))
        if not len(affected):
            return readings
        part = readings.iloc[affected]
        before = part["meter_point_id"].astype(str).to_numpy(object)
        local = pd.DatetimeIndex(part["start"]).tz_convert(timezone).tz_localize(None)
        after = before.copy()
        for one in self.moved:
            first, end = (pd.Timestamp(day) for day in one.days)
            own = (before == one.meter_point_id) & (local >= first) & (local < end)
            after[own] = one.holder
        names = readings["meter_point_id"].astype(str).to_numpy(object)
        names[affected] = after
        return readings.assign(meter_point_id=pd.Categorical(names))


def no_contracts() -> MonthContracts:
    """The books of a month in which nobody holds anything."""
    return MonthContracts(default_contracts([]))
