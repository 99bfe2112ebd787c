"""What a gateway keeps about the corrections of a month: files, plan and report of each.

    months/2026-07/versions/<digest>            corrected files as handed in, named by SM3
    months/2026-07/corrections/<correction>/    quarantine, exceptions and settlements of one

A correction is named by the order that it carries out (`correction_orders`), or else by what was
handed in and by the batches that came late, so handing in the same again is the same correction.
Its plan is fixed before anything is encrypted and never changes; corrections of a month are
numbered, and one begins when the one before is done. The readings of the n-th version are the
month's first files with the files of n corrections laid over them: all are here, none is replaced.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlmodel import Session, col, select

from gridsecure.billing.reading_versions import UNFIT
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, ConflictError, InputError, StorageError
from gridsecure.gateway import outbox
from gridsecure.gateway.collection import LaterReadings
from gridsecure.gateway.ingestion.batches import find_batches, newest_batch
from gridsecure.gateway.month_files import month_folder
from gridsecure.gateway.month_plan import (
    corrected_until,
    is_done,
    load_plan,
)
from gridsecure.gateway.outbox import upload_name
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.tables import CorrectionOrderRow, CorrectionPlanRow, CorrectionReportRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import FIRST_REVISION
from gridsecure.periods import BillingPeriod
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import JSON
from gridsecure.store.pages import newest
from gridsecure.store.rows import keep
from gridsecure.tariffs.tariff import parse_tariff

CORRECTION_DONE: Final = "correction.done"
"""In the evidence log: a month is corrected and its uploads committed."""
APPROVED: Final = "approved"
"""The state of an order that is being carried out, or will be."""
APPLIED: Final = "applied"


@dataclass(frozen=True, slots=True)
class CorrectionFiles:
    """What corrects a month.

    Args:
        month: YYYY-MM, local.
        readings: Digests of the files of late and corrected readings.
        tariffs: Digests of tariff files in place of those of the same tariff id.
        batches: Numbers of the batches that came since the version before, the first of them
            exclusive, the last inclusive; twice the same without any.
        order: Number of the order that it carries out; 0 for none.
        rules: Digest of the rule book, among the objects, that the month is validated by from then
            on; empty for the one before.
        books: Revision of the books that the month is billed by from then on; 0 for the one before.
        retry: For the how-manieth correction nothing came, and meter points are tried again that
            the identity authority refused; 0 where something came.
    """

    month: str
    readings: tuple[str, ...]
    tariffs: tuple[str, ...]
    batches: tuple[int, int] = (0, 0)
    order: int = 0
    rules: str = ""
    books: int = 0
    retry: int = 0

    @property
    def name(self) -> str:
        """Names the correction: the same order, or the same files, are the same correction."""
        if self.order:
            return order_name(self.month, self.order)
        parts: list[object] = [self.month, self.readings, self.tariffs]
        if self.has_batches:
            parts.append(self.batches)
        if self.retry:
            parts.append(["retry", self.retry])
        return sm3_hex(json.dumps(parts).encode())[:32]

    @property
    def has_batches(self) -> bool:
        """Whether late batches are among what was handed in."""
        return self.batches[0] != self.batches[1]


def order_name(month: str, order: int) -> str:
    """The name of the correction that carries out an order, by the order's number."""
    return sm3_hex(json.dumps([month, "order", order]).encode())[:32]


@dataclass(frozen=True, slots=True)
class PlannedRoster:
    """One roster of a correction.

    Args:
        month: The month, YYYY-MM.
        first: The roster id of the month's first version.
        corrects: Digest of the signed upload that it corrects.
        corrected_slots: The slots whose settlement or tariff changed.
    """

    month: str
    first: str
    roster_id: str
    corrects: str
    revision: int
    corrected_slots: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its name in the outbox."""
        return upload_name(self.roster_id, self.month, self.revision)


@dataclass(frozen=True, slots=True)
class CorrectionPlan:
    """What is fixed before the first column of a correction is encrypted.

    Args:
        number: The how-manieth correction of the month, from 1.
        files: What was handed in.
        first_readings: Digests of the month's first readings files.
        validated_at: When the readings were validated; another run validates as of then.
        late: Meter points with readings that are in no roster, and so have no bill to correct.
        added: Ids of the rosters in which such meter points get their first bill.
        refused: Those that the identity authority refused, with the reason; another run leaves
            out the same ones.
        left_out: Billed meter points whose readings, as they would be now, cannot be billed, with
            the reason. What came since the last version that billed them waits, and their bills
            stand as they are.
        unfit: Billed meter points with later readings that do not fit the intervals of those
            before and count nowhere.
    """

    number: int
    files: CorrectionFiles
    first_readings: tuple[str, ...]
    validated_at: str
    rosters: tuple[PlannedRoster, ...]
    late: int
    added: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    unfit: tuple[str, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """How many meter points have readings that do not count, by reason."""
        found = Counter(self.left_out.values()) + Counter({UNFIT: len(self.unfit)})
        return dict(sorted(found.items()))

    @property
    def added_names(self) -> tuple[str, ...]:
        """The names in the outbox of first bills."""
        month = self.files.month
        return tuple(upload_name(name, month, FIRST_REVISION) for name in self.added)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the outbox of all that it sends."""
        return (*(item.name for item in self.rosters), *self.added_names)


