"""What became of every reading that was taken in of a month, and whether the numbers add up.

A month whose bills are not out waits with all of its readings. Of one that is done, the readings
are read and validated again by the code that billed them, as they were last corrected, and each
that came in is then one of these:

- billed: it counts in a bill as it came;
- estimated: its interval is billed by an estimate, which it is itself or which was made over it;
- quarantined: no bill counts it. Validation set it aside, another reading of its interval counts
  (`superseded`, `edited`), or its meter point has no bill;
- waiting: it came late, and no correction took it up yet.

What came in was counted as it came (`taken_in`). So the numbers differ where something was lost or
counted twice in between, and whatever they differ in is named.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.errors import NotFoundError, StorageError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.collection import Collected, LaterReadings, MonthFiles, read_files
from gridsecure.gateway.correction_plan import (
    CorrectionPlan,
    find_correction_report,
    find_first_uploads,
    list_corrections,
    locate_version,
    make_correction_folder,
)
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import MonthPlan, find_plan, is_done, month_period
from gridsecure.gateway.month_validation import ValidatedMonth, validate_month
from gridsecure.gateway.reading_traces import ORIGIN, ReadingTrace, compare_pieces
from gridsecure.gateway.taken_in import (
    BILLED,
    ESTIMATED,
    QUARANTINED,
    TakenIn,
    find_taken_batches,
    find_taken_edits,
)
from gridsecure.gateway.year_to_date import load_totals
from gridsecure.gateway.zone import GatewayZone
from gridsecure.month_texts import year_text
from gridsecure.periods import BillingPeriod
from gridsecure.wire.gateway import TakenInKind

_COUNTS: Final = ("readings", "accepted", "estimated", "quarantined")
_NOT_BILLED: Final = "not-billed"
_SENT: Final = "sent"  # as an estimate


@dataclass(frozen=True, slots=True, eq=False)
class ReadingBalance:
    """What came in of a month and what became of it.

    Args:
        taken_in: Every batch, edit and file.
        reported: Counts of the month's report; None where its bills are not out, or were corrected.
        counted: The same counts of the readings as they are now.
        other_energy: Meter points whose readings sum to another energy than the one billed.
    """

    taken_in: list[TakenIn]
    reported: dict[str, int] | None = None
    counted: dict[str, int] | None = None
    other_energy: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether every reading became one thing, and the month is what was billed."""
        is_whole = all(one.adds_up for one in self.taken_in)
        return is_whole and self.reported == self.counted and not self.other_energy


def balance_readings(zone: GatewayZone, month: str) -> ReadingBalance:
    """Count what came in of a month, and what became of it.

    Args:
        month: YYYY-MM.

    Raises:
        NotFoundError: Nothing came in (`month.no-readings`).
        InputError: A file that was handed in cannot be read.
        AuditBrokenError: A corrected file was altered (`audit.version`).
        StorageError: The disk refuses to read what is kept of the month.
    """
    period = month_period(month, timezone=zone.timezone)
    # Plans are asked first: a batch that comes in between is late and not lost.
    plan, done = find_plan(zone, month), is_done(zone, month)
    corrections = list_corrections(zone, month)
    batches = find_taken_batches(zone, period)
    counted = plan.edits if plan is not None and done else None
    edits, other_edits = find_taken_edits(zone, month, period=period, counted=counted)
    if plan is None or not done:
        waiting = [*_handed_in(zone, month, period), *batches, *edits]
        for one in waiting:
            one.wait("month-open" if plan is None else "month-unfinished")
        if not waiting and not other_edits:
            raise _nothing(month)
        return ReadingBalance([*waiting, *other_edits])
    finished = [one for one in corrections if find_correction_report(zone, one.files.name)]
    version = _Version(zone, load_files(zone, month), plan, finished, period)
    late = [one for one in batches if not version.counts(one)]
    for one in late:
        is_fixed = any(_takes_up(correction, one) for correction in corrections)
        one.wait("correction-unfinished" if is_fixed else "late")
    own = version.balance([one for one in batches if version.counts(one)], edits)
    return replace(own, taken_in=[*own.taken_in, *late, *other_edits])


