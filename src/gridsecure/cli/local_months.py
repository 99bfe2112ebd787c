"""A month of a file, billed and corrected by the parties in one process.

It takes the way of a utility's month: the gateway's month or correction, its outbox, the platform's
run, the key authority's release. One step alone is another: a utility's gateway validates and
estimates, while a file is billed as it stands, gaps and all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from gridsecure.approvals import Approver, ReleaseSubject
from gridsecure.cli.bill_tariffs import BilledTariff
from gridsecure.cli.local_parties import ACTOR, LocalParties
from gridsecure.cli.online import utc_now
from gridsecure.compute.closings import close_period, list_closings, open_uploads
from gridsecure.compute.jobs import LocalPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import list_waiting_requests, record_answer
from gridsecure.compute.runs import RunOrder, run_plan
from gridsecure.crypto.envelope import open_from
from gridsecure.errors import AuditBrokenError, GridSecureError, InputError
from gridsecure.gateway.admission import Admission
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.books.months import HeldDays
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import save_correction
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.correction_versions import compute_expected_corrections
from gridsecure.gateway.findings import Found
from gridsecure.gateway.month_files import month_folder
from gridsecure.gateway.months import process_month
from gridsecure.gateway.packing import PackedColumn, pack_settlements
from gridsecure.gateway.preparation import Admit, Begin
from gridsecure.gateway.private_files import private_folder
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.gateway.rosters import Roster
from gridsecure.gateway.sealed_days import SealedMonth
from gridsecure.gateway.year_to_date import keep_totals
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.identity_messages import Facts
from gridsecure.key_authority.checker.answering import (
    RELEASED,
    WAITING,
    Outcome,
    answer_request,
    find_certificate,
    read_sealed_statements,
)
from gridsecure.key_authority.checker.approvals import read_subjects, record_approval
from gridsecure.messages import PlanName, ReleaseCertificate, Signed
from gridsecure.month_texts import year_text
from gridsecure.offices.approvals import sign_decision
from gridsecure.offices.closing_lists import sign_closing_list
from gridsecure.periods import BillingPeriod
from gridsecure.statement_checks import STATEMENTS_PURPOSE, Names, bill_digests, check_statements
from gridsecure.store.database import read_session
from gridsecure.store.pages import PageAsked
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True, eq=False)
class TariffPart:
    """The meter points that are billed by one tariff.

    Args:
        contracts: Their contracts, all with the tariff's id.
        settlements: Their settlements, of every month that was read.
    """

    billed: BilledTariff
    contracts: pd.DataFrame
    settlements: pd.DataFrame

    def settle(self, period: BillingPeriod) -> pd.DataFrame:
        """The settlements of one month."""
        return self.settlements[self.settlements["period_start"] == period.start]


@dataclass(frozen=True, slots=True, eq=False)
class LocalMonth:
    """A month of a file, settled: as `preparation.AdmittedMonth` says.

    Args:
        parts: The meter points of each tariff, by the id that contracts name.
        admission: Those who have readings in it.
    """

    parts: Mapping[str, TariffPart]
    period: BillingPeriod
    admission: Admission

    @property
    def tariffs(self) -> Mapping[str, str]:
        """Text of each tariff."""
        return {name: part.billed.text for name, part in self.parts.items()}

    @property
    def days(self) -> int:
        """No day has a column: load curves are not made of a file."""
        return 0

    @property
    def held(self) -> HeldDays:
        """Everybody is billed for the whole month."""
        return HeldDays(self.period, {})

    def leave_out(self, refused: Mapping[str, str]) -> LocalMonth:
        """The same without some meter points."""
        return replace(self, admission=self.admission.leave_out(refused))

    def contradictions(self, _billed: pd.DataFrame, _facts: Mapping[str, Facts]) -> dict[str, str]:
        """None: the books were written from these contracts."""
        return {}

    def settlements(self, roster: Roster, _tariff: Tariff) -> pd.DataFrame:
        """A roster's settlements, which were made with its tariff."""
        settled = self._part(roster).settle(self.period)
        return settled[settled["meter_point_id"].isin(roster.meter_point_ids)]

    def energies_of(self, _roster: Roster) -> None:
        """None: nobody is given a receipt by a gateway that lives as long as one command."""

    def count_estimated(self, _roster: Roster) -> int:
        """None: nothing is estimated."""
        return 0

    def columns(
        self,
        roster: Roster,
        *,
        tariff: Tariff,
        period: BillingPeriod,
        keys: Mapping[str, PublicKeySet],
        without: frozenset[str] | None,
    ) -> Iterator[PackedColumn]:
        """As `pack_settlements`; a file gives no load curves."""
        if without is not None:
            raise ValueError("load curves are not made of a file's settlements")
        settled = self._part(roster).settlements
        return pack_settlements(settled, roster=roster, tariff=tariff, period=period, keys=keys)

    def changed_slots(self, _roster: Roster, _sealed: SealedMonth) -> tuple[int, ...]:
        """None: no day was sealed."""
        return ()

    def counts(self) -> dict[str, Any]:
        """Meter points; a file's readings are told of beside the bills."""
        counted = ("readings", "accepted", "estimated", "quarantined")
        meters = len(self.admission.billed)
        return {
            **dict.fromkeys(counted, 0),
            "problems": {},
            "meters": meters + len(self.admission.excluded),
            "billed_meters": meters,
            "excluded": self.admission.counts(),
        }

    def list_found(self) -> list[Found]:
        """None: a file's readings are told of beside the bills."""
        return []

    def _part(self, roster: Roster) -> TariffPart:
        name = roster.meter_point_ids[0]
        return next(
            part for part in self.parts.values() if (part.contracts["meter_point_id"] == name).any()
        )


