"""What a service says of its workers' sandbox: when it starts, at `/about`, in its log."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.compute.job_engines import PROCESSES
from gridsecure.errors import InputError
from gridsecure.policy.levels import Level, find_sandbox_shortfalls, refuse_shortfalls
from gridsecure.sandbox import SandboxWish, Walls, check_walls, find_walls, name_open
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.objects import folder_of
from gridsecure.wire.services import WorkerSandbox
from gridsecure_api.settings import EngineSettings

CONFINED: Final = "workers.confined"
"""What the evidence log says was done with a sandbox."""

_log = logging.getLogger(__name__)


def hold_sandbox(level: Level | None, wish: SandboxWish, *, whose: str) -> None:
    """Refuse a sandbox that falls below a security level.

    Args:
        whose: A name for the message, as "the platform".

    Raises:
        InputError: It does (`level.below`).
    """
    if level is not None:
        refuse_shortfalls(level, find_sandbox_shortfalls(level, wish), whose=whose)


def state_sandbox(wish: SandboxWish, *, workers: int, has_network: bool) -> WorkerSandbox:
    """What is in force, and a warning in the service's output where that is not everything.

    Args:
        workers: Processes that are confined; 0 where jobs run elsewhere, or in the service itself.
        has_network: Whether they keep the network.

    Raises:
        InputError: One is required that this machine cannot make (`sandbox.unavailable`), or there
            are no processes to confine (`sandbox.workers`).
    """
    check_walls(wish)
    walls = find_walls()
    if wish == "required" and not workers:
        raise InputError(
            "A sandbox is required, and there are no worker processes to confine.",
            reason="sandbox.workers",
            remedy="Give the service worker processes, or set its setting SANDBOX to available.",
        )
    is_on = wish != "off" and workers > 0
    stated = WorkerSandbox(
        files=is_on and walls.close_files,
        network=is_on and walls.seccomp and not has_network,
        programs=is_on and walls.seccomp,
        by=[f"Landlock {walls.landlock}"] * (is_on and walls.landlock > 0)
        + ["seccomp"] * (is_on and walls.seccomp),
    )
    in_force = walls if is_on else Walls(0, seccomp=False)
    missing = name_open(in_force, network=has_network)
    if missing:
        _log.warning(
            "worker processes are not kept from: %s (docs/deployment.md)", ", ".join(missing)
        )
    return stated


def state_job_sandbox(settings: EngineSettings, objects: str) -> WorkerSandbox:
    """What is in force for the processes of a platform or of its worker.

    Each worker of a Dask cluster has a kernel of its own, and says itself what that does. What a
    platform can say is what it holds them to: with `required` they refuse its jobs otherwise.

    Args:
        objects: URL of the objects; what is no folder is reached by the network.

    Raises:
        InputError: As `state_sandbox`.
    """
    has_network = folder_of(objects) is None
    if settings.engine == PROCESSES:
        return state_sandbox(settings.sandbox, workers=settings.workers, has_network=has_network)
    if settings.sandbox != "required":
        return state_sandbox(settings.sandbox, workers=0, has_network=has_network)
    network = not has_network
    return WorkerSandbox(files=True, network=network, programs=True, by=["each Dask worker"])


def enter_sandbox(engine: Engine, stated: WorkerSandbox, *, at: datetime) -> None:
    """Enter in the zone's evidence log what is in force, unless it says so already.

    Args:
        engine: Of the zone's database.

    Raises:
        StorageError: It cannot be entered.
    """
    detail = stated.model_dump()
    with write_session(engine) as session:
        known = evidence.list_entries_of(session, CONFINED)
        if not known or json.loads(known[-1].detail) != detail:
            evidence.append(session, at=at, actor="service", action=CONFINED, detail=detail)