@dataclass(frozen=True, slots=True)
class CorrectionReport:
    """What became of a correction; counts only.

    Args:
        columns: Encrypted columns.
        bytes_uploaded: Sent to the platform by the run that finished [bytes].
        late: As in the plan.
        first_billed: How many of these got their first bill.
    """

    number: int
    corrected: int
    rosters: int
    columns: int
    bytes_uploaded: int
    late: int
    first_billed: int


def save_correction(
    zone: GatewayZone,
    month: str,
    *,
    readings: Sequence[BinaryIO] = (),
    tariffs: Sequence[BinaryIO] = (),
) -> CorrectionFiles:
    """Keep corrected files beside those of the month, with the late batches there are.

    Where there is nothing new, an unfinished correction is what is meant; or, where the identity
    authority refused meter points, that it is asked once more about them.

    Args:
        month: YYYY-MM.
        readings: Files of late and corrected readings.
        tariffs: Tariff files, each in place of the one with the same tariff id.

    Raises:
        InputError: There is nothing that corrects (`correction.nothing`), or a tariff file is no
            tariff.
        ConflictError: The month is not finished (`correction.month-open`).
        StorageError: The disk could not take them.
    """
    require_done(zone, month)
    batches = late_batches(zone, month)
    if not readings and not tariffs and batches[0] == batches[1]:
        begun = unfinished_correction(zone, month)
        if begun is not None:
            return begun
        if _has_refused(zone, month):
            retry = 1 + len(list_corrections(zone, month))
            return CorrectionFiles(month, (), (), batches, retry=retry)
        raise InputError(
            "No corrected file was sent, no batch of this month came late, and the identity"
            " authority refused nobody of it.",
            reason="correction.nothing",
            remedy="Send a readings file, a tariff file, or both, or wait for readings.",
        )
    kept = keep_versions(zone, month, readings=readings, tariffs=tariffs)
    return replace(kept, batches=batches)


def _has_refused(zone: GatewayZone, month: str) -> bool:
    """Whether meter points have no bill for no other reason than that identity refused them."""
    last = latest_correction(zone, month)
    if last is None:
        return bool(load_plan(zone, month).refused)
    report = find_correction_report(zone, last.files.name)
    return report is not None and report.late > report.first_billed


def keep_versions(
    zone: GatewayZone,
    month: str,
    *,
    readings: Sequence[BinaryIO],
    tariffs: Sequence[BinaryIO],
) -> CorrectionFiles:
    """Keep corrected files beside those of the month, without the late batches there are.

    Raises:
        InputError: A tariff file is no tariff.
        StorageError: The disk could not take them.
    """
    folder = month_folder(zone, month)
    texts = [source.read() for source in tariffs]
    for text in texts:
        parse_tariff(text.decode(errors="replace"))
    kept = tuple(_kept(folder, source.read()) for source in readings)
    return CorrectionFiles(month, kept, tuple(_kept(folder, text) for text in texts))


def require_done(zone: GatewayZone, month: str) -> None:
    """Require that a month is finished, so that there is something to correct.

    Raises:
        InputError: It is no month (`month.format`).
        ConflictError: It is not finished (`correction.month-open`).
    """
    zone.period(month)
    if not is_done(zone, month):
        raise ConflictError(
            f"The processing of month {month} has not finished.",
            reason="correction.month-open",
            remedy="Finish the month first. A month that was not billed needs no correction.",
        )


def late_batches(zone: GatewayZone, month: str) -> tuple[int, int]:
    """Numbers of the batches with readings of a month that no version of it counts yet.

    Returns:
        The last that counts, and the last that came; the same where none is late.

    Raises:
        NotFoundError: The month was not processed (`month.not-processed`).
    """
    counted = max(load_plan(zone, month).until_batch, corrected_until(zone, month))
    return counted, max(newest_batch(zone, month=month), counted)


def version_path(zone: GatewayZone, month: str, digest: str) -> Path:
    """Where a corrected file was kept."""
    return month_folder(zone, month) / "versions" / digest


