"""What the gateway commits to of each bill, written down as the roster's upload is signed.

    months/2026-07/receipts/<roster>.jsonl                            of first bills
    months/2026-07/corrections/<correction>/receipts/<roster>.jsonl   of its corrected slots

The first line says what the tree is filled with. Every other is a commitment with its salt and
facts, in the order of their leaves. The file is written just
before the manifest is signed, and its root enters the log with that; a run that is killed in
between draws new salts. It is private, like the readings themselves: the salts open the
commitments.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlmodel import Session

from gridsecure.bill_receipts import (
    ROOT,
    SALT_BYTES,
    BillCommitment,
    BillFacts,
    CountedReadings,
    EstimatedReading,
    Filling,
    ReadingsOpening,
    ReceiptTree,
    readings_bytes,
    tree_root,
)
from gridsecure.billing.readings import MINUTE_US, moment_us
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, NotFoundError, StorageError
from gridsecure.gateway.books.months import Window
from gridsecure.gateway.correction_plan import (
    find_first_uploads,
    list_corrections,
    make_correction_folder,
)
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.outbox import CommittedTree
from gridsecure.gateway.preparation import AdmittedMonth
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.rosters import Roster
from gridsecure.gateway.tables import UploadRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import FIRST_REVISION, Message, RosterManifest
from gridsecure.periods import BillingPeriod
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.store.database import read_session
from gridsecure.store.evidence import find_entry
from gridsecure.store.log_tree import SignedLog
from gridsecure.store.rows import find
from gridsecure.transparency.tree import leaf_hash

_FOLDER: Final = "receipts"


class KeptCommitment(Message):
    """A line of the file."""

    kind: ClassVar[str] = "kept-commitment"
    commitment: BillCommitment
    salt: str
    facts: BillFacts


@dataclass(frozen=True, slots=True, eq=False)
class BillsToCommit:
    """A roster's bills of one version, before its upload is signed.

    Args:
        folder: That of its month or correction.
        slots: Those that get a bill; None for all of them.
        earlier: Gives the digest of the commitment that is replaced, by meter point.
    """

    admitted: AdmittedMonth
    roster: Roster
    period: BillingPeriod
    folder: Path
    version: int = FIRST_REVISION
    slots: Collection[int] | None = None
    earlier: Callable[[], Mapping[str, str]] = dict

    def write(self) -> CommittedTree | None:
        """Draw salts, keep the commitments, and give their tree; none of a file without intervals.

        Of a correction the tree is as large as the first one's: if its size said how many slots
        were corrected, a receipt beside the upload's `corrected_slots` could name the customer's.

        Raises:
            StorageError: The disk refuses.
        """
        energies = self.admitted.energies_of(self.roster)
        if energies is None:
            return None
        leaves = sorted(self._commit(energies))
        path = _path(self.folder, self.roster.manifest.roster_id)
        private_folder(path.parent)
        members = len(self.roster.meter_point_ids)
        filling = Filling(size=_filled_size(members), seed=secrets.token_hex(SALT_BYTES))
        lines = [filling.model_dump_json().encode() + b"\n", *(line for _, line in leaves)]
        write_private(path, lines, what="The file of commitments to bills")
        tree = filling.leaves([leaf for leaf, _ in leaves])
        return CommittedTree(tree_root(tree), len(tree))

    def _commit(self, energies: IntervalEnergies) -> Iterator[tuple[bytes, bytes]]:
        """Each bill's leaf hash, and its line of the file.

        A line is put together of the very texts that were hashed: writing them once is half of
        what a commitment costs.
        """
        names, earlier = self.roster.meter_point_ids, self.earlier()
        slots = range(len(names)) if self.slots is None else sorted(self.slots)
        parts = self.admitted.held.parts
        start, end = self.period.start.isoformat(), self.period.end.isoformat()
        windows = [parts.get(names[slot]) for slot in slots]
        counted = count_readings(energies, slots, windows=windows)
        for slot, window, data in zip(slots, windows, counted, strict=True):
            facts = _facts(self.roster.manifest, slot, energies, window).model_dump_json().encode()
            salt = secrets.token_bytes(SALT_BYTES)
            text = BillCommitment(
                meter_point_id=names[slot],
                start=start,
                end=end,
                version=self.version,
                plan="bill" if self.version == FIRST_REVISION else "rebill",
                plan_version=BILL_PLAN_VERSION,
                tariff=self.roster.manifest.tariff,
                salt=sm3_hex(salt),
                facts=sm3_hex(salt + facts),
                readings=sm3_hex(salt + data),
                corrects=earlier.get(names[slot], ""),
            ).text
            opened = b',"salt":"' + salt.hex().encode() + b'","facts":' + facts
            yield leaf_hash(text), b'{"commitment":' + text + opened + b"}\n"


def count_readings(
    energies: IntervalEnergies, rows: Sequence[int], *, windows: Sequence[Window | None]
) -> Iterator[bytes]:
    """What bills count of meter points, as it is committed to.

    Args:
        rows: Their rows of the energies.
        windows: The time that each holder has of the period; None for all of it.
    """
    starts = energies.starts.as_unit("us").asi8 // MINUTE_US
    lengths = np.broadcast_to(energies.lengths, energies.energy_wh.shape)
    common: list[list[int]] = []
    for row, window in zip(rows, windows, strict=True):
        is_whole = energies.minutes is None and window is None
        own: slice | NDArray[np.bool_] = slice(None) if is_whole else lengths[row] > 0
        if window is not None:
            first, end = (moment_us(moment) // MINUTE_US for moment in window)
            own = (lengths[row] > 0) & (starts >= first) & (starts < end)
        counted = CountedReadings(
            starts[own],
            lengths[row][own],
            energies.energy_wh[row][own],
            _register(energies.reactive_varh, row),
            _register(energies.export_wh, row),
        )
        if is_whole and not common:
            common = counted.runs
        yield readings_bytes(counted, runs=common if is_whole else ())


def find_earlier(zone: GatewayZone, month: str, *, first: str, revision: int) -> dict[str, str]:
    """The latest commitments of a roster before a revision: meter point -> digest.

    Args:
        first: The id that the roster had first.
    """
    found: dict[str, str] = {}
    for version in _versions(zone, month):
        if version.first == first and version.revision < revision:
            for line in _lines(version.folder, version.roster_id)[1:]:
                own = KeptCommitment.parse(line).commitment
                found[own.meter_point_id] = own.digest
    return found


def list_receipt_trees(zone: GatewayZone, log: SignedLog, month: str) -> list[ReceiptTree]:
    """The commitments to a month's bills and corrections, each tree with its proof.

    Rosters that were signed before there were commitments have none.

    Raises:
        NotFoundError: The month was not processed here (`month.not-processed`).
        AuditBrokenError: The kept commitments are not those that the log has (`receipt.kept`).
    """
    trees = []
    with read_session(zone.engine) as session:
        for version in _versions(zone, month):
            row = find(session, UploadRow, name=version.name)
            if row is None or not row.receipts:
                continue
            lines = _lines(version.folder, version.roster_id)
            trees.append(_tree(session, log, row.receipts, lines))
    return trees


def open_readings(zone: GatewayZone, month: str, *, meter_point_id: str) -> list[ReadingsOpening]:
    """What opens the commitments to a meter point's bills of a month, version by version.

    Raises:
        NotFoundError: The month was not processed here (`month.not-processed`), or nothing was
            committed to of this meter point (`receipt.meter`).
    """
    found = [
        _opening(kept, version.folder)
        for version in _versions(zone, month)
        for kept in _kept_of(version.folder, version.roster_id, meter_point_id)
    ]
    if not found:
        raise NotFoundError(
            "There is no commitment to a bill of this meter point in the month.",
            reason="receipt.meter",
            remedy="Check the meter point's id. Months that were processed by an earlier release "
            "have none.",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a roster's month.

    Args:
        first: The id that the roster had first.
        name: Its name in the outbox.
    """

    first: str
    roster_id: str
    name: str
    revision: int
    folder: Path


