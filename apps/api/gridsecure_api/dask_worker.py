"""Makes a Dask worker one of a platform's: `dask worker … --preload gridsecure_api.dask_worker`.

Dask calls `dask_setup` before the worker takes its first task.
"""

from __future__ import annotations

from typing import Any

from gridsecure.compute.dask_pool import JobPlugin
from gridsecure.store.objects import folder_of, open_objects
from gridsecure_api.settings import DaskWorkerSettings
from gridsecure_api.start import read_settings
from gridsecure_api.worker_sandboxes import state_sandbox


async def dask_setup(worker: Any) -> None:
    """Give a worker the platform's object store, and the process that computes.

    Raises:
        InputError: A sandbox is required that this machine cannot make (`sandbox.unavailable`), or
            as `JobPlugin` and `read_settings`.
        StorageError: The environment does not say enough to open the store (`storage.settings`).
    """
    settings = read_settings(DaskWorkerSettings)
    has_network = folder_of(settings.objects) is None
    state_sandbox(settings.sandbox, workers=1, has_network=has_network)
    plugin = JobPlugin(open_objects(settings.objects), sandbox=settings.sandbox)
    plugin.warm()
    await worker.plugin_add(plugin, catch_errors=False)
