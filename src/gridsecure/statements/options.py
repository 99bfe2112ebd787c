"""How statements are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gridsecure.statements.wording import Language


class Format(StrEnum):
    """What a statement is rendered as."""

    HTML = "html"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How statements are rendered.

    Args:
        language: Language of every word.
        format: HTML or PDF.
        issuer: Who issues them; the electricity utility, without its name, if not given.
        font: A TrueType file to embed in PDFs.
    """

    language: Language
    format: Format
    issuer: str | None = None
    font: Path | None = None
