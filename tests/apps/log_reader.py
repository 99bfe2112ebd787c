"""Reads a served log as a stranger does: without a token, from tiles, against its checkpoint."""

from __future__ import annotations

from fastapi.testclient import TestClient

from gridsecure.transparency.checkpoints import Checkpoint
from gridsecure.transparency.tiles import leaf_tiles, split_entries, split_hashes
from gridsecure.transparency.tree import Frontier, leaf_hash


def check_log_pages(client: TestClient, path: str, checkpoint: Checkpoint) -> None:
    """All entries hash to the leaves, and the leaves to the root; nothing is beyond it."""
    (hashes,) = leaf_tiles(0, checkpoint.size, level=0)
    (entries,) = leaf_tiles(0, checkpoint.size, level="entries")
    answer = client.get(f"{path}/tile/{hashes.path}")
    leaves = split_hashes(answer.content)
    assert "immutable" in answer.headers["cache-control"]
    assert "no-cache" in client.get(f"{path}/checkpoint").headers["cache-control"]
    shown = split_entries(client.get(f"{path}/tile/{entries.path}").content)
    assert [leaf_hash(entry) for entry in shown] == leaves
    assert Frontier().grow(leaves).root == checkpoint.root
    beyond = f"0/000.p/{checkpoint.size + 1}"
    for missing in (beyond, "0/001", "1/000.p/1", "64/000", "0/0", "0/000.p/256", "x/000"):
        refused = client.get(f"{path}/tile/{missing}")
        assert (refused.status_code, refused.json()["reason"]) == (404, "not-found.tile"), missing
