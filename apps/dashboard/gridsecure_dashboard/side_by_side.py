"""Questions to services, asked side by side: a page waits for the slowest and not for their sum.

What is called runs in other threads, so it asks services and touches nothing of Streamlit's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, TypeVar

import streamlit as st

_THREADS: Final = 8  # for all readers together: services answer a few at a time, too

Answer = TypeVar("Answer")


@st.cache_resource(show_spinner=False)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="ask")


def ask_all(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """What each call returns, in their order.

    Raises:
        Exception: What the first of them that failed raised, once all have ended.
    """
    if len(calls) <= 1:
        return [call() for call in calls]
    asked = [_pool().submit(call) for call in calls]
    wait(asked)
    return [one.result() for one in asked]
