"""The benchmark run: every figure once, in the order of the report."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.bill_costs import tier_costs, tou_costs
from benchmarks.day_costs import day_costs
from benchmarks.element_costs import element_costs
from benchmarks.enrolment_costs import enrolment_costs
from benchmarks.exact_bills import exact_bills
from benchmarks.figures import BenchResult, Figure
from benchmarks.gateway_costs import gateway_costs
from benchmarks.group_totals import group_totals
from benchmarks.identity_costs import identity_costs
from benchmarks.intake_costs import intake_costs
from benchmarks.intake_served import intake_served
from benchmarks.key_sets import make_keys
from benchmarks.library_vectors import library_vectors
from benchmarks.list_readers import list_readers
from benchmarks.log_costs import log_costs
from benchmarks.machine import describe_machine
from benchmarks.peers import peers
from benchmarks.policy_costs import policy_costs
from benchmarks.query_circuits import query_circuits
from benchmarks.query_costs import query_costs
from benchmarks.question_peers import question_peers
from benchmarks.receipt_costs import receipt_costs
from benchmarks.receipt_waits import receipt_waits
from benchmarks.release_costs import release_costs
from benchmarks.sandbox_costs import sandbox_costs
from benchmarks.sizes import BenchSizes
from benchmarks.whole_run import whole_run
from benchmarks.workers import speed_up


def run_bench(*, sizes: BenchSizes, report: Callable[[str], None]) -> BenchResult:
    """Measure every figure, with real keys made for this run.

    Args:
        sizes: How much to measure.
        report: Receives one line as each part begins.

    Raises:
        AssertionError: Something that was timed gave a wrong result.
        GridSecureError: As the parts measured raise it.
    """
    started = time.perf_counter()
    report("keys of all parameter sets")
    keys = make_keys()
    figures: list[Figure] = []
    table: tuple[str, ...] = ()
    report(f"bills against the plaintext oracle, {sizes.exact_meters:,} meters × 3 tariffs")
    figures += exact_bills(keys, sizes=sizes)
    report("time-of-use bill")
    tou, costs = tou_costs(keys, sizes=sizes)
    figures += tou
    report("three-tier bill")
    figures += tier_costs(keys, sizes=sizes)
    report("yearly tiers, pro-rata shares, power factors")
    figures += element_costs(keys, sizes=sizes)
    report(f"group totals, and questions about {sizes.query_meters:,} meter points")
    figures += group_totals(keys, sizes=sizes)
    figures += [*query_costs(keys, sizes=sizes), *query_circuits(keys, sizes=sizes)]
    report(f"gateway, {sizes.gateway_meters:,} households × {sizes.gateway_days} days")
    figures += gateway_costs(keys, sizes=sizes)
    report(f"bodies of readings, {sizes.large_body:,} in the largest")
    figures += [*intake_costs(sizes=sizes), *intake_served(sizes=sizes)]
    report(f"receipts, {sizes.sources} sources at once")
    figures += receipt_waits(sizes=sizes)
    report("one TenSEAL vector per meter")
    figures += library_vectors(sizes=sizes, platform=costs)
    report("OpenFHE and seal-python")
    figures += [
        *peers(keys, sizes=sizes, report=report),
        *question_peers({figure.name: figure.value for figure in figures}, sizes=sizes),
    ]
    report("presentations, grants, tokens, uploads, seats")
    figures += identity_costs(sizes=sizes)
    report(f"enrolment of {sizes.enrolled} meter points")
    figures += enrolment_costs(sizes=sizes)
    report(f"evidence log, {sizes.log_entries:,} entries")
    figures += [*log_costs(sizes=sizes), *receipt_costs(sizes=sizes)]
    report("release policies, the sandbox of workers")
    figures += [*policy_costs(sizes=sizes), *sandbox_costs(sizes=sizes)]
    report(f"a release of {sizes.released:,} bills")
    figures += release_costs(sizes=sizes)
    if sizes.readers:
        report(f"lists, {sizes.readers} connections")
        figures += list_readers(sizes=sizes)
    report("worker processes")
    figures += speed_up(keys, sizes=sizes)
    if sizes.run_meters:
        report(f"a sealed day of {sizes.run_meters:,} meter points, and questions about it")
        figures += day_costs(sizes=sizes)
        report(f"whole run, {sizes.run_meters:,} simulated meter points")
        known = {figure.name: figure.value for figure in figures}
        run, table = whole_run(
            meters=sizes.run_meters,
            vector_micros=known["vector_bill"],
            two_workers=known["two_workers"],
        )
        figures += run
    return BenchResult(
        sizes=sizes.name,
        machine=describe_machine(),
        figures=tuple(figures),
        stages=table,
        seconds=time.perf_counter() - started,
    )
