"""Makes a Dask worker one of a platform's: `dask worker … --preload gridsecure_api.dask_worker`.

Dask calls `dask_setup` before the worker takes its first task.
"""

from __future__ import annotations

from typing import Any

from gridsecure.compute.dask_pool import JobPlugin
from gridsecure.compute.jobs import check_shared
from gridsecure.store.objects import open_objects
from gridsecure_api.settings import DaskWorkerSettings
from gridsecure_api.start import read_settings


async def dask_setup(worker: Any) -> None:
    """Give a worker the platform's object store.

    Raises:
        InputError: The URL names nothing that other machines can reach (`objects.url`), or as
            `read_settings`.
        StorageError: The environment does not say enough to open the store (`storage.settings`).
    """
    objects = open_objects(read_settings(DaskWorkerSettings).objects)
    check_shared(objects)
    await worker.plugin_add(JobPlugin(objects), catch_errors=False)
