"""One month at the gateway, from files to committed uploads.

1. read the meter data files and the contracts;
2. validate, and write what was refused to the quarantine file;
3. admit: decide who is billed, and write the others to the exceptions file;
4. enrol: have everybody registered under the pseudonyms of the year, who is not yet;
5. rosters: assign slots, have each meter point's agent agree to its seat, settle the plaintext
   oracle, and record the plan of the month;
6. encrypt each roster's columns and sign its manifest into the outbox, from where it is sent
   while the next one is encrypted;
7. upload what the platform still lacks and have it committed;
8. report.

Before the plan is recorded, no reading left the gateway and another run starts afresh. From then on
the month is fixed: a run that was killed anywhere is completed by the next one with the same
rosters, the same columns once signed, and no second upload. Where a member of a roster was revoked
before the platform took the roster in, that roster alone is made anew without it. Clients and clock
are arguments.

Rosters are sent ahead while later ones are encrypted: encryption keeps the gateway busy, receiving
the platform. Sending ahead decides nothing. What it could not send, the upload that follows sends
again, and that answers for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from typing import Final

from gridsecure.credentials.seats import billing_domain
from gridsecure.errors import GridSecureError, InputError
from gridsecure.gateway import outbox
from gridsecure.gateway.agents import agents_of
from gridsecure.gateway.bill_commitments import BillsToCommit
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.edits import note_late
from gridsecure.gateway.enrolment import REVOKED, IdentityClient
from gridsecure.gateway.exceptions import record_found
from gridsecure.gateway.month_plan import (
    MonthPlan,
    find_plan,
    find_report,
    fix_plan,
    keep_report,
    replace_plan,
)
from gridsecure.gateway.outbox import COMMITTED, Outgoing
from gridsecure.gateway.packing import PackedColumn, packed_columns
from gridsecure.gateway.preparation import (
    Admit,
    AdmittedMonth,
    Assigned,
    admit_month,
    assign_rosters,
    require_billed,
)
from gridsecure.gateway.sealed_days import find_sealed
from gridsecure.gateway.seating import Seating
from gridsecure.gateway.upload import PlatformService
from gridsecure.gateway.zone import GatewayZone
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.wire.gateway import MonthReport

Deliver = Callable[[Outgoing], int]
"""Sends one roster's month until it is committed; gives the bytes sent."""


@dataclass(slots=True, eq=False)
class SendingAhead:
    """One thread that delivers what is added, in order, until something cannot be delivered.

    Args:
        deliver: Sends one roster's month.
    """

    deliver: Deliver
    _waiting: SimpleQueue[Outgoing | None] = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _is_stopped: bool = False
    _sent_bytes: int = 0
    _failure: BaseException | None = None

    def add(self, item: Outgoing) -> None:
        """Have one more roster's month delivered, where it is not committed already."""
        if item.state == COMMITTED:
            return
        if self._thread is None:
            # A daemon: ending the service ends it anywhere, which a month survives.
            self._thread = threading.Thread(target=self._run, name="sending ahead", daemon=True)
            self._thread.start()
        self._waiting.put(item)

    def finish(self) -> int:
        """Wait until everything that was added is delivered, or something could not be.

        Returns:
            Bytes sent since this was last asked.

        Raises:
            BaseException: Whatever ended the thread that is no error of ours.
        """
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        sent_bytes, self._sent_bytes = self._sent_bytes, 0
        return sent_bytes

    def stop(self) -> None:
        """Wait for the delivery under way, and leave the others."""
        self._is_stopped = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._waiting.get()) is not None and not self._is_stopped:
                self._sent_bytes += self.deliver(item)
        except GridSecureError:
            return  # the upload that follows meets it again, and says so
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for this thread
            self._failure = error


STAGES: Final = ("read", "validate", "admit", "enrol", "rosters", "encrypt", "upload")

Progress = Callable[[str, int, int], None]
"""Called with a stage of `STAGES`, what is done of it and how much there is."""


@dataclass(frozen=True, slots=True)
class Peers:
    """What a month needs from others.

    Args:
        key_sets: Gives the gateway's own public key sets, by parameter set name, for a billing
            period that starts then [ISO 8601].
        platform: Gives the platform, where uploads go under the pseudonym of the year in which a
            billing period starts [ISO 8601].
    """

    identity: IdentityClient
    key_sets: Callable[[str], Mapping[str, PublicKeySet]]
    platform: Callable[[str], PlatformService]


