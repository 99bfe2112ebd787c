"""What a release of bills costs the checker, beside what computing them cost the platform.

All parties are the product's own, in one process and without a network, so their processor time is
told apart by the clock around them. The checker executes every plan again, which alone costs what
computing did; it verifies every seat, once a roster and year; and it keeps a ledger. So there are
two figures: of a roster's first month, and of its second. What vault, identity service and platform
do for it meanwhile is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from sqlmodel import col, func, select

from benchmarks.figures import Figure
from benchmarks.random_meters import TIERS, random_meters
from benchmarks.sizes import BenchSizes
from benchmarks.timing import time_call
from gridsecure.cli.bill_tariffs import BilledTariff
from gridsecure.cli.local_months import TariffPart, answer_approved, compute_month, upload_month
from gridsecure.cli.local_parties import LocalParties, local_parties
from gridsecure.cli.online import utc_now
from gridsecure.compute.requests import record_answer
from gridsecure.garbage import settle_objects
from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.key_authority.checker.tables import SeatedRosterRow
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.store.database import read_session
from gridsecure.tariffs.tariff import catalogue_tariffs


def release_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Processor time of a month's release at the checker, over that of computing it.

    No limit is held: it costs more than the re-execution, and docs/limitations.md says so.

    Raises:
        AssertionError: The bills were not released, or the second month sits in another roster.
    """
    meters = random_meters(TIERS, count=sizes.released, seed=33, quotas=False)
    tariff = meters.tariff
    text = catalogue_tariffs()[TIERS].read_text(encoding="utf-8")
    contracts = meters.contracts.assign(tariff_id=tariff.tariff_id)
    later = billing_month(2026, 8, timezone=tariff.timezone)
    settled = [
        meters.settlements.assign(
            period_start=pd.Timestamp(period.start), period_end=pd.Timestamp(period.end)
        )
        for period in (meters.period, later)
    ]
    part = TariffPart(BilledTariff(text, tariff), contracts, pd.concat(settled))
    with local_parties(years=(f"{later.start:%Y}",), timezone=tariff.timezone) as local:
        first, second = (_released(local, part, period) for period in (meters.period, later))
        with read_session(local.authority.engine) as session:
            seated = session.exec(select(func.count(col(SeatedRosterRow.roster)))).one()
    if seated != 1:
        raise AssertionError("seats were checked more than once")
    note = (
        f"{sizes.released:,} meter points on three tiers, one roster, processor time: "
        "{0.checker:.2f} s of {0.computing:.2f} s; {1}approvals verified, plans executed again, "
        "ledger and certificate kept"
    )
    return [
        Figure("release_over_computing", "Release of bills: the checker over computing them",
               "times", first.checker / first.computing, note=note.format(first, "seats and ")),
        Figure("release_over_computing_later", "the same, of a roster whose seats were checked",
               "times", second.checker / second.computing, note=note.format(second, "")),
        Figure("release_vault", "Release of bills: vault", "µs per meter",
               first.vault / sizes.released * 1e6,
               note="decrypt, recombine, round, seal the statements"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Release:
    """Seconds of the processor that a month's bills took each party."""

    computing: float
    checker: float
    vault: float


def _released(local: LocalParties, part: TariffPart, period: BillingPeriod) -> _Release:
    upload_month(local, [part], period=period, readings=Path("none"))
    settle_objects()  # as the checker's service and the platform's do once they have started
    computing, envelope = time_call(
        lambda: compute_month(local, period, plan="bill"), clock=time.process_time
    )
    vault, identity = _Timed(local.authority.vault), _Timed(local.authority)
    zone = replace(local.authority, vault=vault, settlement=identity.settlement)
    platform: Any = _Timed(local.platform)
    watched = replace(local, authority=zone, platform=platform)
    whole, outcome = time_call(lambda: answer_approved(watched, envelope), clock=time.process_time)
    if outcome.state != RELEASED:
        raise AssertionError(f"the bills were not released: {outcome.reason}")
    record_answer(local.platform.zone, outcome.request_id, answer="released", at=utc_now())
    others = vault.seconds + identity.seconds + platform.seconds
    return _Release(computing, whole - others, vault.seconds)


class _Timed:
    """Another party, whose own time is counted."""

    def __init__(self, party: Any) -> None:
        self._party, self.seconds = party, 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._party, name)

        def timed(*given: Any, **named: Any) -> Any:
            answer = self._count(lambda: method(*given, **named))
            return self._drawn(answer) if isinstance(answer, Iterator) else answer

        return timed

    def _drawn(self, answer: Iterator[Any]) -> Iterator[Any]:
        nothing = object()
        while (one := self._count(lambda: next(answer, nothing))) is not nothing:
            yield one

    def _count(self, work: Callable[[], Any]) -> Any:
        seconds, answer = time_call(work, clock=time.process_time)
        self.seconds += seconds
        return answer
