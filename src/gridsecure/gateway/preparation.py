"""Preparing a month: from files to rosters whose energies are complete and admitted.

Steps 1 to 5 of the protocol in `months`. Nothing here is encrypted and nothing leaves the gateway
but what enrolling and registering its holders takes.

The quarantine file holds plaintext readings, because whoever corrects them must see them. It never
leaves the gateway, only its owner may read it, and it appears whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
import pandas as pd

from gridsecure.billing.readings import as_categories, join_readings
from gridsecure.billing.settlements import settle
from gridsecure.billing.validation import METHOD_COLUMN
from gridsecure.errors import InputError
from gridsecure.gateway.admission import (
    Admission,
    SeenMeters,
    admit,
    contradict_books,
    count_unheld_days,
    write_exceptions,
)
from gridsecure.gateway.books.months import HeldDays, Window
from gridsecure.gateway.collection import Collected, MonthFiles
from gridsecure.gateway.energies import IntervalEnergies, lay_out_energies
from gridsecure.gateway.enrolment import Enrolled
from gridsecure.gateway.enrolment_passes import Counted
from gridsecure.gateway.findings import Found, list_found
from gridsecure.gateway.month_validation import validate_month
from gridsecure.gateway.packing import PackedColumn, pack_energies
from gridsecure.gateway.past_profiles import keep_profiles
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.reconciliation import oracle_path, write_oracle
from gridsecure.gateway.rosters import Roster, build_rosters, contract_frame, remove_members
from gridsecure.gateway.sealed_days import SealedMonth
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.year_to_date import keep_totals, year_before_wh
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.identity_messages import Facts
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from gridsecure.wire.gateway import MonthReport

NOTHING_BILLED: Final = "month.nothing-billed"
"""Why a month without anybody to bill is refused."""

Begin = Callable[[str], None]
"""Told the name of each stage as it begins."""


class AdmittedMonth(Protocol):
    """A month after steps 1 to 3: who is billed, by which tariffs, and what is encrypted of them.

    A utility's month is `Admitted`. `gridsecure bill` has one of its own, which takes a file as it
    stands; from here on both go the same way.
    """

    @property
    def admission(self) -> Admission:
        """Who is billed."""
        ...

    @property
    def tariffs(self) -> Mapping[str, str]:
        """Text of each tariff in use, by the id that contracts name."""
        ...

    @property
    def days(self) -> int:
        """Days of interval columns after the settlement columns of each roster."""
        ...

    @property
    def held(self) -> HeldDays:
        """The days that each meter point is billed for."""
        ...

    def leave_out(self, refused: Mapping[str, str], /) -> Self:
        """The same without some meter points; each with its reason."""
        ...

    def contradictions(self, billed: pd.DataFrame, facts: Mapping[str, Facts], /) -> dict[str, str]:
        """Meter points that are not billed for what the books say of them, and why."""
        ...

    def settlements(self, roster: Roster, tariff: Tariff, /) -> pd.DataFrame:
        """A roster's settlements, by meter point."""
        ...

    def energies_of(self, roster: Roster, /) -> IntervalEnergies | None:
        """What a roster's bills count, interval by interval, in slot order; None if unknown."""
        ...

    def count_estimated(self, roster: Roster, /) -> int:
        """How many of a roster's readings are estimates."""
        ...

    def columns(
        self,
        roster: Roster,
        /,
        *,
        tariff: Tariff,
        period: BillingPeriod,
        keys: Mapping[str, PublicKeySet],
        without: frozenset[str] | None,
    ) -> Iterator[PackedColumn]:
        """A roster's encrypted columns, those of its settlement first.

        Args:
            without: As `pack_energies`.
        """
        ...

    def changed_slots(self, roster: Roster, sealed: SealedMonth, /) -> tuple[int, ...]:
        """The slots of a roster whose readings are not those that were sealed by day."""
        ...

    def counts(self) -> dict[str, Any]:
        """The month's report as far as preparation knows it, without rosters."""
        ...

    def list_found(self) -> list[Found]:
        """What somebody may have to look at."""
        ...


