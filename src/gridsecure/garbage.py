"""How often Python looks for objects that only refer to each other.

By default it does after every 700 objects that are kept, and now and then among all that there are:
after the imports of a service or a command some 200,000, of which none ever goes. Work on thousands
of meter points keeps millions of objects for a while, and took up to a tenth of its time for that
search. What is in no such circle is freed at once either way, and circles are few here.
"""

from __future__ import annotations

import gc
from typing import Final

_OBJECTS: Final = (50_000, 20, 20)


def search_seldom() -> None:
    """Have the search come after as many objects as thousands of meter points take."""
    gc.set_threshold(*_OBJECTS)


def settle_objects() -> None:
    """Take what is there for what stays; called once, when a service has started."""
    gc.collect()
    gc.freeze()
    search_seldom()
