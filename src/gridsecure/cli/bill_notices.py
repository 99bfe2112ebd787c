"""What stands in a bill document beside the figures: what was read, and what was assumed.

Scripts read the document and never the error stream, so whatever is missing, estimated or assumed
about a meter point and a month is in it: counts and gaps under `readings`, and under `notices` one
entry for each thing that its reader must know, with a stable code, its numbers, and a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import moment_us, start_us
from gridsecure.gateway.passed_over import WORDS
from gridsecure.periods import BillingPeriod

MOST_GAPS: Final = 20
_MINUTE_US: Final = 60_000_000

# Code -> sentence; the numbers in it are the notice's `values`.
SENTENCES: Final[Mapping[str, str]] = {
    "readings-missing": "{missing} of {intervals} intervals of {minutes} minutes have no reading;"
    " billed as read, nothing estimated.",
    "readings-estimated": "{estimated} intervals are billed by readings that the file says are"
    " estimated.",
    "readings-noted": "{start}: {detail} ({rule}).",
    "readings-superseded": "{superseded} readings were replaced by readings of better quality.",
    "readings-future": "{future} readings end in the future; this is a what-if, not a bill.",
    "days-charged": "All {days} days of the month are charged, though readings are of {days_read}:"
    " a charge per day is owed for supply, which missing readings do not interrupt.",
    "clock-as-written": "The rate names no time zone: its hours are those of the readings' own"
    " clock, which is taken never to change.",
    "clock-of-offset": "The rate names no time zone: its hours are those of the offset that the"
    " readings state ({timezone}).",
    "large-assumed": "Billed as a large customer, since a month took more than {kwh} kWh.",
    "stamps-at-end": "The times of the readings are taken as the ends of their intervals.",
    "register-values": "The values are taken as faces of a cumulative register, and billed as the"
    " differences between them.",
    "power-values": "The values are taken as average powers of their intervals.",
    "year-to-date-given": "Tiers of the year begin with {kwh} kWh used since 1 January, as given.",
    "what-if": "A what-if by tariff {tariff}; the contract names {contract}. This is no bill.",
    **{
        f"passed-over-{name}": f"The file has {{count}} values that no bill counts: {what}."
        for name, what in WORDS.items()
    },
}


def notice(code: str, **values: int | str) -> dict[str, Any]:
    """One notice of a bill document."""
    return {"code": code, "values": values, "text": SENTENCES[code].format(**values)}


@dataclass(frozen=True, slots=True, eq=False)
class BillNotices:
    """What is known beside the figures of all bills of a file.

    Args:
        readings: The readings that are billed, by meter point.
        superseded: Meter point and start of those that better ones replaced.
        interval: Length of intervals that do not state their own.
        now: The present, aware.
        common: Notices of every bill.
        of_meter: Meter point -> notices of its bills.
        what_if: Meter point -> the tariff of its contract, where another is billed on request.
    """

    readings: Mapping[str, pd.DataFrame]
    superseded: pd.DataFrame
    interval: pd.Timedelta
    now: datetime
    common: tuple[dict[str, Any], ...] = ()
    of_meter: Mapping[str, Sequence[dict[str, Any]]] | None = None
    what_if: Mapping[str, str] | None = None

    def beside(
        self, meter_point_id: str, document: dict[str, Any], *, period: BillingPeriod
    ) -> dict[str, Any]:
        """The bill document with what its reader must know."""
        read = _coverage(self, meter_point_id, period)
        found = [*self.common, *(self.of_meter or {}).get(meter_point_id, ())]
        found += _about_readings(read)
        if read["days_read"] < read["days"] and _charges_days(document):
            found.append(notice("days-charged", days=read["days"], days_read=read["days_read"]))
        marked = {**document, "readings": read, "notices": found}
        if self.what_if is not None:
            contract = self.what_if[meter_point_id]
            tariff = document["tariff"]["id"]
            found.insert(0, notice("what-if", tariff=tariff, contract=contract or "none"))
            marked["what_if"] = {"contract_tariff": contract}
        return marked


def _charges_days(document: dict[str, Any]) -> bool:
    return any(line["unit"] == "day" for line in document["lines"])


def _about_readings(read: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if read["missing"]:
        intervals = read["actual"] + read["estimated"] + read["missing"]
        minutes = read["interval_minutes"]
        found.append(
            notice(
                "readings-missing", missing=read["missing"], intervals=intervals, minutes=minutes
            )
        )
    found += [
        notice(f"readings-{name}", **{name: read[name]})
        for name in ("estimated", "superseded", "future")
        if read[name]
    ]
    return found


def _coverage(known: BillNotices, meter_point_id: str, period: BillingPeriod) -> dict[str, Any]:
    """Counts of a meter point's readings in a month, and where there are none."""
    all_rows = known.readings[meter_point_id]
    inside = (all_rows["start"] >= period.start) & (all_rows["start"] < period.end)
    rows = all_rows[inside].sort_values("start")
    starts = start_us(rows)
    lengths = interval_us(rows, known.interval)
    usual = int(pd.Series(lengths).mode().iloc[0])
    begin, end = (moment_us(moment) for moment in (period.start, period.end))
    edges = np.append(np.maximum.accumulate(np.append(begin, starts + lengths)), end)
    nexts = np.append(starts, end)
    gaps = np.flatnonzero(nexts > edges[:-1])
    uncovered = int((nexts[gaps] - edges[:-1][gaps]).sum())
    replaced = known.superseded
    superseded = (
        (replaced["meter_point_id"] == meter_point_id)
        & (replaced["start"] >= period.start)
        & (replaced["start"] < period.end)
    )
    estimated = int((rows["quality"] == "estimated").sum())
    return {
        "interval_minutes": usual // _MINUTE_US,
        "actual": len(rows) - estimated,
        "estimated": estimated,
        "missing": -(-uncovered // usual),
        "superseded": int(superseded.sum()),
        "future": int((starts + lengths > moment_us(known.now)).sum()),
        "days": period.days,
        "days_read": int(rows["start"].dt.tz_convert(period.start.tzinfo).dt.date.nunique()),
        "gaps": [
            {"start": _local(edges[gap], period), "end": _local(nexts[gap], period)}
            for gap in gaps[:MOST_GAPS]
        ],
        "gaps_left_out": max(len(gaps) - MOST_GAPS, 0),
    }


def interval_us(rows: pd.DataFrame, interval: pd.Timedelta) -> NDArray[np.int64]:
    """The length of each reading's interval [µs], its own where it states one."""
    if "minutes" in rows:
        return rows["minutes"].to_numpy(np.int64) * _MINUTE_US
    return np.full(len(rows), interval // pd.Timedelta(microseconds=1), dtype=np.int64)


def _local(at_us: int, period: BillingPeriod) -> str:
    moment = pd.Timestamp(int(at_us), unit="us", tz="UTC").tz_convert(period.start.tzinfo)
    return moment.isoformat(timespec="minutes")
