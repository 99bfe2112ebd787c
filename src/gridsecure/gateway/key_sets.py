"""This gateway's own key sets: asked of the key authority, verified, and passed on to the platform.

A gateway encrypts under whatever key it is given, so it believes only notices signed by the
authority's pinned key that name this gateway, key bytes whose SM3 digest the notice names, and a
key id that it computes itself.

It asks under its pseudonym of the year, with no token: the authority learns which pseudonym has
which key set, and not which service that is. What it was given is kept, because the platform, which
takes key sets from gateways, may need it at an upload that another process signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

import httpx

from gridsecure import frames
from gridsecure.credentials.seats import billing_domain
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidMessageError, KeyMismatchError
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.tables import KeySetRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import PARAMETER_SETS
from gridsecure.messages import (
    KeyNotice,
    KeySetRequest,
    Signed,
    UploadManifest,
    open_message,
    sign_message,
)
from gridsecure.plans.key_ring import load_key_set
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import keep, load_row
from gridsecure.wire.client import service_client


class KeySetService(Protocol):
    """The key authority as a gateway asks it, whatever carries the question."""

    def ask(self, request: Signed, /, *, registrations: Signed) -> tuple[Signed, list[bytes]]:
        """Ask for the own key set in force: its signed notice and objects, not verified yet."""
        ...


class KeySetClient:
    """The key authority over HTTP.

    Args:
        http: Its address; no authentication, for what is sent is signed.
        pause: Waits for so many seconds between attempts.
    """

    def __init__(self, http: httpx.Client, *, pause: Callable[[float], None]) -> None:
        self._peer = service_client(http, name="authority", pause=pause)

    def ask(self, request: Signed, *, registrations: Signed) -> tuple[Signed, list[bytes]]:
        """Ask for the own key set in force.

        Args:
            request: A signed `KeySetRequest`.

        Returns:
            The signed notice and the key objects, not verified yet.
        """
        parts = [message.model_dump_json().encode() for message in (request, registrations)]
        answer = self._peer.post(
            "/key-sets", body=frames.join_frames(parts), content_type=frames.CONTENT_TYPE
        )
        try:
            notice, *objects = frames.split_frames(answer.content)
        except (InvalidMessageError, ValueError) as error:
            raise self._peer.words.malformed() from error
        return Signed.parse(notice), objects


class OwnKeySets(Mapping[str, PublicKeySet]):
    """The gateway's key sets of one year by parameter set name, each asked for when it is needed.

    Args:
        identity: The identity authority, which vouches for the gateway.
        start: Start of the billing period, ISO 8601 with the local offset.
        clock: Gives the time, aware.
    """

    def __init__(
        self,
        zone: GatewayZone,
        client: KeySetService,
        *,
        identity: IdentityClient,
        start: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._zone = zone
        self._client = client
        self._identity = identity
        self._start = start
        self._clock = clock
        self._registrations: Signed | None = None
        self._known: dict[str, PublicKeySet] = {}

    def __getitem__(self, name: str) -> PublicKeySet:
        """The key set in force of a parameter set.

        Raises:
            KeyError: There is no such parameter set.
            AuthenticityError: The notice is not signed by the pinned authority key.
            KeyMismatchError: It is of another gateway or parameter set, or the key bytes are not
                what it says (`keys.id`).
            GridSecureError: The authority refuses or cannot be reached.
        """
        if name not in PARAMETER_SETS:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._ask(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(PARAMETER_SETS)

    def __len__(self) -> int:
        return len(PARAMETER_SETS)

    def _ask(self, name: str) -> PublicKeySet:
        if self._registrations is None:
            self._registrations = self._identity.own_registration(self._start)
        domain = billing_domain(self._start)
        key = self._identity.agents.gateway().key_in(domain)
        request = sign_message(KeySetRequest(domain=domain.text, parameters=name), key=key)
        envelope, objects = self._client.ask(request, registrations=self._registrations)
        notice = open_message(envelope, expect=KeyNotice, trusted=self._zone.authority)
        by_digest = {sm3_hex(data): data for data in objects}
        named = {notice.public_key, notice.relinearisation_keys} - {None}
        is_asked = (notice.gateway, notice.parameters) == (key.public_key.thumbprint, name)
        if not is_asked or by_digest.keys() != named:
            raise _mismatch()
        key_set = load_key_set(notice, by_digest.__getitem__)
        for digest, data in by_digest.items():
            self._zone.objects.put(data, digest=digest)
        row = KeySetRow(
            key_id=notice.key_id,
            digest=envelope.digest,
            message=envelope.model_dump_json(),
            at=self._clock(),
        )
        with write_session(self._zone.engine) as session:
            keep(session, row)
        return key_set


def collect_key_notices(zone: GatewayZone, manifest: UploadManifest) -> tuple[Signed, ...]:
    """The notices of the key sets that an upload's columns are under.

    Raises:
        NotFoundError: One was not kept (`not-found.key-set`).
    """
    key_ids = sorted({column.key_id for column in manifest.columns})
    with read_session(zone.engine) as session:
        return tuple(load_row(session, KeySetRow, key_id=key_id).envelope for key_id in key_ids)


def _mismatch() -> KeyMismatchError:
    return KeyMismatchError(
        "The key authority's answer is not this gateway's key set.",
        reason="keys.id",
        remedy="Ask again. If the error persists, call the key custodian.",
    )