class Admit(Protocol):
    """Takes a month through steps 1 to 3."""

    def __call__(
        self,
        files: MonthFiles,
        /,
        *,
        period: BillingPeriod,
        timezone: str,
        at: datetime,
        begin: Begin,
    ) -> AdmittedMonth:
        """As `admit_month`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """A utility's month after steps 1 to 3: complete energies, interval by interval.

    Args:
        energies: Energies of at least those; None if there are none.
        tariffs: Text of each tariff in use, by tariff id.
        held: The days that each is billed for.
    """

    admission: Admission
    energies: IntervalEnergies | None
    collected: Collected
    tariffs: Mapping[str, str]
    held: HeldDays

    @property
    def days(self) -> int:
        """Days of the month, of which each has a column."""
        return len(self._energies().starts.normalize().unique())

    def leave_out(self, refused: Mapping[str, str]) -> Admitted:
        """As `AdmittedMonth.leave_out`."""
        return replace(self, admission=self.admission.leave_out(refused))

    def contradictions(self, billed: pd.DataFrame, facts: Mapping[str, Facts]) -> dict[str, str]:
        """As `contradict_books`."""
        return contradict_books(billed, facts=facts, energies=self._energies())

    def settlements(self, roster: Roster, tariff: Tariff) -> pd.DataFrame:
        """Settle a roster's readings.

        Raises:
            InvalidReadingsError: As `settle`.
        """
        before = self._energies().of(roster.meter_point_ids).year_before_wh
        contracts = contract_frame(roster.manifest).assign(
            meter_point_id=roster.meter_point_ids, year_to_date_wh=0 if before is None else before
        )
        interval = self.collected.interval
        return settle(
            self._readings(roster),
            tariff=tariff,
            interval=interval,
            contracts=contracts,
            cycle_day=roster.manifest.cycle_day,
        )

    def energies_of(self, roster: Roster) -> IntervalEnergies:
        """As `AdmittedMonth.energies_of`."""
        return self._energies().of(roster.meter_point_ids)

    def count_estimated(self, roster: Roster) -> int:
        """As `AdmittedMonth.count_estimated`."""
        readings = self.collected.readings
        estimated = readings.loc[readings["quality"] == "estimated", "meter_point_id"]
        return int(estimated.isin(roster.meter_point_ids).sum())

    def columns(
        self,
        roster: Roster,
        *,
        tariff: Tariff,
        period: BillingPeriod,
        keys: Mapping[str, PublicKeySet],
        without: frozenset[str] | None,
    ) -> Iterator[PackedColumn]:
        """As `pack_energies`."""
        return pack_energies(
            self._energies(),
            roster=roster,
            tariff=tariff,
            period=period,
            keys=keys,
            without=without,
        )

    def changed_slots(self, roster: Roster, sealed: SealedMonth) -> tuple[int, ...]:
        """As `SealedMonth.changed_slots`."""
        return sealed.changed_slots(roster, self._energies())

    def counts(self) -> dict[str, Any]:
        """As `AdmittedMonth.counts`."""
        collected, admission = self.collected, self.admission
        return MonthReport(
            readings=collected.input_rows,
            accepted=collected.accepted_rows,
            estimated=collected.estimated_rows,
            estimated_by=dict(sorted(Counter(collected.estimates[METHOD_COLUMN]).items())),
            quarantined=len(collected.quarantined),
            problems=dict(collected.problems),
            meters=len(admission.billed) + len(admission.excluded),
            billed_meters=len(admission.billed),
            excluded=admission.counts(),
            rosters=0,
            columns=0,
            bytes_stored=0,
            bytes_uploaded=0,
            seconds={},
        ).model_dump()

    def list_found(self) -> list[Found]:
        """As `AdmittedMonth.list_found`."""
        collected, excluded = self.collected, self.admission.excluded
        return list_found(collected.found, held=collected.held, excluded=excluded)

    def _energies(self) -> IntervalEnergies:
        if self.energies is None:
            raise _nothing_billed()
        return self.energies

    def _readings(self, roster: Roster) -> pd.DataFrame:
        readings: pd.DataFrame = self.collected.readings
        return readings[readings["meter_point_id"].isin(roster.meter_point_ids)]


@dataclass(frozen=True, slots=True, eq=False)
class RosterMonth:
    """A roster with what packing needs besides.

    Args:
        estimated_readings: Readings of its meter points that are estimates.
        moved_slots: As its upload says it of a month whose books were corrected.
    """

    roster: Roster
    tariff: Tariff
    estimated_readings: int
    moved_slots: tuple[int, ...] = ()

    def name_moved(self, moved: Collection[str]) -> RosterMonth:
        """The same, with the slots of some holders as moved."""
        names = self.roster.meter_point_ids
        return replace(self, moved_slots=tuple(n for n, name in enumerate(names) if name in moved))


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """A month after steps 4 and 5.

    Args:
        admitted: The month, without those whom the identity authority refused.
        rosters: Its rosters, seated and signed.
        refused: Whom it refused, and why.
    """

    admitted: AdmittedMonth
    rosters: list[RosterMonth]
    refused: Mapping[str, str]


def admit_month(
    files: MonthFiles, *, period: BillingPeriod, timezone: str, at: datetime, begin: Begin
) -> Admitted:
    """Steps 1 to 3: read, validate, admit.

    Args:
        files: What the operator handed in.
        timezone: Local time of the files.
        begin: Told of each stage.

    Raises:
        InputError: The month is not over (`month.not-over`), or a file is unusable.
        StorageError: The quarantine or exceptions file could not be written.
    """
    if at < period.end:
        raise _not_over(files.month)
    tariffs = parse_tariffs(files.tariffs, timezone=timezone)
    # 1. and 2. Read and validate.
    month = validate_month(files, period=period, timezone=timezone, at=at, begin=begin)
    books = month.books
    withdrawn = frozenset(books.withdrawn["meter_point_id"])
    collected = _bill_for_nothing(month.collected, withdrawn, period)
    contracts = pd.concat([books.contracts, books.withdrawn], ignore_index=True)
    parts = books.parts(period)
    if parts or withdrawn:
        contracts = count_unheld_days(
            contracts, parts, withdrawn=withdrawn, tariffs=tariffs, period=period
        )
    write_quarantine(collected.quarantined, path=files.folder / "quarantine.csv")
    write_estimates(collected.estimates, path=files.folder / "estimates.csv")
    keep_profiles(files.folder, collected.readings, month.book.estimation)
    # 3. Admit.
    begin("admit")
    energies = _laid_out(files, collected.readings, contracts, parts=parts, period=period)
    seen = SeenMeters(
        collected.seen,
        collected.left_out,
        collected.held,
        parts.keys() | withdrawn,
        books.objections,
        books.spans_of(collected.placed),
    )
    admission = admit(energies, seen=seen, contracts=contracts, tariffs=tariffs, period=period)
    write_exceptions(admission, path=files.folder / "exceptions.csv")
    in_use = set(admission.billed["tariff_id"])
    used = {name: files.tariffs[name] for name in in_use}
    return Admitted(admission, energies, collected, used, books.held(period))


def require_billed(admitted: AdmittedMonth) -> None:
    """Refuse a month of which nobody can be billed.

    Raises:
        InputError: `month.nothing-billed`.
    """
    if admitted.admission.billed.empty:
        raise _nothing_billed()


def _bill_for_nothing(
    collected: Collected, names: Collection[str], period: BillingPeriod
) -> Collected:
    """What came of the files, with a month of no energy for holders that hold nothing in it."""
    if not names or collected.readings.empty:
        return collected
    grid = period.start, period.end
    starts = pd.date_range(*grid, freq=collected.interval, inclusive="left", unit="us")
    nothing = pd.DataFrame(
        {
            "meter_point_id": np.repeat(sorted(names), len(starts)),
            "start": np.tile(starts, len(names)),
            "quality": "actual",
            "minutes": int(collected.interval // pd.Timedelta(minutes=1)),
        }
    ).reindex(columns=collected.readings.columns, fill_value=0)
    readings = as_categories(join_readings([collected.readings, nothing]))
    return replace(collected, readings=readings, seen=collected.seen | frozenset(names))


def _laid_out(
    files: MonthFiles,
    readings: pd.DataFrame,
    contracts: pd.DataFrame,
    *,
    parts: Mapping[str, Window],
    period: BillingPeriod,
) -> IntervalEnergies | None:
    """The month's energies with those of the year before it; None where there are no readings."""
    if readings.empty:
        return None
    energies = lay_out_energies(readings, period=period, parts=parts)
    names, totals = energies.meter_point_ids.tolist(), energies.totals_wh.tolist()
    keep_totals(files.folder, dict(zip(names, totals, strict=True)))
    before = year_before_wh(
        files.months or files.folder.parent,
        energies=energies,
        contracts=contracts,
        period=period,
    )
    return replace(energies, year_before_wh=before)


