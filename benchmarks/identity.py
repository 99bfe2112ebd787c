"""Anonymous credentials, step by step, on every backend this host can use.

`python -m benchmarks.identity` prints a table in milliseconds of processor time of one thread, and
the presentations one core verifies per second. Each message is verified once before it is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.credential_parts import ANALYST, METER, CredentialParts
from benchmarks.machine import describe_machine
from gridsecure.credentials.group import BackendName, available_backends
from gridsecure.credentials.presentations import Domain
from gridsecure.crypto.sm2 import generate_private_key

REPEATS: Final = 50
BACKENDS: Final[tuple[BackendName, ...]] = ("libcrypto", "gmpy2", "python")
Step = tuple[str, Callable[[], object]]


def milliseconds(step: Callable[[], object]) -> float:
    """Processor time of one call [ms], after a first one that is not counted."""
    step()
    started = time.process_time()
    for _ in range(REPEATS):
        step()
    return (time.process_time() - started) / REPEATS * 1000


def steps(backend: BackendName) -> Iterator[Step]:
    parts = CredentialParts.made(backend)
    yield "enrol, both sides", lambda: parts.enrolled(METER)
    credential, domain = parts.enrolled(METER), Domain("platform", "upload", "2026")
    occasion = parts.occasion(generate_private_key().public_key, domain, challenge=bytes(32))
    message = parts.shown(credential, occasion)
    yield "present", lambda: parts.shown(credential, occasion)
    yield "verify presentation", lambda: parts.verified(message, occasion)
    for limit in (16, 256):
        yield from grant_steps(parts, limit)


def grant_steps(parts: CredentialParts, limit: int) -> Iterator[Step]:
    member, question = parts.enrolled(ANALYST), parts.question(limit)
    message = parts.requested(member, question, nonce=1)
    yield f"request grant, limit {limit}", lambda: parts.requested(member, question, nonce=1)
    yield f"verify grant, limit {limit}", lambda: parts.granted(message, question)


def main() -> None:
    print(describe_machine())
    print("| backend | step | ms | per second |\n|---|---|--:|--:|")
    for backend in BACKENDS:
        if backend not in available_backends():
            print(f"| {backend} | not on this host | | |")
            continue
        for name, step in steps(backend):
            spent = milliseconds(step)
            print(f"| {backend} | {name} | {spent:.2f} | {1000 / spent:.0f} |")


if __name__ == "__main__":
    main()
