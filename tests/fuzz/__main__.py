"""A night of fuzzing: `python -m tests.fuzz [--examples N] [--seed TEXT] [--blind] [NAME…]`.

Where atheris is installed, inputs are guided by what they reach (`tests.fuzz.guided`); elsewhere,
or with `--blind`, each parser gets the same share of changed samples. Which of the two it is, is
told first. Parsers are those of the names' beginnings, or all. What raises another exception than
ours is kept in `build/fuzz`, told once for each place of the code, and makes the run fail; the
slowest inputs are told. A seed repeats a blind run. The environment's `FUZZ_EXAMPLES` is the number
where no option says it.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from random import Random
from typing import Final

from tests.fuzz.finding import FOUND, KEPT, Findings, list_parsers
from tests.fuzz.parsers import Parser

NIGHT: Final = 1_000_000
_REACHED: Final = re.compile(r"^#(\d+)\s.* cov: (\d+) ", re.MULTILINE)


def main(arguments: Sequence[str]) -> int:
    """Fuzz, and return 1 if something was found."""
    options = _options(arguments)
    chosen = list_parsers(options.names)
    if not chosen:
        print("No parser's name begins so. There are:", *(one.name for one in list_parsers(())))
        return 2
    guide = _guide()
    if guide and not options.blind:
        print(f"{options.examples:,} inputs for {len(chosen)} parsers, guided by atheris {guide}")
        return _fuzz_guided(options)
    why = "--blind" if guide else "atheris is not installed (make guide)"
    share = max(1, options.examples // len(chosen))
    print(f"{share:,} inputs for each of {len(chosen)} parsers, guided by nothing: {why}")
    print(f"--seed {options.seed}", flush=True)
    findings = Findings()
    for parser in chosen:
        _fuzz(parser, share, seed=options.seed, findings=findings)
    print(f"{share * len(chosen):,} inputs, {len(findings.places)} findings")
    return int(bool(findings.places))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    number = int(os.environ.get("FUZZ_EXAMPLES") or NIGHT)
    parser.add_argument("--examples", type=int, default=number)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--blind", action="store_true")
    parser.add_argument("names", nargs="*")
    return parser.parse_args(arguments)


def _guide() -> str:
    """The version of atheris; empty where there is none."""
    try:
        return version("atheris")
    except PackageNotFoundError:
        return ""


def _fuzz_guided(options: argparse.Namespace) -> int:
    """In a process of its own, which ends as libFuzzer wants."""
    KEPT.mkdir(parents=True, exist_ok=True)
    log, found = KEPT / "guided.log", 0
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.guided"]
    command += [str(options.examples), options.seed, *options.names]
    with (
        log.open("wb") as told,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True) as child,
    ):
        for line in child.stdout or ():
            print(line, end="", flush=True)
            found += line.startswith(FOUND)
    reached = _REACHED.findall(log.read_text(encoding="utf-8", errors="replace"))
    tried, lines = reached[-1] if reached else ("0", "0")
    print(
        f"{int(tried):,} inputs, {found} findings, {lines} branches reached; libFuzzer's log: {log}"
    )
    return int(found > 0 or child.returncode != 0)


def _fuzz(parser: Parser, share: int, *, seed: str, findings: Findings) -> None:
    begun = time.process_time()
    for number in range(share):
        chance = Random(f"{parser.name} {seed} {number}")  # noqa: S311 - of a test
        findings.try_input(parser, parser.draw(chance))
    each, most = (time.process_time() - begun) / share, findings.slowest[parser.name]
    print(f"{parser.name}: {each * 1000:.2f} ms an input, at most {most * 1000:.0f} ms")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
