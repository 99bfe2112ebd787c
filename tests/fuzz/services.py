"""Changed requests to services: answers as documented, and no 500, whatever was done to them.

A service goes through a month of `tests/scale`, where each of its routes is asked for by whoever
may. Behind each request come copies of it with the same headers and a changed body, parameter, part
of the path, or header: so what is changed is behind the sign-in, and asks about what there is.
What the document of a service alone makes of requests is in `tests/apps/test_api_answers.py`.
`python -m tests.fuzz.services [SERVICE…]` does so to all of them, with `--each` copies.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

import httpx
from fastapi import FastAPI

from gridsecure.compute import job_engines
from tests.apps.described_answers import Described
from tests.fuzz.mutations import TEXTS, mutate
from tests.scale.filling import Size
from tests.scale.measuring import WORLDS, asks
from tests.scale.platform_world import HerePool
from tests.scale.work_meter import WorkMeter

SIZE: Final = Size(uploads=72, seats=500, claims=500, entries=500)
EACH: Final = 30
MOST_OF_A_KIND: Final = 2
_OWN: Final = frozenset({"content-length", "host", "connection", "accept-encoding"})
_LONGEST: Final = 200


@dataclass
class Trial:
    """What was sent to one service, and what it failed at.

    Args:
        each: Copies of a request.
        codes: Status codes of the answers to them.
        failed: What each failure was of, and how it shows.
    """

    app: FastAPI
    each: int
    seed: str
    codes: Counter[int] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def described(self) -> Described:
        """What the service says that it answers."""
        return Described(self.app)


def try_service(name: str, *, each: int, seed: str) -> Trial:
    """Let a service go through its month with changed requests between its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(job_engines, "WorkerPool", HerePool),
        WORLDS[name](Path(folder), SIZE, WorkMeter()) as world,
    ):
        trial = Trial(world.app, each, seed)
        with changed_copies(trial):
            try:
                world.run_month()
            except AssertionError:
                # A changed request was a valid one, and the month goes otherwise than written.
                trial.codes[0] += 1
    return trial


@contextmanager
def changed_copies(trial: Trial) -> Iterator[None]:
    """After a request that a service answered, its changed copies; none to those it asks itself."""
    plain = httpx.Client.send
    inside = False

    def send(client: httpx.Client, request: httpx.Request, **how: Any) -> httpx.Response:
        nonlocal inside
        answer = plain(client, request, **how)
        kind = (request.method, _route(request.url))
        if inside or not asks(client, trial.app) or answer.is_error or "/tile/" in kind[1]:
            return answer
        trial.kinds[kind] += 1
        if trial.kinds[kind] <= MOST_OF_A_KIND:
            inside = True
            try:
                _send_copies(client, request, kind, trial)
            finally:
                inside = False
        return answer

    with patch.object(httpx.Client, "send", send):
        yield


def _route(url: httpx.URL) -> str:
    """The path without what it names."""
    return "/".join("*" if len(p) > 20 or p.isdigit() else p for p in url.path.split("/"))


def _send_copies(
    client: httpx.Client, request: httpx.Request, kind: tuple[str, str], trial: Trial
) -> None:
    for number in range(trial.each):
        seed = f"{kind} {trial.kinds[kind]} {trial.seed} {number}"
        chance = Random(seed)  # noqa: S311 - requests of a test, which a seed repeats
        try:
            answer = client.send(_changed(client, request, chance))
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
            continue  # no client sends it
        except Exception as error:  # noqa: BLE001 - the test's client raises what the service did
            trial.failed.setdefault(f"{' '.join(kind)}: {_place(error)}", seed)
            continue
        trial.codes[answer.status_code] += 1
        if fault := trial.described.check(request.method, answer.request.url.path, answer):
            trial.failed.setdefault(f"{' '.join(kind)}: {answer.status_code}, {fault}", seed)


def _changed(client: httpx.Client, request: httpx.Request, chance: Random) -> httpx.Request:
    headers = {name: value for name, value in request.headers.items() if name not in _OWN}
    body, url, what = request.content, request.url, chance.random()
    text = chance.choice(TEXTS)[:_LONGEST]
    if body and what < 0.7:
        body = mutate(body, [body], chance)
    elif what > 0.95:
        name = chance.choice([*headers, "x-request-id", "content-encoding", "prefer"])
        headers[name] = "".join(sign for sign in text if " " <= sign <= "~")
    elif url.query and what < 0.85:
        url = url.copy_set_param(chance.choice(list(url.params)), text)
    else:
        parts = url.path.split("/")
        parts[chance.randrange(1, len(parts))] = text.replace("/", "")
        url = url.copy_with(path="/".join(parts))
    return client.build_request(request.method, url, headers=headers, content=body)


def _place(error: Exception) -> str:
    found = "?"
    for frame in traceback.extract_tb(error.__traceback__):
        if "/gridsecure" in frame.filename:
            found = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__} at {found}"


def main(arguments: Sequence[str]) -> int:
    """Try services, and return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.services")
    parser.add_argument("--each", type=int, default=EACH)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("names", nargs="*", default=list(WORLDS))
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    failures = 0
    for name in options.names:
        trial = try_service(name, each=options.each, seed=options.seed)
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(trial.codes.items()) if code)
        print(f"{name}: {len(trial.kinds)} kinds of requests, changed, --seed {options.seed}")
        print(f"  {codes}", flush=True)
        for what, seed in trial.failed.items():
            print(f"  FAILED {what} ({seed})")
        failures += len(trial.failed)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
