"""What a gateway takes in over HTTP: readings a second by format, from first byte to receipt.

The gateway runs as its users run it, in a process of its own, and one source sends it bodies over
loopback, one behind the receipt of the other. A body that is answered with 202 is waited for.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from benchmarks.figures import Figure
from benchmarks.intake_costs import GOALS, write_body
from benchmarks.receipt_waits import gateway_settings, register_sources
from benchmarks.served import serving
from benchmarks.sizes import BenchSizes
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.messages import BatchReceipt

_BODIES: Final = 3
_LOOK_S: Final = 0.02
_LONGEST_S: Final = 600.0


def intake_served(*, sizes: BenchSizes) -> list[Figure]:
    """Figures of bodies of each format."""
    key, readings = generate_private_key(), sizes.large_body // 20
    figures = []
    with TemporaryDirectory() as name:
        told = gateway_settings(key, folder=Path(name) / "gateway")
        with serving("gateway", told) as (port, _):
            (token,) = register_sources(port, key, sources=1)
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=_LONGEST_S
            ) as http:
                for place, (form, (must, try_for)) in enumerate(GOALS.items()):
                    path = Path(name) / f"body.{form}"
                    write_body(path, form, readings=readings)
                    first = place * _BODIES + 1
                    seconds = sum(
                        _take_in(http, path, number=number, readings=readings)
                        for number in range(first, first + _BODIES)
                    )
                    figures.append(
                        Figure(
                            name=f"intake_http_{form}",
                            title=f"taken in over HTTP by one gateway, {form.upper()}",
                            unit="readings/s",
                            value=_BODIES * readings / seconds,
                            must=must,
                            try_for=try_for,
                            comparison=">=",
                            note=f"{_BODIES} bodies of {readings:,} readings, one connection of "
                            f"loopback, {path.stat().st_size / 1e6:,.0f} MB each, from first byte "
                            "to receipt",
                        )
                    )
    return figures


def _take_in(http: httpx.Client, path: Path, *, number: int, readings: int) -> float:
    """Seconds from a body's first byte to its receipt.

    Raises:
        AssertionError: It was refused, or readings are missing.
    """
    named = {
        "Idempotency-Key": f"b{number}",
        "Batch-Sequence": str(number),
        "Content-Length": str(path.stat().st_size),
    }
    began = time.perf_counter()
    with path.open("rb") as body:
        answer = http.post("/v1/readings", content=body, headers=named).raise_for_status()
    while (status := _status(answer))["state"] != "done":
        time.sleep(_LOOK_S)
        answer = http.get(answer.headers.get("Location", answer.url)).raise_for_status()
    seconds = time.perf_counter() - began
    counted = BatchReceipt.parse(status["receipt"]["body"]).readings
    if counted != readings:
        raise AssertionError(f"{counted:,} of {readings:,} readings were taken in")
    return seconds


def _status(answer: httpx.Response) -> dict[str, Any]:
    """Where a batch stands, unless it was refused."""
    status: dict[str, Any] = answer.json()
    if status["state"] == "refused":
        raise AssertionError(status["refusal"])
    return status