def assign_rosters(
    seating: Seating, admitted: AdmittedMonth, *, folder: Path, begin: Begin, counted: Counted
) -> Assigned:
    """Steps 4 and 5: enrol, build and seat rosters, settle the plaintext oracle of each.

    Whom the identity authority refuses is left out, by name, in the exceptions file too; and so is
    a meter point whose contract contradicts what the authority's books say of it.

    Args:
        admitted: The month after steps 1 to 3.
        begin: Told of each stage.
        counted: Told how many meter points are enrolled.

    Raises:
        GridSecureError: The identity authority cannot be reached or believed.
        InputError: It refuses everybody (`month.nothing-billed`).
        InvalidReadingsError: Intervals that a tariff's windows divide (`calendar.*`).
        StorageError: The oracle's or the exceptions file could not be written.
    """
    # 4. Enrol.
    begin("enrol")
    wanted = admitted.admission.billed["meter_point_id"].tolist()
    enrolled = seating.enrol(wanted, held=admitted.held, counted=counted)
    facts = {name: member.facts for name, member in enrolled.members.items()}
    admission = admitted.admission.leave_out(enrolled.refused)
    contradicted = admitted.contradictions(admission.billed, facts)
    enrolled = enrolled.refuse(contradicted)
    # 5. Rosters, until none has a member that may not act.
    begin("rosters")
    objects = seating.zone.objects
    digests = {name: objects.put(text.encode()) for name, text in admitted.tariffs.items()}
    billed = admission.leave_out(contradicted).billed
    drafts = draft_rosters(billed, enrolled=enrolled, tariffs=digests, seating=seating)
    rosters, enrolled = seat_rosters(drafts, enrolled, seating)
    final = admitted.leave_out(enrolled.excluded)
    write_exceptions(final.admission, path=folder / "exceptions.csv")
    if not rosters:
        raise _nothing_billed()
    by_digest = {digest: parse_tariff(admitted.tariffs[name]) for name, digest in digests.items()}
    months = [
        settle_roster(roster, by_digest[roster.manifest.tariff], final, folder=folder)
        for roster in rosters
    ]
    return Assigned(final, months, enrolled.excluded)


