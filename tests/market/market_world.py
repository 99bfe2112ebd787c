"""A market with six organisations, and the whole road from a record to a settlement over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.entries import CatalogueEntry
from gridsecure.circulation.organisations import MarketPerson, OrganisationRecord
from gridsecure.circulation.products import ProductDesign, ProductStep, Recipe
from gridsecure.circulation.recipes import plan_digest
from gridsecure.circulation.rights import DatasetRecord, RightGrant
from gridsecure.circulation.trade import Agreement, Need, Offer, OfferRequest
from gridsecure.circulation.uses import MeteredUse, ReleasedAggregate
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.messages import CellTotal, Message, ReleaseCertificate, Signed, sign_message
from gridsecure.released_values import SignedCertificate
from gridsecure_api.market import create_market_app
from gridsecure_api.settings import MarketSettings
from tests.analyst.logged_certificates import log_certificate
from tests.approving import ENTRIES
from tests.apps.zone_apps import TestClock, bearer, point
from tests.grid_simulator import NOW
from tests.held_policy import POLICY

ORGANISATIONS = {
    "grid": ["supplier"],
    "workshop": ["processor"],
    "exchange": ["operator"],
    "bank": ["consumer"],
    "rival": ["supplier", "processor", "operator", "consumer"],
    "bureau": ["regulator"],
}
"""Each has two people, named after it with 1 and 2."""
LATER = (NOW + timedelta(days=60)).isoformat()
PRICE = 12_345
SECRET = "only for the two of us"
"""What terms and notes say that are nobody else's."""


@cache
def key_of(person: str) -> Sm2PrivateKey:
    """Of a person, or of the registration office, the key authority or the identity service."""
    return generate_private_key()


def organisation_of(person: str) -> str:
    return person if person == REGISTRAR else person.rsplit("-", 1)[0]


def by(person: str) -> dict[str, str]:
    """What a document says of its signer."""
    return {
        "organisation": organisation_of(person),
        "person": person,
        "signed_at": NOW.isoformat(),
    }


def sign(person: str, message: Message) -> Signed:
    return sign_message(message, key=key_of(person))


def sign_text(person: str, kind: str, text: str) -> Signed:
    """A message whose text no message of ours would have."""
    key = key_of(person)
    bare = Signed(body_kind=kind, body=text, signer=key.public_key.thumbprint, signature="")
    return bare.model_copy(update={"signature": key.sign(bare._signed_bytes).hex()})


def record(
    name: str, *, number: int = 1, people: int = 2, roles: list[str] | None = None
) -> Signed:
    """An organisation as the registration office enters it."""
    named = [f"{name}-{at}" for at in range(1, people + 1)]
    said = OrganisationRecord(
        **by(REGISTRAR),
        name=name,
        number=number,
        title=name,
        title_zh=f"{name} 公司",
        roles=ORGANISATIONS[name] if roles is None else roles,
        people=[MarketPerson(person=one, public_key=point(key_of(one))) for one in named],
    )
    return sign(REGISTRAR, said)


def dataset(person: str = "grid-1", **changes: object) -> Signed:
    values: dict[str, Any] = {
        **by(person), "dataset": "load", "title": "Load by day", "title_zh": "日负荷",
        "measures": ["energy_wh", "amount_fen"], "zones": ["futian", "luohu"],
        "licence": "by agreement", "retained_until": LATER,
    }  # fmt: skip
    return sign(person, DatasetRecord(**(values | changes)))


def grant(right: str, grantee: str, person: str = "grid-1", **changes: object) -> Signed:
    values: dict[str, Any] = {
        **by(REGISTRAR if right == "hold" else person), "right": right, "dataset": "load",
        "grantee": grantee, "scope": "everything", "expires_at": LATER,
    }  # fmt: skip
    said = RightGrant(**(values | changes))
    return sign(said.person, said)


