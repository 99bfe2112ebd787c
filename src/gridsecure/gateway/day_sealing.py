"""One local day at the gateway, from batches to committed uploads, as soon as the day is over.

1. read what sources sent of the day, with edits;
2. validate, and lay the energies out; who has no complete day has none;
3. rosters: those of the month's first sealed day; on that day everybody with a contract is seated;
4. fix: keep the plan of the day, and what is sealed;
5. encrypt each roster's column and sign its manifest into the outbox;
6. upload it and have it committed.

Before the plan is kept nothing left the gateway, and another run starts afresh. From then on the
day is fixed: a run that was killed anywhere is completed by the next one, with the same column once
signed. A sealed day is never replaced: bills are made of the best readings there are when the month
is processed, and its upload says whose readings differ.

Who joins within the month is not in its days, and who leaves keeps the slot, without energy: the
members of a load curve do not change from day to day, so that no two differ by a household.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.credentials.seats import billing_domain, check_period
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway import outbox
from gridsecure.gateway.admission import contradict_books
from gridsecure.gateway.agents import agents_of
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.months import HeldDays, MonthContracts
from gridsecure.gateway.collection import Collected, MonthFiles
from gridsecure.gateway.energies import IntervalEnergies, lay_out_energies
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.month_validation import ValidatedMonth, validate_month
from gridsecure.gateway.months import Peers, Progress
from gridsecure.gateway.packing import pack_day
from gridsecure.gateway.preparation import draft_rosters, parse_tariffs, seat_rosters
from gridsecure.gateway.roster_records import load_roster
from gridsecure.gateway.rosters import Roster
from gridsecure.gateway.sealed_days import (
    DayPlan,
    find_day,
    find_sealed,
    fix_day,
    load_sealed,
)
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest
from gridsecure.periods import BillingPeriod, local_day
from gridsecure.plans.quantities import interval_bound_wh
from gridsecure.wire.gateway import DayReport

STAGES: Final = ("read", "validate", "enrol", "rosters", "encrypt", "upload")


def seal_day(
    zone: GatewayZone,
    day: str,
    *,
    load: Callable[[], MonthFiles],
    peers: Peers,
    clock: Callable[[], datetime],
    progress: Progress,
) -> DayReport:
    """Take a day from batches to committed uploads, or finish what a killed run began.

    Args:
        day: YYYY-MM-DD, local.
        load: Gives what there is of the day, as `load_day_files`.
        clock: Gives the time, aware.
        progress: Told of every step.

    Returns:
        The report; of a day sealed before, the report it had.

    Raises:
        InputError: Not a day (`day.format`), or one that is not over (`day.not-over`); nobody sent
            anything of it (`day.no-readings`).
        ConflictError: The bills of its month are fixed (`day.month-fixed`).
        GridSecureError: A step could not be done; run again when its reason is gone.
    """
    period = local_day(day, timezone=zone.timezone)
    run = _DayRun(zone, day, period, peers, clock, progress)
    plan = find_day(zone, day)
    if plan is None:
        plan = run.prepare(load)
    if not is_sealed(zone, plan):
        run.encrypt(plan)
        run.upload(plan)
    return report_day(zone, plan)


def is_sealed(zone: GatewayZone, plan: DayPlan) -> bool:
    """Whether the platform committed all of a day that is fixed."""
    return all(
        (row := outbox.find(zone, name)) is not None and row.state == outbox.COMMITTED
        for name in plan.names
    )


def report_day(zone: GatewayZone, plan: DayPlan) -> DayReport:
    """What came of a day that is sealed."""
    uploads = [outbox.load_outgoing(zone, name).upload for name in plan.names]
    size = sum(column.size for upload in uploads for column in upload.columns)
    return DayReport.model_validate({**plan.counts, "bytes": size})


@dataclass(frozen=True, slots=True, eq=False)
class _DayRun:
    """One run of the protocol, and what it works with."""

    zone: GatewayZone
    day: str
    period: BillingPeriod
    peers: Peers
    clock: Callable[[], datetime]
    progress: Progress

    def prepare(self, load: Callable[[], MonthFiles]) -> DayPlan:
        """Steps 1 to 4."""
        at, month = self.clock(), self.zone.month_of(self.day)
        if at < self.period.end:
            raise _not_over(self.day)
        if find_plan(self.zone, month) is not None:
            raise _month_fixed(self.day)
        span = (self.period.start.isoformat(), self.period.end.isoformat())
        zone = self.zone
        check_period(*span, timezone=zone.timezone, cycle_day=zone.cycle_day)  # as the platform
        files = load()
        validated = self.validate(files, at=at)
        books, collected = validated.books, validated.collected
        parts = books.parts(self.period)
        energies = lay_out_energies(collected.readings, period=self.period, parts=parts)
        laid = energies.on_grid(energies.grid)
        sealed = find_sealed(self.zone, month)
        rosters = sealed.rosters or self.seat(files, books, laid)
        silent = {one.manifest.roster_id: _silent_slots(laid, one) for one in rosters}
        by_roster = {
            one.manifest.roster_id: _by_slot(laid, one, silent=silent[one.manifest.roster_id])
            for one in rosters
        }
        plan = self.plan(collected, rosters, silent=silent, intervals=len(laid.starts))
        fix_day(self.zone, plan, by_roster, at=self.clock())
        return plan

    def validate(self, files: MonthFiles, *, at: datetime) -> ValidatedMonth:
        """Steps 1 and 2: the day's readings, validated as those of a month are."""
        timezone = self.zone.timezone
        parse_tariffs(files.tariffs, timezone=timezone)
        if not files.batches:
            raise _no_readings(self.day)
        found = validate_month(
            replace(files, months=self.zone.folder / "months"),
            period=self.period,
            timezone=timezone,
            at=at,
            begin=lambda stage: self.progress(stage, 0, 0),
        )
        if found.collected.readings.empty:
            raise _no_readings(self.day)
        return found

    def seat(
        self, files: MonthFiles, books: MonthContracts, energies: IntervalEnergies
    ) -> tuple[Roster, ...]:
        """Step 3 of the first day of a month: everybody whom the month may bill."""
        self.progress("enrol", 0, 0)
        seating = self._seating()
        contracts = books.contracts
        contracts = contracts[~contracts["meter_point_id"].isin(books.objections)]
        contracts = contracts[contracts["tariff_id"].isin(files.tariffs)].reset_index(drop=True)
        enrolled = seating.enrol(
            contracts["meter_point_id"].tolist(),
            held=self.held(files),
            counted=lambda done, of: self.progress("enrol", done, of),
        )
        contracts = contracts[contracts["meter_point_id"].isin(enrolled.members)]
        facts = {name: member.facts for name, member in enrolled.members.items()}
        contradicted = contradict_books(
            contracts, facts=facts, energies=_with_all(energies, contracts["meter_point_id"])
        )
        self.progress("rosters", 0, 0)
        seated = contracts[~contracts["meter_point_id"].isin(contradicted)]
        objects = self.zone.objects
        texts = {name: files.tariffs[name] for name in set(seated["tariff_id"])}
        digests = {name: objects.put(text.encode()) for name, text in texts.items()}
        drafts = draft_rosters(seated, enrolled=enrolled, tariffs=digests, seating=seating)
        rosters, _ = seat_rosters(drafts, enrolled, seating)
        if not rosters:
            raise _no_readings(self.day)
        return tuple(rosters)

    def held(self, files: MonthFiles) -> HeldDays:
        """The days of the month that holders are sealed for, of which this is the first."""
        month = self.zone.period_around(self.period.start)
        revision = files.books_revision
        return contracts_as_of(self.zone, period=month, revision=revision).held(month)

    def plan(
        self,
        collected: Collected,
        rosters: tuple[Roster, ...],
        *,
        silent: Mapping[str, list[int]],
        intervals: int,
    ) -> DayPlan:
        """What is fixed of the day."""
        readings = collected.readings
        estimated = readings.loc[readings["quality"] == "estimated", "meter_point_id"]
        counts: dict[str, Any] = {
            "readings": collected.input_rows,
            "accepted": collected.accepted_rows,
            "estimated": collected.estimated_rows,
            "quarantined": len(collected.quarantined),
            "meters": sum(one.manifest.slots for one in rosters),
            "silent": sum(map(len, silent.values())),
            "rosters": len(rosters),
            "intervals": intervals,
        }
        return DayPlan(
            day=self.day,
            start=self.period.start.isoformat(),
            end=self.period.end.isoformat(),
            rosters=tuple(one.manifest.roster_id for one in rosters),
            estimated={
                one.manifest.roster_id: int(estimated.isin(one.meter_point_ids).sum())
                for one in rosters
            },
            silent=silent,
            counts=counts,
        )

    def encrypt(self, plan: DayPlan) -> None:
        """Step 5: every roster that is not signed yet goes into the outbox."""
        self.progress("encrypt", 0, len(plan.rosters))
        waiting = [
            roster_id
            for roster_id, name in zip(plan.rosters, plan.names, strict=True)
            if outbox.find(self.zone, name) is None
        ]
        if not waiting:
            return
        keys = self.peers.key_sets(self.begun)
        key = agents_of(self.zone).gateway().key_in(billing_domain(self.begun))
        energies = load_sealed(self.zone, self.day)
        for done, roster_id in enumerate(waiting, start=1):
            manifest = RosterManifest.parse(load_roster(self.zone, roster_id).body)
            # The slots are all that encryption needs to know of meter points.
            roster = Roster(manifest, tuple(manifest.pseudonyms))
            column = pack_day(energies[roster_id], roster=roster, period=self.period, keys=keys)
            packed = outbox.Packed(
                roster=manifest,
                columns=[column],
                start=plan.start,
                end=plan.end,
                estimated_readings=plan.estimated[roster_id],
                silent_slots=tuple(plan.silent[roster_id]),
            )
            outbox.put(self.zone, packed, key=key, at=self.clock())
            self.progress("encrypt", done, len(waiting))

    def upload(self, plan: DayPlan) -> None:
        """Step 6: every roster until the platform committed it."""
        self.progress("upload", 0, len(plan.names))
        platform = self.peers.platform(self.begun)
        refused: InputError | None = None
        for done, name in enumerate(plan.names, start=1):
            outgoing = outbox.load_outgoing(self.zone, name)
            if outgoing.state != outbox.COMMITTED:
                try:
                    outbox.send(self.zone, outgoing, platform=platform, clock=self.clock)
                except InputError as refusal:  # one roster's, such as of a revoked member
                    refused = refusal
                    continue
            outbox.drop_columns(self.zone, name)  # killed in between, it left them
            self.progress("upload", done, len(plan.names))
        if refused is not None:
            raise refused

    @property
    def begun(self) -> str:
        """Start of the month that the day is of; its pseudonyms and keys are of that year."""
        return self.zone.period_around(self.period.start).start.isoformat()

    def _seating(self) -> Seating:
        return Seating(self.zone, self.peers.identity, self.begun, self.clock)


