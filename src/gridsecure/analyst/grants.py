"""Queries under grants: asked, followed and read without saying who asks.

No request here carries a name, a session or a cookie of one: a grant request proves itself, and
what it is exchanged for names the query. Its client keeps no connection either
(`wire.connections.unlinked_client`), which would show one asker's questions. Nothing hides the
network address; who needs that sends over a network that does.

Invariants:
- The wallet with the next nonce is kept before a request leaves: a nonce is never used twice.
- How many grants there are is checked against the clock and the wallet: terms of its own for one
  analyst would be a mark on everything the analyst asks.
- A result is shown only if the pinned key authority signed it and it answers this very query.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx

from gridsecure.analyst.queries import Grant, QueryProgress
from gridsecure.analyst.releases import PinnedAuthority, Release, verify_release
from gridsecure.credentials.access import query_subject
from gridsecure.credentials.grants import Quota
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.presentations import PublicKeys
from gridsecure.credentials.queries import RESULT_PURPOSE, Query
from gridsecure.credentials.returned_grants import ReturnedGrant, hidden_digest
from gridsecure.credentials.sealed_questions import QueryKeys, read_query_key
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    GridSecureError,
    InputError,
    NotFoundError,
    ReleaseRefusedError,
    SignatureError,
)
from gridsecure.messages import Signed
from gridsecure.wire.answers import fetch_body, read_object
from gridsecure.wire.sessions import AUTHORITY, PLATFORM
from gridsecure.written_words import printable

IDENTITY: Final = "identity"
_LONGEST_WORD: Final = 500
"""Characters of what a service says that are shown."""


@dataclass(frozen=True, slots=True)
class QueryAddresses:
    """Base address of each service a query meets."""

    identity: str
    platform: str
    authority: str


def wallet_of(credential: Credential, quota: Quota, *, before: Wallet | None) -> Wallet:
    """The wallet of a month: a new one when the month is new, the same one otherwise.

    Args:
        before: The wallet as kept, if there is one.

    Raises:
        InputError: The credential is of another year (`grants.period`).
        AuthenticityError: The terms changed within the month or went back (`grants.terms`).
    """
    if credential.context != quota.context:
        raise InputError(
            "The wallet's credential is for another year.",
            reason="grants.period",
            remedy="Enrol for this year first.",
        )
    if before is None or before.quota.context != quota.context:
        return Wallet(credential, quota)
    if before.quota.epoch < quota.epoch:
        return Wallet(credential, quota)
    if before.quota != quota:
        raise _odd_terms()
    return Wallet(credential, quota, before.next_nonce)


class QueryClient:
    """What an analyst with a wallet asks of the services.

    Every method raises a GridSecureError with a reason and a remedy when a service refuses, cannot
    be reached or answers in another shape.

    Args:
        http: The connection, one that was never used with a name; closing it is up to its owner.
        addresses: Where the services are.
        keys: The pinned keys of the identity authority.
        authority: The only key whose releases are believed.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        addresses: QueryAddresses,
        keys: PublicKeys,
        authority: PinnedAuthority,
    ) -> None:
        self._http = http
        self._addresses = addresses
        self._keys = keys
        self._authority = authority

    def terms(self, *, now: datetime) -> Quota:
        """How many grants there are in this month.

        Args:
            now: The present, aware.

        Raises:
            AuthenticityError: The terms are of another month than the clock's (`grants.terms`).
        """
        content = fetch_body(
            self._http, "GET", f"{self._at(IDENTITY)}/grants/terms", service=IDENTITY
        )
        answer = read_object(content, service=IDENTITY)
        context = Context("analyst", answer.text("period"))
        quota = Quota(context, answer.text("epoch"), answer.number("limit"))
        moment = now.astimezone(UTC)
        if (context.period, quota.epoch) != (f"{moment:%Y}", f"{moment:%Y-%m}"):
            raise _odd_terms()
        return quota

    def grant(
        self,
        wallet: Wallet,
        query: Query,
        *,
        reader: Sm2PrivateKey,
        keep: Callable[[Wallet], None],
    ) -> Grant:
        """Spend one of the wallet's grants on a query.

        Args:
            wallet: As kept, of these terms.
            keep: Makes the wallet durable; called before anything is sent. If it fails, nothing is.

        Raises:
            InputError: No grant is left in this month (`grants.none-left`).
            AuthenticityError: The grant was refused (`grants.refused`).
        """
        if wallet.next_nonce >= wallet.quota.limit:
            raise InputError(
                f"All {wallet.quota.limit} grants of {wallet.quota.epoch} are used.",
                reason="grants.none-left",
                remedy="Ask again next month.",
            )
        digest = sm3_digest(query.text.encode())
        after, request = wallet.ask(
            audience=PLATFORM, digest=digest, keys=self._keys, suite=sm2_suite()
        )
        keep(after)
        body = {"digest": digest.hex(), "request": request.hex()}
        try:
            content = fetch_body(
                self._http, "POST", f"{self._at(IDENTITY)}/grants", service=IDENTITY, body=body
            )
        except AuthenticityError as error:
            raise AuthenticityError(
                "The identity service refused the grant.",
                reason="grants.refused",
                remedy="The grant counts as used. If the wallet came from a backup, some of its "
                "grants were used before: ask again until one is new.",
            ) from error
        return _given(content, query, reader)

    def use_returned(
        self, came: ReturnedGrant, wallet: Wallet, asking: tuple[Query, Sm2PrivateKey]
    ) -> Grant:
        """Use a grant that came back with a refusal for a query.

        Args:
            came: No wallet keeps it any more.
            wallet: Of the quota of returned grants, its next number kept as used.
            asking: The query, and the key that its result is sealed to.

        Raises:
            AuthenticityError: The authority or the identity service does not take it.
        """
        query, reader = asking
        digest, salt = sm3_digest(query.text.encode()), secrets.token_bytes(32)
        hidden = hidden_digest(digest, salt=salt)
        used = {"seed": came.seed.hex(), "digest": hidden.hex(), "code": came.code(hidden)}
        url = f"{self._at(AUTHORITY)}/returned-grants"
        ordered = fetch_body(self._http, "POST", url, service=AUTHORITY, body=used)
        _, request = wallet.ask(
            audience=PLATFORM, digest=digest, keys=self._keys, suite=sm2_suite()
        )
        body = {
            "digest": digest.hex(),
            "request": request.hex(),
            "order": Signed.parse(ordered).model_dump(),
            "salt": salt.hex(),
        }
        url = f"{self._at(IDENTITY)}/grants/returned"
        content = fetch_body(self._http, "POST", url, service=IDENTITY, body=body)
        return _given(content, query, reader)

    def trial_pass(self, wallet: Wallet, digest: bytes) -> tuple[str, datetime]:
        """Take a pass for trials: its token, and when it ends.

        Args:
            wallet: Of the quota of passes, its next number kept as used.
            digest: 32 random bytes, for this pass alone.

        Raises:
            AuthenticityError: The pass was refused.
        """
        _, request = wallet.ask(
            audience=AUTHORITY, digest=digest, keys=self._keys, suite=sm2_suite()
        )
        body = {"digest": digest.hex(), "request": request.hex()}
        url = f"{self._at(IDENTITY)}/grants/trials"
        content = fetch_body(self._http, "POST", url, service=IDENTITY, body=body)
        answer = read_object(content, service=IDENTITY)
        return answer.text("token"), answer.moment("expires_at")

    def try_query(self, query: Query, *, token: str) -> bytes:
        """Try a sealed question; the answer, sealed to the reader that the query names.

        Args:
            token: A pass's.

        Raises:
            GridSecureError: What lies there of the period cannot be had, or the pass is used up.
        """
        url, body = f"{self._at(AUTHORITY)}/query-trials", {"query": query.text}
        return fetch_body(self._http, "POST", url, service=AUTHORITY, token=token, body=body)

    def send(self, grant: Grant) -> str:
        """Ask the platform; the same again is the same. Returns the run's id.

        Raises:
            ConflictError: Somebody asked for this period before (`conflict.asked`).
            NotFoundError: There are no data of the period (`run.empty`).
        """
        content = fetch_body(
            self._http,
            "POST",
            f"{self._at(PLATFORM)}/queries",
            service=PLATFORM,
            token=grant.platform,
            body={"query": grant.query.text, "grant": grant.authority},
        )
        return read_object(content, service=PLATFORM).text("run_id")

    def progress(self, grant: Grant) -> QueryProgress:
        """Where the query stands at the platform.

        Raises:
            NotFoundError: It was not sent (`not-found.query`).
        """
        url = f"{self._at(PLATFORM)}/queries/{grant.digest.hex()}"
        content = fetch_body(self._http, "GET", url, service=PLATFORM, token=grant.platform)
        return QueryProgress.of_answer(read_object(content, service=PLATFORM))

    def result(self, grant: Grant) -> Release | None:
        """The released load curve, verified; None until there is one.

        Raises:
            EnvelopeError: Sealed to another reader.
            SignatureError: Not signed by the pinned authority, or an answer to another query.
            ReleaseRefusedError: It breaks its own minimum.
        """
        content = self.opened(grant)
        return None if content is None else self._verified(grant, content)

    def opened(self, grant: Grant) -> bytes | None:
        """What became of a query, as the key authority sealed it; None until there is something.

        Raises:
            EnvelopeError: Sealed to another reader.
        """
        url, body = f"{self._at(AUTHORITY)}/query-results", {"query": grant.query.text}
        try:
            sealed = fetch_body(
                self._http, "POST", url, service=AUTHORITY, token=grant.authority, body=body
            )
        except NotFoundError:
            return None
        return open_from(sealed, private_key=grant.reader, purpose=RESULT_PURPOSE)

    def query_keys(self) -> QueryKeys:
        """The keys that questions are asked with, in the pinned authority's own word.

        Raises:
            AuthenticityError: In somebody else's.
            InvalidMessageError: As `read_query_key`.
        """
        url = f"{self._at(AUTHORITY)}/query-key"
        content = fetch_body(self._http, "GET", url, service=AUTHORITY)
        return read_query_key(content, trusted={self._authority.thumbprint: self._authority.key})

    def _verified(self, grant: Grant, content: bytes) -> Release:
        release = verify_release(content, authority=self._authority)
        if not _answers(release, grant.query):
            raise SignatureError(
                "The key authority sent the answer to another query.",
                reason="release.swapped",
                remedy="Nothing of it is shown. Tell the security officer.",
            )
        return release

    def answer(self, grant: Grant, *, pause: Callable[[QueryProgress], None]) -> Release:
        """Send a query for a load curve and wait for it, as `wait`.

        Raises:
            GridSecureError: As `wait` and `result`.
        """
        return self._verified(grant, self.wait(grant, pause=pause))

    def wait(self, grant: Grant, *, pause: Callable[[QueryProgress], None]) -> bytes:
        """Send a query and wait for what becomes of it; where others got it before, read theirs.

        Args:
            pause: Called between two looks; it may raise to give up, and the grant stays good.

        Raises:
            ConflictError: The period was asked about before, and not by this query.
            GridSecureError: The run failed; with the platform's reason.
            ReleaseRefusedError: The key authority refused to release it (`release.refused`).
        """
        try:
            self.send(grant)
        except ConflictError:
            if (before := self.opened(grant)) is None:
                raise
            return before
        while True:
            progress = self.progress(grant)
            if progress.state == "failed":
                said = printable(progress.message)[:_LONGEST_WORD]
                raise GridSecureError(
                    said or "The run of the query failed.", reason=progress.reason
                )
            is_refused = progress.request_state == "refused"
            # Why a sealed question was refused is told to its asker there, too.
            is_asked = progress.state == "done" and (grant.content or not is_refused)
            content = self.opened(grant) if is_asked else None
            if content is not None:
                return content
            if is_refused:
                raise ReleaseRefusedError(
                    "The key authority refused to release the answer.",
                    remedy="Its evidence log says why; ask about another period.",
                )
            pause(progress)

    def _at(self, service: str) -> str:
        by_name = {
            IDENTITY: self._addresses.identity,
            PLATFORM: self._addresses.platform,
            AUTHORITY: self._addresses.authority,
        }
        return by_name[service].rstrip("/")


def _given(content: bytes, query: Query, reader: Sm2PrivateKey) -> Grant:
    """A grant as the identity service gives it."""
    answer = read_object(content, service=IDENTITY)
    tokens = answer.part("tokens")
    return Grant(
        query,
        reader,
        tokens.text(PLATFORM),
        tokens.text(AUTHORITY),
        answer.moment("expires_at"),
    )


def _answers(release: Release, query: Query) -> bool:
    asked_for = (
        query_subject(sm3_digest(query.text.encode())),
        query.plan,
        datetime.fromisoformat(query.start),
        datetime.fromisoformat(query.end),
        query.purpose,
    )
    said = (release.requested_by, release.plan, release.start, release.end, release.purpose)
    return said == asked_for


def _odd_terms() -> AuthenticityError:
    return AuthenticityError(
        "The identity service gives wrong terms for grants.",
        reason="grants.terms",
        remedy="Check this machine's clock, then ask others which terms they see. Send nothing.",
    )
