"""Running a plan on column files: the same functions on the platform and in the checker.

All a run depends on is public and signed (rosters, uploads, the tariff's text) but for a blinding
seed. Evaluation is byte-deterministic, so two honest runs write identical files, and comparing
digests proves that the platform computed what its transcript says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from gridsecure.billing.part_months import UNHELD_COLUMN
from gridsecure.billing.rules import LineRule, line_rules
from gridsecure.billing.table_rows import Columns
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import KeyMismatchError, NotFoundError
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, read_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.messages import ColumnEntry, RosterManifest, UploadManifest
from gridsecure.periods import BillingPeriod
from gridsecure.plans.bills import BillPlan, plan_bill, run_bill
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.load_curve import CellLayout, plan_day, run_day
from gridsecure.plans.quantities import ColumnNeed, Family, find_family
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.tariff import Tariff

Load = Callable[[str], bytes]
"""Fetch an object whose bytes were found to have this digest."""


@dataclass(frozen=True, slots=True, eq=False)
class RosterData:
    """One roster's public facts and the columns uploaded for a period, by quantity.

    Args:
        month: The month of a sealed day, within which it is compared with what else is told.
    """

    roster: RosterManifest
    upload: UploadManifest
    columns: Mapping[str, ColumnEntry]
    month: BillingPeriod | None = None

    def entry(self, quantity: str) -> ColumnEntry:
        """The uploaded column of a quantity.

        Raises:
            NotFoundError: The gateway did not upload it (`upload.incomplete`).
        """
        found = self.columns.get(quantity)
        if found is None:
            raise NotFoundError(
                f"The upload lacks the column {quantity!r}.",
                reason="upload.incomplete",
                remedy="Upload all columns of the roster's tariff and period.",
            )
        return found


@dataclass(frozen=True, slots=True)
class Output:
    """One output column: its file, and its entry in the transcript."""

    data: bytes
    entry: ColumnEntry


Executed = tuple[dict[str, str], Iterator[tuple[str, Output]]]
"""Digests of the inputs by name; and names with their outputs, made one after the other."""


def roster_data(roster: RosterManifest, upload: UploadManifest) -> RosterData:
    """Pair a roster with its upload.

    Raises:
        KeyMismatchError: The upload is for another roster or gateway, or names a slot beyond the
            roster (`upload.roster`).
    """
    lists = (upload.changed_slots, upload.silent_slots, upload.moved_slots)
    is_beyond = any(slot >= roster.slots for slots in lists for slot in slots[-1:])
    if (roster.roster_id, roster.gateway_id) != (upload.roster_id, upload.gateway_id) or is_beyond:
        raise KeyMismatchError("An upload belongs to another roster.", reason="upload.roster")
    return RosterData(roster, upload, {entry.quantity: entry for entry in upload.columns})


def roster_contracts(roster: RosterManifest) -> Columns:
    """A roster's public facts as contract rows in slot order; pseudonyms for meter points."""
    slots = roster.slots
    return Columns(
        {
            "meter_point_id": roster.pseudonyms,
            "zone": roster.zones,
            "customer_class": roster.customer_classes,
            "household_quota_wh": np.array(roster.household_quota_wh, dtype=np.int64),
            "free_quota_wh": np.array(roster.free_quota_wh or [0] * slots, dtype=np.int64),
            "contracted_va": np.array(roster.contracted_va, dtype=np.int64),
            "service_from": roster.service_from or [""] * slots,
            UNHELD_COLUMN: np.array(roster.unheld_days or [0] * slots, dtype=np.int64),
        }
    )


def billing_period(start: str, end: str, *, tariff: Tariff) -> BillingPeriod:
    """A period from its ISO texts, in the tariff's local time."""
    tzinfo = ZoneInfo(tariff.timezone)
    return BillingPeriod(
        datetime.fromisoformat(start).astimezone(tzinfo),
        datetime.fromisoformat(end).astimezone(tzinfo),
    )


