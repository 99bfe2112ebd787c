"""Connections to other services: of a released build if a maker is pinned, of one level."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import httpx

from gridsecure.wire.attested import AttestedTransport
from gridsecure.wire.connections import new_client, shown_context, trusted_roots
from gridsecure.wire.service_tokens import ServiceAuth
from gridsecure.wire.services import StatePolicy
from gridsecure.wire.words import ServiceWords
from gridsecure_api.own_build import OwnBuild

Connect = Callable[[str, httpx.Auth | None], httpx.Client]
"""Makes a client of an address, which authenticates itself so."""

TIMEOUT_S: Final = 120.0
"""How long a peer may take for one answer [s]."""


def connecting(build: OwnBuild, *, policy: StatePolicy | None = None) -> Connect:
    """How a service connects to others; redirects are never followed.

    It shows its certificate where it says its name, and nowhere else: not with a pseudonym.

    Args:
        build: Its own, with the maker that it pins and the level that it has.
        policy: Its own, where those that it connects to have to hold the same.
    """
    maker, level = build.maker, build.level

    def connect(url: str, auth: httpx.Auth | None) -> httpx.Client:
        is_named = isinstance(auth, ServiceAuth)
        if maker is None and level is None:
            return new_client(is_named=is_named, base_url=url, auth=auth, timeout=TIMEOUT_S)
        carrier = AttestedTransport(
            httpx.HTTPTransport(verify=shown_context() if is_named else trusted_roots()),
            maker=maker,
            level=level,
            policy=policy,
            ticks=time.monotonic,
            words=ServiceWords("service"),
        )
        return new_client(
            is_named=is_named, base_url=url, auth=auth, timeout=TIMEOUT_S, transport=carrier
        )

    return connect
