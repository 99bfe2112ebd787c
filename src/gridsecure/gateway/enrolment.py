"""The identity authority's client: pseudonyms for the meter points of one billing domain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import httpx

from gridsecure.peer import Peer

MAX_METER_POINTS: Final = 4096
"""Meter points of one request."""

_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")


class IdentityClient:
    """The identity authority as a gateway sees it.

    Args:
        http: Its address and this gateway's authentication.
        pause: Waits for so many seconds between attempts.
    """

    def __init__(self, http: httpx.Client, *, pause: Callable[[float], None]) -> None:
        self._peer = Peer(http, name="identity", pause=pause)

    def pseudonyms(self, meter_point_ids: Sequence[str], *, domain: str) -> dict[str, str]:
        """Enrol meter points in a domain.

        Returns:
            Meter point -> pseudonym of 32 hexadecimal digits.

        Raises:
            GridSecureError: As `Peer.post`; `identity.answer` when the answer does not give every
                meter point a pseudonym of its own.
        """
        found: dict[str, str] = {}
        for start in range(0, len(meter_point_ids), MAX_METER_POINTS):
            part = list(meter_point_ids[start : start + MAX_METER_POINTS])
            request = {"domain": domain, "meter_point_ids": part}
            answer = self._peer.answer(self._peer.post("/pseudonyms", json=request))
            names = answer.get("pseudonyms") if isinstance(answer, dict) else None
            if not isinstance(names, list) or len(names) != len(part):
                raise self._peer.malformed()
            if not all(isinstance(name, str) and _PSEUDONYM.fullmatch(name) for name in names):
                raise self._peer.malformed()
            found |= zip(part, names, strict=True)
        if len(set(found.values())) != len(found):
            raise self._peer.malformed()
        return found
