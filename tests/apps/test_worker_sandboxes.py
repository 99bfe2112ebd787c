"""What a service says of its workers' sandbox, and when it does not start without one."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gridsecure.errors import InputError
from gridsecure.sandbox import SandboxWish, find_walls
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from gridsecure_api.worker_sandboxes import CONFINED, state_job_sandbox, state_sandbox
from tests.apps.zone_apps import authority_app, platform_app, platform_settings


def test_about_says_what_is_in_force(tmp_path: Path) -> None:
    """All of it at the platform; the authority of this test has no worker that is confined."""
    said = []
    for app in (platform_app(tmp_path / "platform"), authority_app(tmp_path / "authority")):
        with TestClient(app) as client:
            said.append(client.get("/about").json()["sandbox"])
    by = [f"Landlock {find_walls().landlock}", "seccomp"]
    assert said == [
        {"files": True, "network": True, "programs": True, "by": by},
        {"files": False, "network": False, "programs": False, "by": []},
    ]


def test_of_a_cluster_a_platform_says_what_it_requires(tmp_path: Path) -> None:
    """Each worker of it has a kernel of its own."""
    said = []
    for wish, objects in (("available", ""), ("required", ""), ("required", "s3://bucket")):
        settings = platform_settings(tmp_path, engine="tcp://127.0.0.1:1", sandbox=wish)
        stated = state_job_sandbox(settings, objects or settings.objects_url)
        said.append((stated.files, stated.network, stated.by))
    held = ["each Dask worker"]
    assert said == [(False, False, []), (True, True, held), (True, False, held)]


def test_the_log_says_what_is_in_force_and_when_that_changed(tmp_path: Path) -> None:
    said = []
    for wish in ("available", "available", "off"):
        app = platform_app(tmp_path, sandbox=wish)
        with TestClient(app), read_session(app.state.platform.zone.engine) as session:
            entries = evidence.list_entries_of(session, CONFINED)
        said.append([json.loads(entry.detail)["by"] for entry in entries])
    by = [f"Landlock {find_walls().landlock}", "seccomp"]
    assert said == [[by], [by], [by, []]]


@pytest.mark.parametrize(
    ("wish", "workers", "has_network", "missing"),
    [
        ("required", 1, False, ""),
        ("available", 1, True, "the network"),
        ("off", 1, False, "files, the network, programs"),
        ("available", 0, False, "files, the network, programs"),
    ],
)
def test_what_is_missing_is_said_at_the_start(
    wish: SandboxWish,
    workers: int,
    has_network: bool,
    missing: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        stated = state_sandbox(wish, workers=workers, has_network=has_network)
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if not missing else [f"{SAID} {missing} (docs/deployment.md)"])
    assert stated.by == [] or stated.files


SAID = "worker processes are not kept from:"


def test_a_required_sandbox_without_processes_stops_the_start() -> None:
    with pytest.raises(InputError) as refused:
        state_sandbox("required", workers=0, has_network=False)
    assert refused.value.reason == "sandbox.workers"
