"""What became of the readings of each batch: counted once a month is done, and once corrected.

It is counted as `reading_balance` reconciles the month, and kept with the batches, so that a source
is told the numbers of `gridsecure gateway reconcile` and asking costs no second validation. What is
late waits whole, which needs no count: a batch has one from the correction that takes it up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlmodel import col, select, update

from gridsecure.errors import GridSecureError, NotFoundError
from gridsecure.gateway.reading_balance import balance_readings
from gridsecure.gateway.tables import (
    BatchMonthRow,
    CorrectionPlanRow,
    CorrectionReportRow,
    MonthCountRow,
    MonthReportRow,
)
from gridsecure.gateway.taken_in import BILLED, ESTIMATED, QUARANTINED, WAITING, TakenIn
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import ReadingCounts
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find

_STATES: Final = (BILLED, ESTIMATED, QUARANTINED, WAITING)
_AT_ONCE: Final = 1000  # batches in one transaction, which keeps others from writing


def count_readings(taken_in: Iterable[TakenIn]) -> ReadingCounts:
    """What came in and what became of it, of batches, edits and files together."""
    came_in, became = 0, Counter[tuple[str, str]]()
    for one in taken_in:
        came_in += one.came_in
        became.update(one.became)
    states = dict.fromkeys(_STATES, 0)
    reasons: dict[Any, dict[str, int]] = {}
    for (state, reason), count in sorted(became.items()):
        states[state] += count
        if reason and count:
            reasons.setdefault(state, {})[reason] = count
    return ReadingCounts(came_in=came_in, **states, reasons=reasons)


def is_counted(zone: GatewayZone, month: str) -> bool:
    """Whether there is nothing to count of a month: not since it was done or last corrected."""
    return _uncounted_since(zone, month) is None


def _uncounted_since(zone: GatewayZone, month: str) -> str | None:
    """Digest of what happened to a month with batches after it was last counted, if it did."""
    corrected = (
        select(CorrectionPlanRow.digest)
        .join(CorrectionReportRow)
        .where(CorrectionPlanRow.month == month)
        .order_by(col(CorrectionPlanRow.number).desc())
        .limit(1)
    )
    sent = select(BatchMonthRow.batch).where(BatchMonthRow.month == month).limit(1)
    with read_session(zone.engine) as session:
        report = find(session, MonthReportRow, month=month)
        if report is None or session.exec(sent).first() is None:
            return None
        last = session.exec(corrected).first() or report.digest
        counted = find(session, MonthCountRow, month=month)
    return None if counted is not None and counted.occasion == last else last


def count_fates(zone: GatewayZone, month: str) -> None:
    """Count what became of a month's batches, if that was not done since it was last corrected.

    Raises:
        GridSecureError: They cannot be read. That is noted, so that nobody waits for the counts.
    """
    occasion = _uncounted_since(zone, month)
    if occasion is None:
        return
    try:
        batches = [one for one in balance_readings(zone, month).taken_in if one.kind == "source"]
    except NotFoundError:  # faces beyond its edges alone
        batches = []
    except GridSecureError:
        _note(zone, MonthCountRow(month=month, occasion=occasion, document=""))
        raise
    for start in range(0, len(batches), _AT_ONCE):
        _keep(zone, month, batches[start : start + _AT_ONCE])
    sources: dict[str, list[TakenIn]] = {}
    for one in batches:
        sources.setdefault(one.source, []).append(one)
    document = {name: count_readings(own).model_dump() for name, own in sorted(sources.items())}
    _note(zone, MonthCountRow(month=month, occasion=occasion, document=json.dumps(document)))


def _keep(zone: GatewayZone, month: str, batches: Sequence[TakenIn]) -> None:
    """Keep with batches what became of their readings, but of those that still wait."""
    told = {one.number: count_readings([one]) for one in batches}
    decided = {number: counts for number, counts in told.items() if not counts.waiting}
    with write_session(zone.engine) as session:
        for number, counts in decided.items():
            own = update(BatchMonthRow).where(
                col(BatchMonthRow.month) == month, col(BatchMonthRow.batch) == number
            )
            session.exec(own.values(counts=counts.model_dump_json()))


def _note(zone: GatewayZone, row: MonthCountRow) -> None:
    with write_session(zone.engine) as session:
        session.merge(row)


def find_source_counts(zone: GatewayZone, month: str, *, source: str) -> ReadingCounts | None:
    """What became of a source's readings of a month, as it was last counted; None before.

    Args:
        month: YYYY-MM.
    """
    with read_session(zone.engine) as session:
        row = find(session, MonthCountRow, month=month)
    found = json.loads(row.document).get(source) if row is not None and row.document else None
    return None if found is None else ReadingCounts.model_validate(found)
