"""How gateways, analysts and others talk to the identity service over HTTP, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx

from gridsecure.credentials.access import batch_challenge, enrolment_channel
from gridsecure.credentials.batch_issuance import GivenMac, finalise_credentials
from gridsecure.credentials.holder import Holder
from gridsecure.credentials.issuance import Credential, PendingRequest
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import registration_domains
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.identity.enrolments.orders import ANSWER_PURPOSE, ORDER_PURPOSE
from gridsecure.identity_messages import (
    Audience,
    EnrolmentAnswer,
    EnrolmentItem,
    EnrolmentOrder,
    person_login,
    service_login,
)
from gridsecure.messages import Signed, open_message, sign_message
from tests.grid_simulator import NOW, grid_keys, registry
from tests.identity.identity_world import keys, suite


def service_token(
    http: httpx.Client,
    key: Sm2PrivateKey,
    *,
    audience: Audience = "identity",
    now: datetime = NOW,
) -> dict[str, str]:
    """The header of a registered service."""
    envelope = service_login(audience=audience, key=key, now=now)
    answer = http.post("/service-tokens", json=envelope.model_dump())
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def person_token(
    http: httpx.Client, name: str, *, audience: Audience = "identity"
) -> dict[str, str]:
    """The header of a registered person."""
    envelope = person_login([audience], key=keys().people[name], now=NOW)
    answer = http.post("/person-tokens", json=envelope.model_dump())
    return {"Authorization": f"Bearer {answer.json()['tokens'][audience]}"}


def account(meter: str, *, gateway: Sm2PrivateKey | None = None) -> dict[str, str]:
    """An account of the books, read by the session's gateway unless told otherwise."""
    key = gateway or grid_keys().gateway
    return {
        "meter_point_id": meter,
        "gateway": key.public_key.thumbprint,
        "name": f"Customer of {meter}",
        "address": f"{meter} Futian Road",
        "customer_id": f"customer of {meter}",
        "zone": "futian",
        "customer_class": "household",
    }


@dataclass
class Ordering:
    """An order in the making: tests change it before it is sent."""

    http: httpx.Client
    headers: dict[str, str]
    sender: Sm2PrivateKey
    role: str
    period: str = "2026"
    session: str = ""
    channel_session: str = ""

    def open_session(self) -> str:
        self.session = self.http.post("/enrolments/sessions", headers=self.headers).json()[
            "session"
        ]
        return self.session

    def channel(self, identity: str) -> bytes:
        return enrolment_channel(
            self.channel_session or self.session,
            sender=self.sender.public_key.thumbprint,
            service=grid_keys().identity.public_key.thumbprint,
            identity=identity,
        )

    def pending(self, holders: Mapping[str, Holder]) -> dict[str, PendingRequest]:
        context = Context(self.role, self.period)
        return {
            identity: holder.ask(context, channel=self.channel(identity))
            for identity, holder in holders.items()
        }

    def order(self, pending: Mapping[str, PendingRequest]) -> EnrolmentOrder:
        return EnrolmentOrder(
            session=self.session,
            role=self.role,
            period=self.period,
            items=[
                EnrolmentItem(identity=identity, request=one.message.hex())
                for identity, one in pending.items()
            ],
        )

    def send(self, envelope: Signed) -> httpx.Response:
        blob = seal_to(
            envelope.model_dump_json().encode(),
            recipient=grid_keys().identity.public_key,
            purpose=ORDER_PURPOSE,
            owner=self.session,
            created_at=NOW,
        )
        return self.http.post("/enrolments", content=blob, headers=self.headers)

    def answer(self, response: httpx.Response) -> EnrolmentAnswer:
        assert response.status_code == 200, response.text
        sealed = open_from(response.content, private_key=self.sender, purpose=ANSWER_PURPOSE)
        envelope = Signed.parse(sealed)
        return open_message(
            envelope, expect=EnrolmentAnswer, trusted=registry(grid_keys().identity)
        )


def gateway_order(http: httpx.Client, **choices: object) -> Ordering:
    """An order of the session's gateway for its meter points."""
    key = grid_keys().gateway
    return Ordering(http, service_token(http, key), key, **{"role": "meter-point"} | choices)


def enrolled(ordering: Ordering, holders: Mapping[str, Holder]) -> dict[str, Credential | str]:
    """Enrol holders; by identity the credential or why there is none."""
    ordering.open_session()
    pending = ordering.pending(holders)
    order = sign_message(ordering.order(pending), key=ordering.sender)
    answer = ordering.answer(ordering.send(order))
    assert answer.session == ordering.session
    assert [item.identity for item in answer.items] == list(holders)
    given = [
        GivenMac(
            pending[item.identity],
            bytes.fromhex(item.response),
            ordering.channel(item.identity),
            item.facts,
        )
        for item in answer.items
        if item.response
    ]
    taken: list[Credential] = []
    if given and ordering.role == "analyst":
        (one,) = given
        (holder,) = holders.values()
        taken = [holder.take(one.pending, response=one.mac, channel=one.channel, facts=one.facts)]
    elif given:
        proof, issuer = bytes.fromhex(answer.proof), keys().public.issuer
        taken = finalise_credentials(given, proof=proof, suite=suite(), issuer=issuer)
    credentials = iter(taken)
    return {item.identity: item.reason or next(credentials) for item in answer.items}


def challenge(http: httpx.Client) -> bytes:
    return bytes.fromhex(http.post("/challenges").json()["challenge"])


def presented(
    pairs: Sequence[tuple[Holder, Credential]],
    *,
    challenge: bytes,
    role: str = "meter-point",
    period: str = "2026",
    carry: str | None = None,
) -> dict[str, object]:
    """The body that registers holders."""
    domains = registration_domains(role, period=period, carry=carry)
    items = []
    for at, (holder, credential) in enumerate(pairs):
        occasion, message = holder.show(
            credential, domains=domains, challenge=batch_challenge(challenge, at)
        )
        items.append(
            {
                "holder": occasion.holder.point.hex(),
                "presentation": message.hex(),
                "facts": credential.context.facts.model_dump(),
            }
        )
    body = {"challenge": challenge.hex(), "role": role, "period": period, "items": items}
    return body | ({"carry": carry} if carry else {})


def registered(http: httpx.Client, pairs: Sequence[tuple[Holder, Credential]], **choices: object):
    """Register holders; the results in their order."""
    body = presented(pairs, challenge=challenge(http), **choices)
    answer = http.post("/registrations", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def login_body(holder: Holder, domain: Domain, *, challenge: bytes) -> dict[str, str]:
    return {
        "subject": holder.name_in(domain),
        "domain": domain.text,
        "challenge": challenge.hex(),
        "signature": holder.sign_in(domain, challenge=challenge).hex(),
    }


def logged_in(http: httpx.Client, holder: Holder, domain: Domain) -> httpx.Response:
    body = login_body(holder, domain, challenge=challenge(http))
    return http.post("/logins", json=body)
