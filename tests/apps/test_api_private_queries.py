"""A question with noise through the three services and a vault of its own process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.approving import signed_policy
from tests.apps.test_api_queries import World, cli, enrol_arguments, world_in
from tests.apps.test_api_sealed_queries import DAYS, FUTIAN, ask, expected_days
from tests.apps.zone_apps import bearer
from tests.grid_simulator import grid_keys
from tests.key_authority.asked_queries import question_of
from tests.key_authority.test_private_queries import noisy
from tests.vault_services import running_vault, vault_settings

__all__ = ["ask", "cli"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """As other tests' worlds, under a policy that has noise for analysts."""
    policy = tmp_path / "policy.json"
    policy.write_text(signed_policy(noisy().text).model_dump_json(), encoding="utf-8")
    own = vault_settings(tmp_path / "own", grid_keys().authority)
    settings = own.model_copy(update={"policy": str(policy)})
    with (
        running_vault(settings),
        world_in(tmp_path, vault=settings.socket, policy=str(policy)) as made,
    ):
        yield made


def test_from_a_file_to_numbers_with_their_uncertainty(world, cli, ask):
    cli(*enrol_arguments(world))
    exact = ask(question_of(where=FUTIAN, every="day", **DAYS), status=1)
    assert "release.private" in exact.output
    question = question_of(where=FUTIAN, every="day", private={"epsilon": "0.5"}, **DAYS)
    shown = ask(question, "--format", "json")
    assert "noise of ε 0.5: each total is within" in shown.output
    rows = json.loads(shown.stdout)["rows"]
    wanted = expected_days(world)
    assert [row["start"] for row in rows] == list(wanted)
    for row in rows:
        near = Decimal(row["uncertainty"])
        assert abs(Decimal(row["value"]) - Decimal(wanted[row["start"]]) / 1000) < 15 * near
    again = ask(question, "--format", "json")
    assert again.stdout == shown.stdout
    table = ask(question).stdout
    assert "±" in table
    bills = world.authority.get("/releases", headers=bearer("authority", "analyst")).json()
    for one in bills:
        told = world.authority.get(
            f"/releases/{one['release_id']}", headers=bearer("authority", "analyst")
        )
        assert told.json().get("values") is None
