"""Preparing a month: from files to rosters whose energies are complete and admitted.

Steps 1 to 5 of the protocol in `months`. Nothing here is encrypted and nothing leaves the gateway
but what enrolling and registering its holders takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from gridsecure.billing.contracts import load_contracts
from gridsecure.errors import InputError
from gridsecure.gateway.admission import SeenMeters, admit, contradict_books
from gridsecure.gateway.collection import Collected, MonthFiles, collect, read_files
from gridsecure.gateway.energies import IntervalEnergies, interval_energies
from gridsecure.gateway.enrolment import Enrolled
from gridsecure.gateway.enrolment_passes import Counted
from gridsecure.gateway.exclusions import Admission, write_exceptions
from gridsecure.gateway.month_plan import MonthReport
from gridsecure.gateway.private_files import private_folder
from gridsecure.gateway.quarantine import write_quarantine
from gridsecure.gateway.reconciliation import oracle_path, write_oracle
from gridsecure.gateway.rosters import Roster, build_rosters, without_members
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.year_to_date import keep_totals, year_before_wh
from gridsecure.periods import BillingPeriod
from gridsecure.plans.execution import roster_contracts
from gridsecure.tariffs.tariff import Tariff, parse_tariff

Begin = Callable[[str], None]
"""Told the name of each stage as it begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """A month after steps 1 to 3.

    Args:
        admission: Who is billed.
        energies: Energies of at least those.
        collected: What the files gave.
        tariffs: Tariffs in use by tariff id.
    """

    admission: Admission
    energies: IntervalEnergies
    collected: Collected
    tariffs: Mapping[str, Tariff]


@dataclass(frozen=True, slots=True, eq=False)
class RosterMonth:
    """A roster with what packing needs besides.

    Args:
        roster: The roster.
        tariff: Its tariff.
        estimated_readings: Readings of its meter points that are estimates.
    """

    roster: Roster
    tariff: Tariff
    estimated_readings: int


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """A month after steps 4 and 5.

    Args:
        admitted: The month, without those whom the identity authority refused.
        rosters: Its rosters, seated and signed.
        refused: Whom it refused, and why.
    """

    admitted: Admitted
    rosters: list[RosterMonth]
    refused: Mapping[str, str]


def admit_month(
    files: MonthFiles, *, period: BillingPeriod, timezone: str, at: datetime, begin: Begin
) -> Admitted:
    """Steps 1 to 3: read, validate, admit.

    Args:
        files: What the operator handed in.
        period: The month.
        timezone: Local time of the files.
        at: Time of validation.
        begin: Told of each stage.

    Raises:
        InputError: A file is unusable, or nobody can be billed (`month.nothing-billed`).
        StorageError: The quarantine or exceptions file could not be written.
    """
    # 1. Read.
    begin("read")
    contracts = load_contracts(files.contracts)
    tariffs = _parsed(files.tariffs, timezone=timezone)
    sources = read_files(files, timezone=timezone)
    # 2. Validate.
    begin("validate")
    contracted = frozenset(contracts["meter_point_id"])
    collected = collect(sources, contracted=contracted, period=period, now=at)
    write_quarantine(collected.quarantined, path=files.folder / "quarantine.csv")
    # 3. Admit.
    begin("admit")
    complete = len(collected.readings) > 0
    energies = interval_energies(collected.readings, period=period) if complete else None
    if energies is not None:
        keep_totals(files.folder, energies)
        months = files.months or files.folder.parent
        before = year_before_wh(months, energies=energies, contracts=contracts, period=period)
        energies = replace(energies, year_before_wh=before)
    admission = admit(
        energies,
        seen=SeenMeters(collected.seen, collected.left_out),
        contracts=contracts,
        tariffs=tariffs,
        period=period,
    )
    write_exceptions(admission, path=files.folder / "exceptions.csv")
    if energies is None or admission.billed.empty:
        raise _nothing_billed()
    in_use = set(admission.billed["tariff_id"])
    return Admitted(admission, energies, collected, {name: tariffs[name] for name in in_use})


