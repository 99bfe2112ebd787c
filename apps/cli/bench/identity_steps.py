"""The steps of anonymous credentials that are timed: real keys, different messages, real checks.

A step's work is a list of like calls, each on a message of its own, so that nothing remembered from
one call speeds up the next. It returns what they gave, to be compared with what they must give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gridsecure.credentials.grants import Question, Quota, request_grant, verify_grant
from gridsecure.credentials.group import BackendName
from gridsecure.credentials.holder import Holder
from gridsecure.credentials.issuance import Credential, issue_credential
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey, generate_issuer_key
from gridsecure.credentials.opening import OPENERS, generate_opener_key, joint_key
from gridsecure.credentials.presentations import (
    Domain,
    Occasion,
    PublicKeys,
    subject,
    verify_presentation,
)
from gridsecure.credentials.seats import billing_domain, settlement_domain
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm3 import sm3_digest

_YEAR: Final = "2026"
_METER: Final = Context("meter-point", _YEAR)
_ANALYST: Final = Context("analyst", _YEAR)
DOMAINS: Final = (billing_domain(_YEAR), settlement_domain(_YEAR))
"""Where a meter point registers, with one presentation."""
_CHANNEL: Final = b"benchmark"
_QUERY: Final = sm3_digest(b"query")


@dataclass(frozen=True, slots=True)
class Step:
    """Something to time.

    Args:
        name: Stable key.
        title: In words.
        units: How many like things one call of `run` does.
        run: Does them; returns what came out.
        expected: What must come out, where that is known before.
    """

    name: str
    title: str
    units: int
    run: Callable[[], Any] = field(repr=False)
    expected: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Parties:
    """An identity authority and its openers, made for one run.

    Args:
        suite: The group and its hash, on the backend that is timed.
        key: The issuer's key.
        keys: What is published.
    """

    suite: Suite
    key: IssuerPrivateKey = field(repr=False)
    keys: PublicKeys

    @property
    def backend(self) -> str:
        """Who computes."""
        return self.suite.group.backend.name

    def holder(self) -> Holder:
        """A holder that nobody enrolled yet."""
        return Holder(self.suite, self.keys, self.suite.group.random_scalar())

    def enrol(self, holder: Holder, context: Context) -> Credential:
        """Both sides of an enrolment, the authority's database left out."""
        pending = holder.ask(context, channel=_CHANNEL)
        answer = issue_credential(
            pending.message, suite=self.suite, key=self.key, context=context, channel=_CHANNEL
        )
        return holder.take(pending, response=answer, channel=_CHANNEL)


def make_parties(backend: BackendName = "auto") -> Parties:
    """New keys on a backend.

    Args:
        backend: Who computes; `auto` is what the services take.

    Raises:
        GridSecureError: The backend asked for is not there (`identity.backend.unavailable`).
    """
    suite = sm2_suite(backend)
    key = generate_issuer_key(suite)
    published = {name: generate_opener_key(name, suite=suite).published(suite) for name in OPENERS}
    keys = PublicKeys(key.public_key(suite), joint_key(published, suite=suite))
    return Parties(suite, key, keys)


def registration_steps(parties: Parties, *, count: int) -> Iterator[Step]:
    """Enrolling, showing a credential and checking what is shown, in one domain and in two."""
    holders = [parties.holder() for _ in range(count)]

    def enrol() -> list[Credential]:
        return [parties.enrol(holder, _METER) for holder in holders]

    yield Step("enrol", "enrol, both sides", count, enrol)
    credentials = enrol()
    for domains, words in ((DOMAINS[:1], "one domain"), (DOMAINS, "two domains")):
        at, show = f"_{len(domains)}", _showing(holders, credentials, domains)
        yield Step(f"present{at}", f"present, {words}", count, show)
        shown = show()

        def check(shown: list[tuple[Occasion, bytes]] = shown) -> list[list[str]]:
            return [_names(parties, occasion, message) for occasion, message in shown]

        names = [[holder.name_in(domain) for domain in domains] for holder in holders]
        yield Step(f"presentation{at}", f"verify presentation, {words}", count, check, names)


def _showing(
    holders: list[Holder], credentials: list[Credential], domains: tuple[Domain, ...]
) -> Callable[[], list[tuple[Occasion, bytes]]]:
    pairs = list(zip(holders, credentials, strict=True))
    return lambda: [
        holder.show(credential, domains=domains, challenge=bytes(32))
        for holder, credential in pairs
    ]


def _names(parties: Parties, occasion: Occasion, message: bytes) -> list[str]:
    suite = parties.suite
    found = verify_presentation(
        message, occasion=occasion, keys=parties.keys, key=parties.key, suite=suite
    )
    return [
        subject(nym, domain=domain, suite=suite)
        for domain, nym in zip(occasion.domains, found.nyms, strict=True)
    ]


def grant_steps(parties: Parties, *, count: int, limit: int) -> Iterator[Step]:
    """Asking for query grants and checking them.

    Args:
        parties: Who issued the analyst's credential.
        count: How many requests, of different nonces; at most `limit`.
        limit: How many grants an analyst has in an epoch.
    """
    suite, issuer = parties.suite, parties.keys.issuer
    member = parties.enrol(parties.holder(), _ANALYST)
    question = Question(Quota(_ANALYST, f"{_YEAR}-03", limit), "platform", _QUERY)

    def ask() -> list[bytes]:
        return [
            request_grant(member, nonce=nonce, question=question, issuer=issuer, suite=suite)
            for nonce in range(count)
        ]

    yield Step(f"grant_request_{limit}", f"request grant, limit {limit}", count, ask)
    messages, group = ask(), suite.group

    def check() -> list[bytes]:
        return [
            verify_grant(one, question=question, issuer=issuer, key=parties.key, suite=suite)
            for one in messages
        ]

    tags = [
        group.encode(
            group.multiply(question.quota.base(suite), scalar=group.invert(member.m1 + nonce))
        )
        for nonce in range(count)
    ]
    yield Step(f"grant_{limit}", f"verify grant, limit {limit}", count, check, tags)
