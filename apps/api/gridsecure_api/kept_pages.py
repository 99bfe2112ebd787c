"""Pages of lists as they were sent last, which many ask for at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Final

_MOST: Final = 64
_LONGEST: Final = 1 << 20  # of one that is kept [bytes]

Page = tuple[bytes, int | None]
"""A page as it is sent, and the number it ends at if the list goes on."""


class KeptPages:
    """The pages of one service, by their entity tags.

    A page is made once, however many ask for it meanwhile: they wait for it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pages: dict[str, Future[Page]] = {}

    def find(self, tag: str, make: Callable[[], Page]) -> Page:
        """A page, which is made if it is not there.

        Raises:
            Exception: What making it ended with, for all who wait for it; the next one to ask has
                it made again.
        """
        with self._lock:
            page = self._pages.get(tag)
            is_known = page is not None
            if page is None:
                if len(self._pages) >= _MOST:
                    self._pages.clear()
                page = self._pages[tag] = Future()
        if not is_known:
            self._make(tag, page, make)
        return page.result()

    def _make(self, tag: str, page: Future[Page], make: Callable[[], Page]) -> None:
        is_kept = False
        try:
            made = make()
            page.set_result(made)
            is_kept = len(made[0]) <= _LONGEST
        except BaseException as error:  # noqa: BLE001 - raised to all who wait, this one among them
            page.set_exception(error)
        finally:
            with self._lock:
                if not is_kept and self._pages.get(tag) is page:
                    del self._pages[tag]
