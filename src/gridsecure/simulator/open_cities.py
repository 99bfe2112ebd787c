"""A synthetic city in the open, for the workshop: gateways of one utility or two, and readings.

It is made in the open by whoever checks or previews a product, and has no customer.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import pandas as pd

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.packing import settle_energies
from gridsecure.gateway.rosters import contract_frame
from gridsecure.messages import RosterManifest
from gridsecure.month_texts import read_month
from gridsecure.periods import billing_month
from gridsecure.plans.execution import roster_rules
from gridsecure.plans.load_curve import interval_times
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.products.cities import OpenCity, OpenReadings
from gridsecure.products.designs import ProductDesign
from gridsecure.simulator.synthetic_meters import TIMEZONE, SimulatedMonth, simulate
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, parse_tariff

METERS: Final = 320
"""Enough for groups of a zone's homes and of a class, and too few for a zone's shops."""
MONTH: Final = "2026-07"
SEED: Final = 20260701
MINUTES: Final = 30
_FIRST_UTILITY: Final = ("futian", "luohu")
_FACTS: Final = {"household_quota_wh": "household_quota_kwh", "contracted_va": "contracted_kva"}


def make_city(*, meters: int = METERS, utilities: int = 1, seed: int = SEED) -> OpenCity:
    """A city, the same every time.

    Args:
        meters: Meter points; of 16, one is a factory, two are shops.
        utilities: 1, or 2 that have some zones each.
    """
    contracts = simulate(meters, month=MONTH, interval_minutes=MINUTES, seed=seed).contracts
    texts = {
        name: catalogue_tariffs()[name].read_text(encoding="utf-8")
        for name in sorted(set(contracts["tariff_id"]))
    }
    tariffs = {sm3_hex(text.encode()): parse_tariff(text) for text in texts.values()}
    is_first = contracts["zone"].isin(_FIRST_UTILITY) | (utilities == 1)
    utility = np.where(is_first, "utility-a", "utility-b")
    groups = contracts.assign(utility=utility).groupby(["utility", "tariff_id"], sort=True)
    members = [(str(key[0]), str(key[1]), rows) for key, rows in groups]
    rosters = tuple(
        _roster(owner, rows, digest=sm3_hex(texts[tariff].encode()))
        for owner, tariff, rows in members
    )
    places = tuple(rows.index.to_numpy() for _, _, rows in members)

    @cache
    def read(month: str) -> tuple[OpenReadings, ...]:
        simulated = simulate(meters, month=month, interval_minutes=MINUTES, seed=seed)
        return tuple(
            _read(simulated, own, roster=roster, tariff=tariffs[roster.tariff], month=month)
            for own, roster in zip(places, rosters, strict=True)
        )

    described: dict[str, str | int] = {
        "made_by": "gridsecure.simulator", "meters": meters, "seed": seed,
        "interval_minutes": MINUTES, "utilities": utilities,
    }  # fmt: skip
    return OpenCity(described, rosters, tariffs, read)


def city_for(design: ProductDesign, *, meters: int = METERS) -> OpenCity:
    """A city of as many utilities as a product has suppliers, up to two."""
    return make_city(meters=meters, utilities=min(max(len(design.suppliers), 1), 2))


def _roster(owner: str, rows: pd.DataFrame, *, digest: str) -> RosterManifest:
    facts: dict[str, Any] = {
        name: (rows[column].astype(np.int64) * 1000).tolist() for name, column in _FACTS.items()
    }
    return RosterManifest(
        roster_id=f"{owner}-{digest[:8]}",
        gateway_id=sm3_hex(owner.encode()),
        owner=owner,
        domain="synthetic",
        tariff=digest,
        pseudonyms=rows["meter_point_id"].tolist(),
        zones=rows["zone"].tolist(),
        customer_classes=rows["customer_class"].tolist(),
        **facts,
    )


def _read(
    simulated: SimulatedMonth,
    places: Any,
    *,
    roster: RosterManifest,
    tariff: Tariff,
    month: str,
) -> OpenReadings:
    """What a gateway would encrypt of a roster's month."""
    period = billing_month(*read_month(month), timezone=tariff.timezone)
    energy_wh = simulated.energy_wh[places]
    slots, days, points = energy_wh.shape
    step = pd.Timedelta(minutes=MINUTES)
    starts = pd.date_range(simulated.days[0], periods=days * points, freq=step, tz=TIMEZONE)
    energies = IntervalEnergies(
        pd.Index(roster.pseudonyms, dtype=str), starts, step, energy_wh.reshape(slots, -1)
    )
    settled = settle_energies(
        energies, tariff=tariff, period=period, contracts=contract_frame(roster)
    )
    columns = settlement_values(
        settled,
        rules=roster_rules(roster, tariff=tariff, period=period),
        tou_periods=tariff.tou_periods,
        contracted_va=np.array(roster.contracted_va, dtype=np.int64),
    )
    named = [day.isoformat() for day in simulated.days]
    bounds = pd.date_range(simulated.days[0], periods=days + 1, freq="D", tz=TIMEZONE)
    times = {
        day: interval_times(
            bounds[n].isoformat(), bounds[n + 1].isoformat(), intervals=points, timezone=TIMEZONE
        )
        for n, day in enumerate(named)
    }
    return OpenReadings(columns, {day: energy_wh[:, n].T for n, day in enumerate(named)}, times)