def _with_all(energies: IntervalEnergies, names: pd.Series[str]) -> IntervalEnergies:
    """The energies with those of some meter points that have none, which are zero."""
    missing = pd.Index(names).difference(energies.meter_point_ids)
    none = np.zeros((len(missing), len(energies.starts)), dtype=np.int64)
    ids = energies.meter_point_ids.append(missing)
    energy_wh = np.concatenate([energies.energy_wh, none])
    return IntervalEnergies(ids, energies.starts, energies.step, energy_wh)


def _silent_slots(energies: IntervalEnergies, roster: Roster) -> list[int]:
    """The slots of a roster without a complete day, or with an interval beyond their bound."""
    rows = energies.meter_point_ids.get_indexer(pd.Index(roster.meter_point_ids))
    bounds = np.array([interval_bound_wh(name) for name in roster.manifest.customer_classes])
    is_silent = (rows < 0) | (energies.energy_wh[rows].max(axis=1) > bounds)
    slots: list[int] = np.flatnonzero(is_silent).tolist()
    return slots


def _by_slot(energies: IntervalEnergies, roster: Roster, *, silent: list[int]) -> NDArray[np.int64]:
    """A roster's energies [slots, intervals]; zero in the slots that are silent."""
    rows = energies.meter_point_ids.get_indexer(pd.Index(roster.meter_point_ids))
    found = energies.energy_wh[rows]
    found[silent] = 0
    return found


def _not_over(day: str) -> InputError:
    return InputError(
        f"The day {day} is not over yet.",
        reason="day.not-over",
        remedy="Seal it when it is over and its readings are there.",
    )


def _no_readings(day: str) -> InputError:
    return InputError(
        f"No source sent a usable day of {day} for a meter point with a contract.",
        reason="day.no-readings",
        remedy="Send batches of that day to /v1/readings; files of a month are not sealed by day.",
    )


def _month_fixed(day: str) -> ConflictError:
    return ConflictError(
        f"The bills of the month of {day} are fixed; their upload has the day's intervals.",
        reason="day.month-fixed",
        remedy="Run the load curves of the month.",
    )
