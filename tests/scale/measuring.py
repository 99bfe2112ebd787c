"""Services at a size: each goes through the same month, and a table says what its requests cost."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

from fastapi import FastAPI

from gridsecure.compute import job_engines
from tests.scale.authority_world import authority_at
from tests.scale.encryption_world import encryption_at
from tests.scale.filling import Size
from tests.scale.gateway_world import gateway_at
from tests.scale.identity_world import identity_at
from tests.scale.market_world import market_at
from tests.scale.platform_world import HerePool, platform_at
from tests.scale.work_meter import WorkMeter

WORLDS: Final = {
    "platform": platform_at,
    "authority": authority_at,
    "identity": identity_at,
    "gateway": gateway_at,
    "market": market_at,
    "encryption": encryption_at,
}
FACTOR: Final = 2

LOGS: Final = {
    "identity": ("/registrations", "/enrolments"),
    **dict.fromkeys(("gateway", "platform", "authority", "market", "encryption"), ("",)),
}
AS_LONG_AS_IT_IS: Final = {
    ("identity", "POST", "/person-searches"): "compares the person with everybody who may act",
    **{
        (zone, "GET", f"/log{name}/checkpoint"): "reads a row for each bit of the log's size"
        for zone, names in LOGS.items()
        for name in names
    },
}
"""Requests that read more where there is more, and why."""


@dataclass(frozen=True)
class Measured:
    """A service at one size.

    Args:
        rows: Of every table.
    """

    app: FastAPI
    meter: WorkMeter
    rows: dict[str, int]


def measure(zone: str, size: Size, folder: Path) -> Measured:
    """Let a service go through its month."""
    meter = WorkMeter()
    with (
        patch.object(job_engines, "WorkerPool", HerePool),
        WORLDS[zone](folder, size, meter) as world,
    ):
        gc.collect()
        gc.disable()  # or a request that happens to wake it would seem slow
        try:
            world.run_month()
        finally:
            gc.enable()
    return Measured(world.app, meter, world.rows)


def tabulate(small: Measured, large: Measured) -> str:
    """What every request cost at both sizes, as a table in Markdown."""
    lines = [
        "| request | steps | steps, years later | time [ms] | time, years later [ms] |",
        "|---|---:|---:|---:|---:|",
    ]
    for key in sorted(large.meter.requests):
        few, many = small.meter.requests[key], large.meter.requests[key]
        times = f"{few.cpu * 1e3:.1f} | {many.cpu * 1e3:.1f}"
        lines.append(f"| {' '.join(key)} | {few.steps:,} | {many.steps:,} | {times} |")
    return "\n".join(lines)
