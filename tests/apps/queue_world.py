"""A gateway with one source whose batches wait, as a test and as a process that is killed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import httpx

from gridsecure.crypto.sm2 import private_key_from_bytes
from gridsecure.gateway.ingestion.sources import ROLE
from gridsecure.identity.access_tokens import give_token
from gridsecure.messages import BatchReceipt
from gridsecure_api.gateway_queue import BatchReader
from tests.apps.zone_apps import bearer, gateway_app, point
from tests.cli.in_process import client_of
from tests.grid_simulator import NOW, grid_keys

KEY = private_key_from_bytes(bytes(31) + b"\x07")
OTHER = private_key_from_bytes(bytes(31) + b"\x08")
ASYNC = {"Prefer": "respond-async"}
HEADER = "meter_point_id,start,kwh\n"
DONE_S = 60.0


def token(key) -> dict[str, str]:
    given = give_token(
        f"{ROLE}:{key.public_key.thumbprint}",
        roles=(ROLE,),
        audience="gateway",
        key=grid_keys().identity,
        valid=(NOW, NOW.replace(hour=23)),
    )
    return {"Authorization": f"Bearer {given.token}"}


def body(number: int, *, readings: int = 48) -> bytes:
    """Half-hours of a meter point of its own."""
    lines = (
        f"MP-{number}-{one // 48},2026-07-01T{one % 48 // 2:02}:{one % 2 * 30:02}+08:00,0.4\n"
        for one in range(readings)
    )
    return (HEADER + "".join(lines)).encode()


class Queueing:
    """The gateway; nothing is read until `read`."""

    def __init__(self, folder: Path, **told: int) -> None:
        self.folder, self.told = folder, told
        self.start()
        for name, key in (("headend", KEY), ("other", OTHER)):
            declared = {"public_key": point(key), "stamps": "start"}
            operator = bearer("gateway", "operator")
            self.client.put(f"/v1/sources/{name}", json=declared, headers=operator)

    def start(self) -> None:
        """Start the gateway on its folder, as after any end of the one before."""
        self.app = gateway_app(self.folder, **self.told)
        intake = self.app.state.intake
        self.queue = intake.queue
        self.reader = BatchReader(self.queue, intake.clock, pause_s=0.01)
        self.reader.stop()
        self.app.state.intake = replace(intake, reader=self.reader)
        self.client = client_of(self.app)

    def end(self) -> None:
        self.reader.stop()
        self.app.state.service.zone.engine.dispose()

    def read(self) -> None:
        """Have all that waits read."""
        self.reader.start()
        self.reader.wait(DONE_S)
        self.reader.stop()

    def send(self, data: bytes, *, batch: str, sequence: int, key=KEY, **headers) -> httpx.Response:
        named = {"Idempotency-Key": batch, "Batch-Sequence": str(sequence)}
        return self.client.post("/v1/readings", content=data, headers=token(key) | named | headers)

    def get(self, path: str, *, key=KEY, **headers) -> httpx.Response:
        return self.client.get(path, headers=token(key) | headers)

    def status(self, batch: str) -> dict:
        return self.get(f"/v1/sources/headend/batches/{batch}").json()

    def receipts(self) -> list[BatchReceipt]:
        found = self.get("/v1/sources/headend/batches?limit=1000").json()
        return [BatchReceipt.parse(one["body"]) for one in found]

    def waiting_files(self) -> list[Path]:
        return list((self.folder / "readings" / "queue").glob("*"))


def send_until_killed(folder: Path, first: int) -> None:
    """Send batch after batch while they are read, and print the number of each that has a 202."""
    world = Queueing(folder)
    world.reader.start()
    for number in range(first, first + 1000):
        sent = world.send(body(number, readings=960), batch=f"b{number}", sequence=number, **ASYNC)
        assert sent.status_code == 202, sent.text
        print(number, flush=True)


if __name__ == "__main__":
    send_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
