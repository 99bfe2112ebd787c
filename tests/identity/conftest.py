"""What identity tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity.identity_world import World, new_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = new_world(tmp_path)
    yield made
    for engine in (made.issuer.engine, made.service.engine, made.platform):
        engine.dispose()
