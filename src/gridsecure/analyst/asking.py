"""What an analyst does: enrol once a year, then ask without a name.

The two never share a connection: the one says who the analyst is, the other must not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx

from gridsecure.analyst.enrolment import Analyst, Enroller, IdentityService
from gridsecure.analyst.grants import QueryAddresses, QueryClient, wallet_of
from gridsecure.analyst.queries import Grant, QueryProgress
from gridsecure.analyst.releases import PinnedAuthority, Release
from gridsecure.analyst.returned_grants import use_returned
from gridsecure.analyst.wallets import WalletFile, open_wallet
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.queries import Query, load_curve_query
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import InputError
from gridsecure.identity_messages import person_login
from gridsecure.wire.answers import fetch_body, read_object


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What an analyst learns.

    Args:
        release: The verified release.
    """

    release: Release
    left: int
    limit: int


def enrol_analyst(  # noqa: PLR0913 - what is pinned, who enrols, and where
    http: httpx.Client,
    *,
    service: IdentityService,
    name: str,
    key: Sm2PrivateKey,
    wallet: Path,
    period: str,
    now: datetime,
) -> None:
    """Log in with the analyst's key and enrol; a wallet that is there keeps its secrets.

    Args:
        service: The identity service and what of it is pinned.
        now: The present, aware.

    Raises:
        GridSecureError: The service refused, or the wallet cannot be written.
    """
    login = person_login(("identity",), key=key, now=now)
    url = f"{service.url.rstrip('/')}/person-tokens"
    content = fetch_body(http, "POST", url, service="identity", body=login.model_dump())
    token = read_object(content, service="identity").part("tokens").text("identity")
    with open_wallet(wallet, suite=sm2_suite()) as file:
        Enroller(http, service, Analyst(name, key, token)).enrol(file, period=period, now=now)


@dataclass(frozen=True, slots=True)
class Asking:
    """Where and how queries are asked.

    Args:
        http: A client that was never used with a name, of `unlinked_client`.
        authority: The pinned key authority.
        pause: Called between two looks at a query; may raise to give up.
        query_key: Thumbprint of the authority's query keys that is taken in place of the wallet's.
    """

    http: httpx.Client
    addresses: QueryAddresses
    authority: PinnedAuthority
    clock: Callable[[], datetime]
    pause: Callable[[QueryProgress], None]
    query_key: str = ""

    def load_curve(self, wallet: Path, *, start: str, end: str) -> QueryAnswer:
        """Ask for a load curve and wait for it; go on where an earlier call gave up.

        Args:
            start: Start of the month or sealed day, ISO 8601 with the local offset.
            end: Its end, exclusive.

        Raises:
            GridSecureError: Refused, or given up; the grant stays in the wallet and is good for
                the same period until it expires.
        """
        reader = generate_private_key()
        query = load_curve_query(start, end, reader=reader.public_key)
        with open_wallet(wallet, suite=sm2_suite()) as file:
            client = self.client_of(file)
            grant = file.require().grant_for(query, at=self.clock())
            grant = grant or self.take_grant(file, client, (query, reader))
        release = client.answer(grant, pause=self.pause)  # long, so others may use the wallet
        with open_wallet(wallet, suite=sm2_suite()) as file:
            kept = file.require().drop_grant(grant.query.text, at=self.clock())
            file.keep(kept)
        limit = kept.grants.quota.limit if kept.grants else 0
        return QueryAnswer(release, kept.left, limit)

    def client_of(self, file: WalletFile) -> QueryClient:
        """Who asks with the grants of a wallet.

        Raises:
            NotFoundError: There is none (`wallet.missing`).
        """
        keys = file.require().holder(file.suite).keys
        return QueryClient(self.http, addresses=self.addresses, keys=keys, authority=self.authority)

    def take_grant(
        self,
        file: WalletFile,
        client: QueryClient,
        asking: tuple[Query, Sm2PrivateKey],
        *,
        content: str = "",
        ticket: bytes = b"",
    ) -> Grant:
        """A new grant for a query, kept on the disk before it is used.

        One that came back is used when the month's own are used up: used at once, it would tell
        by the time that this query follows a refused one.

        Args:
            asking: The query, and the key that its result is sealed to.
            content: What lies in the envelope of a sealed question.
            ticket: What the grant is taken back with, if the question is refused.

        Raises:
            InputError: The wallet has no credential, or no grant is left (`grants.none-left`).
            GridSecureError: The identity service refused.
        """
        (query, reader), now = asking, self.clock()
        wallet = file.require()
        if wallet.credential is None:
            raise InputError(
                "The wallet holds no credential yet.",
                reason="grants.period",
                remedy="Enrol again: an earlier enrolment did not finish.",
            )
        grants = wallet_of(wallet.credential, client.terms(now=now), before=wallet.grants)

        def keep(after: Wallet) -> None:
            file.keep(replace(file.require(), grants=after))

        is_used_up = grants.next_nonce >= grants.quota.limit
        grant = use_returned(file, client, grants.quota, asking) if is_used_up else None
        grant = grant or client.grant(grants, query, reader=reader, keep=keep)
        grant = replace(grant, content=content, ticket=ticket)
        file.keep(file.require().add_grant(grant))
        return grant
