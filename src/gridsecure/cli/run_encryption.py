"""The encryption service of a served run: whose keys it manages, and a few to look at.

The utility's officer makes a key of each kind, and its user signs a digest and fetches a data key.
Nothing but digests is shown to the service, as always.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gridsecure.cli.services_client import ServicesClient
from gridsecure.crypto.sm3 import sm3_hex

PEOPLE: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "utility": ("grid", ("officer", "auditor")),
    "reviewer": ("grid", ("user",)),
    "exchange": ("data-exchange", ("officer", "auditor")),
    "firm-analyst": ("firm", ("officer", "auditor")),
}
"""Users of the run -> organisation, and duties with its keys."""
KEYS: Final[Mapping[str, str]] = {
    "contracts": "sm2",
    "meter-messages": "hmac-sm3",
    "archive": "sm4",
}
"""The utility's keys -> what each is of."""
_OFFICER: Final = "utility"
_USER: Final = "reviewer"
_DOCUMENT: Final = b"An agreement, which stays with whoever has it."


def open_encryption(client: ServicesClient) -> str:
    """Make the example's keys and use them, at a service that is new; what there is.

    Raises:
        GridSecureError: The service refused.
    """
    made = {
        name: _post(client, _OFFICER, "/keys", {"name": name, "algorithm": algorithm})["key_id"]
        for name, algorithm in KEYS.items()
    }
    digest = {"digest": sm3_hex(_DOCUMENT)}
    _post(client, _USER, f"/keys/{made['contracts']}/signatures", digest)
    _post(client, _USER, f"/keys/{made['meter-messages']}/macs", digest)
    _post(client, _USER, f"/keys/{made['archive']}/data-keys", {"use": "seal"})
    _post(client, _OFFICER, f"/keys/{made['archive']}/rotations", None)
    return f"{len(made)} managed keys, one of them rotated"


def _post(client: ServicesClient, user: str, path: str, body: dict[str, str] | None) -> Any:
    return client.call(user, "encryption", "POST", path, json=body)
