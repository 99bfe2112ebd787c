"""All parsers, and what is kept and told of an input that one of them failed on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from tests.fuzz import of_crypto, of_documents, of_readings
from tests.fuzz.of_messages import message_parsers
from tests.fuzz.parsers import Parser

KEPT: Final = Path("build/fuzz")
FOUND: Final = "FOUND"
"""How a line begins that tells of a failure."""
SLOW_S: Final = 1.0


def list_parsers(names: Sequence[str]) -> list[Parser]:
    """Parsers whose names begin so; all, if there are no names."""
    parsers = [*of_readings.PARSERS, *of_documents.PARSERS, *of_crypto.PARSERS, *message_parsers()]
    return [one for one in parsers if one.name.startswith(tuple(names or ("",)))]


class Findings:
    """What inputs failed, each place of the code told once, and how long they took.

    Attributes:
        places: Where parsers raised what is none of our errors.
        slowest: Time of an input, by parser [s].
    """

    def __init__(self) -> None:
        self.places = set[tuple[str, str]]()
        self.slowest = dict[str, float]()

    def try_input(self, parser: Parser, data: bytes) -> None:
        """Try an input, and tell what is wrong with it."""
        before = time.process_time()
        try:
            parser.try_input(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            place = (parser.name, _place(error))
            if place not in self.places:
                self.places.add(place)
                print(f"{FOUND} {': '.join(place)}, input in {_keep(parser, data)}", flush=True)
        took = time.process_time() - before
        slowest = self.slowest.get(parser.name, 0.0)
        if took > max(slowest, SLOW_S):
            print(f"slow {parser.name}: {took:.1f} s, input in {_keep(parser, data)}", flush=True)
        self.slowest[parser.name] = max(slowest, took)


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