def _nothing(month: str) -> NotFoundError:
    return NotFoundError(
        f"No readings of {month} were taken in.",
        reason="not-found.readings",
        remedy="Send batches to /v1/readings, or hand in files of readings.",
    )


def _handed_in(zone: GatewayZone, month: str, period: BillingPeriod) -> list[TakenIn]:
    """Files that were handed in for a month that is not done."""
    try:
        files = load_files(zone, month)
    except NotFoundError:  # nothing but batches, so far
        return []
    bare = replace(files, batches=(), edits=())
    found = read_files(bare, timezone=zone.timezone, period=period)
    taken = _files("files", "", files.readings)
    for one, file in zip(taken, found, strict=True):
        one.came_in = one.held = len(file.readings)
    return taken


def _files(kind: TakenInKind, source: str, paths: Sequence[Path]) -> list[TakenIn]:
    """Files in the order in which they were handed in, before any is read."""
    return [TakenIn(kind, source, str(n), n, path) for n, path in enumerate(paths, start=1)]


def _takes_up(correction: CorrectionPlan, batch: TakenIn) -> bool:
    after, until = correction.files.batches
    return after < batch.number <= until


@dataclass(frozen=True, slots=True, eq=False)
class _Version:
    """A month as it was last corrected.

    Args:
        corrections: Those that are done.
    """

    zone: GatewayZone
    files: MonthFiles
    plan: MonthPlan
    corrections: list[CorrectionPlan]
    period: BillingPeriod

    def counts(self, batch: TakenIn) -> bool:
        """Whether a batch came in time for it."""
        taken_up = (_takes_up(one, batch) for one in self.corrections)
        return batch.number <= self.plan.until_batch or any(taken_up)

    @property
    def folder(self) -> Path:
        """Where what was found of it is kept."""
        if not self.corrections:
            return self.files.folder
        return make_correction_folder(self.zone, self.corrections[-1].files)

    def balance(self, batches: list[TakenIn], edits: list[TakenIn]) -> ReadingBalance:
        """What became of what counts in it."""
        # Without what is damaged, so that it is named and the others are still told.
        sound = [one for one in batches if not one.damage]
        damaged = [one for one in (*batches, *edits) if one.damage]
        order, files = self._read_order(sound, edits=[one for one in edits if not one.damage])
        if not (files.readings or files.batches):
            return ReadingBalance([*order, *damaged])
        trace = ReadingTrace()
        last = self.corrections[-1] if self.corrections else self.plan
        month = validate_month(
            replace(files, trace=trace),
            period=self.period,
            timezone=self.zone.timezone,
            at=datetime.fromisoformat(last.validated_at),
            begin=lambda _stage: None,
        )
        self._tell(order, trace, month)
        collected, totals = month.collected, load_totals(self.files.folder)
        balance = ReadingBalance(
            [*order, *damaged], other_energy=_count_other_energy(collected.readings, totals)
        )
        if self.corrections:
            return balance
        reported = {name: self.plan.counts[name] for name in _COUNTS}
        return replace(balance, reported=reported, counted=_counts(collected))

    def _read_order(
        self, batches: Sequence[TakenIn], *, edits: Sequence[TakenIn]
    ) -> tuple[list[TakenIn], MonthFiles]:
        """Everything that counts in the order in which it is read, and the files to read."""
        first = [one for one in batches if one.number <= self.plan.until_batch]
        order = [*_files("files", "", self.files.readings), *first, *edits]
        later = []
        for correction in self.corrections:
            own = [one for one in batches if _takes_up(correction, one)]
            month, names = correction.files.month, correction.files.readings
            paths = [locate_version(self.zone, month, name) for name in names]
            order += [*own, *_files("correction", str(correction.number), paths)]
            later.append(LaterReadings(tuple(paths), tuple(one.path for one in own)))
        files = replace(
            self.files,
            batches=tuple(one.path for one in first),
            edits=tuple(one.path for one in edits),
            later=tuple(later),
        )
        return order, files

    def _tell(self, order: list[TakenIn], trace: ReadingTrace, month: ValidatedMonth) -> None:
        """Say of everything that was read what became of its readings."""
        if trace.validated is None:
            raise ValueError("a month that is validated was read")
        zone = self.zone.timezone
        named = [month.books.name_holders(one.keys, timezone=zone) for one in trace.pieces]
        is_edit = [one.kind == "edits" for one in order]
        given_way = compare_pieces(trace.validated, named, edits=is_edit)
        for taken, piece, gone in zip(order, trace.pieces, given_way, strict=True):
            if taken.kind in ("files", "correction"):  # which nobody counted as they came
                taken.came_in = len(piece.keys)
            taken.lost, taken.twice = gone.lost, gone.twice
            taken.became[QUARANTINED, "superseded"] += gone.superseded
            taken.became[QUARANTINED, "edited"] += gone.edited
            taken.became[QUARANTINED, "not-held"] += piece.not_held
        for origin, state, reason, count in self._became(trace.validated, month.collected):
            order[origin].became[state, reason] += count

    def _became(
        self, validated: pd.DataFrame, collected: Collected
    ) -> Iterator[tuple[int, str, str, int]]:
        """The piece that readings came in, what became of them, why, and how many they are."""
        billed = self._billed_names()
        names = validated["meter_point_id"].astype("str")
        is_billed = names.isin(billed).to_numpy(bool)
        is_estimate = (validated["quality"] == "estimated").to_numpy(bool)
        state = np.select([~is_billed, is_estimate], [QUARANTINED, ESTIMATED], BILLED)
        reason = np.where(is_billed & is_estimate, _SENT, "").astype(object)
        left_out = names[~is_billed].map(_read_exceptions(self.folder)).fillna(_NOT_BILLED)
        reason[~is_billed] = left_out.to_numpy(object)
        aside = collected.quarantined
        rows = aside["row"].to_numpy(np.intp)
        over = _intervals(aside).isin(_intervals(collected.estimates))
        over &= aside["meter_point_id"].isin(billed).to_numpy(bool)
        state[rows] = np.where(over, ESTIMATED, QUARANTINED)
        reason[rows] = aside["reason"].to_numpy(object)
        told = pd.DataFrame({ORIGIN: validated[ORIGIN], "state": state, "reason": reason})
        counted = told.value_counts().reset_index(name="count")
        columns = (counted[name].tolist() for name in (ORIGIN, "state", "reason", "count"))
        yield from zip(*columns, strict=True)

    def _billed_names(self) -> set[str]:
        """Meter points, by holder, that have a bill of the month."""
        known = recall_members(self.zone, year_text(self.files.month))
        names = {member.billing: name for name, member in known.items()}
        uploads = find_first_uploads(self.zone, self.files.month).values()
        rosters = (outbox.load_outgoing(self.zone, name).seated for name, _ in uploads)
        return {names[one] for roster in rosters for one in roster.pseudonyms}


