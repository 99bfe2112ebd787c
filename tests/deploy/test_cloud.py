"""An industry cloud bills a month, and one of its replicas is killed in the middle."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.cloud_month import METERS, REPLICAS, run_month
from tests.deploy.loopback import require_programs


def test_a_month_in_the_cloud_outlives_a_replica(tmp_path: Path) -> None:
    require_programs()
    shown: list[str] = []
    result, killed = run_month(tmp_path, show=shown.append)
    assert killed in REPLICAS
    assert (result.bills, result.mismatches) == (result.report["billed_meters"], 0)
    assert result.bills > METERS / 2, "the simulator leaves some without their readings"
    assert result.cells