def design(person: str = "workshop-1", **changes: object) -> Signed:
    values: dict[str, Any] = {
        **by(person), "product": "recovery", "version": 1, "title": "Recovery index",
        "title_zh": "复工电力指数", "datasets": ["load"], "measures": ["energy_wh"],
        "purpose": "operations", "reviewer": "grid",
        "recipe": Recipe(recipe="plan", name="load-curve", digest=plan_digest("load-curve")),
    }  # fmt: skip
    return sign(person, ProductDesign(**(values | changes)))


def step(person: str, name: str, *, of: str, after: str, **changes: object) -> Signed:
    values: dict[str, Any] = {**by(person), "step": name, "design": of, "previous": after}
    return sign(person, ProductStep(**(values | changes)))


def offer(of: str, person: str = "exchange-1", **changes: object) -> Signed:
    values: dict[str, Any] = {
        **by(person), "product": "recovery", "version": 1, "design": of, "price_fen": PRICE,
        "valid_until": LATER,
    }  # fmt: skip
    return sign(person, Offer(**(values | changes)))


def need(person: str = "bank-1") -> Signed:
    said = Need(**by(person), title="Vacancy", title_zh="空置率", valid_until=LATER)
    return sign(person, said)


def request(of: str, person: str = "bank-1", **changes: object) -> Signed:
    values: dict[str, Any] = {
        **by(person), "offer": of, "uses": 2, "begins_at": (NOW - timedelta(days=1)).isoformat(),
        "ends_at": LATER, "note": SECRET,
    }  # fmt: skip
    return sign(person, OfferRequest(**(values | changes)))


def cell(zone: str = "futian", **changes: object) -> CellTotal:
    """One of a release, with its value."""
    values: dict[str, Any] = {
        "zone": zone, "customer_class": "household", "start": NOW.isoformat(), "end": LATER,
        "measure": "energy_wh", "members": 100, "value": "123456789",
    }  # fmt: skip
    return CellTotal(**(values | changes))


def release(number: int = 1, **changes: object) -> ReleaseCertificate:
    """A release of two cells, of which one was told."""
    cells = [cell(), cell("luohu", members=3, value=None)]
    values: dict[str, Any] = {
        "release_id": f"{number:032x}", "plan": "load-curve", "plan_version": 2,
        "start": NOW.isoformat(), "end": LATER, "purpose": "operations", "requested_by": "bank-1",
        "released_at": NOW.isoformat(), "transcripts": [], "outputs_digest": "2" * 64,
        "minimum_members": 15, "cells": cells, "statements": {}, "evidence_head": "4" * 64,
        "policy": POLICY.digest,
    }  # fmt: skip
    return ReleaseCertificate(**(values | changes))


def certificate(number: int = 1, **changes: object) -> SignedCertificate:
    """A release, signed and with its proof in the authority's log."""
    with TemporaryDirectory() as folder:
        said = release(number, **changes)
        return log_certificate(said, key=key_of("authority"), folder=Path(folder))


def use(of: str, person: str = "bank-1", *, number: int = 1, **changes: object) -> Signed:
    bare = certificate(number, **changes).model_dump(exclude={"values"})
    said = MeteredUse(**by(person), agreement=of, certificate=Signed(**bare))
    return sign(person, said)


def entry(person: str = "grid-1", *, number: int = 7, **changes: object) -> Signed:
    """A release in the catalogue, without its values."""
    bare = certificate(number).model_dump(exclude={"values"})
    values: dict[str, Any] = {
        **by(person), "dataset": "load", "price_yuan": "120", "certificate": Signed(**bare),
    }  # fmt: skip
    return sign(person, CatalogueEntry(**(values | changes)))


def aggregate(of: str, person: str = "exchange-1", **changes: object) -> Signed:
    said = ReleasedAggregate(
        **by(person),
        design=of,
        title="Load of Futian",
        title_zh="福田负荷",
        certificate=certificate(9, **changes),
    )
    return sign(person, said)


@cache
def header_of(person: str, roles: tuple[str, ...], now: datetime) -> dict[str, str]:
    """The header of somebody who signed in."""
    valid = (now, now + timedelta(minutes=5))
    return bearer("market", *roles, person=person, key=key_of("identity"), valid=valid)


