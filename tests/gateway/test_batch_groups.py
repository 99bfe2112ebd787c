"""Small batches that came at once: each is answered as if it had come alone."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from zipfile import ZipFile

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from gridsecure import whole_files
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.gateway.ingestion import batch_groups
from gridsecure.gateway.ingestion.batch_groups import SmallBatch, take_in_together
from gridsecure.gateway.ingestion.batches import (
    Arrival,
    BatchName,
    TakenIn,
    batch_folder,
    find_batches,
    keep_batches,
    load_batch,
    newest_batch,
    take_in,
)
from gridsecure.gateway.ingestion.sources import Source, find_source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_readings import count_rows, read_batches
from gridsecure.gateway.tables import SCHEMA, BatchMonthRow, BatchRow, SourceRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import BatchReceipt
from gridsecure.periods import month_period
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.schema import migrate
from gridsecure.store.shared_turns import SharedTurns
from tests.apps.zone_apps import grid_keys

AT = datetime(2026, 8, 1, tzinfo=UTC)
HEADER = "meter_point_id,start,kwh\n"


def hours(name: str, kwh: str = "0.4", *, month: str = "2026-07", count: int = 3) -> str:
    return "".join(
        f"{name},{month}-{one // 24 + 1:02}T{one % 24:02}:00+08:00,{kwh}\n" for one in range(count)
    )


PLAIN = {
    "good": hours("MP-1"),
    "other": hours("MP-1", "0.5"),
    "two meter points, mixed": hours("MP-1") + hours("MP-2", "1.25"),
    "several lengths": hours("MP-1", count=6)
    + "".join(f"MP-1,2026-07-02T00:{at:02}+08:00,0.1\n" for at in (0, 15, 30, 45)),
    "a month's edge": hours("MP-1", month="2026-06", count=2) + hours("MP-1", month="2026-07"),
    "out of scope": hours("XX-1") + hours("MP-1"),
    "nothing in scope": hours("XX-1"),
    "in the future": hours("MP-1", month="2026-09") + hours("MP-1"),
    "one reading": hours("MP-1", count=1),
    "twice the same": hours("MP-1") * 2,
}
REFUSED = {
    "malformed": hours("MP-1").replace("0.4", "much", 1),
    "only rising": "".join(
        f"MP-1,2026-07-{day + 1:02}T00:00+08:00,{day + 100}\n" for day in range(28)
    ),
    "empty": "",
}
LEFT = {"local times": hours("MP-1").replace("+08:00", "")}
TEXTS = PLAIN | REFUSED | LEFT


def body(kind: str) -> bytes:
    return (HEADER + TEXTS[kind]).encode()


class Gateway:
    """A gateway with two sources, which forgets all batches at each beginning."""

    def __init__(self, folder) -> None:
        engine = open_database(f"sqlite:///{folder / 'zone.db'}")
        migrate(engine, SCHEMA)
        key = grid_keys().identity
        self.zone = GatewayZone(
            engine=engine,
            folder=folder,
            objects=None,  # type: ignore[arg-type]
            signing_key=key,
            authority={},
            pinned=None,  # type: ignore[arg-type]
            seed=b"",
            batch_turns=SharedTurns(),
        )
        rows = [
            SourceRow(name=name, thumbprint=f"key-{name}", meter_points="MP", stamps="start",
                      timezone="Asia/Shanghai", webhook="", interval_minutes=60,
                      declares_zone=False, formats="", unit="", at=AT, state="active")
            for name in ("a", "b")
        ]  # fmt: skip
        with write_session(engine) as session:
            session.add_all(rows)

    def begin(self) -> None:
        with write_session(self.zone.engine) as session:
            for table in (BatchMonthRow, BatchRow):
                for row in session.exec(select(table)).all():
                    session.delete(row)
                session.flush()

    def ids(self) -> list[str]:
        with read_session(self.zone.engine) as session:
            return list(session.exec(select(BatchRow.batch_id).order_by(BatchRow.id)))

    def kept(self) -> list[tuple]:
        with read_session(self.zone.engine) as session:
            rows = session.exec(select(BatchRow).order_by(BatchRow.id)).all()
            months = session.exec(select(BatchMonthRow)).all()
        return [
            (*(getattr(row, name) for name in BatchRow.model_fields if name not in SIGNED),
             sorted(one.month for one in months if one.batch == row.id))
            for row in rows
        ]  # fmt: skip


SIGNED = {"id", "message", "digest", "pack"}
"""What a signature makes another one each time, numbers, and where a batch lies."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("gateway"))
    yield made
    made.zone.engine.dispose()


