"""What the identity service answers to people and offices, in memory, in its own shapes.

The bodies are the service's own models and log-ins are signed and verified with SM2; a share is a
word here, since what makes one good is tested where shares are made.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import BaseModel

from gridsecure.crypto.sm2 import Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError
from gridsecure.identity.enrolments.signed_logins import MAX_AGE
from gridsecure.identity_messages import LogEntry, PersonLogin, person_login
from gridsecure.messages import Signed, open_message
from gridsecure.wire.identity import (
    AccountShown,
    EvidenceShown,
    OpeningShown,
    PersonTokens,
    Revoked,
    WarrantShown,
)
from gridsecure_api.identity import PASSWORDS
from gridsecure_api.identity_warrants import SubjectOrder

AUDIENCES = ("authority", "platform", "gateway", "identity")
OFFICE_OF = {"custodian": "utility", "regulator": "regulator"}
SUBJECT, UNKNOWN = "5a" * 32, "77" * 32
PERSON = ("customer-0815", "Lin Mei", "Harbour Road 1, Futian")
"""Identity, name and address that only an opening may show."""


def share_of(warrant: str, office: str) -> str:
    """The one share that fits."""
    return (sm3_hex(f"{warrant}/{office}".encode()) * 4)[:194]


def search(number: int, **changes: object) -> dict[str, object]:
    """A search as it is listed."""
    return {
        "hash": sm3_hex(f"search {number}".encode()),
        "identity_digest": "9c" * 32,
        "state": "running",
        "waiting_for": ["utility"],
        "done": 512,
        "of": 4096,
        "found": 1,
    } | changes


@dataclass
class OfficeServices:
    """People, orders and revocations; tests change its fields to make it misbehave."""

    passwords: bool = True
    level: dict[str, str] | None = None
    orders: list[dict[str, object]] = field(default_factory=list)
    shares: dict[str, set[str]] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    in_books: bool = True
    forgot_result: bool = False
    revoked: set[str] = field(default_factory=set)
    logged: list[tuple[str, str]] = field(
        default_factory=lambda: [
            ("identity", "registered"),
            ("custodian", "warrant"),
            ("regulator", "share"),
            ("identity", "opened"),
            ("regulator", "revoked"),
        ]
    )
    searches: list[dict[str, object]] | None = field(default_factory=list)
    people: dict[str, tuple[Sm2PublicKey, tuple[str, ...]]] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)

    def code(self, *roles: str, audiences=AUDIENCES, age: timedelta = timedelta()) -> str:
        """Register somebody with these roles and sign in as the command does."""
        key = generate_private_key()
        self.people[key.public_key.thumbprint] = (key.public_key, roles)
        return code_of(person_login(audiences, key=key, now=datetime.now(UTC) - age))

    def about(self) -> dict[str, object]:
        return {
            "zone": "identity",
            "title": "GridSecure",
            "description": "",
            "version": "1",
            "sm2_engines": [],
            "logs": {},
            "level": self.level,
            "periods": ["2026"],
            "local_demonstration_only": [PASSWORDS] if self.passwords else [],
        }

    def person_tokens(self, content: bytes, *, expires_at: str) -> httpx.Response:
        envelope = Signed.parse(content)
        trusted = {name: key for name, (key, _) in self.people.items()}
        try:
            login = open_message(envelope, expect=PersonLogin, trusted=trusted)
        except AuthenticityError:
            return refused()
        age = datetime.now(UTC) - datetime.fromisoformat(login.issued_at)
        if age > MAX_AGE or login.nonce in self.nonces:
            return refused()
        self.nonces.add(login.nonce)
        _, roles = self.people[envelope.signer]
        tokens = {audience: f"{'+'.join(roles)}:{audience}" for audience in login.audiences}
        name = f"{roles[0]} by key"
        return shown(
            PersonTokens(name=name, roles=list(roles), tokens=tokens, expires_at=expires_at)
        )

    def handle(self, method: str, path: str, *, role: str, content: bytes) -> httpx.Response:
        """Answer an office; anybody else is refused."""
        office = OFFICE_OF.get(role)
        if office is None:
            return httpx.Response(403, json=REFUSED)
        head, _, rest = path.strip("/").partition("/")
        if head == "revocations":
            return self._revoke(SubjectOrder.model_validate_json(content))
        if head == "person-searches":
            return self._searches()
        if rest:
            return self._named(method, rest, office=office, content=content)
        if method == "POST":
            return self._order(SubjectOrder.model_validate_json(content))
        return httpx.Response(200, json=[self._warrant(order) for order in self.orders])

    def evidence(self, role: str, *, after: int, actions: Sequence[str]) -> httpx.Response:
        """The log of registrations, two entries at a time."""
        if role not in OFFICE_OF:
            return httpx.Response(403, json=REFUSED)
        entries = [
            LogEntry(
                index=number, at=f"2026-07-0{number + 1}T08:00:00+00:00", actor=actor,
                action=f"identity.{action}", detail=json.dumps({"subject": SUBJECT}), previous="",
                hash=sm3_hex(action.encode()), salt="0" * 32,
            )
            for number, (actor, action) in enumerate(self.logged)
        ]  # fmt: skip
        behind = [e for e in entries if e.index > after and e.action in actions]
        return shown(EvidenceShown(entries=behind[:2]))

    def _searches(self) -> httpx.Response:
        if self.searches is None:
            body = {"reason": "http.405", "detail": "This address does not take this method."}
            return httpx.Response(405, json=body)
        return httpx.Response(200, json=self.searches)

    def _order(self, order: SubjectOrder) -> httpx.Response:
        if order.subject == UNKNOWN:
            return not_found("not-found.registration")
        number = len(self.orders)
        self.orders.append(
            {
                "hash": sm3_hex(f"warrant {number}".encode()),
                "index": 10 + number,
                "subject": order.subject,
                "reference": order.reference,
            }
        )
        return httpx.Response(200, json=self._warrant(self.orders[-1]))

    def _warrant(self, order: dict[str, object]) -> dict[str, object]:
        name = str(order["hash"])
        given = self.shares.get(name, set())
        entry = LogEntry(
            index=order["index"], at="2026-07-01T08:00:00+00:00", actor="identity",
            action="identity.warrant", detail="{}", previous="", hash=name, salt="0" * 32,
        )  # fmt: skip
        return WarrantShown(
            entry=entry, subject=order["subject"], escrow="02" * 66, reference=order["reference"],
            waiting_for=[o for o in ("utility", "regulator") if o not in given],
            opened=self.opened.count(name), leaves=[],
        ).model_dump(mode="json")  # fmt: skip

    def _named(self, method: str, rest: str, *, office: str, content: bytes) -> httpx.Response:
        name, _, what = rest.partition("/")
        order = next((o for o in self.orders if o["hash"] == name), None)
        if order is None:
            return not_found("not-found.warrant")
        given = self.shares.setdefault(name, set())
        if what == "result":
            if len(given) < 2 or self.forgot_result:
                return not_found("not-found.opening")
            return self._result(order)
        if (method, what) == ("POST", "shares"):
            body = json.loads(content)
            if body != {"opener": office, "share": share_of(name, office)}:
                return refused()
            given.add(office)
            if len(given) == 2:
                self.opened.append(name)
        return httpx.Response(200, json=self._warrant(order))

    def forget(self) -> None:
        """A quarter of an hour goes by."""
        self.shares.clear()

    def _result(self, order: dict[str, object]) -> httpx.Response:
        identity, name, address = PERSON
        account = AccountShown(meter_point_id=identity, name=name, address=address)
        return shown(
            OpeningShown(
                subject=order["subject"], identity=identity,
                account=account if self.in_books else None,
                expires_at=(datetime.now(UTC) + timedelta(minutes=15)).isoformat(),
            )
        )  # fmt: skip

    def _revoke(self, order: SubjectOrder) -> httpx.Response:
        if order.subject == UNKNOWN:
            return not_found("not-found.registration")
        count = 0 if order.subject in self.revoked else 2
        self.revoked.add(order.subject)
        return shown(Revoked(revoked=count))


REFUSED = {
    "reason": "authenticity.refused",
    "detail": "The request could not be trusted.",
    "remedy": "Sign in again.",
}


def code_of(envelope: Signed) -> str:
    """What `gridsecure identity sign-in` prints."""
    return base64.urlsafe_b64encode(envelope.model_dump_json().encode()).decode().rstrip("=")


def shown(body: BaseModel) -> httpx.Response:
    return httpx.Response(200, json=body.model_dump(mode="json"))


def refused() -> httpx.Response:
    return httpx.Response(401, json=REFUSED)


def not_found(reason: str) -> httpx.Response:
    return httpx.Response(404, json={"reason": reason, "detail": "Not there.", "remedy": ""})
