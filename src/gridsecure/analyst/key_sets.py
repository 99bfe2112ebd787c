"""Gateways' key sets as the key authority lists them: what it signed, and their state.

The notice is believed under the pinned key; the state is the key authority's word. In its own word
the vault says it to custodians (`gridsecure keys show`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.errors import AuthenticityError, SignatureError
from gridsecure.messages import KeyNotice, open_message
from gridsecure.wire.authority import KeySetListed

STATES: Final = ("in-force", "suspended", "retired", "revoked", "destroyed")
"""In the order in which a key set may go through them."""


@dataclass(frozen=True, slots=True)
class KeySetShown:
    """A key set.

    Args:
        gateway: Thumbprint of the gateway's key.
        generation: Which of the gateway's key sets of these parameters, from 1.
        created_at: ISO 8601.
        earlier_until: When platforms begin no more uploads under earlier ones; or empty.
        state: One of `STATES`.
    """

    key_id: str
    gateway: str
    generation: int
    parameters: str
    created_at: str
    earlier_until: str
    state: str


def read_key_set(listed: KeySetListed, *, authority: PinnedAuthority) -> KeySetShown:
    """What one entry of the list says, by its signed notice.

    Raises:
        SignatureError: The notice is not signed by the pinned authority (`keys.notice`).
    """
    try:
        notice = open_message(
            listed.notice, expect=KeyNotice, trusted={authority.thumbprint: authority.key}
        )
    except AuthenticityError as refused:
        raise SignatureError(
            "The notice of a key set is not signed by the pinned key authority.",
            reason="keys.notice",
            remedy="Nothing of it is shown. Compare the pinned key with the authority's; if they "
            "agree, tell the security officer.",
        ) from refused
    return KeySetShown(
        notice.key_id,
        notice.gateway,
        notice.generation,
        notice.parameters,
        notice.created_at,
        notice.earlier_until,
        listed.state,
    )
