"""One delivered grid for all tests of the authority; every test gets an authority of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gridsecure.key_authority.checker import asked_questions, query_trials
from gridsecure.key_authority.vault.decryption import Vault
from tests.authority_simulator import Authority
from tests.grid_simulator import GridSimulator, GridUpload, delivered_grid

ORDERS = (
    "release_bills", "release_corrections", "release_totals", "release_query", "preview_bills",
)  # fmt: skip


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path_factory.mktemp("platform"), days=2) as found:
        yield found


@pytest.fixture
def uploads(grid: GridSimulator) -> list[GridUpload]:
    """The flat roster's upload (39 households), then the four-period roster's (nine others)."""
    return sorted(grid.uploads, key=lambda upload: -upload.roster.manifest.slots)


@pytest.fixture
def authority(grid: GridSimulator, tmp_path: Path) -> Iterator[Authority]:
    made = Authority(grid, tmp_path / "authority")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def bills_are_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bills are still to come: questions are then held to what was told alone.

    The grid's cells are small, so most questions would cost one. A test that is about bills to come
    takes the fixture `bills_to_come`.
    """
    if "bills_to_come" not in request.fixturenames:
        for module in (asked_questions, query_trials):
            monkeypatch.setattr(module, "find_coming", lambda *_given, **_named: ())


@pytest.fixture
def bills_to_come() -> None:
    """Bills of the month are still to be released, as they are in the ledger."""


@pytest.fixture
def decrypted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every order the vault was given."""
    seen: list[str] = []
    for name in ORDERS:
        real = getattr(Vault, name)

        def watched(vault, *given, name=name, real=real):
            seen.append(name)
            return real(vault, *given)

        monkeypatch.setattr(Vault, name, watched)
    return seen
