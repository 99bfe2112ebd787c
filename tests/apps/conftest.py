"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest


@pytest.fixture(scope="session")
def scanned_once() -> Iterator[None]:
    """Every run of a page looks for components in all installed packages: once finds the same."""
    from streamlit.components.v2 import manifest_scanner  # noqa: PLC0415 - for pages alone

    with pytest.MonkeyPatch.context() as patch:
        name = "scan_component_manifests"
        patch.setattr(manifest_scanner, name, cache(getattr(manifest_scanner, name)))
        yield
