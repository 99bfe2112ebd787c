"""Pages of lists as they were sent last."""

from __future__ import annotations

from threading import Lock
from typing import Final

_MOST: Final = 64
_LONGEST: Final = 1 << 20  # of one that is kept [bytes]

Page = tuple[bytes, int | None]
"""A page as it is sent, and the number it ends at if the list goes on."""


class KeptPages:
    """The pages of one service, by their entity tags."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pages: dict[str, Page] = {}

    def find(self, tag: str) -> Page | None:
        """A page that was kept, or None."""
        return self._pages.get(tag)

    def keep(self, tag: str, page: Page) -> Page:
        """Keep a page, unless it is too long, and return it."""
        if len(page[0]) <= _LONGEST:
            with self._lock:
                if len(self._pages) >= _MOST:
                    self._pages.clear()
                self._pages[tag] = page
        return page
