"""A month on a Dask cluster whose worker and scheduler are killed: every bill, and each once."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridsecure.compute.dask_pool import DaskPool, make_security
from gridsecure.compute.tables import JobRow
from gridsecure.plans.key_ring import KnownKeys
from tests.apps.test_platform_replicas import check_runs, ended, list_owners, uploaded, wait_for
from tests.apps.zone_apps import platform_settings
from tests.dask_cluster import DaskCluster, dask_cluster, kill, make_certificates


def test_a_run_on_dask_outlives_a_worker_and_the_scheduler(tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    with dask_cluster(tmp_path / "dask", objects=folder / "objects") as cluster:
        settings = platform_settings(folder, **cluster.settings)
        with uploaded(settings, tmp_path) as (grid, platform):
            zone, desk = platform.app.state.platform.zone, platform.app.state.platform.runs
            desk.warm_up()
            wait_for(lambda: pool_of(desk) is not None and pool_of(desk).workers == 2)
            first, second = cluster.workers
            for worker in cluster.workers:  # a job that is at one cannot end yet
                worker.send_signal(signal.SIGSTOP)
            desk.start(grid.order("bill"))
            wait_for(lambda: count_at_work(desk) == [1, 1])
            kill(first)
            second.send_signal(signal.SIGCONT)
            wait_for(lambda: ended(zone.engine) == {"done": 1})

            second.send_signal(signal.SIGSTOP)
            desk.start(grid.order("load-curve"))
            wait_for(lambda: count_at_work(desk) == [1])
            assert cluster.scheduler is not None
            kill(cluster.scheduler)
            kill(second)
            wait_for(lambda: not list_owners(zone.engine, JobRow))
            assert ended(zone.engine) == {"done": 1, "running": 1}
            cluster.start_scheduler()
            cluster.start_worker()
            wait_for(lambda: ended(zone.engine) == {"done": 2})
            assert confined_beside(cluster.workers[-1].pid) == ["2"], "a filter, in the process"
            check_strangers(cluster, pool_of(desk), tmp_path)
            desk.stop()

            check_runs(grid, platform)
            left = zone.objects.sweep(before=datetime.now(UTC) + timedelta(days=1), dry_run=True)
            assert left.objects == 0, "orders stay in the store"


def pool_of(desk: object) -> DaskPool:
    return desk._crew._pool


def confined_beside(pid: int) -> list[str]:
    """How the kernel filters the calls of the processes that compute for a Dask worker."""
    stats = [path.parent / "status" for path in Path("/proc").glob("[0-9]*/stat")]
    texts = [dict(line.split(":\t", 1) for line in read(path)) for path in stats]
    parents = {text["Pid"]: text["PPid"] for text in texts if text}
    return [
        text["Seccomp"]
        for text in texts
        if text and parents.get(text["PPid"]) == str(pid)  # the process between makes them
    ]


def read(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # it ended
        return []


def count_at_work(desk: object) -> list[int]:
    """How many tasks each worker has that has any."""
    return sorted(len(tasks) for tasks in pool_of(desk)._client.processing().values() if tasks)


def check_strangers(cluster: DaskCluster, pool: DaskPool, folder: Path) -> None:
    """Who has no certificate of the cluster's authority does not get in."""
    context = ssl.create_default_context(cafile=cluster.tls["ca"])
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", cluster.port), timeout=20) as plain:  # noqa: SIM117
        with pytest.raises(ssl.SSLError), context.wrap_socket(plain) as wrapped:
            wrapped.recv(1)
    assert pool.workers == 1
    files = {name: str(path) for name, path in make_certificates(folder / "other").items()}
    files["ca"] = str(cluster.tls["ca"])  # it trusts the cluster, which must not trust it
    stranger = DaskPool(
        pool._objects, KnownKeys(()), address=cluster.url, security=make_security(**files)
    )
    log = logging.getLogger("distributed")
    level = log.level
    log.setLevel(logging.CRITICAL)
    assert stranger.workers == 0
    stranger.close()
    log.setLevel(level)
