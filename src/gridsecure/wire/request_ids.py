"""The number of a request, by which lines in several services' logs belong together.

It is drawn by the first service that is asked, sent along to others, and of one form, so that
nobody writes into another's log with it. **It goes only where a service says its name.** With a
pseudonym, or with none, it would tell two services that compare their logs whose pseudonym it is.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

HEADER: Final = "X-Request-Id"
_FORM: Final = re.compile(r"[0-9a-f]{32}")

CURRENT: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Of the request that is being answered; empty where none is."""

PARENT_HEADER: Final = "traceparent"
PARENT: Final[ContextVar[str]] = ContextVar("traceparent", default="")
"""The span of that request, as W3C's Trace Context writes it; empty where nobody traces. It goes
where the number goes, and its trace is the number."""


def new_request_id() -> str:
    """A number that nobody used."""
    return secrets.token_hex(16)


def read_request_id(sent: str) -> str:
    """What a request brought, if it is a number of ours; a new one otherwise."""
    return sent if _FORM.fullmatch(sent) else new_request_id()
