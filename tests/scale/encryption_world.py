"""The encryption service with years behind it, and every one of its requests about new keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import insert

from gridsecure.encryption import tables
from gridsecure.encryption.keys import _draw
from gridsecure.encryption.zone import EncryptionZone, KeyPerson
from gridsecure_api.encryption import create_encryption_app, open_zone
from tests.analyst.logged_certificates import log_certificate
from tests.analyst.zone_services import certificate
from tests.apps.zone_apps import TestClock, point
from tests.encryption.encryption_world import HMAC, SM2, SM4, World, encryption_settings, key_of
from tests.grid_simulator import NOW, grid_keys
from tests.scale.filling import AT, Size, count_rows, fill, fill_evidence, filled, name, numbers
from tests.scale.work_meter import WorkMeter


def fill_service(zone: EncryptionZone, size: Size) -> None:
    """Keys of many organisations and their uses, of the years before."""
    # The first secret is a real one: the folder's key has to open it.
    person = KeyPerson("old", "old", frozenset({"officer"}), grid_keys().stranger.public_key)
    first = _draw(zone, person, ("old", 1, SM4), at=AT)
    with filled(zone.engine) as to:
        for row in first:
            to.execute(insert(type(row)).values(**row.model_dump(exclude={"id"})))
        n = numbers(size.uploads)
        words = {"algorithm": SM2, "public_key": "04", "state": "active", "at": AT}
        whose = {"organisation": name("organisation", n), "name": name("name", n)}
        fill(to, tables.ManagedKeyRow, n, **words, **whose, key_id=name("key", n), generation=1)
        fill(to, tables.KeySecretRow, n, key_id=name("key", n), sealed="00")
        used = {"month": "2025-01", "party": name("organisation", n), "measure": "signatures"}
        fill(to, tables.UsageRow, n, **used, amount=1)
        n = numbers(size.claims)
        use = {"use": name("use", n), "key_id": name("key", n), "at": AT}
        words = {"organisation": "old", "operation": "signature", "person": "old"}
        fill(to, tables.KeyUseRow, n, **use, **words)
        fill_evidence(to, size.entries, "managed-key.signature")


@contextmanager
def encryption_at(folder: Path, size: Size, meter: WorkMeter) -> Iterator[EncryptionWorld]:
    """A service whose database is filled, and whose next keys are made."""
    settings = encryption_settings(folder)
    zone = open_zone(settings)
    fill_service(zone, size)
    rows = count_rows(zone.engine)
    zone.engine.dispose()
    with meter.counting():
        app = create_encryption_app(settings, clock=TestClock())
        meter.watch(app, "encryption")
        with TestClient(app) as client:
            yield EncryptionWorld(World(app, client, folder), rows)


class EncryptionWorld:
    """The life of three keys, over HTTP."""

    def __init__(self, world: World, rows: dict[str, int]) -> None:
        self.world, self.rows = world, rows
        self.app: FastAPI = world.app

    def run_month(self) -> None:
        """Every request of the service."""
        world, given = self.world, {"digest": "0" * 64}
        made = {algorithm: f"/keys/{world.create(algorithm)}" for algorithm in (SM2, HMAC, SM4)}
        for path, body in (
            (f"{made[SM2]}/signatures", given),
            (f"{made[HMAC]}/macs", given),
            (f"{made[HMAC]}/mac-checks", {**given, "mac": "0" * 64}),
            (f"{made[SM4]}/data-keys", {"use": "seal"}),
            ("/signature-checks", {**given, "public_key": point(key_of("a")), "signature": "00"}),
            ("/certificate-checks", {"certificate": self.certificate()}),
        ):
            world.told("acme-user", "POST", path, body)
        world.told("acme-officer", "POST", f"{made[SM4]}/rotations")
        world.told("acme-officer", "POST", f"{made[SM2]}/moves", {"target": "suspended"})
        month = f"{NOW:%Y-%m}"
        for path in (
            made[SM2],
            f"{made[HMAC]}/uses?limit=1",
            "/keys?limit=2",
            f"/usage?month={month}",
        ):
            world.told("acme-auditor", "GET", path)
        for path in ("/log/checkpoint", "/log/tile/0/000"):
            assert world.ask("acme-auditor", "GET", path).status_code == 200

    def certificate(self) -> dict[str, object]:
        """A release that proves itself."""
        signed = log_certificate(certificate(), key=grid_keys().authority, folder=self.world.folder)
        found: dict[str, object] = signed.model_dump(exclude_none=True)
        return found
