"""Writes the golden texts anew: `python -m tests.statements.write_golden`; read the diff."""

from __future__ import annotations

from gridsecure.statements.render import render_html
from gridsecure.statements.wording import Language
from tests.statements.samples import GOLDEN, SAMPLES, Page, statements


def golden_text(sample: str, language: Language) -> str:
    """What a reader sees in the statements of a sample, one after the other."""
    return "\n".join(Page(render_html(shown)).text for shown in statements(sample, language))


def main() -> None:
    """Write the text of every sample in every language."""
    GOLDEN.mkdir(exist_ok=True)
    for sample in SAMPLES:
        for language in Language:
            text = golden_text(sample, language)
            (GOLDEN / f"{sample}.{language}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
