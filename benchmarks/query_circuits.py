"""What questions cost that compute before they add up: a tariff that nobody has, and a variance.

Timed on one core, by the processor's clock, from stored columns to the answer: all that the key
authority does, which lays out and proves, checks every file, computes, blinds, writes and names by
digest; then checks that again, decrypts and adds up. Beside it, the same in plain pandas.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.column_store import GATEWAY_ID, ROSTER_ID, column_files
from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys
from benchmarks.query_costs import bench_roster, key_notice
from benchmarks.random_meters import TIERS, RandomMeters, random_meters
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.billing.rules import line_rules, rate_units
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.homomorphic.column_files import open_column
from gridsecure.homomorphic.parameters import TIER
from gridsecure.homomorphic.thresholds import WH_PER_KWH
from gridsecure.messages import UploadManifest
from gridsecure.plans.execution import Output, RosterData, roster_data
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.plans.needs import published_needs
from gridsecure.plans.query_bills import add_up_bills, bill_recipes
from gridsecure.plans.query_counts import CAP_WH, MomentRecipe, Moments, add_up_moments
from gridsecure.plans.query_parts import Recipe, add_up_parts, execute_parts, lay_out_parts
from gridsecure.tariffs.tariff import Tariff, parse_tariff

_OWN: Final = "0" * 64
_GROUPS: Final = 2
_MINIMUM: Final = 15
_SEED: Final = bytes(SEED_SIZE)  # nothing is hidden in a benchmark
_LIMITS: Final = (180, 900)
_RATES: Final = ("0.51234567", "0.70000001", "1.5")
_WHAT_IF: Final = """
tariff_id = "bench-what-if"
version = "1"
name_en = "For measuring"
name_zh = "测量用"
city = "Nowhere"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2020-01-01
sources = [{{ id = "bench", title = "Made up", confidence = "unconfirmed" }}]
tiers = [{{ tier = 1, upper_limit_kwh = {} }}, {{ tier = 2, upper_limit_kwh = {} }}, {{ tier = 3 }}]
rates = [
    {{ charge = "energy", tier = 1, rate = "{}", unit = "CNY/kWh", source = "bench" }},
    {{ charge = "energy", tier = 2, rate = "{}", unit = "CNY/kWh", source = "bench" }},
    {{ charge = "energy", tier = 3, rate = "{}", unit = "CNY/kWh", source = "bench" }},
]
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Month:
    """A roster's month as a gateway uploaded it.

    Args:
        files: Column files by digest.
        rows: The group of every slot, two in three in none.
    """

    meters: RandomMeters
    data: RosterData
    files: Mapping[str, bytes]
    ring: KeyRing
    rows: NDArray[np.int64]

    def ask(self, recipe: Recipe, keys: BenchKeys) -> dict[str, NDArray[Any]]:
        """Totals of a recipe's parts by group."""
        layout = lay_out_parts(
            [self.data.roster], recipes=[recipe], rows=[self.rows], minima=[_MINIMUM] * _GROUPS
        )
        _, outputs = execute_parts(
            [self.data], layout=layout, seed=_SEED, load=self._load, keys=self.ring
        )
        return add_up_parts((_decrypt(output, keys) for _, output in outputs), layout=layout)

    def _load(self, digest: str) -> bytes:
        data = self.files[digest]
        if sm3_hex(data) != digest:
            raise AssertionError("a file is not the one its digest names")
        return data


def _decrypt(output: Output, keys: BenchKeys) -> NDArray[np.uint64]:
    own = keys.secret[output.entry.parameters]
    column, _ = open_column(
        output.data,
        digest=output.entry.digest,
        evaluation=own.public.evaluation,
        roster_id=ROSTER_ID,
    )
    return own.decrypt(column)


