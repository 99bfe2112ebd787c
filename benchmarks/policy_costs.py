"""What a release policy costs: deciding a request, and comparing two policies."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
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
_DECISIONS: Final = 100
_ASKED: Final = (
    asked_for("billing", resolution="monthly"),
    asked_for("operations", resolution="interval"),
    asked_for("research", resolution="daily"),
)


def policy_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Time of a decision, and of a comparison.

    Raises:
        AssertionError: The strict policy is no stricter than the uniform one.
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
    ]  # fmt: skip


def _decide(policy: Policy, asked: Asked) -> None:
    find_minima(policy, asked)
    find_approvals(policy, [asked], classes=policy.classes)
