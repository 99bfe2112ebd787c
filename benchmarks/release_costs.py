"""What a release of bills costs the checker, beside what computing them cost the platform.

All parties are the product's own, in one process and without a network, so their processor time is
told apart by the clock around them. The checker executes every plan again, which alone costs what
computing did; it verifies every seat, once a roster; and it keeps a ledger. What vault and identity
service do meanwhile is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.random_meters import TIERS, random_meters
from benchmarks.sizes import BenchSizes
from benchmarks.timing import time_call
from gridsecure.cli.bill_tariffs import BilledTariff
from gridsecure.cli.local_months import TariffPart, answer_approved, compute_month, upload_month
from gridsecure.cli.local_parties import local_parties
from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.tariffs.tariff import catalogue_tariffs


def release_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Processor time of a month's release at the checker, over that of computing it.

    No limit is held: it costs more than the re-execution, and docs/limitations.md says so.

    Raises:
        AssertionError: The bills were not released.
    """
    meters = random_meters(TIERS, count=sizes.released, seed=33, quotas=False)
    text = catalogue_tariffs()[TIERS].read_text(encoding="utf-8")
    contracts = meters.contracts.assign(tariff_id=meters.tariff.tariff_id)
    part = TariffPart(BilledTariff(text, meters.tariff), contracts, meters.settlements)
    year = f"{meters.period.start:%Y}"
    with local_parties(years=(year,), timezone=meters.tariff.timezone) as local:
        upload_month(local, [part], period=meters.period, readings=Path("none"))
        computing, envelope = time_call(
            lambda: compute_month(local, meters.period, plan="bill"), clock=time.process_time
        )
        vault, identity = _Timed(local.authority.vault), _Timed(local.authority)
        zone = replace(local.authority, vault=vault, settlement=identity.settlement)
        watched = replace(local, authority=zone)
        whole, outcome = time_call(
            lambda: answer_approved(watched, envelope), clock=time.process_time
        )
    if outcome.state != RELEASED:
        raise AssertionError(f"the bills were not released: {outcome.reason}")
    checker = whole - vault.seconds - identity.seconds
    return [
        Figure("release_over_computing", "Release of bills: the checker over computing them",
               "times", checker / computing,
               note=f"{sizes.released:,} meter points on three tiers, one roster, processor time: "
               f"{checker:.2f} s of {computing:.2f} s; seats and approvals verified, plans "
               "executed again, ledger and certificate kept"),
        Figure("release_vault", "Release of bills: vault", "µs per meter",
               vault.seconds / sizes.released * 1e6,
               note="decrypt, recombine, round, seal the statements"),
    ]  # fmt: skip


class _Timed:
    """Another party, whose own time is counted."""

    def __init__(self, party: Any) -> None:
        self._party, self.seconds = party, 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._party, name)

        def timed(*given: Any, **named: Any) -> Any:
            seconds, answer = time_call(lambda: method(*given, **named), clock=time.process_time)
            self.seconds += seconds
            return answer

        return timed
