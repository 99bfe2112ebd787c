"""The chain of a question: each step from readings to the answer, by whom, and what names it.

A step's output is the next one's input. Until totals are decrypted, once and together, all of it
are ciphertexts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gridsecure.queries.language import AT_LEAST, BILL_WHAT_IF, SQUARED, Question, measure_head
from gridsecure.queries.series import list_named

CIPHERTEXT: Final = "ciphertext"
NUMBER: Final = "number"
_WITHIN: Final = "nothing: it is within one plan"
_PARTS: Final = "energy of the month -> energy in each tier and register"
_LINES: Final = "parts -> bill lines"
_IN_TRANSCRIPT: Final = {_PARTS: "the transcript's steps", _LINES: "the transcript's outputs"}


class ChainStep(NamedTuple):
    """A step of a question.

    Args:
        party: Who computes it.
        gives: What it gives.
        form: "ciphertext" or "number".
        named_by: Where the digest of what it gives stands.
    """

    party: str
    gives: str
    form: str
    named_by: str


def explain_chain(question: Question, *, is_sealed: bool) -> list[ChainStep]:
    """How a question is answered.

    Args:
        is_sealed: Asked sealed, and not answered from published releases.
    """
    names = question.totals
    party = "checker" if is_sealed else "platform, and the checker again"
    outputs = "the certificate's outputs" if is_sealed else "transcript, the certificate's outputs"
    steps = [ChainStep("gateway", _columns(question), CIPHERTEXT, "upload, in the closing list")]
    named = {} if is_sealed else _IN_TRANSCRIPT
    steps += [
        ChainStep(party, given, CIPHERTEXT, named.get(given, _WITHIN))
        for name in names
        for given in _computed(name)
    ]
    if names:
        what = "groups and steps" if is_sealed else "zones and classes"
        steps.append(ChainStep(party, f"{', '.join(names)} of {what}", CIPHERTEXT, outputs))
        steps.append(ChainStep("vault", "totals, decrypted once", NUMBER, "certificate"))
    steps.append(ChainStep("asker", "totals of the question's groups", NUMBER, "totals"))
    for name in list_named(question):
        steps.append(ChainStep("asker", f"joined with {name}", NUMBER, "the series' header"))
    statistic = question.statistic.name.replace("_", " ")
    return [*steps, ChainStep("asker", statistic, NUMBER, "answer")]


def _columns(question: Question) -> str:
    if question.every != "month" or question.when is not None:
        return "energy of every interval"
    return "the month's energy, its digits and registers"


def _computed(name: str) -> Iterator[str]:
    """What is computed between columns and totals."""
    head = measure_head(name)
    if head == "tier":
        yield _PARTS
    elif head in ("bill", "line") or name == BILL_WHAT_IF:
        yield _PARTS
        yield _LINES
        if head == "bill":
            yield "lines -> bills"
    elif name.startswith(AT_LEAST):
        yield f"digits -> who reaches {name.removeprefix(AT_LEAST)} kWh"
    elif name.endswith(SQUARED):
        yield "energy -> its square"