def _versions(zone: GatewayZone, month: str) -> list[_Version]:
    found = [
        _Version(roster, roster, name, FIRST_REVISION, folder)
        for roster, (name, folder) in find_first_uploads(zone, month).items()
    ]
    for plan in list_corrections(zone, month):
        folder = make_correction_folder(zone, plan.files)
        found += [
            _Version(item.first, item.roster_id, item.name, item.revision, folder)
            for item in plan.rosters
        ]
    return found


def _tree(session: Session, log: SignedLog, name: str, lines: list[bytes]) -> ReceiptTree:
    entry = find_entry(session, name)
    if entry is None or not lines:
        raise _not_kept()
    filling = Filling.parse(lines[0])
    own = [KeptCommitment.parse(line).commitment for line in lines[1:]]
    root = tree_root(filling.leaves([leaf_hash(one.text) for one in own]))
    if json.loads(entry.detail)[ROOT] != root:
        raise _not_kept()
    proof = log.prove(session, entry).text
    return ReceiptTree(commitments=own, filling=filling, log_proof=proof)


def _not_kept() -> AuditBrokenError:
    return AuditBrokenError(
        "The commitments that are kept of a roster are not those that the log has.",
        reason="receipt.kept",
        remedy="Restore the month's folder from the backup that belongs to the database.",
    )


