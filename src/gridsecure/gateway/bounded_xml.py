"""The elements of an XML document of readings, one after the other, within bounds.

A document with a type definition is refused before it is parsed, so no entity is ever expanded and
nothing is fetched. Tags are short, because the parser writes out the address of a namespace for
each of them; what a reader takes is let go at once, and nothing else may pile up.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from typing import Final

DEEPEST: Final = 32
"""Elements within each other."""

_MOST_KEPT: Final = 100_000
"""Elements beside those that a reader takes, up to the next one that it takes around them."""
_LONG_TAG: Final = re.compile(rb"<[^<]{2048}")
_DECLARATION: Final = re.compile(rb"^\s*<\?xml[^>]*\?>")
_REFUSED: Final = (b"<!DOCTYPE", b"<!ENTITY", b"\0")
_EVENTS: Final = ("start", "end")

Take = Callable[[ET.Element, str], bool]
"""Takes a whole element, with the tag around it, and says whether it was taken and can go."""


def read_elements(data: bytes, take: Take) -> None:
    """Hand every element over as it ends.

    Args:
        data: The document in UTF-8, whatever its declaration says.

    Raises:
        ValueError: The document is damaged, has a type definition, is too deep or holds too much
            that nobody takes; or as `take`.
    """
    # A zero byte would be UTF-16, in which a type definition is other bytes than are looked for.
    if any(mark in data for mark in _REFUSED) or _LONG_TAG.search(data):
        raise ValueError
    try:
        # What makes XML dangerous needs a type definition, and there is none.
        _walk(ET.iterparse(io.BytesIO(_DECLARATION.sub(b"", data)), _EVENTS), take)  # noqa: S314
    except ET.ParseError:
        raise ValueError from None


def _walk(events: Iterable[tuple[str, ET.Element]], take: Take) -> None:
    opened: list[tuple[ET.Element, int]] = []
    kept = 0
    for event, element in events:
        if event == "start":
            opened.append((element, kept))
            kept += 1
            if len(opened) > DEEPEST or kept > _MOST_KEPT:
                raise ValueError
            continue
        _, before = opened.pop()
        around = opened[-1][0] if opened else None
        if take(element, "" if around is None else around.tag) and around is not None:
            around.remove(element)
            kept = before
