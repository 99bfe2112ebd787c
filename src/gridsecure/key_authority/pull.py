"""The authority's view of the platform: it pulls, and nothing is ever pushed at it.

Whatever comes back is checked by digest or signature before it is used (`verification`).
"""

from __future__ import annotations

import re
from typing import Any, Final

from gridsecure.errors import InvalidMessageError
from gridsecure.messages import Signed
from gridsecure.peer import Peer

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[0-9a-f]{1,64}")


class PlatformPull:
    """The platform as `verification.PlatformView`, and its queue of release requests.

    Args:
        peer: The platform's service, with the authority's access token.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def waiting(self) -> list[Signed]:
        """Release requests nobody has answered.

        Raises:
            GridSecureError: The platform cannot be reached or refuses.
        """
        found = self._peer.answer(self._peer.get("/release-requests"))
        if not isinstance(found, list):
            raise self._peer.malformed()
        return [self._signed(item) for item in found]

    def message(self, kind: str, digest: str) -> Signed:
        """A roster's or upload's signed message."""
        response = self._peer.get(f"/messages/{kind}/{_checked(digest, _DIGEST)}")
        return self._signed(self._peer.answer(response))

    def object(self, digest: str) -> bytes:
        """An object's bytes."""
        return self._peer.get(f"/objects/{_checked(digest, _DIGEST)}").content

    def answered(self, request_id: str, state: str) -> None:
        """Tell the platform what became of a request."""
        path = f"/release-requests/{_checked(request_id, _NAME)}/answer"
        self._peer.post(path, json={"state": state})

    def _signed(self, item: Any) -> Signed:
        if not isinstance(item, dict):
            raise self._peer.malformed()
        try:
            return Signed.model_validate(item)
        except ValueError as error:
            raise self._peer.malformed() from error


def _checked(name: str, form: re.Pattern[str]) -> str:
    """A name that may stand in a path; anything else could address another route."""
    if form.fullmatch(name) is None:
        raise InvalidMessageError("A name from the platform is not hexadecimal digits.")
    return name