def _opening(kept: KeptCommitment, folder: Path) -> ReadingsOpening:
    own = kept.commitment
    return ReadingsOpening(
        meter_point_id=own.meter_point_id,
        start=own.start,
        end=own.end,
        version=own.version,
        salt=kept.salt,
        facts=kept.facts,
        estimates=_estimates(folder / "estimates.csv", own.meter_point_id),
    )


def _kept_of(folder: Path, roster_id: str, meter_point_id: str) -> list[KeptCommitment]:
    named = json.dumps(meter_point_id, ensure_ascii=False).encode()
    lines = (line for line in _lines(folder, roster_id)[1:] if named in line)
    found = map(KeptCommitment.parse, lines)
    return [one for one in found if one.commitment.meter_point_id == meter_point_id]


def _estimates(path: Path, meter_point_id: str) -> list[EstimatedReading]:
    """The readings of a meter point that were estimated, as `preparation` wrote them down."""
    if not path.is_file():
        return []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    own = table[table["meter_point_id"] == meter_point_id]
    return [
        EstimatedReading(start=start, energy_wh=int(kwh.replace(".", "")))
        for start, kwh in zip(own["start"], own["kwh"], strict=True)
    ]


def _facts(
    manifest: RosterManifest, slot: int, energies: IntervalEnergies, window: Window | None
) -> BillFacts:
    before = energies.year_before_wh
    held = () if window is None else tuple(moment.isoformat() for moment in window)
    return BillFacts(
        zone=manifest.zones[slot],
        customer_class=manifest.customer_classes[slot],
        household_quota_wh=manifest.household_quota_wh[slot],
        contracted_va=manifest.contracted_va[slot],
        free_quota_wh=manifest.free_quota_wh[slot] if manifest.free_quota_wh else 0,
        service_from=manifest.service_from[slot] if manifest.service_from else "",
        unheld_days=manifest.unheld_days[slot] if manifest.unheld_days else 0,
        year_before_wh=0 if before is None else int(before[slot]),
        cycle_day=manifest.cycle_day,
        **(dict(zip(("held_from", "held_until"), held, strict=True)) if held else {}),
    )


def _register(values: np.ndarray | None, row: int) -> int | None:
    """A register's energy; below zero, the meter point has none."""
    value = -1 if values is None else int(values[row])
    return None if value < 0 else value


def _filled_size(members: int) -> int:
    """Leaves of a roster's trees: the power of two that has room for all of its members."""
    return 1 << max(members - 1, 0).bit_length()


def _path(folder: Path, roster_id: str) -> Path:
    return folder / _FOLDER / f"{roster_id}.jsonl"


def _lines(folder: Path, roster_id: str) -> list[bytes]:
    """The filling and kept commitments of a roster's version, as lines; none where none are."""
    try:
        return _path(folder, roster_id).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(
            f"The commitments of a month cannot be read: {error.strerror}.",
            reason="storage.read",
            remedy="Check the month's folder.",
        ) from error
