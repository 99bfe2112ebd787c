"""Where jobs run, by URL: processes of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gridsecure.compute.jobs import PoolOpener, WorkerPool, check_shared, confine_jobs
from gridsecure.errors import InputError
from gridsecure.loopback import is_loopback
from gridsecure.sandbox import SandboxWish, check_walls
from gridsecure.store.objects import ObjectStore

PROCESSES: Final = "processes:"
"""Worker processes of this machine."""


def choose_engine(
    url: str,
    *,
    objects: ObjectStore,
    workers: int,
    tls: Mapping[str, Path | None],
    sandbox: SandboxWish = "available",
) -> PoolOpener:
    """What opens a crew's pools; nothing is started or connected yet.

    Args:
        url: `processes:`; `tls://host:port` for a Dask scheduler, or `tcp://127.0.0.1:port` where
            it is on this machine.
        workers: Worker processes of this machine; a cluster has its own.
        tls: The files `ca`, `certificate` and `key`, in PEM, for `tls:`.
        sandbox: Whether worker processes of this machine are confined; `required` of a cluster has
            its workers refuse jobs where they are not.

    Raises:
        InputError: It is none of these (`engine.url`), Dask is not installed (`engine.extra`), a
            file is missing or unsound (`engine.certificate`), nobody else can read the objects
            (`objects.url`), a required sandbox cannot be made (`sandbox.unavailable`), or workers
            would see more than a token (`sandbox.credentials`).
    """
    check_shared(objects)
    if url == PROCESSES:
        check_walls(sandbox)
        confine_jobs(objects.url, sandbox=sandbox)
        return partial(WorkerPool, objects, workers=workers, sandbox=sandbox)
    scheme = _check_dask_url(url)
    if find_spec("distributed") is None:
        raise InputError(
            "Dask is not installed.",
            reason="engine.extra",
            remedy='Install it with pip install "gridsecure[dask]", or use processes:.',
        )
    # The library costs start-up time that worker processes need not spend.
    from gridsecure.compute.dask_pool import DaskPool, make_security  # noqa: PLC0415 - an extra

    files = {name: "" if path is None else str(path) for name, path in tls.items()}
    security = make_security(**files) if scheme == "tls" else None
    must_confine = sandbox == "required"
    return partial(DaskPool, objects, address=url, security=security, must_confine=must_confine)


def _check_dask_url(url: str) -> str:
    """The scheme of a scheduler's URL; one without TLS must be on this machine."""
    try:
        asked = urlsplit(url)
        is_whole = bool(asked.hostname and asked.port) and url == f"{asked.scheme}://{asked.netloc}"
        has_user = asked.username is not None
    except ValueError:
        raise _unusable() from None
    is_here = asked.scheme == "tcp" and is_loopback(asked.hostname or "")
    is_ours = asked.scheme == "tls" or is_here
    if not is_whole or has_user or not is_ours:
        raise _unusable()
    return asked.scheme


def _unusable() -> InputError:
    return InputError(
        "The URL of the job engine cannot be used.",
        reason="engine.url",
        remedy="Write processes:, tls://host:8786, or tcp://127.0.0.1:8786 for a scheduler on this "
        "machine (docs/deployment.md).",
    )
