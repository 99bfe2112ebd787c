"""Enrolment of an analyst: the one time its name is said, and nothing learned by it.

1. the identity authority's keys, as the utility and the regulator both state them;
2. the secrets, kept before anything is sent: after a lost answer the same ones ask again;
3. a session, and the order: signed with the analyst's own key, sealed to the identity service;
4. the answer, opened, its signature and the credential's proof checked, then kept.

The issuer sees a commitment that hides the secret perfectly, so no later grant leads back here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import httpx

from gridsecure.analyst.wallets import WalletFile, make_wallet
from gridsecure.credentials.access import enrolment_channel
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.opening import Opener
from gridsecure.credentials.pinning import check_statements
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import AuthenticityError, InvalidMessageError
from gridsecure.identity_messages import (
    NO_FACTS,
    EnrolmentAnswer,
    EnrolmentItem,
    EnrolmentOrder,
    IdentityKeys,
)
from gridsecure.messages import Signed, open_message, sign_message
from gridsecure.wire.answers import fetch_body
from gridsecure.wire.client import parse_answer
from gridsecure.wire.identity import Session, Statements
from gridsecure.wire.words import PeopleWords

IDENTITY: Final = "identity"
_ORDER: Final = "enrolment"
_ANSWER: Final = "enrolment-answer"


@dataclass(frozen=True, slots=True)
class Analyst:
    """Who enrols.

    Args:
        name: As the identity service has it.
        token: A token for the identity service, from a login with that key.
    """

    name: str
    key: Sm2PrivateKey = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityService:
    """The service, and what of it is pinned.

    Args:
        url: Its base address.
        key: Its own key: orders are sealed to it, and its answers signed with it.
    """

    url: str
    key: Sm2PublicKey
    signers: Mapping[Opener, Sm2PublicKey]


@dataclass(frozen=True, slots=True)
class Enroller:
    """An analyst before the identity service.

    Args:
        http: The connection; not the one that queries are asked over.
    """

    http: httpx.Client
    service: IdentityService
    analyst: Analyst

    def enrol(self, file: WalletFile, *, period: str, now: datetime) -> None:
        """Enrol for a year; asked again, with the same secrets, it does the same again.

        Args:
            file: The wallet's file, open; a new one is written if there is none.
            now: The present, aware.

        Raises:
            AuthenticityError: The keys are not what both state, or others than before
                (`identity.keys-changed`); the answer is not the service's; or it refused
                (`identity.refused`).
            GridSecureError: The service cannot be reached, or the disk refuses.
        """
        # 1. keys
        said = self._stated_keys()
        # 2. secrets
        wallet = file.wallet
        if wallet is None:
            wallet = make_wallet(said, suite=file.suite)
            file.keep(wallet)
        if wallet.keys != said:
            raise AuthenticityError(
                "The identity authority's keys have changed.",
                reason="identity.keys-changed",
                remedy="Do not enrol; compare them with the public log and ask both offices.",
            )
        # 3. order
        session = self._session()
        channel = self._channel(session)
        holder = wallet.holder(file.suite)
        pending = holder.ask(Context("analyst", period), channel=channel)
        order = EnrolmentOrder(
            session=session,
            role="analyst",
            period=period,
            items=[EnrolmentItem(identity=self.analyst.name, request=pending.message.hex())],
        )
        # 4. answer
        response = self._answer(order, now=now)
        credential = holder.take(pending, response=response, channel=channel, facts=NO_FACTS)
        file.keep(replace(wallet, credential=credential))

    def _stated_keys(self) -> IdentityKeys:
        content = self._ask("GET", "/identity-keys")
        statements = parse_answer(content, Statements, words=PeopleWords(IDENTITY)).statements
        return check_statements(statements, signers=self.service.signers)

    def _session(self) -> str:
        content = self._ask("POST", "/enrolments/sessions", token=self.analyst.token)
        return parse_answer(content, Session, words=PeopleWords(IDENTITY)).session

    def _channel(self, session: str) -> bytes:
        try:
            return enrolment_channel(
                session,
                sender=self.analyst.key.public_key.thumbprint,
                service=self.service.key.thumbprint,
                identity=self.analyst.name,
            )
        except ValueError as error:
            raise _not_an_answer() from error

    def _answer(self, order: EnrolmentOrder, *, now: datetime) -> bytes:
        """Send the order; the credential response in the answer."""
        envelope = sign_message(order, key=self.analyst.key)
        blob = seal_to(
            envelope.model_dump_json().encode(),
            recipient=self.service.key,
            purpose=_ORDER,
            owner=order.session,
            created_at=now,
        )
        content = self._ask("POST", "/enrolments", token=self.analyst.token, body=blob)
        clear = open_from(content, private_key=self.analyst.key, purpose=_ANSWER)
        trusted = {self.service.key.thumbprint: self.service.key}
        answer = open_message(Signed.parse(clear), expect=EnrolmentAnswer, trusted=trusted)
        if answer.session != order.session or len(answer.items) != 1:
            raise _not_an_answer()
        (result,) = answer.items
        if result.response is None:
            raise AuthenticityError(
                "The identity service gave no credential.",
                reason=result.reason or "identity.refused",
                remedy="Use the wallet that enrolled first, or ask the identity authority.",
            )
        try:
            return bytes.fromhex(result.response)
        except ValueError as error:
            raise _not_an_answer() from error

    def _ask(self, method: str, path: str, *, token: str = "", body: object = None) -> bytes:
        url = f"{self.service.url.rstrip('/')}{path}"
        return fetch_body(self.http, method, url, service=IDENTITY, token=token or None, body=body)


def _not_an_answer() -> InvalidMessageError:
    return InvalidMessageError(
        "The identity service did not answer the order that was sent.", reason="message.answer"
    )
