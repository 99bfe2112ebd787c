"""Imports that wait until something of the module is used.

What a user types is read by small modules; what is done then needs data frames, the homomorphic
library and web services, which take seconds to load. A command therefore names the rooms it works
with in a block of its own, and only the command that is carried out loads them:

    with on_use():
        from gridsecure.cli import bill as bill_room

Python's own lazy loader does the work. It waits for modules that are imported as above, whole and
from their package; packages and other people's modules are imported at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Final

_OWN: Final = ("gridsecure.",)


class _Waiting(MetaPathFinder):
    """Finds our modules as Python does, and has them loaded at first use."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_OWN):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and not spec.submodule_search_locations:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def on_use() -> Iterator[None]:
    """Let the modules imported in this block wait until they are used."""
    finder = _Waiting()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