def draft_rosters(
    billed: pd.DataFrame, *, enrolled: Enrolled, tariffs: Mapping[str, str], seating: Seating
) -> list[Roster]:
    """Rosters without seats; who is sealed by day sits with nobody who is not.

    Args:
        billed: Contract rows of the meter points.
        tariffs: Tariff id -> digest of the tariff's text.

    Raises:
        GridSecureError: As `build_rosters`.
    """
    by_day = billed["meter_point_id"].isin(seating.by_day)
    return [
        roster
        for part in (billed[by_day], billed[~by_day])
        for roster in build_rosters(
            part,
            members=enrolled.members,
            tariffs=tariffs,
            speaker=seating.speaker,
            domain=seating.domain.text,
        )
    ]


def seat_rosters(
    drafts: list[Roster], enrolled: Enrolled, seating: Seating
) -> tuple[list[Roster], Enrolled]:
    """Rosters with their seats, without members that may not act.

    Raises:
        GridSecureError: As `Seating.seat`.
    """
    while True:
        left = [remove_members(draft, enrolled.revoked) for draft in drafts]
        rosters, revoked = seating.seat([draft for draft in left if draft is not None])
        if not revoked:
            return rosters, enrolled
        enrolled = enrolled.leave_out(revoked)


def settle_roster(
    roster: Roster, tariff: Tariff, admitted: AdmittedMonth, *, folder: Path
) -> RosterMonth:
    """Settle a roster for the oracle, and count its estimates.

    Args:
        folder: Where the oracle's folder is.

    Raises:
        InvalidReadingsError: As `settle`.
        StorageError: The oracle's file could not be written.
    """
    path = oracle_path(private_folder(folder / "oracle"), roster.manifest.roster_id)
    write_oracle(admitted.settlements(roster, tariff), roster=roster, path=path)
    return RosterMonth(roster, tariff, admitted.count_estimated(roster))


