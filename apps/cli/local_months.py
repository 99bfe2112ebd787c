"""A month billed for the first time by the parties in one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from apps.cli.in_process import LocalGrid, issued, sent
from gridsecure.billing.periods import BillingPeriod
from gridsecure.billing.tariffs import parse_tariff
from gridsecure.compute import intake
from gridsecure.credentials.seats import billing_domain
from gridsecure.gateway.rosters import Roster, build_rosters
from gridsecure.messages import Signed


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
    grid: LocalGrid,
    settlements: pd.DataFrame,
    *,
    contracts: pd.DataFrame,
    tariff_text: str,
    period: BillingPeriod,
) -> IssuedMonth:
    """Bill settled meter points for one month on ciphertext.

    Args:
        grid: The parties.
        settlements: Settlement frame; only rows of the period are billed.
        contracts: Contracts of at least those meter points, all of this tariff.
        tariff_text: The tariff file's text.
        period: The month.

    Returns:
        The bills, and what a correction of them builds on.

    Raises:
        GridSecureError: The tariff, contracts or settlements cannot be billed, or the release was
            refused.
    """
    tariff = parse_tariff(tariff_text)
    settled = settlements[settlements["period_start"] == period.start]
    own = contracts[contracts["meter_point_id"].isin(settled["meter_point_id"])]
    own = own.assign(tariff_id=tariff.tariff_id)
    start, now = period.start.isoformat(), datetime.now(UTC)
    names = own["meter_point_id"].tolist()
    digest = intake.install_tariff(grid.platform, tariff_text)
    drafts = build_rosters(
        own,
        pseudonyms=grid.identity.pseudonyms(names, start=start, now=now),
        tariffs={tariff.tariff_id: digest},
        gateway_id=grid.identity.gateway_key(start).public_key.thumbprint,
        domain=billing_domain(start).text,
    )
    rosters = [grid.identity.seated(draft, start=start, now=now) for draft in drafts]
    uploads = [
        sent(grid, settled, roster=roster, tariff_text=tariff_text, period=period)
        for roster in rosters
    ]
    bills = issued(grid, rosters, uploads, period=period, plan="bill")
    meters = grid.identity.owners(names, start=start)
    return IssuedMonth(
        period=period,
        rosters=tuple(rosters),
        uploads=tuple(uploads),
        names=meters,
        bills={meters[name]: bill for name, bill in bills.items()},
    )
