"""The route for what each party used in a month, which two services have alike."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Engine

from gridsecure.store.database import read_session
from gridsecure.store.usage import UsageBook
from gridsecure.wire.services import MonthUsage, Usage
from gridsecure_api.deps import require

Month = Annotated[
    str,
    Query(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="A month of UTC, as 2026-11."),
]


def usage_router(book: UsageBook, engine: Engine, *roles: str) -> APIRouter:
    """The route over a zone's totals.

    Args:
        engine: The zone's database.
        roles: Who may read them.
    """
    router = APIRouter()

    @router.get("/usage", tags=["evidence"], dependencies=[Depends(require(*roles))])
    def read_usage(month: Month) -> MonthUsage:
        """What each party used in a month, by measure; research queries are of one party.

        It is counted from the evidence log as its entries are made.
        """
        with read_session(engine) as session:
            found = book.read_month(session, month)
        used = [Usage(party=one.party, measure=one.measure, amount=one.amount) for one in found]
        return MonthUsage(month=month, used=used)

    return router
