"""What components cost and are proven to hold, on rosters of tariffs that ship.

The operations are counted by running the plan itself. Microseconds are estimates: the operations
times what `python -m benchmarks.operations` measured of each (`plans.operation_costs`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from pydantic import Field

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.homomorphic.counting import CountedColumn, Tally
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.messages import MAX_SLOTS, Message, RosterManifest
from gridsecure.month_texts import read_month
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.bills import plan_bill, run_bill
from gridsecure.plans.execution import roster_contracts, roster_rules
from gridsecure.plans.needs import published_needs
from gridsecure.plans.operation_costs import OPERATION_MS, counted_us, family
from gridsecure.plans.outputs import last_level
from gridsecure.plans.quantities import INTERVAL_BOUNDS_WH, ColumnNeed
from gridsecure.plans.query_measures import AskedMonth
from gridsecure.plans.query_parts import PartsLayout
from gridsecure.products.measured_columns import MeasuredColumn, MeasuredInputs
from gridsecure.products.open_layouts import ANYBODY, lay_out_open
from gridsecure.tariffs.tariff import Tariff, catalogue_paths, parse_tariff

EDGE_KWH: Final = 50
"""The edge that counts are shown for: all cost the same or less."""
MEASURED_BY: Final = "python -m benchmarks.operations"
_CAPACITY_VA: Final = 315_000
_SLOTS: Final = 16
"""Slots of a reference: an operation on a ciphertext costs the same whoever fills it."""
Leaving = tuple[MeasuredColumn, MeasuredColumn]
"""A column as it is computed, and as it leaves: blinded, where it is."""


class Reference(Message):
    """What a component is computed from and costs, on a full roster.

    Args:
        of: The tariff or customer class, or the total.
        columns: Encrypted columns that it reads: quantity -> largest value.
        parameters: The parameter sets of what is computed.
        depth: Ciphertext products in a row.
        operations: How often each operation is done, for a full roster.
        platform_us: They together, estimated [µs a meter point]; "" where one was not measured.
        largest: The proven bound of what leaves, before it is blinded.
        margin_bits: The smallest noise margin of it, in whole bits.
        refusal: Why it cannot be computed here, as a reason code; "" where it can.
    """

    kind: ClassVar[str] = "component-reference"
    of: str
    columns: dict[str, int] = Field(default_factory=dict)
    parameters: list[str] = Field(default_factory=list)
    depth: int = 0
    operations: dict[str, int] = Field(default_factory=dict)
    platform_us: str = ""
    largest: int = 0
    margin_bits: int = 0
    refusal: str = ""


class _Sample(NamedTuple):
    """A tariff that ships, with whose it is and a month that it is in force in."""

    tariff: str
    customer_class: str
    month: str


SAMPLES: Final = (
    _Sample("shenzhen-residential-tiers", "household", "2026-07"),
    _Sample("shenzhen-residential-peak-valley", "household", "2026-07"),
    _Sample("shenzhen-commercial-four-period", "shop", "2026-07"),
    _Sample("shenzhen-commercial-demand@2025-02", "factory", "2025-02"),
)
_TOTALS: Final[Mapping[str, str]] = {
    "register": "register:peak",
    "tier": "tier:2",
    "demand": "demand",
    "bill": "bill",
    "line": "line:energy",
}
"""The total that stands for each measure of a month."""


@cache
def _load(sample: _Sample) -> tuple[Tariff, RosterManifest, BillingPeriod]:
    paths = [path for files in catalogue_paths().values() for path in files]
    path = next(path for path in paths if path.stem == sample.tariff)
    text = path.read_text(encoding="utf-8")
    tariff = parse_tariff(text)
    roster = RosterManifest(
        roster_id=sample.tariff,
        gateway_id="0" * 64,
        domain="reference",
        tariff=sm3_hex(text.encode()),
        pseudonyms=[str(slot) for slot in range(_SLOTS)],
        zones=[""] * _SLOTS,
        customer_classes=[sample.customer_class] * _SLOTS,
        household_quota_wh=[0] * _SLOTS,
        contracted_va=[_CAPACITY_VA] * _SLOTS,
    )
    period = billing_month(*read_month(sample.month), timezone=tariff.timezone)
    return tariff, roster, period


def bill_references() -> list[Reference]:
    """Bills by tariffs that ship."""
    return [_bill(sample) for sample in SAMPLES]


@cache
def _bill(sample: _Sample) -> Reference:
    tariff, roster, period = _load(sample)
    rules = roster_rules(roster, tariff=tariff, period=period)
    plan = plan_bill(rules, contracts=roster_contracts(roster), period=period)
    inputs = MeasuredInputs(published_needs(rules, tou_periods=tariff.tou_periods))
    made: dict[str, Any] = run_bill(plan, inputs=inputs)
    outputs = [(column, column) for column in made.values()]
    return _reference(sample.tariff, inputs.used.values(), inputs.tally, outputs)


def curve_references() -> list[Reference]:
    """A day of intervals of each customer class: one addition a column."""
    found = []
    for name, high in INTERVAL_BOUNDS_WH.items():
        tally: Tally = Counter()
        fresh = CountedColumn(PlannedColumn.fresh(INTERVAL, high=high), tally)
        blinded = MeasuredColumn(fresh).blind(np.zeros(1, dtype=np.uint64))
        need = ColumnNeed("intervals:DAY", INTERVAL, high)
        found.append(_reference(name, [need], tally, [(MeasuredColumn(fresh), blinded)]))
    return found


def measure_references(name: str) -> list[Reference]:
    """What a measure of the question language is computed from."""
    if name == "energy":
        return curve_references()
    return totals_references((_TOTALS[name],)) if name in _TOTALS else []


def totals_references(totals: tuple[str, ...]) -> list[Reference]:
    """Totals of a month, of each tariff that ships whose customers have them."""
    found = (_total(sample, totals) for sample in SAMPLES)
    return [one for one in found if one is not None]


@cache
def _total(sample: _Sample, totals: tuple[str, ...]) -> Reference | None:
    tariff, roster, period = _load(sample)
    span = (period.start.isoformat(), period.end.isoformat())
    asked = AskedMonth(totals, span, {roster.tariff: tariff})
    rows = [np.zeros(roster.slots, dtype=np.int64)]
    try:
        asked.check()
        if not asked.has(roster):
            return None
        month = lay_out_open(asked, [roster], rows, groups=1, minima=ANYBODY)
    except GridSecureError as refusal:
        return Reference(of=sample.tariff, refusal=refusal.reason)
    tally: Tally = Counter()
    needs: dict[str, ColumnNeed] = {}
    outputs = [
        column
        for layout in month.layout.both
        for column in run_recipes(layout, tally=tally, needs=needs)
    ]
    return _reference(sample.tariff, needs.values(), tally, outputs)


def run_recipes(
    layout: PartsLayout, *, tally: Tally, needs: dict[str, ColumnNeed]
) -> Iterator[Leaving]:
    """The columns that leave, of recipes that are run on columns that count.

    Args:
        tally: Takes what was done.
        needs: Takes the columns that were read.
    """
    for recipe in layout.recipes:
        inputs = MeasuredInputs(recipe.published)
        for column in recipe.compute(inputs).values():
            own = last_level(column)
            yield own, own.blind(np.zeros(1, dtype=np.uint64))
        tally.update(inputs.tally)
        needs |= inputs.used


def _reference(
    of: str, needs: Iterable[ColumnNeed], tally: Tally, outputs: Iterable[Leaving]
) -> Reference:
    made = list(outputs)
    ranges = [own.planned for own, _ in made]
    operations: Counter[str] = Counter()
    for operation, count in tally.items():
        operations[operation.kind] += count
    return Reference(
        of=of,
        columns={need.quantity: need.high for need in needs},
        parameters=sorted({own.parameters.name for own, _ in made}),
        depth=max((own.depth for own, _ in made), default=0),
        operations=dict(sorted(operations.items())),
        platform_us=_estimate(tally),
        largest=max((max(-own.low, own.high) for own in ranges), default=0),
        margin_bits=int(min((left.planned.margin for _, left in made), default=0)),
    )


def _estimate(tally: Tally) -> str:
    """Microseconds a meter point; "" where an operation was not measured at its level."""
    measured = all(
        one.primes in OPERATION_MS[family(one.parameters)].get(one.kind, {}) for one in tally
    )
    return f"{counted_us(tally.items(), slots=MAX_SLOTS):.3f}" if measured else ""
