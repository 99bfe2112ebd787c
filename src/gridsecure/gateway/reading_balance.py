"""What became of every reading that was taken in of a month, and whether the numbers add up.

A month whose bills are not out waits with all of its readings. Of one that is done, the readings
are read and validated again by the code that billed them, as they were last corrected, and each
that came in is then one of these:

- billed: it counts in a bill as it came;
- estimated: its interval is billed by an estimate, which it is itself or which was made over it;
- quarantined: no bill counts it. Validation set it aside, another reading of its interval counts
  (`superseded`, `edited`), its meter point has no bill, or it came late and a correction could not
  use it (`late-interval`, `left-out`);
- waiting: it came late, and no correction took it up yet.

What came in was counted or digested as it came (`taken_in`). So the numbers differ where something
was lost or counted twice in between, and whatever they differ in is named.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.readings import INTERVAL_MINUTES, MINUTE_US, start_us
from gridsecure.errors import AuditBrokenError, NotFoundError, StorageError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.approvals import REJECTED
from gridsecure.gateway.books.months import no_contracts
from gridsecure.gateway.collection import (
    Collected,
    LaterReadings,
    MonthFiles,
    check_as_it_came,
    read_files,
    read_later_files,
)
from gridsecure.gateway.correction_books import correct_books
from gridsecure.gateway.correction_orders import find_orders
from gridsecure.gateway.correction_plan import (
    CorrectionPlan,
    find_correction_report,
    find_first_uploads,
    find_waiting,
    latest_rules,
    list_corrections,
    locate_version,
    make_correction_folder,
    version_path,
)
from gridsecure.gateway.formats import ReadingsFile
from gridsecure.gateway.ingestion.stored_faces import latest_faces
from gridsecure.gateway.ingestion.stored_readings import read_stored_faces
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import MonthPlan, find_plan, is_done
from gridsecure.gateway.month_validation import ValidatedMonth, validate_month
from gridsecure.gateway.reading_traces import CONCLUDED, ORIGIN, ReadingTrace, compare_pieces
from gridsecure.gateway.taken_in import (
    BILLED,
    ESTIMATED,
    QUARANTINED,
    WAITING,
    TakenIn,
    find_taken_batches,
    find_taken_edits,
)
from gridsecure.gateway.year_to_date import load_totals
from gridsecure.gateway.zone import GatewayZone
from gridsecure.periods import BillingPeriod
from gridsecure.wire.gateway import TakenInKind

_COUNTS: Final = ("readings", "accepted", "estimated", "quarantined")
_NOT_BILLED: Final = "not-billed"
_SENT: Final = "sent"  # as an estimate
_SUPERSEDED: Final = "superseded"
_ALONE: Final = "alone"  # a face without an energy on either side
_CAME: Final = "came"


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
        StorageError: The disk refuses to read what is kept of the month.
    """
    period = zone.period(month)
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
        return _checked(ReadingBalance([*waiting, *other_edits]), month)
    finished = [one for one in corrections if find_correction_report(zone, one.files.name)]
    version = _Version(zone, load_files(zone, month), plan, finished, period)
    late = [one for one in batches if not version.counts(one)]
    for one in late:
        is_fixed = any(_takes_up(correction, one) for correction in corrections)
        one.wait("correction-unfinished" if is_fixed else "late")
    own = version.balance([one for one in batches if version.counts(one)], edits)
    for correction in corrections:
        if correction not in finished:
            files = _correction_files(zone, correction)
            late += version.hold(files, state=WAITING, reason="correction-unfinished")
    fixed = {correction.files.order for correction in corrections}
    for order in find_orders(zone, month):
        if order.id not in fixed:
            files = _version_files(zone, month, order.readings.split(), kind="order", of=order.id)
            state = QUARANTINED if order.state == REJECTED else WAITING
            late += version.hold(files, state=state, reason=f"order-{order.state}")
    return _checked(replace(own, taken_in=[*own.taken_in, *late, *other_edits]), month)


def _checked(balance: ReadingBalance, month: str) -> ReadingBalance:
    """What is about the month, if anything is."""
    taken_in = [one for one in balance.taken_in if one.is_any]
    if not taken_in:
        raise NotFoundError(
            f"No readings of {month} were taken in.",
            reason="not-found.readings",
            remedy="Send batches to /v1/readings, or hand in files of readings.",
        )
    return replace(balance, taken_in=taken_in)


