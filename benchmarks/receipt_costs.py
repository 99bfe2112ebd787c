"""What receipts of bills cost: committing to a roster's readings as its upload is signed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import numpy as np
import pandas as pd

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.gateway.bill_commitments import BillsToCommit
from gridsecure.gateway.books.months import HeldDays
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.preparation import AdmittedMonth
from gridsecure.gateway.rosters import Roster
from gridsecure.messages import RosterManifest
from gridsecure.periods import BillingPeriod, month_period

MUST_MICROS: Final = 200.0
TRY_MICROS: Final = 60.0
_MINUTES: Final = 30
_METERS: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class _Month:
    """The part of an admitted month that commitments are made of."""

    held: HeldDays
    energies: IntervalEnergies

    def energies_of(self, _roster: Roster) -> IntervalEnergies:
        return self.energies


def receipt_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Microseconds to commit to a meter point's month of half-hours, and to write that down."""
    period = month_period("2026-07", timezone="Asia/Shanghai")
    roster, month = _roster(), _month(period)
    with TemporaryDirectory() as folder:
        # What else an admitted month is asked for has no part in this.
        admitted = cast("AdmittedMonth", month)
        bills = BillsToCommit(admitted, roster, period, Path(folder))
        seconds, _ = best_of(bills.write, sizes=sizes, clock=time.process_time)
    micros = seconds / _METERS * 1e6
    return [
        Figure("bill_commitment", "Gateway: commitment to a bill of half-hours",
               "µs per meter point", micros, MUST_MICROS, TRY_MICROS,
               note="salts, four SM3 digests, its part of the roster's tree, a line of the file; "
               "processor time"),
    ]  # fmt: skip


def _roster() -> Roster:
    manifest = RosterManifest(
        roster_id="0" * 32,
        gateway_id="1" * 64,
        domain="platform/billing/2026",
        tariff="2" * 64,
        pseudonyms=[f"{number:064x}" for number in range(_METERS)],
        zones=["futian"] * _METERS,
        customer_classes=["household"] * _METERS,
        household_quota_wh=[0] * _METERS,
        contracted_va=[0] * _METERS,
    )
    return Roster(manifest, tuple(f"MP-{number}" for number in range(_METERS)))


def _month(period: BillingPeriod) -> _Month:
    starts = pd.date_range(
        period.start, period.end, freq=f"{_MINUTES}min", inclusive="left", unit="us"
    )
    energy_wh = np.random.default_rng(7).integers(0, 3000, (_METERS, len(starts)))
    names = pd.Index([f"MP-{number}" for number in range(_METERS)])
    step = pd.Timedelta(minutes=_MINUTES)
    return _Month(HeldDays(period, {}), IntervalEnergies(names, starts, step, energy_wh))
