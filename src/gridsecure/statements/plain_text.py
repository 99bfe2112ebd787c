"""Text from outside, made fit to be shown: nothing invisible, nothing endless.

Markup needs no treatment here: both renderers escape whatever they are given. What escaping does
not stop is text that shows as something else than it is (marks that reverse the direction, hidden
or control characters) and text that never ends; those are made visible, and cut.
"""

from __future__ import annotations

import unicodedata
from typing import Final

LONGEST: Final = 240
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def make_visible(text: str, *, longest: int = LONGEST) -> str:
    r"""Return a text as it may be shown: invisible characters by number, cut when too long.

    >>> shown("a\u202eb\x00\tc  d"), shown("x" * 9, longest=4)
    ('a[U+202E]b[U+0000] c d', 'xxxx…')
    """
    spaced = " ".join(text[: 4 * longest].split())
    visible = "".join(
        f"[U+{ord(sign):04X}]" if unicodedata.category(sign) in _INVISIBLE else sign
        for sign in spaced
    )
    cut = len(text) > 4 * longest or len(visible) > longest
    return f"{visible[:longest]}…" if cut else visible