def _handed_in(zone: GatewayZone, month: str, period: BillingPeriod) -> list[TakenIn]:
    """Files that were handed in for a month that is not done."""
    try:
        files = load_files(zone, month)
    except NotFoundError:  # nothing but batches, so far
        return []
    taken = _month_files(files)
    sound = [one for one in taken if not one.damage]
    paths = tuple(one.path for one in sound)
    # As they were counted when they came: without what the books say of meters.
    bare = replace(files, readings=paths, digests=(), batches=(), edits=(), contracts=no_contracts)
    _hold(sound, read_files(bare, timezone=zone.timezone, period=period))
    return taken


def _hold(taken: Sequence[TakenIn], found: Sequence[ReadingsFile]) -> None:
    """Say of files what they hold."""
    for one, file in zip(taken, found, strict=True):
        one.held = one.came_in = len(file.readings)


def _month_files(files: MonthFiles) -> list[TakenIn]:
    """The files that were handed in for a month, before any is read. Damaged ones say so."""
    taken = [_file("files", "", n, path) for n, path in enumerate(files.readings, start=1)]
    for one, digest in zip(taken, files.digests, strict=False):
        try:
            check_as_it_came(one.path, digest, what="A file")
        except StorageError as error:
            one.damage = error.reason
    return taken


def _correction_files(zone: GatewayZone, correction: CorrectionPlan) -> list[TakenIn]:
    """As `_month_files`, of a correction."""
    files = correction.files
    return _version_files(
        zone, files.month, files.readings, kind="correction", of=correction.number
    )


def _version_files(
    zone: GatewayZone, month: str, digests: Sequence[str], *, kind: TakenInKind, of: int | None
) -> list[TakenIn]:
    """Files that were handed in for a month that is done, before any is read, by their digests."""
    taken = []
    for number, digest in enumerate(digests, start=1):
        one = _file(kind, str(of), number, version_path(zone, month, digest))
        try:
            locate_version(zone, month, digest)
        except (AuditBrokenError, StorageError) as error:
            one.damage = error.reason
        taken.append(one)
    return taken


def _file(kind: TakenInKind, source: str, number: int, path: Path) -> TakenIn:
    return TakenIn(kind, source, str(number), number, path, is_counted=False)


def _sound_paths(taken: Sequence[TakenIn]) -> tuple[Path, ...]:
    return tuple(one.path for one in taken if not one.damage)


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
        order, files = self._read_order(sound, edits=[one for one in edits if not one.damage])
        damaged = [one for one in (*batches, *edits, *order) if one.damage]
        order = [one for one in order if not one.damage]
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
        became = self._became(trace, month)
        _tell(order, trace, became)
        faces = [one for one in sound if one.has_faces]
        if faces:
            _tell_faces(faces, became, period=self.period)
        collected, totals = month.collected, load_totals(self.files.folder)
        balance = ReadingBalance(
            [*order, *faces, *damaged], other_energy=_count_other_energy(collected.readings, totals)
        )
        if self.corrections:
            return balance
        reported = {name: self.plan.counts[name] for name in _COUNTS}
        return replace(balance, reported=reported, counted=_counts(collected))

    def _read_order(
        self, batches: Sequence[TakenIn], *, edits: Sequence[TakenIn]
    ) -> tuple[list[TakenIn], MonthFiles]:
        """What counts in the order in which it is read, without faces, and the files to read.

        Damaged files are in the order, and not among those to read.
        """
        first = [one for one in batches if one.number <= self.plan.until_batch]
        handed_in = _month_files(self.files)
        order = [*handed_in, *(one for one in first if not one.has_faces), *edits]
        later = []
        waiting = find_waiting([one.left_out for one in self.corrections])
        for correction, names_left_out in zip(self.corrections, waiting, strict=True):
            own = [one for one in batches if _takes_up(correction, one)]
            corrected = _correction_files(self.zone, correction)
            order += [*(one for one in own if not one.has_faces), *corrected]
            later.append(LaterReadings(_sound_paths(corrected), _sound_paths(own), names_left_out))
        versions = [one.files for one in self.corrections]
        books = correct_books(self.zone, self.files, versions=versions, waiting=waiting)
        files = replace(
            self.files,
            readings=_sound_paths(handed_in),
            digests=(),  # they were compared
            batches=_sound_paths(first),
            edits=_sound_paths(edits),
            later=tuple(later),
            contracts=lambda: books,
            rules=latest_rules(self.zone, versions, first=self.files.rules),
        )
        return order, files

    def hold(self, taken: list[TakenIn], *, state: str, reason: str) -> list[TakenIn]:
        """Files of which no version counts anything, told what they hold and why it does not."""
        sound = [one for one in taken if not one.damage]
        paths = [one.path for one in sound]
        bare = replace(self.files, contracts=no_contracts)
        _hold(sound, read_later_files(bare, paths, timezone=self.zone.timezone))
        for one in taken:
            one.became[state, reason] += one.held
        return taken

    def _became(self, trace: ReadingTrace, month: ValidatedMonth) -> _Became:
        """What became of every reading that was validated."""
        if trace.validated is None:
            raise ValueError("a month that is validated was read")
        validated, collected, billed = trace.validated, month.collected, self._billed_names()
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
        told = validated.assign(meter_point_id=names, state=state, reason=reason)
        return _Became(told, partial(month.books.name_holders, timezone=self.zone.timezone))

    def _billed_names(self) -> set[str]:
        """Meter points, by holder, that have a bill of the month."""
        known = recall_members(self.zone, self.zone.year_of(self.files.month))
        names = {member.billing: name for name, member in known.items()}
        uploads = find_first_uploads(self.zone, self.files.month).values()
        rosters = (outbox.load_outgoing(self.zone, name).seated for name, _ in uploads)
        return {names[one] for roster in rosters for one in roster.pseudonyms}


