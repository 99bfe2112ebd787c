"""Text in a PDF: which font draws which character, and text that is never taken for markup.

Without a font file, Latin text and figures are in Helvetica, one of the fonts that every viewer
has, and Chinese in STSong-Light, under which viewers draw Chinese with a font of their own. With a
TrueType file, that font draws every character it has and is embedded. A character that no
font can draw is shown by its number, [U+1F600], rather than as nothing.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from gridsecure.errors import InputError
from gridsecure.statements.figures import MINUS

LATIN: Final = "Helvetica"
LATIN_BOLD: Final = "Helvetica-Bold"
CHINESE: Final = "STSong-Light"
# Drawn from the Symbol font that comes with Helvetica.
_SYMBOLS: Final = frozenset("→≈≤≥")
# Helvetica has no minus; its en dash is as wide as a digit and stands where a minus would.
_EN_DASH: Final = "\N{EN DASH}"
# Both fonts have them; beside Chinese they are full-width.
_SHARED_PUNCTUATION: Final = frozenset("“”‘’…—")


@dataclass(frozen=True, slots=True)
class Typeface:
    """The fonts of a document.

    Args:
        is_chinese: Whether the document's language is Chinese.
        embedded: Name of a registered TrueType font, or None.
    """

    is_chinese: bool
    embedded: str | None = None

    def markup(self, text: str, *, bold: bool = False) -> str:
        """Return a text as paragraph markup: escaped, each run with its font."""
        parts = []
        for font, run in groupby(self._drawable(text), key=lambda sign: self._font(sign, bold)):
            parts.append(f'<font name="{font}">{escape("".join(run))}</font>')
        return "".join(parts)

    def _drawable(self, text: str) -> str:
        """Replace what no font can draw by its number, and the minus where only a dash is there."""
        text = text if self.embedded else text.replace(MINUS, _EN_DASH)
        return "".join(
            sign if self._font(sign, bold=False) else f"[U+{ord(sign):04X}]" for sign in text
        )

    def _font(self, sign: str, bold: bool) -> str:
        if self.embedded and ord(sign) in pdfmetrics.getFont(self.embedded).face.charToGlyph:
            return self.embedded
        if self.is_chinese and sign in _SHARED_PUNCTUATION:
            return CHINESE
        if sign in _SYMBOLS or _has(sign, "cp1252"):
            return LATIN_BOLD if bold else LATIN
        return CHINESE if _has(sign, "gbk") else ""


def make_typeface(*, is_chinese: bool, font: Path | None = None) -> Typeface:
    """Make the fonts known to the PDF library.

    Args:
        is_chinese: Whether the document's language is Chinese.
        font: A TrueType file (or collection, of which the first font is taken) to embed.

    Raises:
        InputError: `statement.font` for a file that cannot be embedded.
    """
    if CHINESE not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
    return Typeface(is_chinese, _embedded(font) if font else None)


def _embedded(path: Path) -> str:
    """Register a font file under a name made from its content, so that two never mix."""
    try:
        name = f"statement-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(path)))
    except (OSError, TTFError, struct.error) as error:
        raise InputError(
            f"The font file {path.name!r} cannot be embedded.",
            reason="statement.font",
            remedy="Give a TrueType font (.ttf or .ttc with TrueType outlines) that has Chinese, "
            "or leave --font out.",
        ) from error
    return name


def _has(sign: str, encoding: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
