"""A service whose database was set back notices at its start what its log had shown."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gridsecure.errors import AuditBrokenError, StorageError
from gridsecure.store.database import open_database, write_session
from gridsecure.store.evidence import append
from gridsecure.store.kept_heads import KeptHead
from gridsecure.transparency.checkpoints import read_checkpoint
from gridsecure.transparency.tree import Frontier, leaf_hash
from gridsecure_api.market import create_market_app
from gridsecure_api.settings import MarketSettings
from tests.apps.zone_apps import point
from tests.grid_simulator import NOW, grid_keys

HEAD = "market.head"


def settings(folder: Path) -> MarketSettings:
    keys = grid_keys()
    return MarketSettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        authority_public_key=point(keys.authority),
        registrar_public_key=point(keys.platform),
        policy="uniform-15",
    )


def start(folder: Path) -> TestClient:
    return TestClient(create_market_app(settings(folder)))


def write(folder: Path, *actors: str) -> None:
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    for actor in actors:
        with write_session(engine) as session:
            append(session, at=NOW, actor=actor, action="a", detail={})
    engine.dispose()


def copy(source: Path, target: Path) -> None:
    """As a backup does; and whatever the target had beside it is gone."""
    for path in target.parent.glob(f"{target.name}*"):
        path.unlink()
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


@pytest.fixture
def shown(tmp_path: Path) -> tuple[Path, Path]:
    """A market that a witness saw after a copy of its database was made; and the copy."""
    folder, backup = tmp_path / "market", tmp_path / "backup.db"
    with start(folder):
        write(folder, "first")
        copy(folder / "zone.db", backup)
    with start(folder) as client:
        write(folder, "second", "third")
        seen = read_checkpoint(client.get("/log/checkpoint").content)
    assert seen.size >= 3
    assert (folder / HEAD).stat().st_mode & 0o077 == 0
    return folder, backup


def test_a_database_that_was_set_back_does_not_start(shown: tuple[Path, Path]) -> None:
    folder, backup = shown
    with start(folder):
        pass
    copy(backup, folder / "zone.db")
    with pytest.raises(AuditBrokenError) as refused:
        start(folder)
    assert refused.value.reason == "log.rolled-back"


def test_one_that_grew_differently_afterwards_does_not_start_either(
    shown: tuple[Path, Path],
) -> None:
    folder, backup = shown
    copy(backup, folder / "zone.db")
    write(folder, "second", "another", "and more", "and more still")
    with pytest.raises(AuditBrokenError) as refused:
        start(folder)
    assert refused.value.reason == "log.rolled-back"


def test_a_process_that_comes_late_keeps_no_smaller_tree_over_a_larger_one(tmp_path: Path) -> None:
    """As while one process takes another's place on one folder."""
    early, late = KeptHead(tmp_path / HEAD), KeptHead(tmp_path / HEAD)
    leaves = [leaf_hash(b"first"), leaf_hash(b"second")]
    early.keep(Frontier().grow(leaves))
    late.keep(Frontier().grow(leaves[:1]))
    assert json.loads((tmp_path / HEAD).read_bytes())["size"] == 2


def test_a_damaged_file_is_no_proof_of_anything(shown: tuple[Path, Path]) -> None:
    folder, _ = shown
    (folder / HEAD).write_text("{}")
    with pytest.raises(StorageError) as refused:
        start(folder)
    assert refused.value.reason == "log.head"
