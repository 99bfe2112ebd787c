"""A platform whose objects are in a bucket: a month from the upload to the release."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.store.objects import CONTAINER, open_objects
from gridsecure.wire.client import service_client
from gridsecure_api.platform import create_platform_app
from tests.apps.test_api_platform import AUTHORITY, OPERATOR, finished, start, upload_all
from tests.apps.zone_apps import TestClock, platform_settings
from tests.authority_simulator import Authority, answer_approved
from tests.grid_simulator import NOW, GridSimulator


@pytest.fixture
def fresh_workers() -> Iterator[None]:
    """Workers have the environment of their first fork; a service's is there from its start."""
    forkserver._forkserver._stop()
    yield
    forkserver._forkserver._stop()


@pytest.mark.usefixtures("fresh_workers")
def test_a_month_is_billed_and_released_from_a_bucket(tmp_path: Path, s3_url: str) -> None:
    grid = GridSimulator(tmp_path / "grid")
    authority = Authority(grid, tmp_path / "authority")
    settings = platform_settings(tmp_path / "platform", objects=s3_url)
    with TestClient(create_platform_app(settings, clock=TestClock())) as platform:
        upload_all(platform, grid)
        assert finished(platform, start(platform, grid))["state"] == "done"
        platform.headers.update(AUTHORITY)
        pull = PlatformPull(service_client(platform, name="platform", pause=lambda _seconds: None))
        (request,) = pull.list_waiting()
        outcome = answer_approved(authority.zone, request, view=pull, clock=lambda: NOW)
        assert outcome.state == RELEASED, outcome
        stored = list(open_objects(s3_url).list_stored())
        counts = platform.get("/status", headers=OPERATOR).json()
    assert counts["stored_bytes"] == sum(one.size for one in stored)
    assert any(one.digest.endswith(CONTAINER) for one in stored)
    assert not (settings.folder / "objects").exists()
    authority.close()
    grid.close()
