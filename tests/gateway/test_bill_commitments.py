"""What a gateway commits to is the same for a meter point whoever else is in the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from gridsecure.bill_receipts import (
    COMMITTED_BILLS,
    BillCommitment,
    CountedReadings,
    Filling,
    ReceiptTree,
    readings_bytes,
    tree_root,
)
from gridsecure.errors import AuditBrokenError, StorageError
from gridsecure.gateway import outbox
from gridsecure.gateway.bill_commitments import count_readings
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.packing import PackedColumn
from gridsecure.gateway.tables import UploadRow
from gridsecure.periods import BillingPeriod
from gridsecure.store.database import read_session
from gridsecure.store.evidence import EvidenceEntry, list_entries_after
from gridsecure.transparency.tree import leaf_hash
from tests.gateway.gateway_world import GatewayWorld

TZ = ZoneInfo("Asia/Shanghai")
DAY = BillingPeriod(datetime(2026, 7, 1, tzinfo=TZ), datetime(2026, 7, 3, tzinfo=TZ))
NOON = datetime(2026, 7, 2, tzinfo=TZ)


def readings(name: str, minutes: int, *, start: datetime = DAY.start, **registers: int):
    starts = pd.date_range(start, DAY.end, freq=f"{minutes}min", inclusive="left", unit="us")
    frame = pd.DataFrame({"meter_point_id": name, "start": starts, "minutes": minutes})
    return frame.assign(
        energy_wh=np.arange(len(starts)) * 7 + minutes, quality="actual", **registers
    )


def committed(frames: list[pd.DataFrame], name: str, *, window=None) -> bytes:
    parts = {} if window is None else {name: window}
    energies = lay_out_energies(pd.concat(frames, ignore_index=True), period=DAY, parts=parts)
    row = energies.meter_point_ids.get_loc(name)
    (counted,) = count_readings(energies, [row], windows=[window])
    return counted


def test_others_in_the_file_change_nothing() -> None:
    own = readings("MP-1", 60)
    alone = committed([own], "MP-1")
    assert committed([own, readings("MP-2", 15)], "MP-1") == alone
    assert committed([own, readings("MP-2", 60)], "MP-1") == alone
    assert committed([readings("MP-2", 60), own.iloc[::-1]], "MP-1") == alone


def test_days_that_are_not_the_holders_are_left_out() -> None:
    own, window = readings("MP-1", 60, start=NOON), (NOON, DAY.end)
    alone = committed([own], "MP-1", window=window)
    assert committed([own, readings("MP-2", 15)], "MP-1", window=window) == alone
    assert len(alone.partition(b"\n")[2]) == 24 * 4


@pytest.mark.parametrize("change", ["energy", "start", "length", "reactive", "export"])
def test_whatever_is_counted_otherwise_is_another_commitment(change: str) -> None:
    own = readings("MP-1", 60, reactive_varh=0, export_wh=0)
    other = {
        "energy": own.assign(energy_wh=own["energy_wh"] + (own.index == 5)),
        "start": readings("MP-1", 30).assign(energy_wh=1),
        "length": readings("MP-1", 30),
        "reactive": own.assign(reactive_varh=1),
        "export": own.assign(export_wh=1),
    }[change]
    assert committed([own], "MP-1") != committed([other], "MP-1")


def test_energies_beyond_four_bytes_are_written_in_eight() -> None:
    starts = np.array([0, 60])
    large = CountedReadings(starts, np.array([60, 60]), np.array([1, 1 << 32]))
    assert len(readings_bytes(large).partition(b"\n")[2]) == 16
    assert CountedReadings(starts[:0], starts[:0], starts[:0]).runs == []


def commitments(count: int) -> list[BillCommitment]:
    named = {"start": "s", "end": "e", "version": 1, "plan": "bill", "plan_version": 1}
    digests = dict.fromkeys(("tariff", "salt", "facts", "readings"), "0" * 64)
    made = [
        BillCommitment(meter_point_id=f"MP-{number}", **named, **digests) for number in range(count)
    ]
    return sorted(made, key=lambda one: leaf_hash(one.text))


def filled(made: list[BillCommitment], size: int) -> tuple[ReceiptTree, dict[str, str | int]]:
    """A tree of commitments, and what the log says of it."""
    filling = Filling(size=size, seed="5a" * 32)
    root = tree_root(filling.leaves([leaf_hash(one.text) for one in made]))
    tree = ReceiptTree(commitments=made, filling=filling, log_proof="")
    return tree, {"root": root, "leaves": size}


@given(st.integers(1, 70), st.integers(0, 70))
def test_every_bill_of_a_roster_has_its_path(count: int, others: int) -> None:
    tree, told = filled(commitments(count), count + others)
    for one, receipt in zip(tree.commitments, tree.receipts(), strict=True):
        assert (receipt.commitment, receipt.size) == (one, count + others)
        receipt.check_tree(told)


def test_one_bill_stands_anywhere_in_its_tree() -> None:
    places = set()
    for one in commitments(40):
        (receipt,) = filled([one], 16)[0].receipts()
        assert receipt.size == 16
        places.add(receipt.index)
    assert len(places) > 8


def test_a_path_of_another_bill_proves_nothing() -> None:
    made, tree = filled(commitments(9), 9)
    first, second, *_ = made.receipts()
    first.check_tree(tree)
    for change in (
        {"commitment": second.commitment},
        {"index": 1},
        {"index": 8},
        {"size": 10},
        {"path": first.path[1:]},
        {"path": ["no digits", *first.path[1:]]},
    ):
        with pytest.raises(AuditBrokenError, match=r"receipt\.tree"):
            first.model_copy(update=change).check_tree(tree)
    with pytest.raises(AuditBrokenError, match=r"receipt\.tree"):
        first.check_tree(tree | {"root": "no digits"})


def test_a_tree_enters_the_log_with_the_manifest_once_and_not_without_it(tmp_path: Path) -> None:
    world = GatewayWorld(tmp_path)
    july = world.outgoing()
    span = ("2026-08-01T00:00:00+08:00", "2026-09-01T00:00:00+08:00")
    column = PackedColumn(b"column", july.upload.columns[0])

    def full_disk() -> outbox.CommittedTree:
        raise StorageError("The disk is full.")

    def put(commit: Callable[[], outbox.CommittedTree | None]) -> outbox.Outgoing:
        packed = outbox.Packed(july.seated, [column], *span, 0, commit=commit)
        return outbox.put(world.zone, packed, key=world.gateway_key, at=world.clock())

    def entered() -> list[EvidenceEntry]:
        with read_session(world.zone.engine) as session:
            entries = list_entries_after(session, -1, limit=1000)
        return [entry for entry in entries if entry.action == COMMITTED_BILLS]

    with pytest.raises(StorageError):
        put(full_disk)
    assert outbox.find(world.zone, f"{july.seated.roster_id}-2026-08") is None
    assert entered() == []
    signed = put(lambda: outbox.CommittedTree("ab" * 32, 3))
    assert put(full_disk).manifest == signed.manifest, "it is signed and committed to already"
    (entry,) = entered()
    with read_session(world.zone.engine) as session:
        (kept,) = session.exec(select(UploadRow.receipts).where(UploadRow.receipts != "")).all()
    assert kept == entry.hash
    told = {"root": "ab" * 32, "leaves": 3, "start": span[0], "version": 1}
    assert json.loads(entry.detail) == told
    world.close()
