"""A night of fuzzing: `python -m tests.fuzz [--examples N] [--seed TEXT] [NAME…]`.

Each parser gets the same share of the inputs, of the names' beginnings or all. What raises another
exception than ours is kept in `build/fuzz`, told once for each place of the code, and makes the
run fail; the slowest input of each parser is told. A seed repeats a run. The environment's
`FUZZ_EXAMPLES` is the number where no option says it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from tests.fuzz import of_crypto, of_documents, of_readings
from tests.fuzz.of_messages import message_parsers
from tests.fuzz.parsers import Parser

NIGHT: Final = 1_000_000
KEPT: Final = Path("build/fuzz")
SLOW_S: Final = 1.0


def main(arguments: Sequence[str]) -> int:
    """Fuzz, and return 1 if something was found."""
    options = _options(arguments)
    parsers = [*of_readings.PARSERS, *of_documents.PARSERS, *of_crypto.PARSERS, *message_parsers()]
    chosen = [one for one in parsers if one.name.startswith(tuple(options.names or ("",)))]
    if not chosen:
        print("No parser's name begins so. There are:", *(one.name for one in parsers))
        return 2
    share = max(1, options.examples // len(chosen))
    print(f"{share:,} inputs for each of {len(chosen)} parsers, --seed {options.seed}", flush=True)
    found = sum(_fuzz(parser, share, seed=options.seed) for parser in chosen)
    print(f"{share * len(chosen):,} inputs, {found} findings")
    return int(found > 0)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    number = int(os.environ.get("FUZZ_EXAMPLES") or NIGHT)
    parser.add_argument("--examples", type=int, default=number)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("names", nargs="*")
    return parser.parse_args(arguments)


def _fuzz(parser: Parser, share: int, *, seed: str) -> int:
    places = set[str]()
    slowest, begun = 0.0, time.process_time()
    for number in range(share):
        data = parser.draw(Random(f"{parser.name} {seed} {number}"))  # noqa: S311 - of a test
        before = time.process_time()
        try:
            parser.try_input(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            place = _place(error)
            if place not in places:
                places.add(place)
                print(f"FOUND {parser.name}: {place}, input in {_keep(parser, data)}", flush=True)
        took = time.process_time() - before
        if took > max(slowest, SLOW_S):
            print(f"slow {parser.name}: {took:.1f} s, input in {_keep(parser, data)}", flush=True)
        slowest = max(slowest, took)
    each = (time.process_time() - begun) / share
    print(f"{parser.name}: {each * 1000:.2f} ms an input, at most {slowest * 1000:.0f} ms")
    return len(places)


def _place(error: Exception) -> str:
    """The exception and the last line of ours that it came from; its text may quote."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "/src/" in one.filename]
    where = f"{frames[-1].filename.rpartition('/src/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}"


def _keep(parser: Parser, data: bytes) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{parser.name}-{sm3_hex(data)[:12]}"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
