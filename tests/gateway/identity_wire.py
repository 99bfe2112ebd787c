"""The identity service over its wire protocol, in memory: real issuing, registering and vouching.

Only the transport is left out. One authority may serve many worlds of one session; a world whose
test revokes or clones somebody takes one of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
import pandas as pd
from sqlalchemy import Engine

from gridsecure.billing.contracts import default_contracts
from gridsecure.credentials.access import ISSUER, enrolment_channel
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import registration_domains
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import AccessDeniedError, GridSecureError
from gridsecure.identity.access_tokens import give_token
from gridsecure.identity.enrolments.books import find_days, write_books
from gridsecure.identity.enrolments.issuer import CredentialRequest, Issued, Issuer
from gridsecure.identity.enrolments.orders import SESSIONS
from gridsecure.identity.enrolments.signed_logins import admit_login
from gridsecure.identity.registrations.registrar import ReceivedPresentation, Registrar
from gridsecure.identity.registrations.token_service import TokenService
from gridsecure.identity.registrations.vouching import vouch_registrations
from gridsecure.identity_messages import (
    EnrolmentAnswer,
    EnrolmentOrder,
    EnrolmentResult,
    Facts,
    ServiceLogin,
)
from gridsecure.messages import Signed, open_message, sign_message
from gridsecure_api.errors import error_response
from tests.grid_simulator import grid_keys
from tests.identity.identity_world import account_of, database, keys, suite


@dataclass
class Authority:
    """What the service remembers.

    Args:
        folder: Where its databases go.
        gateways: Registered gateways' keys.
        statements: The keys it shows.
    """

    folder: Path
    gateways: Iterable[Sm2PublicKey]
    statements: tuple[Signed, ...] = field(default_factory=lambda: keys().statements)

    def __post_init__(self) -> None:
        made, self.signer = keys(), grid_keys().identity
        self.enrolments: Engine = database(self.folder, "enrolments")
        self.registrations: Engine = database(self.folder, "registrations")
        self.issuer = Issuer(suite(), made.issuer, self.enrolments)
        self.registrar = Registrar(suite(), made.public, made.issuer, self.registrations)
        self.tokens = TokenService(
            suite(), made.public, made.issuer, self.signer, self.registrations
        )
        self.services = {key.thumbprint: key for key in self.gateways}

    def list_accounts(self, names: Iterable[str], *, gateway: Sm2PublicKey, at: datetime) -> None:
        """Put meter points into the books, each of a customer of its own."""
        self.list_contracts(default_contracts(list(names)), gateway=gateway, at=at)

    def list_contracts(
        self, contracts: pd.DataFrame, *, gateway: Sm2PublicKey, at: datetime
    ) -> None:
        """Put contracts into the books, each meter point of a customer of its own."""
        columns = ("meter_point_id", "zone", "customer_class")
        accounts = [
            account_of(name, gateway=gateway.thumbprint, zone=zone, customer_class=kind)
            for name, zone, kind in zip(*(contracts[c] for c in columns), strict=True)
        ]
        write_books(self.enrolments, accounts, actor="operator", now=at)

    def copied(self, folder: Path) -> Authority:
        """Another authority that remembers the same."""
        folder.mkdir()
        for name in ("enrolments", "registrations"):
            with (
                closing(sqlite3.connect(self.folder / f"{name}.db")) as source,
                closing(sqlite3.connect(folder / f"{name}.db")) as target,
            ):
                source.backup(target)
        return Authority(folder, list(self.services.values()))

    def close(self) -> None:
        for engine in (self.enrolments, self.registrations):
            engine.dispose()


@dataclass
class IdentityService:
    """Answers requests as the identity service does."""

    authority: Authority
    clock: Callable[[], datetime]
    reasons: list[str] = field(default_factory=list)
    """Why it refused, as its own log would have it."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = self._answer(request)
        except GridSecureError as error:
            self.reasons.append(error.reason)
            refusal = error_response(error)
            return httpx.Response(refusal.status_code, content=bytes(refusal.body))
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return httpx.Response(200, json=answer)

    def _answer(self, request: httpx.Request) -> object:
        path, body = request.url.path, request.read()
        if path in ("/enrolments", "/enrolments/sessions"):
            sender = self._sender(request)
            return self._session(sender) if path.endswith("sessions") else self._enrol(body, sender)
        if path == "/accounts/days":
            names, sender = json.loads(body)["identities"], self._sender(request)
            return {"days": find_days(self.authority.enrolments, names, gateway=sender)}
        if path == "/service-tokens":
            return self._service_token(Signed.parse(body))
        # what has a pseudonym in it comes without a name
        assert "authorization" not in request.headers
        if path == "/identity-keys":
            return {"statements": [s.model_dump() for s in self.authority.statements]}
        if path == "/challenges":
            return {"challenge": self.authority.tokens.challenge(now=self.clock()).hex()}
        answer = {
            "/registrations": self._register,
            "/registrations/list": self._list,
            "/logins": self._log_in,
        }[path]
        return answer(json.loads(body))

    def _sender(self, request: httpx.Request) -> str:
        claims = verify_token(
            request.headers["Authorization"].removeprefix("Bearer "),
            key=self.authority.signer.public_key,
            audience="identity",
            issuer=ISSUER,
            now=self.clock(),
        )
        if claims.roles != ("gateway",):
            raise AccessDeniedError("This role may not do this.")
        return claims.subject.removeprefix("gateway:")

    def _service_token(self, envelope: Signed) -> object:
        now, trusted = self.clock(), self.authority.services
        engine = self.authority.enrolments
        login = admit_login(envelope, expect=ServiceLogin, trusted=trusted, engine=engine, now=now)
        given = give_token(
            f"gateway:{envelope.signer}",
            roles=("gateway",),
            audience=login.audience,
            key=self.authority.signer,
            valid=(now, now.replace(year=now.year + 1)),
        )
        return {"token": given.token, "expires_at": given.expires_at.isoformat()}

    def _session(self, sender: str) -> object:
        engine = self.authority.enrolments
        return {"session": SESSIONS.give(engine, now=self.clock(), owner=sender).hex()}

    def _enrol(self, body: bytes, sender: str) -> bytes:
        mine, trusted = self.authority.signer, self.authority.services
        text = open_from(body, private_key=mine, purpose="enrolment")
        order = open_message(Signed.parse(text), expect=EnrolmentOrder, trusted=trusted)
        session, now = bytes.fromhex(order.session), self.clock()
        SESSIONS.use(self.authority.enrolments, value=session, now=now, owner=sender)
        names = [item.identity for item in order.items]
        known = {sender}
        if order.role == "meter-point":
            known = set(find_days(self.authority.enrolments, names, gateway=sender))
        service = mine.public_key.thumbprint
        requests = [
            CredentialRequest(
                item.identity,
                bytes.fromhex(item.request),
                enrolment_channel(order.session, sender, service, item.identity),
            )
            for item in order.items
            if item.identity in known
        ]
        context = Context(order.role, order.period)
        answers, proof = self.authority.issuer.issue_all(requests, context=context, now=now)
        found = {r.identity: a for r, a in zip(requests, answers, strict=True)}
        results = [_result(name, found.get(name)) for name in names]
        made = EnrolmentAnswer(session=order.session, items=results, proof=proof.hex())
        answer = sign_message(made, key=mine)
        return seal_to(
            answer.model_dump_json().encode(),
            recipient=trusted[sender],
            purpose="enrolment-answer",
            owner=order.session,
            created_at=now,
        )

    def _register(self, wanted: dict) -> object:
        context = Context(wanted["role"], wanted["period"])
        domains = registration_domains(context.role, period=context.period, carry=wanted["carry"])
        outcomes = self.authority.registrar.register_all(
            [
                ReceivedPresentation(
                    bytes.fromhex(item["holder"]),
                    bytes.fromhex(item["presentation"]),
                    Facts(**item["facts"]),
                )
                for item in wanted["items"]
            ],
            context=context,
            domains=domains,
            challenge=bytes.fromhex(wanted["challenge"]),
            now=self.clock(),
        )
        return {
            "items": [
                {"reason": one.reason}
                if isinstance(one, GridSecureError)
                else {"subjects": [entry.subject for entry in one]}
                for one in outcomes
            ]
        }

    def _list(self, wanted: dict) -> object:
        found, refused = vouch_registrations(
            self.authority.registrations,
            wanted["subjects"],
            domain=wanted["domain"],
            role=wanted["role"],
            now=self.clock(),
        )
        envelope = (
            None if found is None else sign_message(found, key=self.authority.signer).model_dump()
        )
        return {"registrations": envelope, "refused": refused}

    def _log_in(self, wanted: dict) -> object:
        given = self.authority.tokens.log_in(
            wanted["subject"],
            domain=Domain(*wanted["domain"].split("/")),
            challenge=bytes.fromhex(wanted["challenge"]),
            signature=bytes.fromhex(wanted["signature"]),
            now=self.clock(),
        )
        return {"token": given.token, "expires_at": given.expires_at.isoformat()}


def _result(identity: str, answer: Issued | GridSecureError | None) -> EnrolmentResult:
    if isinstance(answer, Issued):
        response, facts = answer.response.hex(), answer.facts
        return EnrolmentResult(identity=identity, response=response, facts=facts)
    reason = "identity.unknown-account" if answer is None else answer.reason
    return EnrolmentResult(identity=identity, reason=reason)