def locate_version(zone: GatewayZone, month: str, digest: str) -> Path:
    """Where a corrected file lies, after its bytes were compared with its name.

    Raises:
        AuditBrokenError: It is not what was handed in (`audit.version`).
        StorageError: It cannot be read.
    """
    path = version_path(zone, month, digest)
    if file_digest(path) != digest:
        raise AuditBrokenError(
            "A stored version of the readings was altered.",
            reason="audit.version",
            remedy="Look for what altered the gateway's folder; restore it from a backup.",
        )
    return path


def find_readings(
    zone: GatewayZone, files: CorrectionFiles, *, period: BillingPeriod
) -> LaterReadings:
    """The readings that a correction brought.

    Raises:
        AuditBrokenError, StorageError: As `locate_version`.
    """
    after, until = files.batches
    batches = find_batches(zone, period, until=until, after=after) if files.has_batches else ()
    return LaterReadings(
        tuple(locate_version(zone, files.month, name) for name in files.readings), batches
    )


def latest_rules(zone: GatewayZone, versions: Sequence[CorrectionFiles], *, first: str) -> str:
    """Text of the rule book that a month is validated by, once it was corrected.

    Args:
        versions: The month's corrections, in order.
        first: The text that it was first billed by.

    Raises:
        StorageError: The book is gone, or was altered.
    """
    digest = next((one.rules for one in reversed(versions) if one.rules), "")
    return zone.objects.get(digest).decode() if digest else first


def find_waiting(versions: Sequence[Mapping[str, str]]) -> list[frozenset[str]]:
    """Of each version of a month, whose readings of it do not count in the last.

    Args:
        versions: Who was left out of each, as `CorrectionPlan.left_out`.
    """
    found: list[frozenset[str]] = []
    for left_out in reversed(versions):
        own = frozenset(left_out)
        found.insert(0, own & found[0] if found else own)
    return found


