"""A service loads what its own work needs: a run starts several of them on a few processors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI

from gridsecure.compute import jobs
from gridsecure.key_authority.checker import reexecution
from gridsecure_api import authority, platform
from tests.apps.zone_apps import authority_app, platform_app

ROOT = Path(__file__).parents[2]
SHOWN_TO_PEOPLE = {"jinja2", "reportlab", "rich", "streamlit", "typer"}
TABLES = {"numpy", "pandas"}


@pytest.mark.parametrize(
    "module", ["gridsecure.compute.jobs", "gridsecure.key_authority.checker.reexecution"]
)
def test_worker_processes_load_no_library_of_frames(module: str) -> None:
    """Each pool loads it anew; half of its start would be that."""
    assert _loaded(module) & {"pandas", "pyarrow", "fastapi", "httpx", "sqlmodel"} == set()


@pytest.mark.parametrize(
    ("service", "needless"),
    [
        ("identity", SHOWN_TO_PEOPLE | TABLES | {"tenseal"}),
        ("vault", SHOWN_TO_PEOPLE | {"fastapi", "httpx", "sqlmodel", "uvicorn"}),
    ],
)
def test_a_service_loads_nothing_that_only_others_need(service: str, needless: set[str]) -> None:
    assert _loaded(f"gridsecure_api.{service}") & needless == set()


@pytest.mark.parametrize(
    ("service", "makes", "settings", "module"),
    [
        (platform, platform_app, {"warm_up": True}, jobs),
        (platform, platform_app, {}, None),
        (authority, authority_app, {"workers": 2}, reexecution),
        (authority, authority_app, {"workers": 0}, None),
    ],
)
def test_a_service_that_has_workers_loads_their_libraries_as_it_starts(
    service: ModuleType,
    makes: Callable[..., FastAPI],
    settings: dict[str, Any],
    module: ModuleType | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[ModuleType] = []
    monkeypatch.setattr(service, "load_ahead", asked.append)
    monkeypatch.setattr(service, "start_app", lambda *_: makes(tmp_path, **settings))
    service.main_app()
    assert asked == ([] if module is None else [module])


def test_what_workers_fork_off_has_the_library_before_there_is_a_worker() -> None:
    program = """
import time
from multiprocessing import forkserver
from pathlib import Path
from gridsecure.compute import jobs
from gridsecure.worker_processes import load_ahead

load_ahead(jobs)
maps = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/maps")
end = time.monotonic() + 60
while "_sealapi" not in maps.read_text() and time.monotonic() < end:
    time.sleep(0.05)
print("_sealapi" in maps.read_text())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "True\n"


def _loaded(module: str) -> set[str]:
    """The packages that a process has loaded with a module."""
    program = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}
