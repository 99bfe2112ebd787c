"""A month's contracts from the books as they were at a revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import pandas as pd
from sqlmodel import col, select

from gridsecure.billing.contracts import default_contracts
from gridsecure.gateway.books.facts import CONTRACT_NUMBERS, CONTRACT_TEXTS, NO_CONTRACT
from gridsecure.gateway.books.months import CHANGED, TWICE, Days, Holding, MeterDays, MonthContracts
from gridsecure.gateway.tables import ContractRow, DatedRow, HoldingRow, InstalledMeterRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.periods import BillingPeriod
from gridsecure.store.database import read_session

_NEAR: Final = timedelta(days=31)
_COLUMNS: Final = (*CONTRACT_TEXTS, *CONTRACT_NUMBERS)


def contracts_as_of(zone: GatewayZone, *, period: BillingPeriod, revision: int) -> MonthContracts:
    """What the books of a revision say of a month.

    Who holds a meter point for two stretches of one month, or under a contract that changes within
    it, is not billed: there is no rule for what a month's limits are then.

    Args:
        revision: A number of a change; 0 is before the first.
    """
    month = (period.start.date(), period.end.date())
    contracts: dict[str, list[tuple[Days, tuple[Any, ...]]]] = {}
    for name, first, end, *values in _rows(zone, ContractRow, _COLUMNS, month, revision):
        contracts.setdefault(name, []).append(((first, end), tuple(values)))
    held: dict[str, list[tuple[str, Days]]] = {}
    for name, first, end, holder in _rows(zone, HoldingRow, ("holder",), month, revision):
        held.setdefault(holder, []).append((name, (max(first, month[0]), min(end, month[1]))))
    moved: list[Holding] = []
    rows: list[tuple[Any, ...]] = []
    objections: dict[str, str] = {}
    for holder, stretches in sorted(held.items()):
        days = _joined([stretch for _, stretch in stretches])
        name = stretches[0][0]
        said = _contracts_of(contracts.get(name, ()), days)
        if len(days) > 1:
            objections[holder] = TWICE
        elif len(said) > 1:
            objections[holder] = CHANGED
        rows.append((holder, *(said[0] if said else NO_CONTRACT.values())))
        if days != [month] or holder != name:
            moved += [Holding(holder, name, stretch) for stretch in days]
    meters = tuple(_meters(zone, month, revision))
    return MonthContracts(_frame(rows), tuple(moved), meters, objections)


def _meters(zone: GatewayZone, month: Days, revision: int) -> Iterator[MeterDays]:
    """Meters that a month's registers are counted by otherwise than as they stand.

    Those of exchanges near the month are among them: its first and last faces may be theirs.
    """
    columns = ("multiplier", "first_face_wh", "final_face_wh", "register_hours")
    since = (month[0] - _NEAR, month[1] + _NEAR)
    found = sorted(_rows(zone, InstalledMeterRow, columns, since, revision))
    names = Counter(row[0] for row in found)
    for name, first, end, *counted in found:
        if counted[0] != 1 or counted[3] or names[name] > 1:
            yield MeterDays(name, (first, end), *counted)


def _rows(
    zone: GatewayZone,
    table: type[DatedRow],
    columns: Sequence[str],
    month: Days,
    revision: int,
) -> list[Any]:
    wanted = ("meter_point_id", "valid_from", "valid_to", *columns)
    # By the day it ends: rows of years before are not looked at.
    found = (
        select(*(col(getattr(table, name)) for name in wanted))
        .where(col(table.valid_to) > month[0], col(table.valid_from) < month[1])
        .where(col(table.revision) <= revision, col(table.until_revision) > revision)
    )
    with read_session(zone.engine) as session:
        return [tuple(row) for row in session.execute(found)]


def _joined(stretches: list[Days]) -> list[Days]:
    """Stretches of days, those that touch as one."""
    joined: list[Days] = []
    for first, end in sorted(stretches):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def _contracts_of(
    contracts: Sequence[tuple[Days, tuple[Any, ...]]], days: list[Days]
) -> list[tuple[Any, ...]]:
    """The different contracts that hold on some of the days."""
    found: list[tuple[Any, ...]] = []
    for (first, end), values in sorted(contracts, key=lambda one: one[0]):
        overlaps = any(first < until and end > begin for begin, until in days)
        if overlaps and values not in found:
            found.append(values)
    return found


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """A contract frame of rows."""
    empty = default_contracts([])
    if not rows:
        return empty
    frame = pd.DataFrame(rows, columns=["meter_point_id", *_COLUMNS])
    texts = dict.fromkeys(("meter_point_id", *CONTRACT_TEXTS), "str")
    return frame[list(empty)].astype({**texts, **dict.fromkeys(CONTRACT_NUMBERS, "int64")})