def query_circuits(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Figures of a what-if tariff and of a variance over one roster.

    Raises:
        AssertionError: A total is not that of the plaintext.
    """
    month = _month(keys, slots=sizes.roster_slots)
    return [*_what_if(month, keys, sizes), _variance(month, keys, sizes)]


def _what_if(month: _Month, keys: BenchKeys, sizes: BenchSizes) -> list[Figure]:
    tariff = parse_tariff(_WHAT_IF.format(*_LIMITS, *_RATES))
    own = month.meters.tariff

    def ask() -> NDArray[Any]:
        recipes = bill_recipes(
            [month.data.roster],
            span=(month.data.upload.start, month.data.upload.end),
            parameters=[TIER],
            tariffs={_OWN: own},
            what_if=tariff,
        )
        parts = month.ask(recipes[0], keys)
        (bills,) = add_up_bills(parts, recipes=recipes, rows=[month.rows], groups=_GROUPS).values()
        return bills.totals

    seconds, totals = best_of(ask, sizes=sizes, clock=time.process_time)
    plain, expected = best_of(
        lambda: _bills_in_pandas(month, tariff), sizes=sizes, clock=time.process_time
    )
    if totals.tolist() != expected.tolist():
        raise AssertionError("a timed what-if differs from the plaintext")
    slots = len(month.rows)
    return [
        Figure(
            name="query_what_if",
            title="what-if tariff with three tiers and secret rates, totals of two hidden groups",
            unit="µs per meter",
            value=seconds / slots * 1e6,
            must=40,
            try_for=12,
            note=f"one core, {slots:,} slots, from stored columns to the answer; plain pandas takes"
            f" {plain / slots * 1e6:.3f} µs",
        )
    ]


def _variance(month: _Month, keys: BenchKeys, sizes: BenchSizes) -> Figure:
    seconds, totals = best_of(
        lambda: add_up_moments(month.ask(MomentRecipe(TIER), keys)),
        sizes=sizes,
        clock=time.process_time,
    )
    plain, expected = best_of(
        lambda: _moments_in_pandas(month), sizes=sizes, clock=time.process_time
    )
    if [own.tolist() for own in totals] != [own.tolist() for own in expected]:
        raise AssertionError("a timed sum of squares differs from the plaintext")
    return Figure(
        name="query_variance",
        title="variance of a month's Wh over one roster, two hidden groups",
        unit="s",
        value=seconds,
        must=0.5,
        try_for=0.1,
        note=f"one core, {len(month.rows):,} slots, from 46 stored columns to the answer;"
        f" plain pandas takes {plain * 1e3:.2f} ms",
    )


def _bills_in_pandas(month: _Month, tariff: Tariff) -> NDArray[Any]:
    """Total of the unrounded bills by group [1e-11 yuan], as somebody would write it."""
    energy = month.meters.values["total"]
    rules = line_rules(tariff, month.meters.period)
    limits = [0, *(limit * WH_PER_KWH for limit in _LIMITS), np.iinfo(np.int64).max]
    tiers = [np.clip(energy, low, high) - low for low, high in pairwise(limits)]
    rates = [rate_units(rule.rate) for rule in rules]
    bills = sum(part * rate for part, rate in zip(tiers, rates, strict=True))
    return _grouped(month, {"amount": bills})["amount"].to_numpy()


def _moments_in_pandas(month: _Month) -> Moments:
    energy = np.minimum(month.meters.values["total"], CAP_WH)
    columns = {"sum": energy, "squares": energy**2}
    sums = _grouped(month, columns)
    return Moments(*(sums[name].to_numpy() for name in columns))


def _grouped(month: _Month, columns: Mapping[str, Any]) -> pd.DataFrame:
    inside = month.rows >= 0
    frame = pd.DataFrame(columns)[inside]
    return frame.groupby(month.rows[inside]).sum()


def _month(keys: BenchKeys, *, slots: int) -> _Month:
    """Encrypt the digits and totals of a roster under tiers."""
    meters = random_meters(TIERS, count=slots, seed=51, quotas=False)
    rules = line_rules(meters.tariff, meters.period)
    needs = published_needs(rules, tou_periods=meters.tariff.tou_periods)
    files = column_files(
        keys.encrypted(needs, values=meters.values), needs=needs, period=meters.period
    )
    objects = {entry.digest: data for entry, data in files.values()}

    def put(data: bytes) -> str:
        objects[digest := sm3_hex(data)] = data
        return digest

    notices = tuple(key_notice(own, put) for own in keys.public.values())
    upload = UploadManifest(
        roster_id=ROSTER_ID,
        gateway_id=GATEWAY_ID,
        start=meters.period.start.isoformat(),
        end=meters.period.end.isoformat(),
        sequence=1,
        estimated_readings=0,
        columns=[entry for entry, _ in files.values()],
    )
    rows = np.random.default_rng(52).choice([-1, -1, -1, -1, 0, 1], slots)
    ring = KeyRing(KnownKeys(notices), objects.__getitem__)
    return _Month(meters, roster_data(bench_roster(ROSTER_ID, slots), upload), objects, ring, rows)
