"""`gridsecure shadow` against real services: computed, proved, previewed, and never released."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from sqlmodel import select
from typer.testing import CliRunner

from gridsecure import frames
from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.compute.tables import ReleaseRequestRow
from gridsecure.store.database import read_session
from gridsecure.tariffs.tariff import catalogue_tariffs
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PersonEntry
from tests.apps.office_services import write_secret
from tests.apps.test_api_queries import authority_of
from tests.apps.zone_apps import (
    TestClock,
    answered_round,
    bearer,
    identity_app,
    platform_settings,
    point,
)
from tests.authority_simulator import ask_for_key_sets, settlement
from tests.cli.test_cli_keys import Carrier
from tests.correction_simulator import CHEAPER, bills_after, retariffed
from tests.grid_simulator import FLAT, NOW, OFFICE, GridSimulator, delivered_grid, grid_keys
from tests.held_policy import FEWEST
from tests.vault_services import running_vault, vault_settings

BIG = ("futian", "household")
FEN = 10**9  # in 1e-11 yuan
BILLING = {name: bearer(name, "billing") for name in ("platform", "authority")}
SIGNED = b'{"body_kind": "shadow-order", "body": "", "signer": "", "signature": ""}'
READERS = ("billing", "operator", "regulator", "analyst", "custodian")


@dataclass
class Desk:
    """A clerk of the billing office, and the services."""

    grid: GridSimulator
    platform: TestClient
    authority: TestClient
    folder: Path

    def run(self, name: str, *arguments: str) -> Result:
        given = ["--identity", "http://identity", "--key", str(self.folder / "clerk.key")]
        wide = CliRunner(env={"COLUMNS": "200"})
        return wide.invoke(command, ["shadow", name, *given, *arguments])

    def order(self, *arguments: str, office: str = "office.key") -> Result:
        given = ["--platform", "http://platform", "--office-key", str(self.folder / office)]
        return self.run("order", *given, "--month", "2026-07", *arguments)

    def show(self, *arguments: str) -> Result:
        given = ["--authority", "http://authority"]
        key = ["--authority-key", point(self.grid.authority_key)]
        return self.run("show", *given, *key, *arguments)

    def previews(self) -> list[dict]:
        result = self.show("--format", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["previews"]

    def finished(self) -> list[dict]:
        """All runs, at an end."""
        until = time.monotonic() + 60
        while True:
            runs = self.platform.get("/runs", headers=BILLING["platform"]).json()
            if all(run["state"] != "running" for run in runs):
                return runs
            assert time.monotonic() < until, "the run does not end"
            time.sleep(0.05)

    def round(self) -> list[tuple[str, str | None]]:
        answer = answered_round(self.authority, BILLING["authority"])
        assert answer.status_code == 200, answer.text
        return [(one["state"], one["reason"]) for one in answer.json()]

    def month(self) -> dict:
        order = self.grid.order("bill")
        params = {"start": order.start, "end": order.end}
        headers = BILLING["platform"]
        return self.platform.get("/closing-lists", params=params, headers=headers).json()


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    secret = vault_settings(tmp_path_factory.mktemp("vault"), grid_keys().authority)
    with running_vault(secret):
        yield secret.socket


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, vault: Path) -> Iterator[Desk]:
    tmp_path = tmp_path_factory.mktemp("desk")
    write_secret(tmp_path / "clerk.key", grid_keys().stranger.to_bytes())
    write_secret(tmp_path / "office.key", OFFICE.to_bytes())
    cheaper = catalogue_tariffs()[FLAT].read_text(encoding="utf-8").replace(*CHEAPER)
    (tmp_path / "cheaper.toml").write_text(cheaper, encoding="utf-8")
    clerk = PersonEntry(name="zhou", roles=("billing",), public_key=point(grid_keys().stranger))
    with delivered_grid(tmp_path / "platform", days=1) as grid:
        platform = create_platform_app(platform_settings(grid.folder), clock=TestClock())
        identity = identity_app(tmp_path / "identity", people=(clerk,))
        authority = authority_of(
            tmp_path / "authority", grid, platform, vault=vault, settlement=settlement
        )
        apps = {"identity": identity, "platform": platform, "authority": authority}
        carried = Carrier(apps)
        with (
            pytest.MonkeyPatch.context() as patch,
            TestClient(platform) as first,
            TestClient(authority) as second,
        ):
            patch.setattr(online, "utc_now", lambda: NOW)
            patch.setattr(online, "open_connection", lambda: httpx.Client(transport=carried))
            ask_for_key_sets(second, grid)
            yield Desk(grid, first, second, tmp_path)
        identity.state.zone.close()


def test_a_tariff_is_tried_before_the_month_is_billed(desk: Desk) -> None:
    grid, tried = desk.grid, ("--tariff", str(desk.folder / "cheaper.toml"), "--instead-of", FLAT)
    before = desk.month()
    assert set(before["next"].values()) == {"ready"}
    done = desk.order(*tried)
    assert done.exit_code == 0, done.output
    (run,) = desk.finished()
    assert (run["kind"], run["plan"], run["state"], run["of"]) == ("shadow", "bill", "done", 1)
    assert run["run_id"] in done.output
    assert desk.round() == [("previewed", None)]
    assert desk.round() == [], "the platform was told"

    (preview,) = desk.previews()
    assert preview["preview_id"] == run["request_id"]
    cells = {(cell["zone"], cell["customer_class"]): cell for cell in preview["cells"]}
    first = max(grid.rosters, key=lambda roster: roster.manifest.slots)
    new = bills_after(grid, retariffed(grid, first, change=CHEAPER), grid.readings)
    change = new.totals - bills_after(grid, first, grid.readings).totals
    places = zip(first.manifest.zones, first.manifest.customer_classes, strict=True)
    exact = sum(int(value) for value, place in zip(change, places, strict=True) if place == BIG)
    fen = round(Decimal(exact) / FEN)
    assert cells[BIG]["amount_fen"] == str(fen)
    table = desk.show().stdout
    assert f"at least {26 - FEWEST + 1}" in table
    assert f"{fen / 100:,.2f}" in table
    assert table.count("withheld") == 3, "count, energy and money of the small cell"

    # A shadow run is nowhere where releases are, and stops none.
    assert desk.month() == before
    nobody_reads(desk, preview["preview_id"])
    order = grid.order("bill")
    wanted = {"plan": "bill", "start": order.start, "end": order.end, "purpose": "billing"}
    started = desk.platform.post("/runs", json=wanted, headers=BILLING["platform"])
    assert started.status_code == 202
    assert [one["kind"] for one in desk.finished()] == ["shadow", "published"]
    assert desk.round() == [("released", None)]
    (listed,) = desk.authority.get("/releases", headers=BILLING["authority"]).json()
    assert listed["release_id"] != preview["preview_id"]
    assert (listed["plan"], listed["cells"]) == ("bill", 5), (
        "a household cell, and two figures of the merged one"
    )
    assert len(desk.previews()) == 1


def nobody_reads(desk: Desk, name: str) -> None:
    """No route that gives out releases knows of a preview, for whatever reader."""
    roster = desk.grid.rosters[0].manifest.roster_id
    for role in READERS:
        headers = bearer("authority", role)
        for path in (f"/releases/{name}", f"/statements/{name}/{roster}"):
            assert desk.authority.get(path, headers=headers).status_code in (403, 404)
        answer = desk.authority.get("/releases", headers=headers)
        assert answer.status_code == 403 or answer.json() == []
        if role != "billing":
            for path in ("/shadow-previews", f"/shadow-previews/{name}"):
                assert desk.authority.get(path, headers=headers).status_code == 403
    with read_session(desk.grid.platform_zone.engine) as session:
        assert session.exec(select(ReleaseRequestRow)).first() is None


def test_what_cannot_be_tried_is_told(desk: Desk) -> None:
    before = desk.finished()
    tariff = ("--tariff", str(desk.folder / "cheaper.toml"))
    for result, reason in (
        (desk.order(), "shadow.what"),
        (desk.order(*tariff, "--corrections"), "shadow.what"),
        (desk.order("--corrections", "--upload", "0" * 64), "shadow.what"),
        (desk.order(*tariff, office="clerk.key"), "authenticity"),
        (desk.order(*tariff, "--list", "2"), "shadow.list"),
        (desk.order(*tariff, "--month", "2026-06"), "shadow.list"),
        (desk.order(*tariff, "--upload", "0" * 64), "shadow.upload"),
        (desk.order(*tariff, "--instead-of", "shenzhen-residential-tiers"), "shadow.instead-of"),
    ):
        assert result.exit_code != 0
        assert reason in result.output
        assert "Traceback" not in result.output
    for role, parts, status in (
        ("regulator", [b"{}"], 403),
        ("analyst", [b"{}"], 403),
        ("billing", [b"{}"], 422),
        ("billing", [], 422),
        ("billing", [b"{}", b"", b""], 422),
        ("billing", [SIGNED, b"\xff"], 422),
    ):
        body, headers = frames.join_frames(parts), bearer("platform", role)
        sent = headers | {"Content-Type": frames.CONTENT_TYPE}
        answer = desk.platform.post("/shadow-runs", content=body, headers=sent)
        assert answer.status_code == status, answer.text
    assert desk.finished() == before
