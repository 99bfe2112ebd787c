"""What a reading costs the gateway: settle, pack, encrypt, write, name by digest, sign.

The whole month of one roster of simulated households goes the way it goes in use, tier digits
included, and memory stays small because each file is dropped once it is counted.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys
from benchmarks.random_meters import TIERS
from benchmarks.sizes import BenchSizes
from benchmarks.timing import time_call
from gridsecure.billing.readings import as_categories
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.gateway.agent_records import Member
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.packing import pack_energies
from gridsecure.gateway.rosters import Roster, Speaker, build_rosters
from gridsecure.gateway.upload import group_objects
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.identity_messages import Facts
from gridsecure.messages import ColumnEntry, UploadManifest, sign_message
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff

_HOMES_PER_16: Final = 13
_WH_PER_KWH: Final = 1000
_MOST_ROUNDS: Final = 3
_GRID_METERS: Final = 10_000_000
_OTHER_OBJECTS: Final = 2
"""Of a roster and month besides what its gateway sends: its seats, and what its bill job wrote."""


@dataclass(frozen=True, slots=True, eq=False)
class _Month:
    roster: Roster
    readings: pd.DataFrame
    tariff: Tariff
    period: BillingPeriod
    slots: int


@dataclass(frozen=True, slots=True)
class _Packed:
    entries: tuple[ColumnEntry, ...]
    before_interval: float
    total: float


def gateway_costs(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Figures per reading: seconds at the gateway, and bytes that are stored."""
    month = _month(sizes)
    key = generate_private_key()
    rounds = [_packed(month, keys, key=key) for _ in range(min(sizes.repeats, _MOST_ROUNDS))]
    packed = min(rounds, key=lambda one: one.total)
    readings = len(month.readings)
    interval = [entry for entry in packed.entries if entry.parameters == INTERVAL.name]
    others = [entry for entry in packed.entries if entry.parameters != INTERVAL.name]
    per_reading = 1e6 / readings
    times = [
        Figure(
            name="gateway",
            title="gateway pack + encrypt + sign",
            unit="µs per reading",
            value=packed.total * per_reading,
            must=0.5,
            try_for=0.3,
            note=f"processor time, {month.slots:,} households × {readings // month.slots:,}"
            f" half-hours, settled and packed with {len(others)} settlement columns, digests and"
            " signature",
        ),
        Figure(
            name="gateway_intervals",
            title="gateway: interval columns alone",
            unit="µs per reading",
            value=(packed.total - packed.before_interval) * per_reading,
            note="encrypt, write, name and sign; the rest is settling, laying out and"
            " settlement columns",
        ),
    ]
    objects = _objects_a_month(list(packed.entries), days=len(interval), slots=month.slots)
    return [*times, *_sizes(interval, others, slots=month.slots), objects]


def _objects_a_month(entries: list[ColumnEntry], *, days: int, slots: int) -> Figure:
    """Objects that a platform's store gets in a month, from how a gateway groups these columns."""
    sent = sum(1 for _ in group_objects((entry.digest, bytes(entry.size)) for entry in entries))
    rosters = -(-_GRID_METERS // slots)
    return Figure(
        name="objects_a_month",
        title="objects a month for 10⁷ meter points (computed)",
        unit="objects",
        value=rosters * (sent + _OTHER_OBJECTS) + days,
        must=40_000,
        try_for=25_000,
        note=f"{rosters:,} rosters of {slots:,} × ({sent} requests for {len(entries)} columns of"
        f" {sum(entry.size for entry in entries) / 1e6:.0f} MB + {_OTHER_OBJECTS} for seats and the"
        f" bills' totals) + {days} days of load curves; one object a column would be"
        f" {rosters * len(entries):,}",
    )


def _sizes(interval: list[ColumnEntry], others: list[ColumnEntry], *, slots: int) -> list[Figure]:
    """Bytes that are stored, of interval and of settlement columns."""
    return [
        Figure(
            name="stored_bytes",
            title="stored bytes per interval reading",
            unit="bytes",
            value=max(entry.size / entry.intervals for entry in interval) / slots,
            must=16,
            try_for=12,
            note=f"largest file of a day's intervals, header included, over {slots:,} slots",
        ),
        Figure(
            name="stored_bytes_settlement",
            title="stored bytes per meter for settlement",
            unit="bytes",
            value=sum(entry.size for entry in others) / slots,
            note=f"{len(others)} columns a month; tier columns have 16,384 slots, so a roster of"
            " fewer pays for the empty ones",
        ),
    ]


def _month(sizes: BenchSizes) -> _Month:
    meters = sizes.gateway_meters
    simulated = simulate(-(-meters * 16 // _HOMES_PER_16) + 16, month="2026-07")
    homes = np.flatnonzero(simulated.contracts["customer_class"] == "household")[:meters]
    roster_month = dataclasses.replace(
        simulated,
        meter_point_ids=tuple(simulated.meter_point_ids[home] for home in homes),
        days=simulated.days[: sizes.gateway_days],
        energy_wh=simulated.energy_wh[homes, : sizes.gateway_days],
        contracts=simulated.contracts.iloc[homes],
    )
    contracts = roster_month.contracts
    frame = contracts.assign(
        tariff_id=TIERS,
        household_quota_wh=contracts["household_quota_kwh"] * _WH_PER_KWH,
        contracted_va=contracts["contracted_kva"] * _WH_PER_KWH,
        free_quota_wh=0,
        service_from="",
        large="",
    )
    (roster,) = build_rosters(
        frame,
        members={
            name: Member((f"p-{name}",), Facts(zone=zone, customer_class="household"))
            for name, zone in zip(frame["meter_point_id"], frame["zone"], strict=True)
        },
        tariffs={TIERS: "0" * 64},
        speaker=Speaker("bench", owner=""),
        domain="bench",
    )
    tariff = load_tariff(catalogue_tariffs()[TIERS])
    start = billing_month(2026, 7, timezone=tariff.timezone).start
    period = BillingPeriod(start, start + timedelta(days=sizes.gateway_days))
    # As validation gives them: names and qualities are categories.
    return _Month(roster, as_categories(roster_month.readings()), tariff, period, meters)


def _packed(month: _Month, keys: BenchKeys, *, key: Sm2PrivateKey) -> _Packed:
    """Pack and sign a month once, noting when the first interval column came."""
    public, entries = keys.public, list[ColumnEntry]()
    before_interval = 0.0
    timed = partial(time_call, clock=time.process_time)
    spent, energies = timed(lambda: lay_out_energies(month.readings, period=month.period))
    columns = pack_energies(
        energies, roster=month.roster, tariff=month.tariff, period=month.period, keys=public
    )
    while True:
        seconds, column = timed(lambda: next(columns, None))
        spent += seconds
        if column is None:
            break
        entries.append(column.entry)
        if column.entry.parameters != INTERVAL.name:
            before_interval = spent
    manifest_seconds, _ = timed(lambda: _signed_manifest(month, tuple(entries), key=key))
    return _Packed(tuple(entries), before_interval, spent + manifest_seconds)


def _signed_manifest(month: _Month, entries: tuple[ColumnEntry, ...], *, key: Sm2PrivateKey) -> str:
    manifest = UploadManifest(
        roster_id=month.roster.manifest.roster_id,
        gateway_id=month.roster.manifest.gateway_id,
        start=month.period.start.isoformat(),
        end=month.period.end.isoformat(),
        sequence=1,
        estimated_readings=0,
        columns=list(entries),
    )
    return sign_message(manifest, key=key).signature
