"""The route of the gateway that reconciles readings: what came in, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from gridsecure.gateway.reading_balance import ReadingBalance, balance_readings
from gridsecure.gateway.taken_in import BILLED, ESTIMATED, QUARANTINED, WAITING, TakenIn
from gridsecure.month_texts import MONTH_PATTERN
from gridsecure.wire.gateway import (
    ReadingCounts,
    ReadingsDiffer,
    Reconciliation,
    SourceReconciled,
)
from gridsecure_api.deps import require
from gridsecure_api.gateway_readings import OPERATOR
from gridsecure_api.gateway_state import Service

router = APIRouter(prefix="/v1/reconciliation", tags=["readings"])

MAX_DIFFERING: Final = 1000
"""Batches that are named in one answer, the first ones."""

_STATES: Final = (BILLED, ESTIMATED, QUARANTINED, WAITING)
OfMonth = Annotated[str, Query(pattern=f"^{MONTH_PATTERN}$", description="A month, as 2026-07.")]


@router.get("", dependencies=[Depends(require(OPERATOR, "billing"))])
def read_reconciliation(service: Service, month: OfMonth) -> Reconciliation:
    """Reconcile a month: every reading that came in is billed, estimated, quarantined or waiting.

    Its readings are read and validated again, which takes as long as it did first; meanwhile no
    month is processed.
    """
    balance = service.worker.look(month, lambda: balance_readings(service.zone, month))
    return Reconciliation(
        month=month,
        adds_up=balance.adds_up,
        total=ReadingCounts(**_counts(balance.taken_in)),
        sources=_by_source(balance),
        differing=[_differing(one) for one in balance.taken_in if not one.adds_up][:MAX_DIFFERING],
        reported=balance.reported,
        counted=balance.counted,
        other_energy=balance.other_energy,
    )


def _by_source(balance: ReadingBalance) -> list[SourceReconciled]:
    groups: dict[tuple[str, str], list[TakenIn]] = {}
    for one in balance.taken_in:
        groups.setdefault((one.kind, one.source), []).append(one)
    return [
        SourceReconciled(kind=own[0].kind, name=source, **_counts(own))
        for (_, source), own in sorted(groups.items())
    ]


def _counts(taken_in: Iterable[TakenIn]) -> dict[str, Any]:
    """The fields of `ReadingCounts`."""
    came_in, became = 0, Counter[tuple[str, str]]()
    for one in taken_in:
        came_in += one.came_in
        became.update(one.became)
    states = dict.fromkeys(_STATES, 0)
    reasons: dict[str, dict[str, int]] = {}
    for (state, reason), count in sorted(became.items()):
        states[state] += count
        if reason and count:
            reasons.setdefault(state, {})[reason] = count
    return {"came_in": came_in, **states, "reasons": reasons}


def _differing(one: TakenIn) -> ReadingsDiffer:
    return ReadingsDiffer(
        kind=one.kind,
        source=one.source,
        name=one.name,
        came_in=one.came_in,
        found=one.found,
        lost=one.lost,
        twice=one.twice,
        reason=one.damage,
    )
