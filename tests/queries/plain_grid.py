"""A small grid in the open: readings that totals of questions are added up of, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.messages import RosterManifest
from gridsecure.plans.load_curve import interval_times
from gridsecure.queries.groups import group_rosters
from gridsecure.queries.language import AT_LEAST, SQUARED, Question
from gridsecure.queries.steps import find_steps, step_end
from gridsecure.queries.totals import GroupCount, StepSpan, Totals
from tests.queries.questions import roster

INTERVALS: Final = 48
ZONE: Final = "Asia/Shanghai"
PLACES: Final = (
    [("futian", "household")] * 7 + [("futian", "shop")] * 5 + [("luohu", "household")] * 6
)


@dataclass(frozen=True)
class PlainGrid:
    """Readings of two rosters in June and July 2026.

    Args:
        readings: A row for each meter point and interval: `pseudonym`, `zone`, `customer_class`,
            `start` (ISO 8601), `wh`.
    """

    rosters: tuple[RosterManifest, ...]
    readings: pd.DataFrame


def day_times(day: str) -> list[str]:
    """Where the intervals of a local day begin, and the last one ends."""
    start = datetime.fromisoformat(f"{day}T00:00:00+08:00")
    end = start + timedelta(days=1)
    return interval_times(start.isoformat(), end.isoformat(), intervals=INTERVALS, timezone=ZONE)


def plain_grid(days: list[str]) -> PlainGrid:
    """The readings of some days: whole Wh that repeat from test to test."""
    half = len(PLACES) // 2
    rosters = (
        roster("one", PLACES[:half], kva=list(range(1, half + 1))),
        roster("two", PLACES[half:], tariff="1" * 64, kva=[20] * half),
    )
    rng = np.random.default_rng(14)
    frames = []
    for one in rosters:
        for slot, pseudonym in enumerate(one.pseudonyms):
            for day in days:
                frames.append(
                    pd.DataFrame(
                        {
                            "pseudonym": pseudonym,
                            "zone": one.zones[slot],
                            "customer_class": one.customer_classes[slot],
                            "start": day_times(day)[:-1],
                            "wh": rng.integers(0, 3000, size=INTERVALS),
                        }
                    )
                )
    return PlainGrid(rosters, pd.concat(frames, ignore_index=True))


def total_up(
    question: Question, grid: PlainGrid, *, withheld: Mapping[tuple[str, ...], str] | None = None
) -> Totals:
    """The totals of a question, added up in the open.

    Args:
        withheld: Groups that are not told of, to the start of the step that is not.
    """
    grouping = group_rosters(question, grid.rosters, tariffs={})
    group_of = {
        pseudonym: int(number)
        for one, row in zip(grid.rosters, grouping.rows, strict=True)
        for pseudonym, number in zip(one.pseudonyms, row, strict=True)
    }
    step_of: dict[str, str] = {}
    for day in sorted({start[:10] for start in grid.readings["start"]}):
        times = day_times(day)
        numbers, starts = find_steps(question, times)
        step_of |= {
            time: starts[number]
            for time, number in zip(times, numbers.tolist(), strict=False)
            if number >= 0
        }
    readings = grid.readings.assign(
        group=grid.readings["pseudonym"].map(group_of), step=grid.readings["start"].map(step_of)
    )
    kept = readings[(readings["group"] >= 0) & readings["step"].notna()]
    steps = sorted(set(kept["step"]), key=datetime.fromisoformat)
    own = kept.groupby(["step", "group", "pseudonym"])["wh"].sum().reset_index()
    values = {}
    for name in question.totals:
        rows = own.assign(value=_count(own["wh"], name))
        table = rows.groupby(["step", "group"])["value"].sum()
        values[name] = [
            [
                None if (withheld or {}).get(label.values) == step else int(table[step, number])
                for number, label in enumerate(grouping.labels)
            ]
            for step in steps
        ]
    sizes = [
        sum(int((row == n).sum()) for row in grouping.rows) for n in range(len(grouping.labels))
    ]
    return Totals(
        groups=[
            GroupCount(
                values=list(label.values), cohort=label.cohort, points=size, customers=size - 1
            )
            for label, size in zip(grouping.labels, sizes, strict=True)
        ],
        steps=[StepSpan(start=step, end=_end(question, step)) for step in steps],
        values=values,
    )


def _count(wh: pd.Series, name: str) -> pd.Series:
    if name.startswith(AT_LEAST):
        return (wh >= 1000 * int(name.removeprefix(AT_LEAST))).astype(int)
    return wh**2 if name.endswith(SQUARED) else wh


def _end(question: Question, start: str) -> str:
    if question.every == "interval":
        return (datetime.fromisoformat(start) + timedelta(minutes=30)).isoformat()
    return step_end(question, start)