def together(zone, batches, *, waiting=frozenset()):
    return take_in_together(zone, batches, waiting=waiting)


def as_served(zone, batches):
    """Together, and what is left of them by itself, as the service does."""
    outcomes = together(zone, batches)
    left = [number for number, one in enumerate(outcomes) if isinstance(one, Source)]
    found = by_themselves(zone, [batches[number] for number in left])
    for number, outcome in zip(left, found, strict=True):
        outcomes[number] = outcome
    return outcomes


def alone(zone, batches):
    return [as_served(zone, [one])[0] for one in batches]


def by_themselves(zone, batches):
    """As the way of all forms takes them in."""
    outcomes = []
    for one in batches:
        try:
            source = find_source(zone, one.thumbprint)
            with SpooledBody(batch_folder(zone)) as spooled:
                spooled.add(one.body)
                outcomes.append(take_in(zone, spooled, arrival=Arrival(source, one.name, one.at)))
        except GridSecureError as refused:
            outcomes.append(refused)
    return outcomes


def said(outcome):
    """What a source is told, but for the signature."""
    if isinstance(outcome, TakenIn):
        return BatchReceipt.parse(outcome.receipt.body), dict(outcome.months), outcome.source
    if isinstance(outcome, GridSecureError):
        problems = [str(one) for one in getattr(outcome, "problems", ())]
        return type(outcome), outcome.reason, outcome.message, outcome.remedy, problems
    raise AssertionError(outcome)


small = st.builds(
    lambda source, number, sequence, kind: SmallBatch(
        f"key-{source}", BatchName(number, sequence), AT, body(kind)
    ),
    st.sampled_from(["a", "a", "b", "stranger"]),
    st.sampled_from(["n1", "n2", "n3", "no name"]),
    st.integers(0, 3),
    st.sampled_from([*PLAIN, *REFUSED]),
)


@settings(deadline=None)
@given(st.lists(small, max_size=3), st.lists(small, min_size=1, max_size=8))
def test_each_of_a_group_is_answered_and_kept_as_if_it_had_come_alone(gateway, before, group):
    answers, kept = [], []
    for way in (as_served, alone, by_themselves):
        gateway.begin()
        answers.append([said(one) for part in (before, group) for one in way(gateway.zone, part)])
        kept.append(gateway.kept())
    assert answers[0] == answers[1] == answers[2]
    assert sorted(kept[0]) == sorted(kept[1]) == sorted(kept[2])  # what was left came later


def batch(kind, number=1, *, source="a", sequence=None):
    name = BatchName(f"n{number}", sequence or number)
    return SmallBatch(f"key-{source}", name, AT, body(kind))


def test_a_group_of_every_sort_gives_each_its_own_answer(gateway):
    gateway.begin()
    (first,) = together(gateway.zone, [batch("good")])
    found = together(
        gateway.zone,
        [
            batch("good"),  # repeated
            batch("other"),  # altered
            batch("good", 2),
            batch("only rising", 3),
            batch("good", 4, sequence=2),  # another one's sequence
            batch("out of scope", 5),
            batch("local times", 6),
            batch("good", 7, source="stranger"),
            batch("good", 8, source="b"),
        ],
    )
    assert isinstance(found[0], TakenIn)
    assert found[0].receipt == first.receipt
    reasons = [getattr(one, "reason", None) for one in found]
    assert reasons[1:5] == ["conflict.batch", None, "readings.cumulative", "conflict.batch"]
    assert BatchReceipt.parse(found[5].receipt.body).rejected == {"outside-scope": 3}
    assert isinstance(found[6], Source)
    assert reasons[7] == "access.source"
    stored = load_batch(gateway.zone, source="b", batch_id="n8")
    assert stored.receipt == found[8].receipt


def test_a_namesake_of_one_that_is_left_is_left_behind_it(gateway):
    gateway.begin()
    found = together(
        gateway.zone,
        [batch("malformed"), batch("good"), batch("good", 2, sequence=1), batch("good", 2)],
    )
    assert [type(one) for one in found] == [Source, Source, Source, Source]
    found = together(
        gateway.zone, [batch("malformed"), batch("good", source="b"), batch("good", 2)]
    )
    assert [type(one) for one in found] == [Source, TakenIn, TakenIn]


def test_batches_behind_one_that_waits_are_left(gateway):
    gateway.begin()
    found = together(gateway.zone, [batch("good"), batch("good", source="b")], waiting={"a"})
    assert isinstance(found[0], Source)
    assert isinstance(found[1], TakenIn)


