"""An officer at the identity service: signed in with a key, for one office.

What the service refuses is told with its own reason and remedy. The log is fetched whole and its
tree recomputed here, against what this office kept of it the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from gridsecure.credentials.opening import OFFICE_OF, OPENERS, Opener, OpenerKey
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import AccessDeniedError, InvalidMessageError
from gridsecure.identity_messages import Audience, IdentityKeys, person_login
from gridsecure.messages import Signed
from gridsecure.offices.files import Log, SeenEntry, read_witness, write_witness
from gridsecure.offices.log_checks import find_seen_tree, registration_entries
from gridsecure.store.evidence import EvidenceEntry, verify_entries
from gridsecure.store.log_entries import read_entry
from gridsecure.transparency.tree import Frontier
from gridsecure.wire.client import AnswerT, Client
from gridsecure.wire.identity import (
    EvidenceShown,
    LeavesShown,
    PersonTokens,
    Statements,
)
from gridsecure.wire.words import PeopleWords

Call = Callable[..., Any]
"""Calls a service as somebody who signed in: audience, method, path, options -> its answer."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the services are.

    Args:
        platform: Address of the platform, where one is talked to.
    """

    identity: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Office:
    """A signed-in officer.

    Args:
        http: The client; closed by whoever made it.
        services: Where the services are.
        tokens: By audience.
    """

    http: httpx.Client = field(repr=False)
    services: Services
    opener: Opener
    tokens: Mapping[Audience, str] = field(repr=False)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the identity service as the officer; its JSON answer.

        Raises:
            GridSecureError: It refused, or cannot be reached (`service.unreachable`).
        """
        token = self.tokens["identity"]
        return fetch_answer(
            self.http, method, self.services.identity + path, token=token, **options
        )

    def read(self, path: str, kind: type[AnswerT], **options: Any) -> AnswerT:
        """Get an answer of the identity service as its own model of it.

        Raises:
            GridSecureError: As for `call`, or another shape (`message.answer`).
        """
        client = _identity(self.http)
        token, url = self.tokens["identity"], self.services.identity + path
        return client.read(client.call("GET", url, token=token, **options), kind)

    def deliver(self, path: str, body: object) -> Any:
        """Post to the platform as the officer; its JSON answer.

        Raises:
            GridSecureError: As for `call`.
        """
        url, token = self.services.platform + path, self.tokens["platform"]
        return fetch_answer(self.http, "POST", url, service="platform", token=token, json=body)


def fetch_answer(
    http: httpx.Client, method: str, url: str, *, service: str = "identity", **options: Any
) -> Any:
    """Send one request; the JSON answer, of a list all its pages, or the bytes of a binary one.

    Raises:
        GridSecureError: The service refused, or cannot be reached (`service.unreachable`).
    """
    client = Client(http, PeopleWords(service))
    answer, *more = client.follow(method, url, **options)
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return answer.content
    return sum((client.json(page) for page in more), client.json(answer))


def _identity(http: httpx.Client) -> Client:
    return Client(http, PeopleWords("identity"))


def _tokens(http: httpx.Client, identity: str, login: Signed) -> PersonTokens:
    client = _identity(http)
    response = client.post(f"{identity}/person-tokens", json=login.model_dump())
    return client.read(response, PersonTokens)


def sign_in_person(
    http: httpx.Client,
    identity: str,
    *,
    key: Sm2PrivateKey,
    services: Mapping[Audience, str],
    now: datetime,
) -> Call:
    """Sign somebody of whatever role in with a key.

    Args:
        services: Address of each service that is called, by audience.
        now: The present, aware.

    Raises:
        GridSecureError: A service refused, or cannot be reached (`service.unreachable`).
    """
    given = _tokens(http, identity, person_login(tuple(services), key=key, now=now))

    def call(audience: Audience, method: str, path: str, **options: Any) -> Any:
        url, token = services[audience] + path, given.tokens[audience]
        return fetch_answer(http, method, url, service=audience, token=token, **options)

    return call


def sign_in_officer(
    http: httpx.Client, services: Services, *, key: Sm2PrivateKey, now: datetime
) -> Office:
    """Sign an officer in with a key.

    Args:
        services: Where the services are.
        now: The present, aware.

    Raises:
        AccessDeniedError: Whose key it is acts for no office (`office.role`).
        GridSecureError: The service refused.
    """
    audiences: tuple[Audience, ...] = (
        ("identity", "platform") if services.platform else ("identity",)
    )
    given = _tokens(http, services.identity, person_login(audiences, key=key, now=now))
    (role,) = given.roles if len(given.roles) == 1 else ("",)
    if role not in OFFICE_OF:
        raise AccessDeniedError(
            f"{given.name} does not act for exactly one office.",
            reason="office.role",
            remedy="Use the key of a custodian (for the utility) or of the regulator.",
        )
    return Office(http, services, OFFICE_OF[role], given.tokens)


def check_half(office: Office, key: OpenerKey, *, suite: Suite) -> None:
    """Refuse a half of the opening key that is not this office's, before anything is sent.

    Args:
        office: Who is signed in.

    Raises:
        AccessDeniedError: It is another's (`office.opener-key`).
        InvalidMessageError: The service shows no keys.
    """
    shown = office.read("/identity-keys", Statements)
    statement = IdentityKeys.parse(shown.statements[0].body)
    stated = {name: getattr(statement, name) for name in OPENERS}[office.opener]
    own = suite.group.encode(suite.group.multiply(suite.g, scalar=key.k)).hex()
    if not stated.startswith(own):
        raise AccessDeniedError(
            f"This is not the half of the opening key of the {office.opener}.",
            reason="office.opener-key",
            remedy="Give the opener key that belongs to the officer's office.",
        )


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A log as fetched, its tree recomputed.

    Args:
        tree: What this office keeps of it now.
        witnessed: What this office had kept of it, if anything.
    """

    entries: list[EvidenceEntry] = field(repr=False)
    tree: Frontier
    witnessed: Frontier | None


def fetch_verified_log(office: Office, log: Log, *, witness: Path) -> VerifiedLog:
    """Fetch a log, verify it against the witness, and keep its tree's frontier as the new witness.

    Args:
        office: Who is signed in.

    Raises:
        AuditBrokenError: It does not hold, or is not the one of the last time (`audit.log`).
        GridSecureError: The service refused.
        StorageError: The witness cannot be read or written.
    """
    kept = read_witness(witness)
    entries: list[EvidenceEntry] = []
    while True:
        after = entries[-1].index if entries else -1
        shown = office.read("/evidence", EvidenceShown, params={"log": log, "after": after})
        portion = [read_entry(one) for one in shown.entries]
        if not portion:
            break
        if portion[0].index != after + 1:
            raise InvalidMessageError("The service shows entries that were not asked for.")
        entries += portion
    seen = kept.get(log)
    witnessed = find_seen_tree(entries, seen) if isinstance(seen, SeenEntry) else seen
    tree = verify_entries(entries, witnessed=witnessed)
    write_witness(witness, kept | {log: tree})
    return VerifiedLog(entries, tree, witnessed)


def fetch_leaves(
    office: Office, entries: list[EvidenceEntry], *, before: int
) -> dict[str, list[str]]:
    """What each entry of registrations commits to, as the service shows it.

    Args:
        office: Who is signed in.
        before: Index of the order.
    """
    return {
        one.hash: office.read(f"/evidence/{one.hash}/leaves", LeavesShown).leaves
        for one in registration_entries(entries, before=before)
    }