def process_month(  # noqa: PLR0913 - what it works with, and two choices
    zone: GatewayZone,
    *,
    files: MonthFiles,
    peers: Peers,
    clock: Callable[[], datetime],
    progress: Progress,
    load_curves: bool = True,
    admit: Admit = admit_month,
) -> MonthReport:
    """Take a month from files to committed uploads, or finish what a killed run began.

    Args:
        files: What the operator handed in.
        clock: Gives the time, aware.
        progress: Told of every step.
        load_curves: Whether to send what load curves are summed from besides what bills are.
        admit: Steps 1 to 3.

    Returns:
        The report; of a month finished before, the report it had.

    Raises:
        GridSecureError: A step could not be done; run again when its reason is gone.
    """
    known = find_report(zone, files.month)
    if known is not None:
        return known
    run = _MonthRun(zone, files, peers, clock, progress, load_curves, admit)
    try:
        return run.complete(find_plan(zone, files.month))
    finally:
        run.ahead.stop()


@dataclass(slots=True, eq=False)
class _MonthRun:
    """One run of the protocol: what it works with, and how long each stage took."""

    zone: GatewayZone
    files: MonthFiles
    peers: Peers
    clock: Callable[[], datetime]
    progress: Progress
    load_curves: bool
    admit: Admit
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    since: datetime | None = None
    ahead: SendingAhead = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = SendingAhead(partial(self.deliver, sent=lambda _objects: None))

    def complete(self, plan: MonthPlan | None) -> MonthReport:
        """Go through the steps, from where an earlier run stopped."""
        while True:
            if plan is None or any(outbox.find(self.zone, name) is None for name in plan.names):
                plan = self.prepare(plan)
            try:
                return self.report(plan, sent=self.upload(plan))
            except InputError as refusal:
                if refusal.reason != REVOKED:
                    raise
                plan = self.replan(plan, refusal)

    def begin(self, stage: str) -> None:
        """Close the running stage and open another."""
        now = self.clock()
        if self.since is not None:
            self.seconds[self.stage] = round((now - self.since).total_seconds(), 3)
        self.stage, self.since = stage, now
        self.progress(stage, 0, 0)

    def prepare(self, known: MonthPlan | None) -> MonthPlan:
        """Steps 1 to 6; rosters fixed before must come out again."""
        settled = frozenset(known.rosters) if known else frozenset()
        plan, assigned = self.make_plan(known, settled)
        keys = self.peers.key_sets(plan.start)
        fix_plan(self.zone, self.files.month, plan=plan, at=self.clock())
        note_late(self.zone, self.files.month, counted=plan.edits)
        self.encrypt(assigned, keys=keys)
        return plan

    def replan(self, known: MonthPlan, refusal: InputError) -> MonthPlan:
        """Steps 1 to 6 for rosters that the platform refuses because of a revoked member."""
        sent = [outbox.load_outgoing(self.zone, name) for name in known.names]
        settled = frozenset(
            item.upload.roster_id for item in sent if item.state == outbox.COMMITTED
        )
        plan, assigned = self.make_plan(known, settled)
        if plan.rosters == known.rosters:
            raise refusal  # the identity authority knows of no revocation
        keys = self.peers.key_sets(plan.start)
        replace_plan(self.zone, self.files.month, plan=plan, settled=settled, at=self.clock())
        for name in set(known.names) - set(plan.names):
            outbox.drop_columns(self.zone, name)
        self.encrypt(assigned, keys=keys)
        return plan

    def make_plan(
        self, known: MonthPlan | None, settled: frozenset[str]
    ) -> tuple[MonthPlan, Assigned]:
        """Steps 1 to 5."""
        month, zone = self.files.month, self.zone
        period = zone.period(month)
        at = self.clock() if known is None else datetime.fromisoformat(known.validated_at)
        admitted = self.admit(
            self.files, period=period, timezone=zone.timezone, at=at, begin=self.begin
        )
        self.list_exceptions(admitted, is_final=False)
        require_billed(admitted)
        start, identity = period.start.isoformat(), self.peers.identity
        refused = known.refused if known else {}
        by_day = find_sealed(zone, month).names
        seating = Seating(zone, identity, start, self.clock, refused, settled, by_day)
        assigned = assign_rosters(
            seating,
            admitted,
            folder=self.files.folder,
            begin=self.begin,
            counted=lambda done, of: self.progress("enrol", done, of),
        )
        self.list_exceptions(assigned.admitted, is_final=True)
        rosters = [item.roster.manifest for item in assigned.rosters]
        rules = zone.objects.put(self.files.rules.encode()) if self.files.rules else ""
        plan = MonthPlan(
            start=start,
            end=period.end.isoformat(),
            validated_at=at.isoformat(),
            rosters=tuple(roster.roster_id for roster in rosters),
            tariffs=tuple(sorted({roster.tariff for roster in rosters})),
            counts=assigned.admitted.counts() | {"rosters": len(rosters), "rules": rules},
            refused=assigned.refused,
            until_batch=self.files.until_batch,
            books_revision=self.files.books_revision,
            rules=rules,
            waived=tuple(sorted(self.files.waived)),
            edits=tuple(path.stem for path in self.files.edits),
        )
        return plan, assigned

    def list_exceptions(self, admitted: AdmittedMonth, *, is_final: bool) -> None:
        """Put what was found on the work list."""
        found, month = admitted.list_found(), self.files.month
        record_found(self.zone, month, found, at=self.clock(), is_final=is_final)

    def encrypt(self, assigned: Assigned, *, keys: Mapping[str, PublicKeySet]) -> None:
        """Step 6: every roster that is not signed yet goes into the outbox."""
        self.begin("encrypt")
        admitted, rosters = assigned.admitted, assigned.rosters
        period = self.zone.period(self.files.month)
        sealed = find_sealed(self.zone, self.files.month)
        without = [sealed.days_of(item.roster) if self.load_curves else None for item in rosters]
        total = 0
        for item, left_out in zip(rosters, without, strict=True):
            days = 0 if left_out is None else admitted.days - len(left_out)
            total += packed_columns(item.roster, tariff=item.tariff, period=period, days=days)
        done, start = 0, period.start.isoformat()
        key = agents_of(self.zone).gateway().key_in(billing_domain(start))

        def counted(columns: Iterator[PackedColumn]) -> Iterator[PackedColumn]:
            nonlocal done
            for column in columns:
                yield column
                done += 1
                self.progress("encrypt", done, total)

        for item, left_out in zip(rosters, without, strict=True):
            columns = admitted.columns(
                item.roster, tariff=item.tariff, period=period, keys=keys, without=left_out
            )
            packed = outbox.Packed(
                roster=item.roster.manifest,
                columns=counted(columns),
                start=start,
                end=period.end.isoformat(),
                estimated_readings=item.estimated_readings,
                changed_slots=admitted.changed_slots(item.roster, sealed) if sealed.plans else (),
                commit=BillsToCommit(admitted, item.roster, period, self.files.folder).write,
            )
            self.ahead.add(outbox.put(self.zone, packed, key=key, at=self.clock()))

    def upload(self, plan: MonthPlan) -> int:
        """Step 7: every roster until the platform committed it."""
        self.begin("upload")
        sent_bytes, done = self.ahead.finish(), 0
        outgoing = [outbox.load_outgoing(self.zone, name) for name in plan.names]
        sizes = [len(item.upload.columns) for item in outgoing]

        def sent(objects: int) -> None:
            nonlocal done
            done += objects
            self.progress("upload", done, sum(sizes))

        for number, item in enumerate(outgoing, start=1):
            if item.state != outbox.COMMITTED:
                sent_bytes += self.deliver(item, sent=sent)
            done = sum(sizes[:number])
            self.progress("upload", done, sum(sizes))
        return sent_bytes

    def deliver(self, item: outbox.Outgoing, *, sent: Callable[[int], None]) -> int:
        """Send one roster's month with its tariff, and note that the platform committed it."""
        platform = self.peers.platform(item.upload.start)
        return outbox.send(self.zone, item, platform=platform, clock=self.clock, sent=sent)

    def report(self, plan: MonthPlan, *, sent: int) -> MonthReport:
        """Step 8: count and record."""
        entries = [
            entry
            for name in plan.names
            for entry in outbox.load_outgoing(self.zone, name).upload.columns
        ]
        for name in plan.names:
            # A process killed between commit and deletion left its columns.
            outbox.drop_columns(self.zone, name)
        self.begin("done")
        sizes = {
            "columns": len(entries),
            "bytes_stored": sum(entry.size for entry in entries),
            "bytes_uploaded": sent,
            "seconds": self.seconds,
        }
        report = MonthReport.model_validate({**plan.counts, **sizes})
        keep_report(self.zone, self.files.month, report=report, at=self.clock())
        return report
