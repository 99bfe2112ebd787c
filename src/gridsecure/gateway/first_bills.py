"""First bills of meter points that a finished month left out, once their readings are there.

They come with a correction of the month: rosters of their own, seated like those of the month, with
settlement and interval columns, closed and billed alone or with what else is open. A roster counts
once the platform committed it. One that the platform refuses, because a member was revoked in
between, is left; its other members are taken up by the next correction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure.credentials.seats import billing_domain
from gridsecure.errors import InputError
from gridsecure.gateway import outbox
from gridsecure.gateway.admission import write_exceptions
from gridsecure.gateway.agents import agents_of
from gridsecure.gateway.bill_commitments import BillsToCommit
from gridsecure.gateway.correction_plan import CorrectionPlan
from gridsecure.gateway.enrolment import REVOKED
from gridsecure.gateway.months import Peers
from gridsecure.gateway.preparation import (
    NOTHING_BILLED,
    AdmittedMonth,
    Assigned,
    RosterMonth,
    assign_rosters,
)
from gridsecure.gateway.sealed_days import find_sealed
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.zone import GatewayZone
from gridsecure.periods import BillingPeriod

_BILLED: Final = "billed"


def assign_left_out(
    admitted: AdmittedMonth, *, billed: Collection[str], seating: Seating, folder: Path
) -> Assigned | None:
    """Rosters of the meter points that have no bill yet; None where nobody can be billed.

    Args:
        admitted: The whole month as it is read now.
        billed: Meter points that have a bill.
        folder: The correction's.

    Raises:
        GridSecureError: As `assign_rosters`.
    """
    left = admitted.leave_out(dict.fromkeys(billed, _BILLED))
    if left.admission.billed.empty:
        return None
    try:
        assigned = assign_rosters(
            seating,
            left,
            folder=folder,
            begin=lambda _stage: None,
            counted=lambda _done, _of: None,
        )
    except InputError as error:
        if error.reason != NOTHING_BILLED:
            raise
        return None
    finally:
        # The file is about the month, whose bills stand; not about who is billed first here.
        write_exceptions(admitted.admission, path=folder / "exceptions.csv")
    write_exceptions(admitted.leave_out(assigned.refused).admission, path=folder / "exceptions.csv")
    return assigned


def encrypt_first_bills(
    zone: GatewayZone,
    rosters: list[RosterMonth],
    *,
    admitted: AdmittedMonth,
    folder: Path,
    peers: Peers,
    at: datetime,
) -> None:
    """Put the first upload of each roster into the outbox, unless it is there.

    Args:
        folder: The correction's.
    """
    period = admitted.held.period
    start = period.start.isoformat()
    sealed = find_sealed(zone, period.name)
    keys = peers.key_sets(start)
    key = agents_of(zone).gateway().key_in(billing_domain(start))
    for item in rosters:
        columns = admitted.columns(
            item.roster,
            tariff=item.tariff,
            period=period,
            keys=keys,
            without=sealed.days_of(item.roster),
        )
        packed = outbox.Packed(
            roster=item.roster.manifest,
            columns=columns,
            start=start,
            end=period.end.isoformat(),
            estimated_readings=item.estimated_readings,
            changed_slots=admitted.changed_slots(item.roster, sealed),
            moved_slots=item.moved_slots,
            commit=BillsToCommit(admitted, item.roster, period, folder).write,
        )
        outbox.put(zone, packed, key=key, at=at)


def send_first_bills(
    zone: GatewayZone,
    plan: CorrectionPlan,
    *,
    peers: Peers,
    clock: Callable[[], datetime],
) -> int:
    """Have the platform commit each; the bytes sent.

    Raises:
        GridSecureError: The platform cannot be reached, or refused for another reason than that
            a member was revoked.
    """
    sent = 0
    for name in plan.added_names:
        outgoing = outbox.load_outgoing(zone, name)
        if outgoing.state == outbox.COMMITTED:
            continue
        try:
            platform = peers.platform(outgoing.upload.start)
            sent += outbox.send(zone, outgoing, platform=platform, clock=clock)
        except InputError as refusal:
            if refusal.reason != REVOKED:
                raise
    return sent


def count_first_bills(zone: GatewayZone, plan: CorrectionPlan) -> int:
    """How many meter points the platform committed a first upload of."""
    sent = (outbox.load_outgoing(zone, name) for name in plan.added_names)
    return sum(len(one.seated.pseudonyms) for one in sent if one.state == outbox.COMMITTED)


def seating_of(
    zone: GatewayZone,
    known: CorrectionPlan | None,
    *,
    period: BillingPeriod,
    peers: Peers,
    clock: Callable[[], datetime],
) -> Seating:
    """Seating for a correction; one that is fixed seats the same rosters again."""
    refused: Mapping[str, str] = known.refused if known else {}
    settled = frozenset(known.added if known else ())
    start, by_day = period.start.isoformat(), find_sealed(zone, period.name).names
    return Seating(zone, peers.identity, start, clock, refused, settled, by_day)
