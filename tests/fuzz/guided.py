"""Fuzzing guided by coverage: `python -m tests.fuzz.guided`, which `tests.fuzz` starts if it can.

atheris (Apache-2.0) counts which branches of ours an input reaches, and keeps what reached new ones
to be changed again, by the same mutations. An input's first two bytes say which parser it is for,
so that parsers with more to find get more of the inputs. A process of its own: modules are
instrumented as they are imported, and libFuzzer ends the process when it is done.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Final

import atheris

with atheris.instrument_imports(include=["gridsecure"], enable_loader_override=False):
    from tests.fuzz.finding import Findings, list_parsers
    from tests.fuzz.mutations import LARGEST, mutate
    from tests.fuzz.parsers import Parser

_HEAD: Final = 2
_MEMORY_MIB: Final = 4096


def main(examples: int, seed: str, names: list[str]) -> None:
    """Try inputs, tell what was found, and end the process."""
    parsers = list_parsers(names)
    findings = Findings()

    def of(data: bytes) -> tuple[Parser, bytes]:
        return parsers[int.from_bytes(data[:_HEAD]) % len(parsers)], data[_HEAD:]

    def try_input(data: bytes) -> None:
        findings.try_input(*of(data))

    def change(data: bytes, most: int, chance: int) -> bytes:
        parser, rest = of(data)
        new = mutate(rest, parser.samples, Random(chance))  # noqa: S311 - of a test
        return (data[:_HEAD] + new)[:most]

    with tempfile.TemporaryDirectory() as corpus:
        for place, parser in enumerate(parsers):
            for number, sample in enumerate(parser.samples):
                path = Path(corpus, f"{place}-{number}")
                path.write_bytes(place.to_bytes(_HEAD) + sample)
        options = [
            *(f"-runs={examples}", f"-seed={Random(seed).getrandbits(31) or 1}"),  # noqa: S311 - likewise
            *(f"-max_len={LARGEST + _HEAD}", f"-rss_limit_mb={_MEMORY_MIB}", "-timeout=600"),
            corpus,
        ]
        atheris.Setup([sys.argv[0], *options], try_input, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