def assign_rosters(
    seating: Seating, admitted: Admitted, *, files: MonthFiles, begin: Begin, counted: Counted
) -> Assigned:
    """Steps 4 and 5: enrol, build and seat rosters, settle the plaintext oracle of each.

    Whom the identity authority refuses is left out, by name, in the exceptions file too; and so is
    a meter point whose contract contradicts what the authority's books say of it.

    Args:
        seating: Who enrols and seats.
        admitted: The month after steps 1 to 3.
        files: What the operator handed in.
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
    enrolled = seating.enrol(wanted, counted=counted)
    facts = {name: member.facts for name, member in enrolled.members.items()}
    admission = admitted.admission.without(enrolled.refused)
    contradicted = contradict_books(admission.billed, facts=facts, energies=admitted.energies)
    enrolled = enrolled.refusing(contradicted)
    # 5. Rosters, until none has a member that may not act.
    begin("rosters")
    objects = seating.zone.objects
    digests = {name: objects.put(files.tariffs[name].encode()) for name in admitted.tariffs}
    drafts = build_rosters(
        admission.without(contradicted).billed,
        members=enrolled.members,
        tariffs=digests,
        speaker=seating.speaker,
        domain=seating.domain.text,
    )
    rosters, enrolled = _seated(drafts, enrolled, seating)
    final = replace(admitted, admission=admitted.admission.without(enrolled.excluded))
    write_exceptions(final.admission, path=files.folder / "exceptions.csv")
    if not rosters:
        raise _nothing_billed()
    by_digest = {digest: admitted.tariffs[name] for name, digest in digests.items()}
    months = [
        settled_roster(roster, by_digest[roster.manifest.tariff], final, folder=files.folder)
        for roster in rosters
    ]
    return Assigned(final, months, enrolled.excluded)


def _seated(
    drafts: list[Roster], enrolled: Enrolled, seating: Seating
) -> tuple[list[Roster], Enrolled]:
    while True:
        left = [without_members(draft, enrolled.revoked) for draft in drafts]
        rosters, revoked = seating.seated([draft for draft in left if draft is not None])
        if not revoked:
            return rosters, enrolled
        enrolled = enrolled.without(revoked)


def plan_counts(admitted: Admitted, *, rosters: int) -> dict[str, Any]:
    """The month's report as far as preparation knows it."""
    collected, admission = admitted.collected, admitted.admission
    return asdict(
        MonthReport(
            readings=collected.input_rows,
            accepted=collected.accepted_rows,
            estimated=collected.estimated_rows,
            quarantined=len(collected.quarantined),
            problems=collected.problems,
            meters=len(admission.billed) + len(admission.excluded),
            billed_meters=len(admission.billed),
            excluded=admission.counts(),
            rosters=rosters,
        )
    )


def settled_roster(
    roster: Roster, tariff: Tariff, admitted: Admitted, *, folder: Path
) -> RosterMonth:
    """Settle a roster for the oracle, and count its estimates.

    Args:
        roster: The roster.
        tariff: Its tariff.
        admitted: The month's readings.
        folder: Where the oracle's folder is.

    Raises:
        InvalidReadingsError: As `settle`.
        StorageError: The oracle's file could not be written.
    """
    readings: pd.DataFrame = admitted.collected.readings
    own = readings[readings["meter_point_id"].isin(roster.meter_point_ids)]
    path = oracle_path(private_folder(folder / "oracle"), roster.manifest.roster_id)
    interval = admitted.collected.interval
    before = admitted.energies.of(roster.meter_point_ids).year_before_wh
    contracts = roster_contracts(roster.manifest).assign(
        meter_point_id=roster.meter_point_ids, year_to_date_wh=0 if before is None else before
    )
    write_oracle(
        own, roster=roster, tariff=tariff, interval=interval, contracts=contracts, path=path
    )
    return RosterMonth(roster, tariff, int((own["quality"] == "estimated").sum()))


def _nothing_billed() -> InputError:
    return InputError(
        "No meter point of this month can be billed.",
        reason="month.nothing-billed",
        remedy="The exceptions file in the month's folder gives the reason for each.",
    )


def _parsed(texts: Mapping[str, str], *, timezone: str) -> dict[str, Tariff]:
    tariffs = {name: parse_tariff(text) for name, text in texts.items()}
    for name, tariff in tariffs.items():
        if tariff.timezone != timezone:
            raise InputError(
                f"Tariff {name!r} is for another time zone than this gateway.",
                reason="tariff.timezone",
                remedy="Process its meter points on a gateway in the tariff's time zone.",
            )
    return tariffs
