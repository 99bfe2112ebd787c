"""Every reason code of the product, with its meanings and what to do.

The table `reasons.json` beside this module is read from the places in the code where errors are
made; `make reasons` writes it anew, and a test fails while it is not current. The page `reasons.md`
is written from it whenever the documentation is built, and every service answers `/reasons/{code}`
from it. A code that is made from parts at run time, as `tariff.{code}`, stands there with its
varying part in braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from gridsecure.errors import NotFoundError

TABLE: Final = Path(__file__).with_suffix(".json")
"""Code, message and remedy of each meaning, sorted."""
_HEAD: Final = """# Reason codes

An error names its reason as `area.what`. The message of the moment says which file, line or meter
point it is about; this page says what each code means and what to do. It is generated from the
code. Words in braces stand for what varies. What a service does not trust it refuses as
`authenticity.refused`, whatever the code; its log has the code. Every service answers the same at
`/reasons/CODE`, and the `type` of an error's body is that address.
"""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One place where a code is given.

    Args:
        remedy: What to do; empty where the error carries none.
    """

    code: str
    message: str
    remedy: str


@cache
def reason_codes() -> tuple[Meaning, ...]:
    """Every meaning of every code, by code; the same sentences under one code stand once."""
    return tuple(Meaning(*row) for row in json.loads(TABLE.read_text(encoding="utf-8")))


def meanings_of(code: str) -> list[Meaning]:
    """What a code means: as it stands in the code, or else by the pattern it was made from.

    Raises:
        NotFoundError: There is no such code (`not-found.reason`).
    """
    known = reason_codes()
    found = [meaning for meaning in known if meaning.code == code]
    if not found:
        found = [meaning for meaning in known if _is_made_from(code, meaning.code)]
    if not found:
        raise NotFoundError(
            "There is no such reason code.",
            reason="not-found.reason",
            remedy="Copy it whole from the error.",
        )
    return found


def _is_made_from(code: str, pattern: str) -> bool:
    """Whether a code is a pattern whose words in braces were filled in; a bare word is none."""
    if "{" not in pattern:
        return False
    parts = [re.escape(part) for part in re.split(r"\{[^}]*\}", pattern)]
    return any(parts) and re.fullmatch("[a-z0-9_-]+".join(parts), code) is not None


def reasons_page(meanings: Sequence[Meaning]) -> str:
    """The page in Markdown: a heading for each area, and a heading for each code."""
    lines, area, code = [_HEAD], "", ""
    for meaning in meanings:
        if (new := meaning.code.split(".")[0]) != area:
            area = new
            lines.append(f"\n## {area}\n")
        if meaning.code != code:
            code = meaning.code
            lines.append(f"\n({_anchor(code)})=\n\n### `{code}`\n")
        remedy = f" *What to do:* {_escaped(meaning.remedy)}" if meaning.remedy else ""
        lines.append(f"- {_escaped(meaning.message)}{remedy}")
    return "\n".join(lines)


def _anchor(code: str) -> str:
    """Of a code, and of no other: an id has no dots, and `a-b` is a code beside `a.b`."""
    kind = "reason-" if "." in code else "rule-"
    return kind + re.sub(r"[^a-z0-9]+", "-", code).strip("-")


def _escaped(text: str) -> str:
    return re.sub(r"([*_<>\[\]])", r"\\\1", " ".join(text.split()))
