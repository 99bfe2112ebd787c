"""A service loads what its own work needs: a run starts several of them on a few processors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def _loaded(module: str) -> set[str]:
    """The packages that a process has loaded with a module."""
    program = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}
