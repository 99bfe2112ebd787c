"""Versions of bills: what was released for every roster and period, kept and never rewritten.

A version is recorded in the transaction that keeps its certificate. The first one of a roster and
period opens a chain, named by its upload; each correction adds the next. A chain has one version of
each number, so the latest bill is always the first one plus all adjustments since.

`tabulate_versions` is for staff: what releases said of each cell, version by version. Where any
adjustment of a cell was withheld, the totals after it are unknown outside the sealed statements.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlmodel import Session, col, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker.tables import BillVersionRow
from gridsecure.key_authority.checker.verification import Proven
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import CellTotal, CountedPlace, Digest, ReleaseCertificate
from gridsecure.plans.cells import Place
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, keep


@dataclass(frozen=True, slots=True)
class BillVersion:
    """One released version of a roster's bills.

    Args:
        first: Upload of the chain's first version; names the chain.
        revision: Number of this version, from 1.
        upload: Digest of the signed upload.
        corrects: Digest of the upload it corrects, if any.
        roster: Digest of the signed roster.
        tariff: Digest of the tariff's text.
        transcript: Digest of the transcript that was released.
        outputs: SM3 over the digests of the transcript's outputs.
        start: Start of the period, ISO 8601.
        end: Its end, exclusive.
        corrected: Bills issued with this version: all of the first, the corrected ones later.
    """

    first: Digest
    revision: int
    upload: Digest
    corrects: Digest | None
    roster: Digest
    roster_id: str
    tariff: Digest
    transcript: Digest
    plan_version: int
    outputs: Digest
    start: str
    end: str
    slots: int
    corrected: int


@dataclass(frozen=True, slots=True)
class ReleasedVersion:
    """A version and the release that holds its statements."""

    version: BillVersion
    release_id: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """What one release said of a cell.

    Args:
        released_at: When.
        plan: "bill" for first bills, "rebill" for corrections.
        members: First bills or corrected bills.
        value: The total, or the difference; None where it was withheld.
        total: First total and all differences so far; None once one of them was withheld.
    """

    release_id: str
    released_at: str
    plan: str
    zone: str
    customer_class: str
    start: str
    end: str
    measure: str
    members: int
    value: int | None
    total: int | None


def outputs_digest(part: Proven) -> Digest:
    """One digest over a transcript's outputs."""
    return sm3_hex("".join(output.entry.digest for output in part.outputs.values()).encode())


def make_version(part: Proven, *, first: Digest | None = None) -> BillVersion:
    """The version that a proven transcript of one roster's bills becomes.

    Args:
        first: The chain it goes on; its own when None.
    """
    (data,), (upload,) = part.datas, part.transcript.uploads
    corrected = data.upload.corrected_slots
    return BillVersion(
        first=first or upload,
        revision=data.upload.revision,
        upload=upload,
        corrects=data.upload.corrects,
        roster=part.transcript.rosters[0],
        roster_id=data.roster.roster_id,
        tariff=data.roster.tariff,
        transcript=part.digest,
        plan_version=part.transcript.plan_version,
        outputs=outputs_digest(part),
        start=data.upload.start,
        end=data.upload.end,
        slots=data.roster.slots,
        corrected=len(corrected) if corrected else data.roster.slots,
    )


def keep_versions(
    session: Session, versions: Iterable[BillVersion], *, release_id: str, at: datetime
) -> None:
    """Record versions in the transaction that keeps their certificate.

    Raises:
        ConflictError: A chain has another version of that number (`conflict.bill-version`).
    """
    for version in versions:
        keep(session, BillVersionRow(release_id=release_id, at=at, **asdict(version)))


def find_released_version(session: Session, upload: Digest) -> BillVersion:
    """The released version of an upload.

    Raises:
        ReleaseRefusedError: It was never released (`correction.unreleased`).
    """
    found = find(session, BillVersionRow, upload=upload)
    if found is None:
        raise ReleaseRefusedError(
            "A correction concerns a bill that was not released.",
            reason="correction.unreleased",
            remedy="Release the earlier version first, then run the correction again.",
        )
    return _read(found).version


def bill_versions(zone: AuthorityZone, *, first: Digest | None = None) -> list[ReleasedVersion]:
    """Released versions in the order of their release, of one chain or of all."""
    versions = select(BillVersionRow).order_by(col(BillVersionRow.id))
    if first is not None:
        versions = versions.where(BillVersionRow.first == first)
    with read_session(zone.engine) as session:
        return [_read(row) for row in session.exec(versions)]


def tabulate_versions(certificates: Iterable[ReleaseCertificate]) -> list[VersionRow]:
    """What releases of bills and corrections said of each cell, in the order given.

    Cells of a correction are merged by whom it corrects, so one may have other parts than a cell of
    bills of that name. It has no total then, nor do the cells of bills that it is partly about.

    Args:
        certificates: Releases, oldest first; those of other plans are left out.
    """
    totals: dict[_Total, int | None] = {}
    rows = []
    for certificate in certificates:
        if certificate.plan not in ("bill", "rebill"):
            continue
        for cell in certificate.cells:
            key = _total_of(cell, certificate)
            value = None if cell.value is None else int(cell.value)
            if certificate.plan == "bill":
                totals[key] = _added(totals.get(key, 0), value)
            elif cell.measure != "bills":
                if key not in totals:
                    _forget_parts(totals, key)
                totals[key] = _added(totals.get(key), value)
            rows.append(
                VersionRow(
                    release_id=certificate.release_id,
                    released_at=certificate.released_at,
                    plan=certificate.plan,
                    zone=cell.zone,
                    customer_class=cell.customer_class,
                    start=cell.start,
                    end=cell.end,
                    measure=cell.measure,
                    members=cell.members,
                    value=value,
                    total=totals.get(key),
                )
            )
    return rows


_Total = tuple[str, str, str, frozenset[Place]]
"""Start, end, measure, and the zones and classes that a cell is made of."""


def _total_of(cell: CellTotal, certificate: ReleaseCertificate) -> _Total:
    places: list[CellTotal | CountedPlace] = [certificate.places[n] for n in cell.parts] or [cell]
    named = frozenset((place.zone, place.customer_class) for place in places)
    return cell.start, cell.end, cell.measure, named


def _forget_parts(totals: dict[_Total, int | None], key: _Total) -> None:
    """Take away the totals of what a correction is partly about."""
    for known in totals:
        if known[:3] == key[:3] and not known[3].isdisjoint(key[3]):
            totals[known] = None


def _added(total: int | None, value: int | None) -> int | None:
    return None if total is None or value is None else total + value


def _read(row: BillVersionRow) -> ReleasedVersion:
    values = {field.name: getattr(row, field.name) for field in fields(BillVersion)}
    return ReleasedVersion(BillVersion(**values), row.release_id)
