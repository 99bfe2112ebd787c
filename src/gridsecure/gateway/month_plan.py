"""What a gateway keeps about a month: the plan once it is fixed, and the report once it is done.

Both are records that never change. Until a plan is recorded, nothing of the month left the gateway
and its files may be replaced; afterwards a run can only complete it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from gridsecure.billing.periods import BillingPeriod, billing_month
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InputError, NotFoundError
from gridsecure.gateway.outbox import upload_name
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import FIRST_REVISION
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, fetch, record

_PLAN: Final = "month-plan"
_REPORT: Final = "month-report"


@dataclass(frozen=True, slots=True)
class MonthReport:
    """What became of a month; counts only.

    Invariant: readings + estimated = accepted + quarantined.

    Args:
        readings: Readings in the files.
        accepted: Readings accepted, with estimates.
        estimated: Of those, filled in by estimation.
        quarantined: Readings refused.
        problems: Problems by rule.
        meters: Meter points in contracts or files.
        billed_meters: Of those, billed.
        excluded: The others by reason.
        rosters: Rosters.
        columns: Encrypted columns.
        bytes_stored: Their size [bytes].
        bytes_uploaded: Sent to the platform by the run that finished [bytes].
        seconds: Time by stage of the run that finished [s].
    """

    readings: int
    accepted: int
    estimated: int
    quarantined: int
    problems: Mapping[str, int]
    meters: int
    billed_meters: int
    excluded: Mapping[str, int]
    rosters: int
    columns: int = 0
    bytes_stored: int = 0
    bytes_uploaded: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MonthPlan:
    """What is fixed before the first column is encrypted.

    Args:
        start: Start of the period, ISO 8601.
        end: Its end, exclusive.
        validated_at: When the readings were validated; another run validates as of then.
        rosters: Roster ids.
        tariffs: Digests of the tariffs in use.
        counts: The report as far as it is known.
        refused: Meter points that the identity authority refused, with the reason; another run
            leaves out the same ones.
    """

    start: str
    end: str
    validated_at: str
    rosters: tuple[str, ...]
    tariffs: tuple[str, ...]
    counts: Mapping[str, Any]
    refused: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the outbox of what goes out first."""
        return tuple(upload_name(name, self.start, FIRST_REVISION) for name in self.rosters)


def month_period(month: str, *, timezone: str) -> BillingPeriod:
    """The billing period of a month written YYYY-MM.

    Raises:
        InputError: It is not a month (`month.format`).
    """
    try:
        first = datetime.strptime(month, "%Y-%m")  # noqa: DTZ007 - names a month, not a moment
    except ValueError as error:
        raise _not_a_month() from error
    if f"{first:%Y-%m}" != month:
        raise _not_a_month()
    return billing_month(first.year, first.month, timezone=timezone)


def stored_plan(zone: GatewayZone, month: str) -> MonthPlan | None:
    """The plan of a month, or None while it is not fixed."""
    text = _stored(zone, _PLAN, month)
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    rosters, tariffs = tuple(fields.pop("rosters")), tuple(fields.pop("tariffs"))
    return MonthPlan(rosters=rosters, tariffs=tariffs, **fields)


def stored_report(zone: GatewayZone, month: str) -> MonthReport | None:
    """The report of a finished month, or None."""
    text = _stored(zone, _REPORT, month)
    return None if text is None else MonthReport(**json.loads(text))


def fix_plan(zone: GatewayZone, month: str, *, plan: MonthPlan, at: datetime) -> None:
    """Record a month's plan; the same plan again changes nothing.

    Raises:
        ConflictError: Another plan is recorded (`conflict.month-plan`): the files were changed.
        StorageError: The database could not take it.
    """
    known = stored_plan(zone, month)
    if known is None:
        _keep(zone, _PLAN, month, value=asdict(plan), at=at)
    elif (known.rosters, known.tariffs) != (plan.rosters, plan.tariffs):
        raise ConflictError(
            "The month's files give other rosters than those already fixed.",
            reason="conflict.month-plan",
            remedy="Put the files back as they were when the month was first processed.",
        )


def keep_report(zone: GatewayZone, month: str, *, report: MonthReport, at: datetime) -> None:
    """Record the report of a finished month."""
    _keep(zone, _REPORT, month, value=asdict(report), at=at)


def required_plan(zone: GatewayZone, month: str) -> MonthPlan:
    """The plan of a month that must have one.

    Raises:
        NotFoundError: It has none (`month.not-processed`).
    """
    plan = stored_plan(zone, month)
    if plan is None:
        raise NotFoundError(
            "This month was not processed here.",
            reason="month.not-processed",
            remedy="Hand in its files and process it first.",
        )
    return plan


def _keep(
    zone: GatewayZone, kind: str, month: str, *, value: Mapping[str, Any], at: datetime
) -> None:
    text = json.dumps(value, sort_keys=True)
    with write_session(zone.engine) as session:
        entry = Record(kind, month, month, sm3_hex(text.encode()), "kept", text)
        record(session, entry, at=at)


def _stored(zone: GatewayZone, kind: str, month: str) -> str | None:
    with write_session(zone.engine) as session:
        try:
            return fetch(session, kind=kind, name=month).text
        except NotFoundError:
            return None


def _not_a_month() -> InputError:
    return InputError(
        "A month is written YYYY-MM.", reason="month.format", remedy="Write it as 2026-07."
    )