def file_digest(path: Path) -> str:
    """SM3 of a file.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        return sm3_hex(path.read_bytes())
    except OSError as error:
        raise StorageError(
            f"A version of the readings cannot be read: {error.strerror}.",
            reason="storage.read",
            remedy="Check the gateway's folder.",
        ) from error


def make_correction_folder(zone: GatewayZone, files: CorrectionFiles) -> Path:
    """The private folder of a correction, made where it is missing."""
    folder = private_folder(month_folder(zone, files.month) / "corrections")
    return private_folder(folder / files.name)


def find_first_uploads(zone: GatewayZone, month: str) -> dict[str, tuple[str, Path]]:
    """The first uploads of a month's rosters: those of the month, then those that were added late.

    Returns:
        Roster id -> name in the outbox, and the folder of what its oracle settled.

    Raises:
        NotFoundError: The month was not processed (`month.not-processed`).
    """
    plan, folder = load_plan(zone, month), month_folder(zone, month)
    found = {roster: (name, folder) for roster, name in zip(plan.rosters, plan.names, strict=True)}
    for correction in list_corrections(zone, month):
        own = make_correction_folder(zone, correction.files)
        for roster, name in zip(correction.added, correction.added_names, strict=True):
            sent = outbox.find(zone, name)
            if sent is not None and sent.state == outbox.COMMITTED:
                found[roster] = (name, own)
    return found


def list_corrections(zone: GatewayZone, month: str) -> list[CorrectionPlan]:
    """The fixed corrections of a month, in order."""
    with read_session(zone.engine) as session:
        of_month = select(CorrectionPlanRow.document).where(CorrectionPlanRow.month == month)
        found = session.exec(of_month.order_by(col(CorrectionPlanRow.number)))
        return [_plan(text) for text in found]


def latest_correction(zone: GatewayZone, month: str) -> CorrectionPlan | None:
    """The correction of a month that was fixed last; None without any."""
    of_month = select(CorrectionPlanRow.document).where(CorrectionPlanRow.month == month)
    last = of_month.order_by(col(CorrectionPlanRow.number).desc()).limit(1)
    with read_session(zone.engine) as session:
        text = session.exec(last).first()
    return None if text is None else _plan(text)


def unfinished_correction(zone: GatewayZone, month: str) -> CorrectionFiles | None:
    """The first correction of a month that is fixed and has no report; None if all have."""
    done = select(CorrectionReportRow.name).where(
        CorrectionReportRow.name == CorrectionPlanRow.name
    )
    fixed = select(CorrectionPlanRow.document).where(
        CorrectionPlanRow.month == month, ~done.exists()
    )
    with read_session(zone.engine) as session:
        text = session.exec(fixed.order_by(col(CorrectionPlanRow.number)).limit(1)).first()
    return None if text is None else _plan(text).files


def correction_folders(zone: GatewayZone, month: str) -> list[str]:
    """Names of the corrections of a month that were begun, fixed or not."""
    return sorted(path.name for path in (month_folder(zone, month) / "corrections").glob("*"))


def find_correction_report(zone: GatewayZone, name: str) -> CorrectionReport | None:
    """The report of a finished correction, or None.

    Args:
        name: As `CorrectionFiles.name`.
    """
    with read_session(zone.engine) as session:
        named = select(CorrectionReportRow, CorrectionPlanRow.number).join(CorrectionPlanRow)
        found = session.exec(named.where(CorrectionReportRow.name == name)).first()
    if found is None:
        return None
    row, number = found
    return CorrectionReport(
        number=number,
        corrected=row.corrected,
        rosters=row.rosters,
        columns=row.columns,
        bytes_uploaded=row.bytes_uploaded,
        late=row.late,
        first_billed=row.first_billed,
    )


def fix_correction(zone: GatewayZone, plan: CorrectionPlan, *, at: datetime) -> None:
    """Record a correction's plan; the same plan again changes nothing.

    Raises:
        ConflictError: Another plan is recorded for it or for its number
            (`conflict.correction-plan`), or its order was rejected meanwhile
            (`correction.rejected`).
    """
    fields = asdict(plan)
    for name in ("order", "rules", "books", "retry"):
        if not fields["files"][name]:
            del fields["files"][name]
    for name in ("left_out", "unfit"):
        if not fields[name]:  # a plan that was fixed before there were any is the same plan
            del fields[name]
    text = json.dumps(fields, sort_keys=True)
    month, number = plan.files.month, plan.number
    digest = sm3_hex(text.encode())
    row = CorrectionPlanRow(
        name=plan.files.name,
        month=month,
        number=number,
        until_batch=plan.files.batches[1],
        digest=digest,
        document=text,
        at=at,
    )
    with write_session(zone.engine) as session:
        if keep(session, row):
            detail: dict[str, JSON] = {"month": month, "number": number, "plan": digest}
            if plan.files.order:
                _require_approved(session, plan.files.order)
                detail["order"] = plan.files.order
            evidence.append(
                session, at=at, actor=zone.service_id, action="correction.fixed", detail=detail
            )


def _require_approved(session: Session, number: int) -> None:
    """Require that an order was not rejected while it was being carried out."""
    order = session.get(CorrectionOrderRow, number)
    if order is None or order.state != APPROVED:
        raise ConflictError(
            "The order of this correction was rejected.",
            reason="correction.rejected",
            remedy="Order another correction, if one is needed.",
        )


def keep_correction_report(
    zone: GatewayZone, files: CorrectionFiles, *, report: CorrectionReport, at: datetime
) -> None:
    """Record the report of a finished correction, and that its order is carried out.

    The evidence log has that the month is corrected.
    """
    counts = asdict(report)
    del counts["number"]  # as in the plan
    with write_session(zone.engine) as session:
        if keep(session, CorrectionReportRow(name=files.name, **counts, at=at)):
            detail: dict[str, JSON] = {"month": files.month, "number": report.number}
            evidence.append(
                session, at=at, actor=zone.service_id, action=CORRECTION_DONE, detail=detail
            )
        order = session.get(CorrectionOrderRow, files.order) if files.order else None
        if order is not None:
            order.state, order.revision = APPLIED, newest(session, CorrectionOrderRow.revision) + 1
            session.add(order)


def _kept(folder: Path, data: bytes) -> str:
    versions = private_folder(folder / "versions")
    digest = sm3_hex(data)
    if not (versions / digest).exists():
        write_private(versions / digest, [data], what="A corrected file")
    return digest


def _plan(text: str) -> CorrectionPlan:
    fields: dict[str, Any] = json.loads(text)
    files: Mapping[str, Any] = fields.pop("files")
    rosters = [
        PlannedRoster(**{**item, "corrected_slots": tuple(item["corrected_slots"])})
        for item in fields.pop("rosters")
    ]
    return CorrectionPlan(
        files=CorrectionFiles(
            files["month"],
            tuple(files["readings"]),
            tuple(files["tariffs"]),
            tuple(files.get("batches", (0, 0))),
            files.get("order", 0),
            files.get("rules", ""),
            files.get("books", 0),
            files.get("retry", 0),
        ),
        first_readings=tuple(fields.pop("first_readings")),
        rosters=tuple(rosters),
        added=tuple(fields.pop("added", ())),
        unfit=tuple(fields.pop("unfit", ())),
        **fields,
    )
