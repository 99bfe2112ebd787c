"""Correcting a month at the gateway: from late and corrected files to committed corrections.

1. lay the corrected files over all files of the month before them, and validate the whole again;
   the work list says what is found of it now;
2. settle every roster as the plaintext oracle, and compare with the version before: slots that
   differ are corrected, and all slots of a roster whose tariff was replaced. A meter point that was
   billed and could not be billed by what came now is left out by name: its bill stands, the work
   list says why, and what came of it waits for the next correction;
3. fix the plan of the correction;
4. encrypt the settlement columns of rosters with corrected slots and sign their manifests;
5. upload, and have the platform commit;
6. report.

Through the services, meter points that the month left out and that can be billed now get their
first bill with it (`first_bills`).

As for a month (`months`), nothing leaves the gateway before the plan is fixed, and from then on a
killed run is completed by the next one with the same files. No interval columns are sent: load
curves stay as first released. An earlier version is never touched: its files, its settlements and
its uploads stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from gridsecure.billing.reading_versions import UNFIT
from gridsecure.credentials.seats import billing_domain
from gridsecure.errors import AuditBrokenError, ConflictError, InputError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.agents import agents_of
from gridsecure.gateway.bill_commitments import BillsToCommit, find_earlier
from gridsecure.gateway.books.months import MonthContracts
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_books import correct_books, find_fixed, find_moved
from gridsecure.gateway.correction_plan import (
    CorrectionFiles,
    CorrectionPlan,
    CorrectionReport,
    PlannedRoster,
    file_digest,
    find_correction_report,
    find_readings,
    find_waiting,
    fix_correction,
    keep_correction_report,
    latest_rules,
    list_corrections,
    locate_version,
    make_correction_folder,
)
from gridsecure.gateway.correction_versions import (
    ChangedRoster,
    LatestVersion,
    find_changed_names,
    find_correction,
    find_heads,
    list_earlier_corrections,
    version_oracle,
)
from gridsecure.gateway.exceptions import record_found
from gridsecure.gateway.findings import Found
from gridsecure.gateway.first_bills import (
    assign_left_out,
    count_first_bills,
    encrypt_first_bills,
    seating_of,
    send_first_bills,
)
from gridsecure.gateway.months import Peers, Progress
from gridsecure.gateway.preparation import (
    Admit,
    AdmittedMonth,
    Assigned,
    admit_month,
    require_billed,
    settle_roster,
)
from gridsecure.gateway.rosters import Roster, revise_roster
from gridsecure.gateway.seating import reseat_roster
from gridsecure.gateway.year_to_date import adopt_totals
from gridsecure.gateway.zone import GatewayZone
from gridsecure.periods import BillingPeriod
from gridsecure.plans.correction_rules import find_changed_slots
from gridsecure.tariffs.tariff import parse_tariff

_NO_READINGS: Final = "no-readings"

STAGES: Final = ("read", "validate", "admit", "compare", "encrypt", "upload")


def correct_month(  # noqa: PLR0913 - as `process_month`, and what corrects it
    zone: GatewayZone,
    *,
    files: MonthFiles,
    correction: CorrectionFiles,
    peers: Peers,
    clock: Callable[[], datetime],
    progress: Progress,
    admit: Admit = admit_month,
    bill_left_out: bool = True,
) -> CorrectionReport:
    """Correct a finished month, or finish what a killed run began.

    Args:
        files: What the month was first processed from.
        correction: What was handed in to correct it, from `save_correction`.
        clock: Gives the time, aware.
        progress: Told of every step of `STAGES`.
        admit: Step 1.
        bill_left_out: Whether meter points without a bill get one.

    Returns:
        The report; of a correction finished before, the report it had.

    Raises:
        InputError: A meter point that was billed can no longer be, even without what came of it
            since (`correction.unbillable`), or the files cannot be used.
        ConflictError: An earlier correction is not finished (`correction.unfinished`).
        GridSecureError: A step could not be done; run again when its reason is gone.
    """
    known = find_correction_report(zone, correction.name)
    if known is not None:
        return known
    run = _CorrectionRun(zone, files, correction, peers, clock, progress, admit, bill_left_out)
    plan = run.plan()
    if plan is None or any(outbox.find(zone, name) is None for name in plan.names):
        plan = run.prepare(plan)
    return run.report(plan, sent=run.upload(plan))


@dataclass(frozen=True, slots=True, eq=False)
class _CorrectionRun:
    """One run of the protocol."""

    zone: GatewayZone
    files: MonthFiles
    correction: CorrectionFiles
    peers: Peers
    clock: Callable[[], datetime]
    progress: Progress
    admit: Admit
    bill_left_out: bool

    def plan(self) -> CorrectionPlan | None:
        """The plan of this correction, or None while it is not fixed and may be."""
        known = find_correction(self.zone, self.correction)
        earlier = list_corrections(self.zone, self.correction.month)
        for plan in earlier if known is None else ():
            if find_correction_report(self.zone, plan.files.name) is None:
                raise ConflictError(
                    "An earlier correction of the month has not finished.",
                    reason="correction.unfinished",
                    remedy="Finish it first, because each correction builds on the one before.",
                )
        return known

    def prepare(self, known: CorrectionPlan | None) -> CorrectionPlan:
        """Steps 1 to 4; what was fixed before must come out again."""
        at = self.clock() if known is None else datetime.fromisoformat(known.validated_at)
        admitted, left_out, found = self.admit_billable(at, known)
        self.progress("compare", 0, 0)
        changed, billed = self.compare(admitted)
        names = frozenset(admitted.admission.billed["meter_point_id"])
        assigned = self.assign(admitted, billed, known) if self.bill_left_out else None
        added = assigned.rosters if assigned else []
        if known is None:  # the work list was brought up before the plan was fixed
            self.list_exceptions(admitted, assigned, found)
        plan = CorrectionPlan(
            number=1 + len(list_earlier_corrections(self.zone, self.correction)),
            files=self.correction,
            first_readings=tuple(file_digest(path) for path in self.files.readings),
            validated_at=at.isoformat(),
            rosters=tuple(item.planned for item in changed),
            late=len(names - billed),
            added=tuple(item.roster.manifest.roster_id for item in added),
            refused=assigned.refused if assigned else {},
            left_out=left_out,
            unfit=_find_unfit(admitted),
        )
        fix_correction(self.zone, plan, at=self.clock())
        moved = self.moved(left_out)
        self.encrypt(
            [replace(item, month=item.month.name_moved(moved)) for item in changed],
            admitted=admitted,
        )
        encrypt_first_bills(
            self.zone,
            [item.name_moved(moved) for item in added],
            admitted=admitted,
            folder=make_correction_folder(self.zone, self.correction),
            peers=self.peers,
            at=self.clock(),
        )
        return plan

    def assign(
        self, admitted: AdmittedMonth, billed: frozenset[str], known: CorrectionPlan | None
    ) -> Assigned | None:
        """Rosters of those whom the month left out."""
        zone, peers, clock = self.zone, self.peers, self.clock
        seating = seating_of(zone, known, period=self.period, peers=peers, clock=clock)
        folder = make_correction_folder(zone, self.correction)
        return assign_left_out(admitted, billed=billed, seating=seating, folder=folder)

    @property
    def period(self) -> BillingPeriod:
        """The month."""
        return self.zone.period(self.correction.month)

    def admit_billable(
        self, at: datetime, known: CorrectionPlan | None
    ) -> tuple[AdmittedMonth, dict[str, str], list[Found]]:
        """Step 1, so that whoever was billed can be billed.

        Returns:
            The month, who is left out of the correction, with the reason, and what was found of
            them.
        """
        left_out = dict(known.left_out) if known else {}
        found: list[Found] = []
        admitted = self.admit_month(at, left_out)
        while gone := self.find_unbillable(admitted):
            if known is not None or not gone.keys().isdisjoint(left_out):
                raise _unbillable(len(gone))
            told = [one for one in admitted.list_found() if one.meter_point_id in gone]
            named = {one.meter_point_id for one in told}
            found += [*told, *(Found(name, why) for name, why in gone.items() if name not in named)]
            left_out |= gone
            admitted = self.admit_month(at, left_out)
        require_billed(admitted)
        return admitted, left_out, found

    def find_unbillable(self, admitted: AdmittedMonth) -> dict[str, str]:
        """Meter points that have a bill and would have none, or none in their roster, and why."""
        names, heads = self.names, self.heads
        excluded, billed = admitted.admission.excluded, admitted.admission.billed
        why = dict(zip(excluded["meter_point_id"], excluded["reason"], strict=True))
        gone = sorted(self.seated - set(billed["meter_point_id"]))
        tariffs = [self.tariffs_of(one, admitted) for one in heads]
        fixed = find_fixed(list(zip(heads, tariffs, strict=True)), billed, meters=names)
        return fixed | {name: why.get(name, _NO_READINGS) for name in gone}

    @property
    def heads(self) -> list[LatestVersion]:
        """The latest version of every roster before this correction."""
        return find_heads(self.zone, self.files, before=self.correction)

    @property
    def names(self) -> dict[str, str]:
        """Pseudonym -> meter point, of those that were ever enrolled in the year."""
        known = recall_members(self.zone, self.zone.year_of(self.correction.month))
        return {member.billing: name for name, member in known.items()}

    @property
    def seated(self) -> frozenset[str]:
        """The meter points that have a bill."""
        names = self.names
        return frozenset(names[one] for head in self.heads for one in head.roster.pseudonyms)

    def tariffs_of(self, head: LatestVersion, admitted: AdmittedMonth) -> tuple[str, ...]:
        """Ids of the tariff that a roster was billed with, and of what takes its place now."""
        first = parse_tariff(self.zone.objects.get(head.roster.tariff).decode()).tariff_id
        now = admitted.tariffs.get(first)
        return (first,) if now is None else (first, parse_tariff(now).tariff_id)

    def admit_month(self, at: datetime, left_out: Mapping[str, str]) -> AdmittedMonth:
        """Step 1: the whole month, read and validated with all later files.

        Args:
            left_out: Billed meter points that are read as the last version had them.
        """
        zone = self.zone
        earlier = list_earlier_corrections(zone, self.correction)
        first = tuple(file_digest(path) for path in self.files.readings)
        if any(plan.first_readings != first for plan in earlier):
            raise AuditBrokenError(
                "The month's first readings have changed since the last correction.",
                reason="audit.version",
                remedy="Look for what altered the gateway's folder; restore it from a backup.",
            )
        period = self.period
        versions = [plan.files for plan in earlier] + [self.correction]
        waiting = find_waiting([*(plan.left_out for plan in earlier), left_out])
        later = (find_readings(zone, version, period=period) for version in versions)
        books = self.books(left_out)
        files = replace(
            self.files,
            folder=make_correction_folder(zone, self.correction),
            tariffs=self.tariffs(),
            contracts=lambda: books,
            rules=latest_rules(zone, versions, first=self.files.rules),
            later=tuple(
                replace(one, without=names) for one, names in zip(later, waiting, strict=True)
            ),
            months=self.files.folder.parent,
        )
        return self.admit(
            files,
            period=period,
            timezone=zone.timezone,
            at=at,
            begin=lambda stage: self.progress(stage, 0, 0),
        )

    def books(self, left_out: Mapping[str, str]) -> MonthContracts:
        """The books that the month counts by with this correction."""
        earlier = list_earlier_corrections(self.zone, self.correction)
        versions = [plan.files for plan in earlier] + [self.correction]
        waiting = find_waiting([*(plan.left_out for plan in earlier), left_out])
        return correct_books(
            self.zone, self.files, versions=versions, waiting=waiting, billed=self.seated
        )

    def moved(self, left_out: Mapping[str, str]) -> frozenset[str]:
        """Holders that have other days than by the books that the month was first billed by."""
        return find_moved(self.files.contracts(), self.books(left_out))

    def list_exceptions(
        self, admitted: AdmittedMonth, assigned: Assigned | None, found: list[Found]
    ) -> None:
        """Bring the work list up to what is found of the corrected month.

        Not before nothing refuses the correction: what is not corrected settles nothing.

        Args:
            found: Of meter points that are left out, what is said in place of their last version.
        """
        final = admitted if assigned is None else admitted.leave_out(assigned.refused)
        number = 1 + len(list_earlier_corrections(self.zone, self.correction))
        names = {one.meter_point_id for one in found}
        record_found(
            self.zone,
            self.correction.month,
            [*(one for one in final.list_found() if one.meter_point_id not in names), *found],
            at=self.clock(),
            is_final=assigned is not None,
            occasion=f"Correction {number}",
        )

    def tariffs(self) -> Mapping[str, str]:
        """Tariff id -> text: what each roster was billed with last, or what now replaces it."""
        month, objects = self.correction.month, self.zone.objects
        used = [objects.get(head.roster.tariff).decode() for head in self.heads]
        paths = [locate_version(self.zone, month, name) for name in self.correction.tariffs]
        texts = [*used, *(path.read_text(encoding="utf-8") for path in paths)]
        return dict(self.files.tariffs) | {parse_tariff(text).tariff_id: text for text in texts}

    def compare(self, admitted: AdmittedMonth) -> tuple[list[ChangedRoster], frozenset[str]]:
        """Step 2: rosters with corrected slots, and the meter points that have a bill."""
        meters = self.names
        changed = [self.find_change(head, meters, admitted) for head in self.heads]
        return [item for item in changed if item is not None], self.seated

    def find_change(
        self, head: LatestVersion, meters: Mapping[str, str], admitted: AdmittedMonth
    ) -> ChangedRoster | None:
        """A roster's new version, unless nothing of it changed."""
        before = Roster(head.roster, tuple(meters[name] for name in head.roster.pseudonyms))
        billed_with = parse_tariff(self.zone.objects.get(head.roster.tariff).decode())
        text = admitted.tariffs[billed_with.tariff_id]
        tariff = parse_tariff(text)
        digest = self.zone.objects.put(text.encode())
        roster = revise_roster(before, tariff=digest, contracts=admitted.admission.billed)
        if roster is not before:
            roster = reseat_roster(self.zone, roster, earlier=head.roster, at=self.clock())
        folder = make_correction_folder(self.zone, self.correction)
        month = settle_roster(roster, tariff, admitted, folder=folder)
        changed = find_changed_slots(roster.manifest, head.roster)
        if len(changed) < roster.manifest.slots:
            names = find_changed_names(
                head.oracle, version_oracle(folder, roster.manifest.roster_id)
            )
            changed |= {n for n, name in enumerate(roster.manifest.pseudonyms) if name in names}
        if not changed:
            return None
        planned = PlannedRoster(
            month=self.correction.month,
            first=head.first,
            roster_id=roster.manifest.roster_id,
            corrects=head.outgoing.manifest.digest,
            revision=head.outgoing.upload.revision + 1,
            corrected_slots=tuple(sorted(changed)),
        )
        return ChangedRoster(planned, month)

    def encrypt(self, changed: list[ChangedRoster], *, admitted: AdmittedMonth) -> None:
        """Step 4: every roster that is not signed yet goes into the outbox."""
        period = self.period
        start = period.start.isoformat()
        keys = self.peers.key_sets(start)
        key = agents_of(self.zone).gateway().key_in(billing_domain(start))
        for done, item in enumerate(changed):
            self.progress("encrypt", done, len(changed))
            roster, tariff = item.month.roster, item.month.tariff
            columns = admitted.columns(
                roster, tariff=tariff, period=period, keys=keys, without=None
            )
            packed = outbox.Packed(
                roster=roster.manifest,
                columns=columns,
                start=start,
                end=period.end.isoformat(),
                estimated_readings=item.month.estimated_readings,
                correction=outbox.Corrects(
                    item.planned.corrects, item.planned.revision, item.planned.corrected_slots
                ),
                moved_slots=item.month.moved_slots,
                commit=self.bills_to_commit(item, admitted).write,
            )
            outbox.put(self.zone, packed, key=key, at=self.clock())

    def bills_to_commit(self, item: ChangedRoster, admitted: AdmittedMonth) -> BillsToCommit:
        """The corrected bills of a roster, each with the one that it replaces."""
        planned, month = item.planned, self.correction.month
        return BillsToCommit(
            admitted,
            item.month.roster,
            self.period,
            make_correction_folder(self.zone, self.correction),
            planned.revision,
            frozenset(planned.corrected_slots),
            partial(find_earlier, self.zone, month, first=planned.first, revision=planned.revision),
        )

    def upload(self, plan: CorrectionPlan) -> int:
        """Step 5: tariffs, then every roster until the platform committed it."""
        outgoing = [outbox.load_outgoing(self.zone, item.name) for item in plan.rosters]
        waiting = [item for item in outgoing if item.state != outbox.COMMITTED]
        platform, sent_bytes = self.peers.platform(self.period.start.isoformat()), 0
        for done, item in enumerate(waiting):
            self.progress("upload", done, len(waiting))
            sent_bytes += outbox.send(self.zone, item, platform=platform, clock=self.clock)
        self.progress("upload", len(waiting), len(waiting) + len(plan.added))
        first = send_first_bills(self.zone, plan, peers=self.peers, clock=self.clock)
        return sent_bytes + first

    def report(self, plan: CorrectionPlan, *, sent: int) -> CorrectionReport:
        """Step 6: count and record."""
        outgoing = [outbox.load_outgoing(self.zone, item.name) for item in plan.rosters]
        report = CorrectionReport(
            number=plan.number,
            corrected=sum(len(item.corrected_slots) for item in plan.rosters),
            rosters=len(plan.rosters),
            columns=sum(len(item.upload.columns) for item in outgoing),
            bytes_uploaded=sent,
            late=plan.late,
            first_billed=count_first_bills(self.zone, plan),
        )
        found = make_correction_folder(self.zone, self.correction)
        adopt_totals(found, into=self.files.folder, number=plan.number)
        keep_correction_report(self.zone, self.correction, report=report, at=self.clock())
        # Last: a roster that the platform refused is refused again by a run that is killed here,
        # and for that its columns must be there.
        for name in plan.names:
            outbox.drop_columns(self.zone, name)
        return report


def _find_unfit(admitted: AdmittedMonth) -> tuple[str, ...]:
    """Meter points with late readings that do not fit the intervals of those before."""
    return tuple(sorted({one.meter_point_id for one in admitted.list_found() if one.rule == UNFIT}))


def _unbillable(count: int) -> InputError:
    return InputError(
        f"{count} meter points that were billed can no longer be billed.",
        reason="correction.unbillable",
        remedy="The exceptions file in the correction's folder gives the reason for each; "
        "correct the files and send them again.",
    )
