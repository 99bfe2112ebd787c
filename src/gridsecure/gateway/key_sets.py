"""Public key sets from the key authority: verified, cached by digest, and what they claim to be.

A gateway encrypts under whatever key it is given, so it believes only notices signed by the
authority's pinned key, key bytes whose SM3 digest the notice names, and a key id that it computes
itself. Relinearisation keys are not fetched: gateways do without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx

from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import parameters_named
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, KeyMismatchError
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import KeyNotice, Signed, opened
from gridsecure.peer import Peer


class KeySetClient:
    """The key authority as a gateway sees it.

    Args:
        http: Its address and this gateway's authentication.
        pause: Waits for so many seconds between attempts.
    """

    def __init__(self, http: httpx.Client, *, pause: Callable[[float], None]) -> None:
        self._peer = Peer(http, name="authority", pause=pause)

    def notices(self) -> list[Signed]:
        """The signed notices of the key sets in force, not verified yet."""
        answer = self._peer.answer(self._peer.get("/key-sets"))
        if not isinstance(answer, list):
            raise self._peer.malformed()
        return [Signed.parsed(json.dumps(notice)) for notice in answer]

    def public_key(self, digest: str) -> bytes:
        """The bytes of a public key, not checked yet."""
        return self._peer.get(f"/objects/{digest}").content


def fetch_key_sets(client: KeySetClient, *, zone: GatewayZone) -> dict[str, PublicKeySet]:
    """Fetch and check the key sets in force.

    Returns:
        Public key sets by parameter set name.

    Raises:
        AuthenticityError: A notice is not signed by the pinned authority key.
        KeyMismatchError: Key bytes are not what the notice says (`keys.id`).
        ConflictError: Two key sets of one parameter set are offered (`conflict.key-set`).
        GridSecureError: As `Peer.post`.
    """
    found: dict[str, PublicKeySet] = {}
    for envelope in client.notices():
        notice = opened(envelope, expect=KeyNotice, trusted=zone.authority)
        if notice.parameters in found:
            raise ConflictError(
                f"The authority offers two key sets of {notice.parameters}.",
                reason="conflict.key-set",
                remedy="Ask the key custodian which one is in force.",
            )
        found[notice.parameters] = _key_set(notice, client=client, zone=zone)
    return found


def _key_set(notice: KeyNotice, *, client: KeySetClient, zone: GatewayZone) -> PublicKeySet:
    parameters = parameters_named(notice.parameters, digest=notice.parameters_digest)
    if zone.objects.has(notice.public_key):
        data = zone.objects.get(notice.public_key)
    else:
        data = client.public_key(notice.public_key)
        if sm3_hex(data) != notice.public_key:
            raise _mismatch()
        zone.objects.put(data)
    key_set = PublicKeySet(parameters, data)
    if key_set.key_id != notice.key_id:
        raise _mismatch()
    return key_set


def _mismatch() -> KeyMismatchError:
    return KeyMismatchError(
        "The key authority's public key is not the one its notice names.",
        reason="keys.id",
        remedy="Fetch the key sets again; if it persists, call the key custodian.",
    )