def _counts(collected: Collected) -> dict[str, int]:
    """The counts of `_COUNTS`."""
    return {
        "readings": collected.input_rows,
        "accepted": collected.accepted_rows,
        "estimated": collected.estimated_rows,
        "quarantined": len(collected.quarantined),
    }


def _count_other_energy(readings: pd.DataFrame, totals: Mapping[str, int]) -> int:
    """Meter points whose readings sum to another energy than was kept as the month was billed."""
    sums = readings.groupby("meter_point_id", observed=True)["energy_wh"].sum()
    own = {str(name): int(energy_wh) for name, energy_wh in sums.items()}
    return sum(own.get(name, 0) != totals.get(name, 0) for name in own.keys() | totals.keys())


def _intervals(readings: pd.DataFrame) -> pd.MultiIndex:
    starts = pd.DatetimeIndex(readings["start"]).as_unit("us").asi8
    return pd.MultiIndex.from_arrays([readings["meter_point_id"].astype("str"), starts])


def _read_exceptions(folder: Path) -> dict[str, str]:
    """Meter points without a bill and why, as they were kept."""
    try:
        with (folder / "exceptions.csv").open(encoding="utf-8", newline="") as file:
            return {row["meter_point_id"]: row["reason"] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise StorageError(
            "The exceptions file of the month cannot be read.",
            reason="storage.read",
            remedy="Restore the gateway's folder from its backup.",
        ) from error