def compile_bill(data: RosterData, *, tariff: Tariff) -> BillPlan:
    """The bill plan of a roster and the upload's period."""
    period = billing_period(data.upload.start, data.upload.end, tariff=tariff)
    return plan_bill(
        roster_rules(data.roster, tariff=tariff, period=period),
        contracts=roster_contracts(data.roster),
        period=period,
    )


def roster_rules(
    roster: RosterManifest, *, tariff: Tariff, period: BillingPeriod
) -> tuple[LineRule, ...]:
    """The bill lines of a roster, as platform, checker, vault and gateway compute them."""
    return circuit_rules(
        line_rules(tariff, period),
        contracts=roster_contracts(roster),
        period=period,
        large=roster.large,
    )


def execute_bill(
    data: RosterData,
    *,
    plan: BillPlan,
    load: Load,
    keys: KeyRing,
    steps: dict[str, str] | None = None,
) -> Executed:
    """Run a bill plan on a roster's uploaded columns.

    Args:
        steps: Takes the digest of each ciphertext between inputs and outputs, by name, in the order
            in which one follows from those before.

    Raises:
        NotFoundError: A needed column is missing.
        CiphertextError: A column is not what its manifest says, or is under a key set that the
            gateway may not use, which is found out before anything is computed.
        OutOfRangeError: A column declares a larger bound than the plan was proven for.
    """
    entries = {need.quantity: data.entry(need.quantity) for need in plan.needs}
    keys.check(entries.values(), gateway=data.roster.gateway_id)
    for need in plan.needs:
        check_needed(entries[need.quantity], need)
    inputs = OpenedColumns(entries, data, load, keys)
    made: dict[str, EncryptedColumn] = {}
    results = run_bill(plan, inputs=inputs, steps=made)
    if steps is not None:
        # What is multiplied as it was uploaded is an input, which has a digest already.
        steps |= {n: step_digest(own) for n, own in made.items() if not inputs.has_read(own)}
    outputs = (
        (name, write_output(column, name=name, unit="1e-11 CNY", like=data, span=data.upload))
        for name, column in results.items()
    )
    return {name: entry.digest for name, entry in entries.items()}, outputs


def step_digest(column: EncryptedColumn) -> str:
    """SM3 of a ciphertext's residues, prime by prime, polynomial by polynomial."""
    ring = column.evaluation.ring
    return sm3_hex(b"".join(ring.coefficients(chunk).tobytes() for chunk in column.chunks))


def check_needed(entry: ColumnEntry, need: ColumnNeed) -> None:
    """Refuse a column that is not the one that a plan was proven for.

    Raises:
        KeyMismatchError: Another bound, parameter set or number of intervals (`plan.input`).
    """
    declared = (entry.parameters, entry.intervals)
    if entry.high > need.high or declared != (need.parameters.name, 1):
        raise KeyMismatchError(
            f"The column {need.quantity!r} has another bound, parameter set or number of"
            " intervals than planned.",
            reason="plan.input",
        )


