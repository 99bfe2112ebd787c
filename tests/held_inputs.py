"""Objects of a platform that are held: who reads one waits for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import col, select

from gridsecure.compute.tables import ExtentRow, StoredRow
from gridsecure.store.database import open_database, write_session
from gridsecure.store.rows import find, load_row

PIPE = "0" * 64


def hold_inputs(folder: Path, digests: Sequence[str]) -> dict[str, int]:
    """A pipe nobody writes to stands where these lay, in a zone's folder; say where they did."""
    path = folder / "objects" / PIPE[:2] / PIPE[2:]
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        os.mkfifo(path)
    with _opened(folder) as engine, write_session(engine) as session:
        if find(session, StoredRow, name=PIPE) is None:
            session.add(StoredRow(name=PIPE, size=0))
            session.flush()
        held = load_row(session, StoredRow, name=PIPE).id
        parts = session.exec(select(ExtentRow).where(col(ExtentRow.digest).in_(digests))).all()
        lay_in = {part.digest: part.stored_id for part in parts}
        assert lay_in
        for part in parts:
            part.stored_id = held or 0
    return lay_in


def release_inputs(folder: Path, lay_in: dict[str, int]) -> None:
    """They lie again where they lay."""
    with _opened(folder) as engine, write_session(engine) as session:
        for digest, stored_id in lay_in.items():
            load_row(session, ExtentRow, digest=digest).stored_id = stored_id


@contextmanager
def _opened(folder: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    yield engine
    engine.dispose()
