"""A grid for each test; one that was delivered once a module where tests only read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grid_simulator import GridSimulator, GridUpload


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    """Key sets, tariffs and rosters are installed; nothing is uploaded."""
    simulator = GridSimulator(tmp_path)
    simulator.install()
    yield simulator
    simulator.close()


@pytest.fixture
def bare_grid(tmp_path: Path) -> Iterator[GridSimulator]:
    """A platform that was told nothing."""
    simulator = GridSimulator(tmp_path)
    yield simulator
    simulator.close()


@pytest.fixture
def first(grid: GridSimulator) -> GridUpload:
    """The flat roster's upload, committed and closed."""
    roster = max(grid.rosters, key=lambda roster: roster.manifest.slots)
    upload = grid.upload(roster, days=1)
    grid.deliver(upload)
    grid.close_month()
    return upload
