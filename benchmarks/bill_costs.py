"""What a bill costs the platform, and what it costs before and after.

The platform's own work is the plan on columns in memory. Loading (digest, format, every coefficient
checked) and writing (packing, without the digest) are shown apart, as are the gateway's encryption
and the vault's release, because a plan is cheap only where it has not moved its cost elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.column_store import ROSTER_ID, column_file, column_files
from benchmarks.exact_bills import compile_plan, differing_meters, oracle, release_bills
from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys
from benchmarks.random_meters import FOUR_PERIOD, TIERS, RandomMeters, random_meters
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of, time_call
from gridsecure.billing.rules import line_rules
from gridsecure.homomorphic.column_files import open_column
from gridsecure.plans.bills import run_bill
from gridsecure.plans.needs import published_needs
from gridsecure.plans.quantities import Family, find_family

_PER_METER = "µs per meter"


@dataclass(frozen=True, slots=True)
class BillCosts:
    """Seconds for one roster of `slots` meter points.

    Args:
        encrypt: The gateway's part for the columns the plan reads, once.
        run: The plan on columns in memory.
        load: Checking and opening the columns the plan reads.
        release: Decrypting, recombining and rounding.
    """

    slots: int
    encrypt: float
    run: float
    load: float
    write: float
    release: float
    files: int
    outputs: int

    def micros(self, seconds: float) -> float:
        """Microseconds per meter point."""
        return seconds / self.slots * 1e6


def tou_costs(keys: BenchKeys, *, sizes: BenchSizes) -> tuple[list[Figure], BillCosts]:
    """Figures of the time-of-use bill, and what they were computed from."""
    meters = random_meters(FOUR_PERIOD, count=sizes.roster_slots, seed=11, quotas=False)
    costs = bill_costs(meters, keys, sizes=sizes)
    bill = Figure(
        name="tou_bill",
        title="time-of-use bill (4 registers)",
        unit=_PER_METER,
        value=costs.micros(costs.run),
        must=0.5,
        try_for=0.05,
        note=f"one core, {costs.slots:,} slots, commercial four-period tariff, columns in memory",
    )
    encryption = Figure(
        name="tou_bill_encrypt",
        title="time-of-use bill: gateway encryption",
        unit=_PER_METER,
        value=costs.micros(costs.encrypt),
        note=f"{costs.files} columns a month under the public key",
    )
    return [bill, *_around(costs, name="tou_bill", title="time-of-use bill"), encryption], costs


def tier_costs(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Figures of the three-tier bill, with and without household quotas, and its encryption."""
    uniform = random_meters(TIERS, count=sizes.roster_slots, seed=12, quotas=False)
    costs = bill_costs(uniform, keys, sizes=sizes)
    mixed = random_meters(TIERS, count=sizes.roster_slots, seed=13, quotas=True)
    quota_costs = bill_costs(mixed, keys, sizes=sizes)
    return [
        Figure(
            name="tier_bill",
            title="three-tier residential bill at Wh resolution",
            unit=_PER_METER,
            value=costs.micros(costs.run),
            must=60,
            try_for=15,
            note=f"one core, {costs.slots:,} slots, same limits for all, tariff unknown when"
            " encrypted, columns in memory",
        ),
        Figure(
            name="tier_bill_quotas",
            title="the same, limits by household quota",
            unit=_PER_METER,
            value=quota_costs.micros(quota_costs.run),
            note=f"limits of two kinds over the slots; {quota_costs.files} columns read",
        ),
        *_around(costs, name="tier_bill", title="three-tier bill"),
        _encryption(uniform, keys, sizes=sizes),
    ]


def bill_costs(meters: RandomMeters, keys: BenchKeys, *, sizes: BenchSizes) -> BillCosts:
    """Time one roster's bill, step by step, and prove that what was timed is right.

    Raises:
        AssertionError: A bill differs from the plaintext oracle.
    """
    plan = compile_plan(meters)
    encrypt, columns = time_call(lambda: keys.encrypted(plan.needs, values=meters.values))
    files = column_files(columns, needs=plan.needs, period=meters.period)
    public = keys.public
    load, inputs = best_of(
        lambda: {
            quantity: open_column(
                data,
                digest=entry.digest,
                evaluation=public[entry.parameters].evaluation,
                roster_id=ROSTER_ID,
            )[0]
            for quantity, (entry, data) in files.items()
        },
        sizes=sizes,
    )
    run, outputs = best_of(lambda: run_bill(plan, inputs=inputs), sizes=sizes)
    write, _ = best_of(
        lambda: [
            column_file(column, quantity=name, high=0, period=meters.period)
            for name, column in outputs.items()
        ],
        sizes=sizes,
    )
    release, bills = time_call(lambda: release_bills(outputs, plan=plan, meters=meters, keys=keys))
    if differing_meters(bills, oracle(meters)).any():
        raise AssertionError("a timed bill differs from the plaintext oracle")
    return BillCosts(
        slots=len(meters.contracts),
        encrypt=encrypt,
        run=run,
        load=load,
        write=write,
        release=release,
        files=len(files),
        outputs=len(outputs),
    )


def _around(costs: BillCosts, *, name: str, title: str) -> list[Figure]:
    parts = [
        ("load", costs.load, f"{costs.files} column files: digest and every coefficient checked"),
        ("write", costs.write, f"{costs.outputs} column files packed and named by SM3"),
        ("release", costs.release, "vault: decrypt, recombine exact amounts, round to the fen"),
    ]
    return [
        Figure(
            name=f"{name}_{part}",
            title=f"{title}: {part}",
            unit=_PER_METER,
            value=costs.micros(seconds),
            note=note,
        )
        for part, seconds, note in parts
    ]


def _encryption(meters: RandomMeters, keys: BenchKeys, *, sizes: BenchSizes) -> Figure:
    needs = tuple(
        need
        for need in published_needs(
            line_rules(meters.tariff, meters.period), tou_periods=meters.tariff.tou_periods
        )
        if find_family(need.quantity) is Family.TIER
    )
    seconds, _ = best_of(lambda: keys.encrypted(needs, values=meters.values), sizes=sizes)
    return Figure(
        name="tier_bill_encrypt",
        title="three-tier bill: gateway encryption",
        unit=_PER_METER,
        value=seconds / len(meters.contracts) * 1e6,
        note=f"{len(needs)} columns a month, whatever the tariff: the cost moved to the gateway",
    )