@dataclass(frozen=True, slots=True, eq=False)
class IssuedMonth:
    """A month as first billed, with what a correction builds on.

    Args:
        bills: Meter point -> its period, in the public JSON form.
    """

    period: BillingPeriod
    files: MonthFiles
    bills: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CorrectedFiles:
    """What first bills are corrected with.

    Args:
        readings: Readings file that lies over the first one, if one does.
    """

    readings: Path | None
    tariffs: tuple[str, ...]


def bill_month(
    local: LocalParties, parts: Sequence[TariffPart], *, period: BillingPeriod, readings: Path
) -> IssuedMonth:
    """Bill settled meter points for one month on ciphertext, all in one release.

    Args:
        parts: The meter points of each tariff.
        readings: The file that they were settled from.

    Returns:
        The bills, and what a correction of them builds on.

    Raises:
        GridSecureError: As `upload_month`, or the release was refused.
    """
    files = upload_month(local, parts, period=period, readings=readings)
    expected = compute_expected_bills(local.gateway, files)
    bills = release_month(local, period, plan="bill", expected=expected)
    return IssuedMonth(period, files, bills)


def upload_month(
    local: LocalParties, parts: Sequence[TariffPart], *, period: BillingPeriod, readings: Path
) -> MonthFiles:
    """Enrol, seat and upload settled meter points for one month, and close it.

    Args:
        parts: The meter points of each tariff.
        readings: The file that they were settled from.

    Raises:
        GridSecureError: The tariff, contracts or settlements cannot be billed.
    """
    month = period.name
    named = {part.billed.tariff.tariff_id: part for part in parts}
    folder = month_folder(local.gateway, month)
    for made in (folder.parent.parent, folder.parent, folder):
        private_folder(made)
    texts = {name: part.billed.text for name, part in named.items()}
    files = MonthFiles(month, folder, (readings,), texts, rules="")
    local.identity.enter(_with_readings(named, period))
    report = process_month(
        local.gateway,
        files=files,
        peers=local.peers,
        clock=utc_now,
        progress=_silent,
        load_curves=False,
        admit=_admit(named),
    )
    if report.excluded:
        reason, count = next(iter(report.excluded.items()))
        raise InputError(
            f"The identity authority refused {count} meter points.",
            reason=reason,
            remedy="Leave them out with --meter, or correct their ids.",
        )
    close_month(local, period)
    return files


def rebill_month(
    local: LocalParties,
    month: IssuedMonth,
    later: Mapping[str, TariffPart],
    *,
    corrected: CorrectedFiles,
) -> dict[str, Any]:
    """Correct a month: bill anew whoever is settled otherwise, or by another tariff.

    Args:
        local: The parties, which billed the month.
        later: The later version of each part, by the tariff id that it was first billed with.

    Returns:
        Meter point -> its correction, in the public JSON form.

    Raises:
        GridSecureError: It cannot be billed, or the release was refused.
    """
    readings = [] if corrected.readings is None else [BytesIO(corrected.readings.read_bytes())]
    correction = save_correction(
        local.gateway,
        month.files.month,
        readings=readings,
        tariffs=[BytesIO(text.encode()) for text in corrected.tariffs],
    )
    report = correct_month(
        local.gateway,
        files=month.files,
        correction=correction,
        peers=local.peers,
        clock=utc_now,
        progress=_silent,
        admit=_admit(later),
        bill_left_out=False,
    )
    if not report.rosters:
        return {}
    expected = compute_expected_corrections(local.gateway, month.files, correction=correction)
    return release_month(local, month.period, plan="rebill", expected=expected)


def _admit(parts: Mapping[str, TariffPart]) -> Admit:
    """Steps 1 to 3 of a month that is settled already."""

    def admit(files: MonthFiles, *, period: BillingPeriod, begin: Begin, **_: Any) -> LocalMonth:
        begin("admit")
        billed = _with_readings(parts, period)
        settled = [part.settle(period) for part in parts.values()]
        totals = {
            str(name): int(energy)
            for rows in settled
            for name, energy in zip(rows["meter_point_id"], rows["total_wh"], strict=True)
        }
        keep_totals(files.folder, totals)
        nobody = pd.DataFrame({"meter_point_id": [], "reason": []}, dtype=str)
        return LocalMonth(parts, period, Admission(billed, nobody))

    return admit


