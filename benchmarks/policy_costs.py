"""What a release policy costs: deciding a request, comparing two, and customers of a cell."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.key_authority.dominance import CellShares
from gridsecure.plans.cells import Member
from gridsecure.policy.decisions import (
    Asked,
    asked_for,
    compare_policies,
    find_approvals,
    find_minima,
)
from gridsecure.policy.language import Policy
from gridsecure.policy.packs import STRICT, UNIFORM, load_pack

MUST_MS: Final = 1.0
TRY_MS: Final = 0.3
MUST_MICROS: Final = 30.0
TRY_MICROS: Final = 8.0
_DECISIONS: Final = 100
_MEMBERS: Final = 4_000
_OWNERS: Final = 4
_LIMIT: Final = 15
_ASKED: Final = (
    asked_for("billing", resolution="monthly"),
    asked_for("operations", resolution="interval"),
    asked_for("research", resolution="daily"),
)


def policy_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Time of a decision, and of a comparison.

    Raises:
        AssertionError: The strict policy is no stricter than the uniform one, or a cell that keeps
            the limit of dominance is withheld.
    """
    strict, uniform = load_pack(STRICT), load_pack(UNIFORM)
    own = strict.at(strict.in_force_from + timedelta(days=1))

    def decide() -> None:
        for number in range(_DECISIONS):
            _decide(own, _ASKED[number % len(_ASKED)])

    seconds, _ = best_of(decide, sizes=sizes, clock=time.process_time)
    compared, changes = best_of(
        lambda: compare_policies(uniform, strict), sizes=sizes, clock=time.process_time
    )
    if not changes or any(one.is_looser for one in changes):
        raise AssertionError("the strict policy is no stricter than the uniform one")
    return [
        Figure("policy_decision", "Policy decision: minima and approvals of a request", "ms",
               seconds * 1000 / _DECISIONS, MUST_MS, TRY_MS,
               note="the strict policy, every class it names; three kinds of requests in turn, "
               "processor time"),
        Figure("policy_comparison", "Two policies compared in every case", "ms", compared * 1000,
               note="strict and uniform-15, processor time"),
        _dominance(sizes),
    ]  # fmt: skip


def _dominance(sizes: BenchSizes) -> Figure:
    """What the vault compares of each member of a cell that has a limit."""
    members = [Member(str(n), f"owner {n % _OWNERS}", n % 5 > 0) for n in range(_MEMBERS)]

    def compare() -> frozenset[str]:
        shares = CellShares(points=2)
        for number, member in enumerate(members):
            wh = 100_000 + number * 10
            shares.add(member, number % 2, energy_wh=wh, amount_fen=wh // 20)
        return shares.list_withheld(_LIMIT, tells_money=True)

    seconds, withheld = best_of(compare, sizes=sizes, clock=time.process_time)
    if withheld:
        raise AssertionError("a cell that keeps the limit of dominance is withheld")
    return Figure("dominance", "Dominance: the customers of a cell compared", "µs per meter",
                  seconds / _MEMBERS * 1e6, MUST_MICROS, TRY_MICROS,
                  note=f"{_MEMBERS:,} meter points of {_OWNERS} owners in two parts, energy and "
                  "money; processor time")  # fmt: skip


def _decide(policy: Policy, asked: Asked) -> None:
    find_minima(policy, asked)
    find_approvals(policy, [asked], classes=policy.classes)
