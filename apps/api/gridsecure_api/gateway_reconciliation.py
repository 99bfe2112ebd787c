"""Routes of the gateway that reconcile readings: what came in, and what became of it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from gridsecure.errors import NotFoundError
from gridsecure.gateway.reading_balance import ReadingBalance, balance_readings
from gridsecure.gateway.reading_fates import count_readings, find_source_counts
from gridsecure.gateway.taken_in import TakenIn
from gridsecure.messages import ReadingCounts
from gridsecure.month_texts import MONTH_PATTERN
from gridsecure.wire.gateway import (
    ReadingsDiffer,
    Reconciliation,
    SourceReconciled,
)
from gridsecure_api.deps import require
from gridsecure_api.gateway_readings import OPERATOR, In, visible
from gridsecure_api.gateway_state import Service

router = APIRouter(prefix="/v1", tags=["readings"])

MAX_DIFFERING: Final = 1000
"""Batches that are named in one answer, the first ones."""

OfMonth = Annotated[str, Query(pattern=f"^{MONTH_PATTERN}$", description="A month, as 2026-07.")]


@router.get("/reconciliation", dependencies=[Depends(require(OPERATOR, "billing"))])
def read_reconciliation(service: Service, month: OfMonth) -> Reconciliation:
    """Reconcile a month: every reading that came in is billed, estimated, quarantined or waiting.

    Its readings are read and validated again, which takes as long as it did first; meanwhile no
    month is processed.
    """
    balance = service.worker.look(month, lambda: balance_readings(service.zone, month))
    return Reconciliation(
        month=month,
        adds_up=balance.adds_up,
        total=count_readings(balance.taken_in),
        sources=_by_source(balance),
        differing=[_differing(one) for one in balance.taken_in if not one.adds_up][:MAX_DIFFERING],
        reported=balance.reported,
        counted=balance.counted,
        other_energy=balance.other_energy,
    )


@router.get("/sources/{name}/reconciliation", dependencies=visible)
def read_source_counts(name: str, intake: In, month: OfMonth) -> ReadingCounts:
    """What became of a source's readings of a month, as counted when it was done or corrected."""
    counts = find_source_counts(intake.zone, month, source=name)
    if counts is None:
        raise NotFoundError(
            f"It was not counted yet what became of readings of {month}.",
            reason="not-found.counts",
            remedy="Ask again once the month is done. Until then, its readings wait.",
        )
    return counts


def _by_source(balance: ReadingBalance) -> list[SourceReconciled]:
    groups: dict[tuple[str, str], list[TakenIn]] = {}
    for one in balance.taken_in:
        groups.setdefault((one.kind, one.source), []).append(one)
    return [
        SourceReconciled(kind=own[0].kind, name=source, **dict(count_readings(own)))
        for (_, source), own in sorted(groups.items())
    ]


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