def _with_readings(parts: Mapping[str, TariffPart], period: BillingPeriod) -> pd.DataFrame:
    """Contracts of the meter points that were settled in a month."""
    found = [
        part.contracts[part.contracts["meter_point_id"].isin(part.settle(period)["meter_point_id"])]
        for part in parts.values()
    ]
    return pd.concat(found, ignore_index=True)


def close_month(local: LocalParties, period: BillingPeriod) -> None:
    """Close the month for all that is open, as the billing office."""
    now, zone = utc_now(), local.platform.zone
    span = {"start": period.start.isoformat(), "end": period.end.isoformat()}
    envelope = sign_closing_list(
        [item.upload for item in open_uploads(zone, **span)],
        number=len(list_closings(zone, **span)) + 1,
        key=local.office,
        now=now,
        **span,
    )
    close_period(zone, envelope, at=now)


def answer_approved(local: LocalParties, envelope: Signed) -> Outcome:
    """Have a release request answered, once both officers looked at it and approved it."""
    answer = partial(answer_request, local.authority, envelope, view=local.platform, clock=utc_now)
    outcome = answer()
    if outcome.state != WAITING:
        return outcome
    with read_session(local.authority.engine) as session:
        officers, now = local.authority.approvers, utc_now()
        waiting, _ = read_subjects(session, PageAsked(), state=WAITING, officers=officers, now=now)
    for asked in waiting:
        subject = ReleaseSubject.parse(asked.text)
        for role, key in local.officers.items():
            officer, now = Approver(role, role, key.public_key), utc_now()
            signed = sign_decision(subject, asked.digest, officer=officer, key=key, now=now)
            record_approval(local.authority, signed, bearer=role, now=now)
    return answer()


def compute_month(local: LocalParties, period: BillingPeriod, *, plan: PlanName) -> Signed:
    """Run a plan over a month that is uploaded and closed; the request for its release.

    Raises:
        GridSecureError: The run failed.
    """
    zone, start = local.platform.zone, period.start.isoformat()
    order = RunOrder(plan, start, period.end.isoformat(), purpose="billing", requested_by=ACTOR)
    pool = LocalPool(zone.objects.store, read_known_keys(zone.engine))
    run_plan(zone, order, pool=pool, clock=utc_now, progress=lambda _done, _of: None)
    (envelope,) = list_waiting_requests(zone)
    return envelope


def release_month(
    local: LocalParties, period: BillingPeriod, *, plan: PlanName, expected: Names
) -> dict[str, Any]:
    """Run a plan over a month, have it released, open the statements and check them.

    Args:
        local: The parties; the month is uploaded and closed.
        plan: Whether its first bills or their corrections.
        expected: What the plaintext readings give, from the gateway.

    Returns:
        Meter point -> its bill or correction, in the public JSON form.

    Raises:
        GridSecureError: The run failed, or the release was refused.
        AuditBrokenError: A statement is not what the plaintext readings give (`audit.oracle`).
    """
    outcome = answer_approved(local, compute_month(local, period, plan=plan))
    if outcome.state != RELEASED:
        raise GridSecureError(
            "The key authority refused to release the bills.",
            reason=outcome.reason or "release.refused",
            remedy="The reason code says which check failed.",
        )
    record_answer(local.platform.zone, outcome.request_id, answer="released", at=utc_now())
    statements = _open_statements(local, outcome.request_id)
    if check_statements(bill_digests(expected), statements=statements).mismatches:
        raise AuditBrokenError(
            "Bills computed on ciphertext differ from those of the plaintext readings.",
            reason="audit.oracle",
            remedy="Issue none of these bills. Keep the files, and report the fault.",
        )
    members = recall_members(local.gateway, year_text(period.start.isoformat()))
    names = {member.subjects[1]: name for name, member in members.items()}
    meters = [json.loads(statement)["meters"] for statement in statements]
    return {names[n]: bill["periods"][0] for found in meters for n, bill in found.items()}


def _open_statements(local: LocalParties, release_id: str) -> list[bytes]:
    """A release's statements, one document a roster."""
    body = find_certificate(local.authority, release_id).body
    sealed = [
        read_sealed_statements(local.authority, release_id, roster_id)
        for roster_id in ReleaseCertificate.parse(body).statements
    ]
    return [open_from(s, private_key=local.office, purpose=STATEMENTS_PURPOSE) for s in sealed]


def _silent(_stage: str, _done: int, _of: int) -> None:
    """What is told of a month's progress, to nobody."""
