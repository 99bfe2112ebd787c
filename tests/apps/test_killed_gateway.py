"""A real gateway process that is killed (kill -9) while batches come in, over and over."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from gridsecure.cli.processes import python_command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.identity.access_tokens import give_token
from gridsecure.whole_files import DRAFT
from tests.apps.gateway_services import Services
from tests.apps.zone_apps import point
from tests.cli.test_processes import free_port
from tests.gateway.gateway_world import MONTH

BATCHES, SENDERS, STARTED_S = 40, 4, 120
HEADER = "meter_point_id,start,kwh\n"


class KilledGateway:
    """A gateway's process on a folder, started again after each kill.

    Args:
        services: Whose settings it has; its own application is not used.
    """

    def __init__(self, services: Services) -> None:
        self.services, self.key = services, generate_private_key()
        settings = services.settings.model_dump(mode="json", exclude_none=True)
        given = {f"GRIDSECURE_GATEWAY_{name.upper()}": str(one) for name, one in settings.items()}
        self.environment = os.environ | given
        self.log = (services.folder.parent / "gateway.log").open("ab")
        self.start()
        declared = {"public_key": point(self.key), "stamps": "start"}
        put = self.http.put("/v1/sources/headend", json=declared, headers=self.token("operator"))
        assert put.status_code == 200, put.text

    def start(self) -> None:
        """Begin anew on the folder, as after any end, and wait until it answers."""
        port = free_port()
        self.process = subprocess.Popen(
            python_command("-P", "-m", "gridsecure_api.serve", "gateway"),
            env={**self.environment, "GRIDSECURE_GATEWAY_PORT": str(port)},
            stdout=self.log,
            stderr=self.log,
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
        deadline = time.monotonic() + STARTED_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the gateway ended by itself"
            try:
                if self.http.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the gateway did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        self.http.close()
        self.log.close()

    def token(self, role: str, *, subject: str = "person") -> dict[str, str]:
        now = datetime.now(UTC)
        given = give_token(
            subject,
            roles=(role,),
            audience="gateway",
            key=self.services.grid.identity_key,
            valid=(now - timedelta(seconds=5), now + timedelta(minutes=5)),
        )
        return {"Authorization": f"Bearer {given.token}"}

    def send(self, number: int) -> dict | None:
        """A batch's receipt; None where the connection or the gateway ended."""
        sender = self.token("meter-data", subject=f"meter-data:{self.key.public_key.thumbprint}")
        named = {"Idempotency-Key": f"b{number}", "Batch-Sequence": str(number)}
        try:
            answer = self.http.post("/v1/readings", content=body(number), headers=sender | named)
        except httpx.TransportError:
            return None
        assert answer.status_code == 200, answer.text
        receipt: dict = answer.json()["receipt"]
        return receipt

    def reconcile(self) -> dict:
        answer = self.http.get(
            "/v1/reconciliation", params={"month": MONTH}, headers=self.token("operator")
        )
        assert answer.status_code == 200, answer.text
        found: dict = answer.json()
        return found


def body(number: int) -> bytes:
    """A day of a meter point's quarter-hours, of every number another one.

    Those of even numbers are of the form that is taken in together with others.
    """
    offset = "" if number % 2 else "+08:00"
    return (
        HEADER
        + "".join(
            f"MP-{number},2026-07-01 {at // 4:02}:{at % 4 * 15:02}{offset},0.{number:03}\n"
            for at in range(96)
        )
    ).encode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    services = Services(tmp_path_factory.mktemp("killed"))
    made = KilledGateway(services)
    yield made
    made.close()
    services.close()


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))]
)
def test_no_batch_with_a_receipt_is_lost_by_a_kill_and_none_counts_twice(gateway, seed):
    random = np.random.default_rng(seed)
    numbers = [seed * BATCHES + n for n in range(BATCHES)]
    with ThreadPoolExecutor(SENDERS) as pool:
        sends = {number: pool.submit(gateway.send, number) for number in numbers}
        # Killed when so many have a receipt, and a moment later: anywhere within a batch.
        until = time.monotonic() + 120
        some = int(random.integers(1, BATCHES // 2))
        while sum(one.done() for one in sends.values()) < some and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(float(random.uniform(0, 0.03)))
        gateway.kill()
        wait(sends.values())
    receipts = {number: one.result() for number, one in sends.items()}
    kept = {number: one for number, one in receipts.items() if one is not None}
    assert some <= len(kept) < BATCHES
    gateway.start()

    told = gateway.reconcile()
    assert told["adds_up"], told["differing"]
    # What has a receipt is there with the same one; what has none is taken in when sent again.
    again = {number: gateway.send(number) for number in numbers}
    assert {number: again[number] for number in kept} == kept
    listed = gateway.reconcile()
    assert listed["adds_up"], listed["differing"]
    assert listed["total"]["came_in"] % (BATCHES * 96) == 0
    readings = gateway.services.folder / "readings"
    # Batches by themselves, and packs of them: no draft of either.
    assert {path.suffix for path in readings.iterdir()} == {".parquet", ".zip"}
    assert not [path for path in readings.iterdir() if path.name.startswith(DRAFT)]