@dataclass(frozen=True, slots=True, eq=False)
class _Became:
    """What became of readings that were validated.

    Args:
        readings: `meter_point_id`, by holder, `start`, `ORIGIN`, `state` and `reason` of each.
        name: Names readings by holder.
    """

    readings: pd.DataFrame
    name: Callable[[pd.DataFrame], pd.DataFrame]


def _tell(order: list[TakenIn], trace: ReadingTrace, became: _Became) -> None:
    """Say of every file, batch and edit what became of its readings."""
    is_edit = [one.kind == "edits" for one in order]
    named = [became.name(one.keys) for one in trace.pieces]
    given_way = compare_pieces(became.readings, named, edits=is_edit)
    for taken, piece, gone in zip(order, trace.pieces, given_way, strict=True):
        if not taken.is_counted:
            taken.came_in = len(piece.keys) + sum(piece.aside.values())
        taken.lost, taken.twice = gone.lost, gone.twice
        taken.became[QUARANTINED, _SUPERSEDED] += gone.superseded
        taken.became[QUARANTINED, "edited"] += gone.edited
        for reason, count in piece.aside.items():
            taken.became[QUARANTINED, reason] += count
    sent = became.readings[became.readings[ORIGIN] != CONCLUDED]
    _add(order, sent[[ORIGIN, "state", "reason"]])


def _add(taken: Sequence[TakenIn], told: pd.DataFrame) -> None:
    """Count what became of readings, whose `ORIGIN` is a place in what was taken in."""
    counted = told[[ORIGIN, "state", "reason"]].value_counts().reset_index(name="count")
    columns = (counted[name].tolist() for name in (ORIGIN, "state", "reason", "count"))
    for origin, state, reason, count in zip(*columns, strict=True):
        taken[origin].became[state, reason] += count


def _tell_faces(batches: list[TakenIn], became: _Became, *, period: BillingPeriod) -> None:
    """Say of every batch of faces what became of the energies that they begin, or else end.

    A face that replaces another counts, and so does none without an energy on either side.
    """
    parts = [
        read_stored_faces(one.path, period=period).assign(**{_CAME: number})
        for number, one in enumerate(batches)
    ]
    faces = pd.concat(parts, ignore_index=True)
    is_read = faces["quality"] != "missing"
    counting = faces.index.isin(latest_faces(faces[is_read]).index)
    told = _by_moment(became.name(faces)).assign(row=np.arange(len(faces)))
    found = pd.merge_asof(
        told.sort_values("moment"),
        _by_moment(became.readings).sort_values("moment"),
        on="moment",
        by="meter_point_id",
        tolerance=max(INTERVAL_MINUTES) * MINUTE_US,
    ).sort_values("row")
    state = found["state"].fillna(QUARANTINED).to_numpy(object)
    reason = found["reason"].fillna(_ALONE).to_numpy(object)
    is_sent = (found[ORIGIN].fillna(CONCLUDED) != CONCLUDED).to_numpy(bool)
    for mask, why in ((is_sent | ~counting, _SUPERSEDED), (~is_read.to_numpy(bool), "missing")):
        state[mask], reason[mask] = QUARANTINED, why
    _add(batches, pd.DataFrame({ORIGIN: faces[_CAME], "state": state, "reason": reason}))


def _by_moment(readings: pd.DataFrame) -> pd.DataFrame:
    """Readings by name and moment [µs], with what became of them where that is known."""
    known = [name for name in (ORIGIN, "state", "reason") if name in readings]
    names = readings["meter_point_id"].astype("str")
    return readings[known].assign(meter_point_id=names, moment=start_us(readings))


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
    names = readings["meter_point_id"].astype("str")
    return pd.MultiIndex.from_arrays([names, start_us(readings)])


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
