"""What passes through a Dask scheduler, which opens it: this module loads nothing that computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from distributed import get_worker

from gridsecure.errors import InputError

PLUGIN: Final = "gridsecure-jobs"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A job on its way to a worker.

    Args:
        order: The object that says what to compute.
        seed: What must not lie in a store.
        must_confine: Whether only a confined process may run it.
    """

    order: str
    seed: bytes = field(repr=False)
    must_confine: bool = False


def run_ticket(ticket: Ticket) -> Any:
    """What the scheduler has a worker do; gives the job's result.

    Raises:
        InputError: The worker was started without the plugin (`engine.worker`).
        GridSecureError: As `dask_pool.JobPlugin.run`.
    """
    plugin = get_worker().plugins.get(PLUGIN)
    if plugin is None:
        raise InputError(
            "A Dask worker was started without GridSecure's plugin.",
            reason="engine.worker",
            remedy="Have it preload gridsecure_api.dask_worker (docs/deployment.md).",
        )
    return plugin.run(ticket)
