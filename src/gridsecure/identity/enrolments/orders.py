"""Enrolment orders: credentials asked for by who may, sealed to the identity authority and back.

The channel is the identity authority's word for who is at its other end:

1. The order is sealed to this service and signed by a registered key: its sender.
2. The sender has the token it came with, and a session given out to it, now used.
3. The role is the sender's to ask for, and the period is open.
4. Each request is for an account of the sender: a gateway's by the books, its own, or the person's.
5. Requests are bound to session, sender, service and account; the issuer answers each on its own,
   with the facts that it certifies.

An account that is not there and one that is another's are refused alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gridsecure.credentials.access import enrolment_channel
from gridsecure.credentials.issuer_keys import Context
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import (
    AccessDeniedError,
    GridSecureError,
    InputError,
    InvalidMessageError,
)
from gridsecure.identity.enrolments.books import find_days
from gridsecure.identity.enrolments.certifying import UNKNOWN_ACCOUNT
from gridsecure.identity.enrolments.issuer import CredentialRequest, Issued, Issuer
from gridsecure.identity.enrolments.tables import SessionRow
from gridsecure.identity.one_use import OneUse
from gridsecure.identity_messages import (
    EnrolmentAnswer,
    EnrolmentItem,
    EnrolmentOrder,
    EnrolmentResult,
)
from gridsecure.messages import Signed, open_message, sign_message

ORDER_PURPOSE: Final = "enrolment"
ANSWER_PURPOSE: Final = "enrolment-answer"

SESSIONS: Final = OneUse(SessionRow, timedelta(minutes=10))
"""What an enrolment order is sent in; making hundreds of requests takes a while."""


@dataclass(frozen=True, slots=True)
class Party:
    """A service or person with a registered SM2 key.

    Args:
        roles: What it may act as.
        tenant: The organisation that it is of; empty where there is one alone.
    """

    name: str
    roles: tuple[str, ...]
    key: Sm2PublicKey
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class EnrolmentDesk:
    """The identity authority's side of the enrolment channel.

    Args:
        key: The service's key, which orders are sealed to and answers signed with.
        services: Registered services by thumbprint.
        people: Registered people by thumbprint.
        periods: Open periods; no credential is given for another.
    """

    issuer: Issuer
    key: Sm2PrivateKey = field(repr=False)
    services: Mapping[str, Party]
    people: Mapping[str, Party]
    periods: tuple[str, ...]

    def answer(self, blob: bytes, *, bearer: str, now: datetime) -> bytes:
        """Open an order, carry it out, and seal the answer to its sender.

        Args:
            blob: The order as it came.
            now: The present, aware.

        Raises:
            AuthenticityError: It does not open, is not signed by a registered key, came with
                another's token (`authenticity.sender`) or in a session that is not the sender's,
                was used or is over (`authenticity.enrolment-session`); or the role is not the
                sender's to ask for (`authenticity.role`).
            InputError: The period is not open (`identity.period`).
            InvalidMessageError: It is malformed.
            StorageError: The database refuses; nothing was kept.
        """
        # 1. sender
        envelope = Signed.parse(open_from(blob, private_key=self.key, purpose=ORDER_PURPOSE))
        parties = {**self.services, **self.people}
        trusted = {name: party.key for name, party in parties.items()}
        order = open_message(envelope, expect=EnrolmentOrder, trusted=trusted)
        sender = parties[envelope.signer]
        # 2. token and session
        if sender.name != bearer:
            raise AccessDeniedError(
                "The order came with another sender's token.", reason="authenticity.sender"
            )
        session = bytes.fromhex(order.session)
        SESSIONS.use(self.issuer.engine, value=session, owner=sender.name, now=now)
        # 3 to 5
        results, proof = self._carry_out(order, sender, now=now)
        answer = EnrolmentAnswer(session=order.session, items=results, proof=proof.hex())
        said = sign_message(answer, key=self.key)
        return seal_to(
            said.model_dump_json().encode(),
            recipient=sender.key,
            purpose=ANSWER_PURPOSE,
            owner=order.session,
            created_at=now,
        )

    def _carry_out(
        self, order: EnrolmentOrder, sender: Party, *, now: datetime
    ) -> tuple[list[EnrolmentResult], bytes]:
        # 3. role and period
        self._check_role(order, sender)
        if order.period not in self.periods:
            raise InputError(
                "No credentials are given for this period.",
                reason="identity.period",
                remedy="Ask for a period that is open.",
            )
        # 4. accounts
        own = self._accounts(order, sender)
        items = [(at, item) for at, item in enumerate(order.items) if item.identity in own]
        # 5. answers
        context = Context(order.role, order.period)
        requests = [self._request(order, item, sender=sender) for _, item in items]
        given, proof = self.issuer.issue_all(requests, context=context, now=now, actor=sender.name)
        answers = {at: answer for (at, _), answer in zip(items, given, strict=True)}
        return [_result(item, answers.get(at)) for at, item in enumerate(order.items)], proof

    def _check_role(self, order: EnrolmentOrder, sender: Party) -> None:
        is_person = sender.key.thumbprint in self.people
        asked_by = "analyst" if is_person else "gateway"
        if asked_by not in sender.roles or is_person != (order.role == "analyst"):
            raise AccessDeniedError("This sender may not enrol that role.")
        if order.role != "meter-point" and len(order.items) != 1:
            raise InvalidMessageError(
                "An order that enrols its sender must have exactly one item.",
                reason="identity.items",
            )

    def _accounts(self, order: EnrolmentOrder, sender: Party) -> set[str]:
        thumbprint = sender.key.thumbprint
        if order.role == "meter-point":
            asked = [item.identity for item in order.items]
            return set(find_days(self.issuer.engine, asked, gateway=thumbprint))
        return {thumbprint if order.role == "gateway" else sender.name}

    def _request(
        self, order: EnrolmentOrder, item: EnrolmentItem, *, sender: Party
    ) -> CredentialRequest:
        channel = enrolment_channel(
            order.session,
            sender=sender.key.thumbprint,
            service=self.key.public_key.thumbprint,
            identity=item.identity,
        )
        return CredentialRequest(item.identity, bytes.fromhex(item.request), channel)


def _result(item: EnrolmentItem, answer: Issued | GridSecureError | None) -> EnrolmentResult:
    if isinstance(answer, Issued):
        response, facts = answer.response.hex(), answer.facts
        return EnrolmentResult(identity=item.identity, response=response, facts=facts)
    reason = UNKNOWN_ACCOUNT if answer is None else answer.reason
    return EnrolmentResult(identity=item.identity, reason=reason)
