"""An industry cloud bills a month, and each of its processes is killed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridsecure.cli import processes
from tests.deploy.cloud_month import METERS, REPLICAS
from tests.deploy.killed_month import PROCESSES, kill_through
from tests.deploy.loopback import require_programs


def test_a_month_in_the_cloud_outlives_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_programs()
    monkeypatch.setattr(processes, "MOST_RESTARTS", 100)
    result, client, released = kill_through(tmp_path)
    assert client.killed in REPLICAS
    assert {name for name, _ in client.kills} == set(PROCESSES)
    assert len([when for _, when in client.kills if when.startswith("within")]) > 1
    assert (result.bills, result.mismatches) == (result.report["billed_meters"], 0)
    assert result.bills > METERS / 2, "the simulator leaves some without their readings"
    assert result.cells
    assert released == ["bill", "load-curve"]