def _not_over(month: str) -> InputError:
    return InputError(
        f"The month {month} is not over yet.",
        reason="month.not-over",
        remedy="Process it when the month is over and all of its readings are available.",
    )


def _nothing_billed() -> InputError:
    return InputError(
        "No meter point of this month can be billed.",
        reason=NOTHING_BILLED,
        remedy="The exceptions file in the month's folder gives the reason for each.",
    )


def parse_tariffs(texts: Mapping[str, str], *, timezone: str) -> dict[str, Tariff]:
    """Tariffs by id, all for one time zone.

    Raises:
        InputError: A text is no sound tariff, or is for another time zone (`tariff.timezone`).
    """
    tariffs = {name: parse_tariff(text) for name, text in texts.items()}
    for name, tariff in tariffs.items():
        if tariff.timezone != timezone:
            raise InputError(
                f"Tariff {name!r} is for another time zone than this gateway.",
                reason="tariff.timezone",
                remedy="Process its meter points on a gateway in the tariff's time zone.",
            )
    return tariffs


_REGISTERS = {"reactive_varh": "kvarh", "export_wh": "export_kwh"}
_COLUMNS = ["row", "meter_point_id", "start", "kwh", "quality", "reason"]


def write_quarantine(quarantined: pd.DataFrame, *, path: Path) -> None:
    """Write quarantined readings as CSV, atomically and readable by the owner only.

    Args:
        quarantined: `ValidationResult.quarantined`.
        path: The file to create or replace; its folder must exist.

    Raises:
        StorageError: `storage.failed` when the disk could not take it; an earlier file of that
            name is then untouched and nothing half-written is left.
    """
    registers = [column for column in _REGISTERS if column in quarantined]
    table = quarantined
    for column in registers:
        table = table.assign(**{_REGISTERS[column]: _thousandths(quarantined[column])})
    columns = [*_COLUMNS, *(_REGISTERS[column] for column in registers)]
    _write_readings(table, columns, path=path, what="The quarantine file")


def write_estimates(estimates: pd.DataFrame, *, path: Path) -> None:
    """Write estimated readings as CSV, each with the method that told its energy.

    Args:
        estimates: `ValidationResult.estimates`.
        path: The file to create or replace; only its owner may read it.

    Raises:
        StorageError: As `write_quarantine`.
    """
    columns = ["meter_point_id", "start", "kwh", METHOD_COLUMN]
    _write_readings(estimates, columns, path=path, what="The file of estimates")


def _write_readings(readings: pd.DataFrame, columns: list[str], *, path: Path, what: str) -> None:
    table = readings.assign(
        start=readings["start"].dt.strftime("%Y-%m-%d %H:%M:%S%z"),
        kwh=_thousandths(readings["energy_wh"]),
    )
    text = table[columns].to_csv(index=False, lineterminator="\n")
    write_private(path, [text.encode()], what=what)


def _thousandths(values: pd.Series[int]) -> pd.Series[str]:
    """Whole Wh as kWh with three decimals."""
    whole = (values.abs() // 1000).astype("str")
    sign = values.lt(0).map({True: "-", False: ""}).astype("str")
    written: pd.Series[str] = sign + whole + "." + (values.abs() % 1000).astype("str").str.zfill(3)
    return written
