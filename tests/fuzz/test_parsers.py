"""What crosses a trust line is a value or is refused with a reason, whatever was done to it.

Inputs are valid samples with bits, spans, words and values changed, and bytes of nothing but
chance. The same ones are tried in each run: one seed an example, `INPUTS` inputs a seed, which are
some ten thousand in the gate. `make fuzz` tries as many as it is told, of other seeds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.errors import GridSecureError
from tests.fuzz import of_crypto, of_documents, of_readings
from tests.fuzz.finding import FOUND as TOLD
from tests.fuzz.finding import Findings
from tests.fuzz.of_messages import message_parsers
from tests.fuzz.parsers import Parser
from tests.fuzz.regressions import FOUND
from tests.python_leaks import unwatched_errors

INPUTS: Final = 4
ROOMS: Final = (*of_readings.PARSERS, *of_documents.PARSERS, *of_crypto.PARSERS)
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES") or settings().max_examples)
fixed = settings(database=None, derandomize=True, max_examples=EXAMPLES)


def try_inputs(parsers: Sequence[Parser], seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - inputs of a test, which a seed repeats
    for _ in range(INPUTS):
        parser = chance.choice(parsers)
        data = parser.draw(chance)
        try:
            with unwatched_errors():
                parser.try_input(data)
        except Exception as error:
            error.add_note(f"{parser.name} of {data!r}")
            raise


@pytest.mark.parametrize("parser", ROOMS, ids=lambda parser: parser.name)
@fixed
@given(seed=st.integers(0, 2**64))
def test_a_parser_gives_a_value_or_refuses(parser: Parser, seed: int) -> None:
    try_inputs([parser], seed)


@settings(fixed, max_examples=20 * EXAMPLES)
@given(seed=st.integers(0, 2**64))
def test_a_message_is_read_or_refused(seed: int) -> None:
    try_inputs(message_parsers(), seed)


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_once_is_refused(name: str, data: bytes) -> None:
    (parser,) = (one for one in ROOMS if one.name == name)
    with pytest.raises(GridSecureError):
        parser.read(data)


@pytest.mark.parametrize("parser", ROOMS, ids=lambda parser: parser.name)
def test_what_is_changed_is_valid(parser: Parser) -> None:
    for sample in parser.samples:
        parser.read(sample)


def test_most_messages_that_are_changed_are_valid() -> None:
    parsers, refused = message_parsers(), []
    for parser in parsers:
        try:
            parser.read(parser.samples[0])
        except GridSecureError:
            refused.append(parser.name)
    assert len(parsers) > 250
    assert len(refused) < len(parsers) / 5, refused


def test_what_a_parser_raises_is_found_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    parser, findings = (
        Parser("halves", lambda data: len(data) // len(data), lambda: [b"a"]),
        Findings(),
    )
    for data in (b"a", b"", b""):
        findings.try_input(parser, data)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{TOLD} halves: ZeroDivisionError")
    assert Path(line.rpartition(" ")[2]).read_bytes() == b""