def test_a_fault_of_the_disk_concerns_all_it_was_for_and_keeps_nothing(gateway, monkeypatch):
    gateway.begin()
    before = set(batch_folder(gateway.zone).glob("*"))

    def failing(_file):
        raise OSError(errno.ENOSPC, "No space left on device")

    group = [batch("good", 1), batch("malformed", 2), batch("other", 3)]
    with monkeypatch.context() as patched:
        patched.setattr(whole_files.os, "fsync", failing)
        found = together(gateway.zone, group)
    assert [type(one) for one in found] == [StorageError, Source, StorageError]
    assert gateway.ids() == []
    assert set(batch_folder(gateway.zone).glob("*")) == before
    assert isinstance(together(gateway.zone, group)[2], TakenIn)


def test_batches_that_came_together_lie_in_one_file_each_as_by_itself(gateway):
    gateway.begin()
    together(gateway.zone, [batch("good", 1), batch("other", 2), batch("good", 3, source="b")])
    july = month_period("2026-07", timezone="Asia/Shanghai")
    paths = find_batches(gateway.zone, july, until=newest_batch(gateway.zone))
    assert len({path.parent for path in paths}) == 1
    packed = [read_batches([path], period=july) for path in paths]
    gateway.begin()
    by_themselves(gateway.zone, [batch("good", 1), batch("other", 2), batch("good", 3, source="b")])
    by_itself = find_batches(gateway.zone, july, until=newest_batch(gateway.zone))
    assert [path.name for path in by_itself] == [path.name for path in paths]
    for path, readings in zip(by_itself, packed, strict=True):
        pd.testing.assert_frame_equal(read_batches([path], period=july), readings)


@pytest.mark.parametrize("fault", ["altered", "no pack", "gone", "cut off"])
def test_a_batch_that_is_not_in_its_pack_as_it_was_is_not_read(gateway, fault):
    gateway.begin()
    together(gateway.zone, [batch("good")])
    july = month_period("2026-07", timezone="Asia/Shanghai")
    (path,) = find_batches(gateway.zone, july, until=newest_batch(gateway.zone))
    pack = path.parent
    if fault == "altered":
        with ZipFile(pack, "w") as altered:
            altered.writestr(path.name, b"PAR1")
    elif fault == "gone":
        with ZipFile(pack, "w") as altered:
            altered.writestr("another.parquet", b"PAR1")
    elif fault == "cut off":
        pack.write_bytes(pack.read_bytes()[:-30])
    else:
        pack.unlink()
    for read in (read_batches, count_rows):
        with pytest.raises(StorageError) as failed:
            read([path], period=july)
        assert failed.value.reason == "storage.read"


def test_whatever_one_body_breaks_it_is_left_to_its_route_and_the_others_are_taken_in(
    gateway, monkeypatch
):
    gateway.begin()
    read = batch_groups.read_plain_lines
    sent = [batch("good"), batch("other", 2), batch("good", 3)]

    def breaking(body, source):
        if body == sent[1].body:
            raise RuntimeError
        return read(body, source)

    with monkeypatch.context() as patched:
        patched.setattr(batch_groups, "read_plain_lines", breaking)
        found = together(gateway.zone, sent)
    assert [type(one) for one in found] == [TakenIn, Source, TakenIn]
    assert gateway.ids() == ["n1", "n3"]
    assert not list(batch_folder(gateway.zone).glob(".draft-*"))


def test_a_fault_of_the_commit_concerns_all_it_was_for_and_keeps_nothing(gateway, monkeypatch):
    gateway.begin()
    together(gateway.zone, [batch("good")])

    def failing(batches):
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(batch_groups, "keep_batches", failing)
        found = together(gateway.zone, [batch("good"), batch("good", 2), batch("malformed", 3)])
    assert [type(one) for one in found] == [TakenIn, StorageError, Source]
    assert gateway.ids() == ["n1"]
    assert not list(batch_folder(gateway.zone).glob(".draft-*"))


def test_a_name_that_another_process_took_before_the_commit_stays_taken(gateway, monkeypatch):
    gateway.begin()

    def overtaken(batches):
        by_themselves(gateway.zone, [replace(batch("other"), name=BatchName("n1", 1))])
        return keep_batches(batches)

    with monkeypatch.context() as patched:
        patched.setattr(batch_groups, "keep_batches", overtaken)
        found = together(gateway.zone, [batch("good"), batch("good", 2)])
    assert found[0].reason == "conflict.batch"
    assert isinstance(found[1], TakenIn)
