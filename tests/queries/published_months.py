"""Two months of a small city as they are published, and the plain tables that they are made of."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

import pandas as pd

from gridsecure.messages import CellTotal, CountedPlace, OwnCount, ReleaseCertificate

PLACES: Final = [
    ("futian", "household", 120),
    ("futian", "shop", 40),
    ("luohu", "household", 90),
    ("luohu", "shop", 25),
]
"""Zones, classes, and meter points. One customer of each has two of them."""
MONTHS: Final = {"2026-06": 30, "2026-07": 31}
HOUR: Final = timedelta(hours=1)


def hours_of(month: str) -> pd.DataFrame:
    """Energy of each place and hour [Wh]: it rises with the day, and peaks in the evening."""
    first = datetime.fromisoformat(f"{month}-01T00:00:00+08:00")
    rows = []
    for number, (zone, customer_class, points) in enumerate(PLACES):
        for index in range(24 * MONTHS[month]):
            day, hour = divmod(index, 24)
            evening = 400 if 18 <= hour < 21 else 0
            wh = points * (90 + 50 * number + 3 * day + evening) + (index * 7919) % 101
            rows.append((zone, customer_class, points, first + index * HOUR, wh))
    frame = pd.DataFrame(rows, columns=["zone", "customer_class", "points", "start", "wh"])
    moments = [moment.isoformat() for moment in frame["start"]]
    frame["day"], frame["clock"] = [m[:10] for m in moments], [m[11:16] for m in moments]
    return frame


def bills(month: str) -> pd.DataFrame:
    """Energy [Wh] and money [fen] of each place's month."""
    frame = hours_of(month).groupby(["zone", "customer_class", "points"])["wh"].sum()
    table = frame.reset_index()
    table["fen"] = table["wh"] * 67 // 1000
    return table


def _release(month: str, plan: str, cells: list[CellTotal]) -> ReleaseCertificate:
    start = f"{month}-01T00:00:00+08:00"
    following = date.fromisoformat(f"{month}-01") + timedelta(days=MONTHS[month])
    return ReleaseCertificate(
        release_id=f"{plan}-{month}",
        plan=plan,
        plan_version=1,
        start=start,
        end=f"{following}T00:00:00+08:00",
        purpose="research",
        requested_by="analyst",
        released_at="2026-08-02T01:02:03+00:00",
        transcripts=["ab" * 32],
        outputs_digest="cd" * 32,
        minimum_members=15,
        cells=cells,
        statements={},
        evidence_head="0" * 64,
        minima={name: {"*": dict.fromkeys(("bills", "energy_wh", "amount_fen"), 15)}
                for name in ("monthly", "interval")},
        places=[
            CountedPlace(
                zone=zone, customer_class=customer_class,
                counts=[OwnCount(owner=0, points=points, customers=points - 1)],
            )
            for zone, customer_class, points in PLACES
        ],
    )  # fmt: skip


def curve_release(month: str, *, withheld: tuple[str, str] | None = None) -> ReleaseCertificate:
    """The load curve of a month.

    Args:
        withheld: A place that nothing is told of.
    """
    return _release(month, "load-curve", [
        CellTotal(
            zone=row.zone, customer_class=row.customer_class, start=row.start.isoformat(),
            end=(row.start + HOUR).isoformat(), measure="energy_wh", members=row.points,
            value=None if (row.zone, row.customer_class) == withheld else str(row.wh),
            parts=[_number(row.zone, row.customer_class)],
        )
        for row in hours_of(month).itertuples()
    ])  # fmt: skip


def bill_release(month: str) -> ReleaseCertificate:
    """The bills of a month."""
    release = _release(month, "bill", [])
    cells = [
        CellTotal(
            zone=row.zone, customer_class=row.customer_class, start=release.start,
            end=release.end, measure=measure, members=row.points, value=str(value),
            parts=[_number(row.zone, row.customer_class)],
        )
        for row in bills(month).itertuples()
        for measure, value in (
            ("bills", row.points), ("energy_wh", row.wh), ("amount_fen", row.fen)
        )
    ]  # fmt: skip
    return release.model_copy(update={"cells": cells})


def _number(zone: str, customer_class: str) -> int:
    return [place[:2] for place in PLACES].index((zone, customer_class))