class Market:
    """A market over HTTP.

    Args:
        client: Of its service.
    """

    def __init__(self, app: FastAPI, client: TestClient, clock: TestClock) -> None:
        self.app, self.client, self.clock = app, client, clock
        self.digests: dict[str, str] = {}

    def headers(self, person: str, *roles: str) -> dict[str, str]:
        return header_of(person, roles or ("member",), self.clock.now)

    def bring(self, envelope: Signed, person: str | None = None) -> Response:
        """Send a document as its signer, as the market's staff where the office signed it."""
        signer = next(
            (one for one in self.people if key_of(one).public_key.thumbprint == envelope.signer),
            REGISTRAR,
        )
        sender = person or signer
        headers = self.headers(sender, *(("operator",) if sender == REGISTRAR else ()))
        return self.client.post("/documents", json=envelope.model_dump(), headers=headers)

    @property
    def people(self) -> list[str]:
        return [f"{name}-{at}" for name in ORGANISATIONS for at in (1, 2)]

    def take(self, name: str, envelope: Signed) -> str:
        """Send a document that is taken in; its digest, which is kept under a name."""
        answer = self.bring(envelope)
        assert answer.status_code == 200, (name, answer.text)
        self.digests[name] = envelope.digest
        assert answer.json()["digest"] == envelope.digest
        return envelope.digest

    def refusal(self, envelope: Signed, person: str | None = None) -> str:
        """The reason for which a document is refused."""
        answer = self.bring(envelope, person)
        assert answer.status_code >= 400, answer.text
        return str(answer.json()["reason"])

    def get(self, path: str, person: str) -> Response:
        return self.client.get(path, headers=self.headers(person))

    def state(self, name: str, person: str) -> str:
        """How a document stands."""
        return str(self.get(f"/documents/{self.digests[name]}", person).json()["state"])

    def enter(self) -> None:
        """Organisations, a dataset and the three rights to it."""
        for name in ORGANISATIONS:
            self.take(name, record(name))
        self.take("dataset", dataset())
        self.take("hold", grant("hold", "grid"))
        self.take("process", grant("process", "workshop", note=SECRET))
        self.take("operate", grant("operate", "exchange"))

    def publish(self) -> str:
        """A product, from its design to its publication."""
        made = self.take("design", design())
        self.take("review", step("grid-2", "review", of=made, after=made, note=SECRET))
        last = self.digests["review"]
        self.take("publish", step("exchange-1", "publish", of=made, after=last))
        return made

    def draft(self, person: str = "bank-1") -> Agreement:
        body = {"offer": self.digests["offer"], "request": self.digests["request"]}
        answer = self.client.post("/agreement-drafts", json=body, headers=self.headers(person))
        assert answer.status_code == 200, answer.text
        return Agreement.parse(answer.json()["text"])

    def agree(self) -> str:
        """Offer, request, and an agreement that both sides signed."""
        self.take("offer", offer(self.digests["design"]))
        self.take("request", request(self.digests["offer"]))
        text = self.draft()
        self.take("agreement", sign("exchange-1", text))
        return self.take("agreement", sign("bank-1", text))

    def settle(self, month: str, person: str = "bank-1") -> Response:
        body = {"agreement": self.digests["agreement"], "month": month}
        return self.client.post("/settlements", json=body, headers=self.headers(person))


def market_settings(folder: Path) -> MarketSettings:
    return MarketSettings(
        folder=folder,
        identity_public_key=point(key_of("identity")),
        registrar_public_key=point(key_of(REGISTRAR)),
        authority_public_key=point(key_of("authority")),
        policy="uniform-15",
        approvers=ENTRIES,
    )


@contextmanager
def market_at(folder: Path, *, clock: TestClock | None = None) -> Iterator[Market]:
    """A market, running."""
    clock = clock or TestClock()
    app = create_market_app(market_settings(folder), clock=clock)
    with TestClient(app) as client:
        yield Market(app, client, clock)
