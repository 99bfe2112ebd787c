"""Anonymous credentials, step by step, on every backend this host can use.

`python -m benchmarks.identity` prints a table in milliseconds of processor time of one thread, and
the presentations one core verifies per second. Each message is verified once before it is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from apps.cli.bench.machine import describe_machine
from gridsecure.credentials.grants import Question, Quota, request_grant, verify_grant
from gridsecure.credentials.group import BackendName, available_backends
from gridsecure.credentials.issuance import (
    Credential,
    finalise_credential,
    issue_credential,
    request_credential,
)
from gridsecure.credentials.issuer_keys import (
    Context,
    IssuerPrivateKey,
    IssuerPublicKey,
    generate_issuer_key,
)
from gridsecure.credentials.opening import OPENERS, generate_opener_key, joint_key
from gridsecure.credentials.presentations import (
    Domain,
    Occasion,
    PublicKeys,
    present,
    verify_presentation,
)
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm2 import generate_private_key

REPEATS: Final = 50
BACKENDS: Final[tuple[BackendName, ...]] = ("libcrypto", "gmpy2", "python")
CHANNEL: Final = b"benchmark"
Step = tuple[str, Callable[[], object]]


def milliseconds(step: Callable[[], object]) -> float:
    """Processor time of one call [ms], after a first one that is not counted."""
    step()
    started = time.process_time()
    for _ in range(REPEATS):
        step()
    return (time.process_time() - started) / REPEATS * 1000


def steps(backend: BackendName) -> Iterator[Step]:
    suite = sm2_suite(backend)
    key = generate_issuer_key(suite)
    issuer = key.public_key(suite)
    published = {name: generate_opener_key(name, suite=suite).published(suite) for name in OPENERS}
    keys = PublicKeys(issuer, joint_key(published, suite=suite))
    meter, analyst = Context("meter-point", "2026"), Context("analyst", "2026")
    m1 = suite.group.random_scalar()

    def enrolled(context: Context) -> Credential:
        pending = request_credential(suite, issuer=issuer, context=context, channel=CHANNEL, m1=m1)
        answer = issue_credential(
            pending.message, suite=suite, key=key, context=context, channel=CHANNEL
        )
        return finalise_credential(pending, answer, suite=suite, issuer=issuer, channel=CHANNEL)

    yield "enrol, both sides", lambda: enrolled(meter)
    credential = enrolled(meter)
    occasion = Occasion(
        meter, (Domain("platform", "upload", "2026"),), generate_private_key().public_key, bytes(32)
    )
    message = present(credential, occasion=occasion, keys=keys, suite=suite)
    yield "present", lambda: present(credential, occasion=occasion, keys=keys, suite=suite)
    yield (
        "verify presentation",
        lambda: verify_presentation(message, occasion=occasion, keys=keys, key=key, suite=suite),
    )
    member = enrolled(analyst)
    for limit in (16, 256):
        question = Question(Quota(analyst, "2026-03", limit), "platform", bytes(32))
        yield from grant_steps(member, question, issuer=issuer, key=key, suite=suite)


def grant_steps(
    member: Credential,
    question: Question,
    *,
    issuer: IssuerPublicKey,
    key: IssuerPrivateKey,
    suite: Suite,
) -> Iterator[Step]:
    limit = question.quota.limit
    message = request_grant(member, nonce=1, question=question, issuer=issuer, suite=suite)
    yield (
        f"request grant, limit {limit}",
        lambda: request_grant(member, nonce=1, question=question, issuer=issuer, suite=suite),
    )
    yield (
        f"verify grant, limit {limit}",
        lambda: verify_grant(message, question=question, issuer=issuer, key=key, suite=suite),
    )


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
