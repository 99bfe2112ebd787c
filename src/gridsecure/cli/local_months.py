"""A month billed for the first time by the parties in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from gridsecure.cli.bill_tariffs import BilledTariff
from gridsecure.cli.in_process import LocalGrid, issued, sent
from gridsecure.compute import intake
from gridsecure.credentials.seats import billing_domain
from gridsecure.gateway.rosters import Roster, build_rosters
from gridsecure.messages import Signed
from gridsecure.periods import BillingPeriod


@dataclass(frozen=True, slots=True, eq=False)
class TariffPart:
    """The meter points that are billed by one tariff.

    Args:
        billed: The tariff.
        contracts: Their contracts, all with the tariff's id.
        settlements: Their settlements, of every month that was read.
    """

    billed: BilledTariff
    contracts: pd.DataFrame
    settlements: pd.DataFrame

    def settled(self, period: BillingPeriod) -> pd.DataFrame:
        """The settlements of one month."""
        return self.settlements[self.settlements["period_start"] == period.start]


@dataclass(frozen=True, slots=True, eq=False)
class IssuedMonth:
    """A month as first billed, with what a correction builds on.

    Args:
        period: The month.
        rosters: Its rosters.
        uploads: The signed upload of each.
        names: Settlement pseudonym -> meter point.
        bills: Meter point -> its period, in the public JSON form.
    """

    period: BillingPeriod
    rosters: tuple[Roster, ...]
    uploads: tuple[Signed, ...]
    names: Mapping[str, str]
    bills: Mapping[str, Any]


def bill_month(
    grid: LocalGrid, parts: Sequence[TariffPart], *, period: BillingPeriod
) -> IssuedMonth:
    """Bill settled meter points for one month on ciphertext, all in one release.

    Args:
        grid: The parties.
        parts: The meter points of each tariff.
        period: The month.

    Returns:
        The bills, and what a correction of them builds on.

    Raises:
        GridSecureError: The tariff, contracts or settlements cannot be billed, or the release was
            refused.
    """
    start, now = period.start.isoformat(), datetime.now(UTC)
    rosters: list[Roster] = []
    uploads: list[Signed] = []
    names: list[str] = []
    for part in parts:
        settled = part.settled(period)
        if settled.empty:
            continue
        own = part.contracts[part.contracts["meter_point_id"].isin(settled["meter_point_id"])]
        digest = intake.install_tariff(grid.platform, part.billed.text)
        drafts = build_rosters(
            own,
            members=grid.identity.members(own, start=start, now=now),
            tariffs={part.billed.tariff.tariff_id: digest},
            speaker=grid.identity.speaker(start),
            domain=billing_domain(start).text,
        )
        for draft in drafts:
            roster = grid.identity.seated(draft, start=start, now=now)
            text = part.billed.text
            uploads.append(sent(grid, settled, roster=roster, tariff_text=text, period=period))
            rosters.append(roster)
        names += own["meter_point_id"].tolist()
    bills = issued(grid, rosters, uploads, period=period, plan="bill")
    meters = grid.identity.owners(names, start=start)
    return IssuedMonth(
        period=period,
        rosters=tuple(rosters),
        uploads=tuple(uploads),
        names=meters,
        bills={meters[name]: bill for name, bill in bills.items()},
    )