class OpenedColumns(Mapping[str, EncryptedColumn]):
    """A roster's columns, opened when first asked for.

    A month of intervals with prices of their own is hundreds of columns that are each read once;
    those are not kept.
    """

    def __init__(
        self,
        entries: Mapping[str, ColumnEntry],
        data: RosterData,
        load: Load,
        keys: KeyRing,
    ) -> None:
        self._entries, self._data = entries, data
        self._load, self._keys = load, keys
        self._kept: dict[str, EncryptedColumn] = {}

    def __getitem__(self, quantity: str) -> EncryptedColumn:
        if quantity in self._kept:
            return self._kept[quantity]
        column = open_entry(self._entries[quantity], self._data, load=self._load, keys=self._keys)
        if find_family(quantity) is not Family.PRICED:
            self._kept[quantity] = column
        return column

    def has_read(self, column: EncryptedColumn) -> bool:
        """Whether it is one that was opened here, and kept."""
        return any(own is column for own in self._kept.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def execute_load_curve(
    datas: Sequence[RosterData],
    *,
    quantities: Sequence[str],
    layout: CellLayout,
    seed: bytes,
    load: Load,
    keys: KeyRing,
) -> Executed:
    """Blind the named days of all rosters for their cell totals, one roster at a time.

    Inputs and outputs are named "roster/quantity".

    Raises:
        NotFoundError, CiphertextError, OutOfRangeError: As for `execute_bill`; what concerns one
            column, when its output is made.
        KeyMismatchError: The rosters' days differ (`load-curve.grid`).
    """
    for data in datas:
        keys.check((data.entry(name) for name in quantities), gateway=data.roster.gateway_id)
    days = {quantity: [data.entry(quantity) for data in datas] for quantity in quantities}
    for entries in days.values():
        _same_day(entries)
        plan_day(layout, highs=[entry.high for entry in entries])

    def make() -> Iterator[tuple[str, Output]]:
        for quantity, entries in days.items():
            # Opened when its turn comes: the month of a city is more than a worker holds.
            columns = (
                open_entry(entry, data, load=load, keys=keys)
                for entry, data in zip(entries, datas, strict=True)
            )
            intervals = entries[0].intervals
            blinded = run_day(
                columns, layout=layout, intervals=intervals, seed=seed, purpose=quantity
            )
            for data, entry, column in zip(datas, entries, blinded, strict=True):
                name = f"{data.roster.roster_id}/{quantity}"
                yield name, write_output(column, name=quantity, unit="Wh", like=data, span=entry)

    inputs = {
        f"{data.roster.roster_id}/{quantity}": entry.digest
        for quantity, entries in days.items()
        for data, entry in zip(datas, entries, strict=True)
    }
    return inputs, make()


def _same_day(entries: Sequence[ColumnEntry]) -> None:
    """Refuse a day that the rosters do not all divide alike."""
    days = {(entry.start, entry.end, entry.intervals) for entry in entries}
    if len(days) != 1:
        raise KeyMismatchError(
            "The rosters divide a day into different intervals.",
            reason="load-curve.grid",
            remedy="Bring all meter points to one interval length.",
        )


def open_entry(
    entry: ColumnEntry, data: RosterData, *, load: Load, keys: KeyRing
) -> EncryptedColumn:
    """A roster's column, as its manifest names it.

    Raises:
        KeyMismatchError: It has another label than its entry (`upload.label`), or other keys.
        CiphertextError: It is no column.
    """
    evaluation = keys.evaluation(entry, gateway=data.roster.gateway_id)
    column, label = read_column(
        load(entry.digest), evaluation=evaluation, roster_id=data.roster.roster_id
    )
    declared = (entry.quantity, entry.unit, entry.start, entry.end, entry.high)
    written = (label.quantity, label.unit, label.start, label.end, label.high)
    if declared != written or column.slots != data.roster.slots * entry.intervals:
        raise KeyMismatchError("A column's label differs from its manifest.", reason="upload.label")
    return column


def write_output(
    column: EncryptedColumn,
    *,
    name: str,
    unit: str,
    like: RosterData,
    span: UploadManifest | ColumnEntry,
) -> Output:
    """A column that a plan made, as a file with its entry in the transcript."""
    parameters, key_id = column.evaluation.parameters, column.evaluation.key_id
    high = parameters.plain_modulus - 1
    label = ColumnLabel(
        quantity=name,
        unit=unit,
        roster_id=like.roster.roster_id,
        start=span.start,
        end=span.end,
        slots=column.slots,
        high=high,
    )
    data = column_bytes(column, label=label)
    entry = ColumnEntry(
        quantity=name,
        parameters=parameters.name,
        key_id=key_id,
        unit=unit,
        start=span.start,
        end=span.end,
        high=high,
        digest=sm3_hex(data),
        size=len(data),
        intervals=column.slots // like.roster.slots,
    )
    return Output(data, entry)
