"""Research at the key authority: only with a grant, for the query it is for, once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from gridsecure.credentials.queries import RESULT_PURPOSE, Query, load_curve_query
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import (
    EnvelopeError,
    GridSecureError,
    InvalidMessageError,
    NotFoundError,
)
from gridsecure.key_authority.checker.answering import Outcome
from gridsecure.key_authority.checker.grants import bind_grant, query_result, seal_result
from gridsecure.messages import ReleaseCertificate, ReleaseRequest, Signed, sign_message
from gridsecure.released_values import attach_values
from tests.attacks import attack, cut, rule
from tests.authority_simulator import Authority, View, answer_approved
from tests.grid_simulator import NOW, GridSimulator, GridUpload, grid_keys
from tests.query_grants import grant_claims, grant_token, query_of

Uploads = list[GridUpload]


@dataclass
class Research:
    """A request of an analyst in the making: tests change it before it is answered."""

    authority: Authority
    uploads: Uploads
    day: int = 0

    @property
    def query(self) -> Query:
        return query_of(self.authority.grid)

    def request(self, *, query: str | None = None, grant: str | None = None, **changes) -> Signed:
        text = self.query.text if query is None else query
        fields = {
            "purpose": "research",
            "requested_by": grant_claims(self.query.text).subject,
            "query": text,
            "grant": grant_token(text) if grant is None else grant,
        }
        seed = bytes([self.day + 1]) * 32
        transcript = self.authority.load_curve_transcript(self.uploads, day=self.day, seed=seed)
        return self.authority.request([transcript], seeds=[seed], **fields | changes)

    def answered(self, request: Signed, *, now: datetime = NOW) -> Outcome:
        view = self.authority.view
        return answer_approved(self.authority.zone, request, view=view, clock=lambda: now)


@pytest.fixture
def research(authority: Authority, uploads: Uploads) -> Research:
    return Research(authority, uploads)


def refused(outcome: Outcome) -> None:
    assert (outcome.state, outcome.reason) == ("refused", "release.grant")


def test_a_query_is_released_to_its_grant_and_says_nobodys_name(research):
    request = research.request()
    outcome = research.answered(request)
    assert (outcome.state, outcome.reason) == ("released", None)
    (certificate,) = research.authority.certificates
    subject = grant_claims(research.query.text).subject
    assert (certificate.purpose, certificate.requested_by) == ("research", subject)
    assert any(cell.value is not None for cell in certificate.cells)
    found = query_result(research.authority.zone, subject=subject)
    assert attach_values(ReleaseCertificate.parse(found.body), found) == certificate
    assert ReleaseRequest.parse(request.body).grant not in str(research.authority.evidence)
    assert research.answered(request).state == "released"


def sealed(research: Research, *, query: Query, claims: TokenClaims | None = None) -> bytes:
    claims = claims or grant_claims(query.text, audience="authority")
    return seal_result(research.authority.zone, claims, query=query.text, now=NOW)


def opened(blob: bytes, *, reader: Sm2PrivateKey) -> str:
    return open_from(blob, private_key=reader, purpose=RESULT_PURPOSE).decode()


def test_a_result_is_sealed_to_the_reader_of_the_query_and_to_nobody_else(research):
    """The platform carries the grant, and the token alone brings it nothing it can read."""
    assert research.answered(research.request()).state == "released"
    blob = sealed(research, query=research.query)
    certificate = query_result(
        research.authority.zone, subject=grant_claims(research.query.text).subject
    )
    assert opened(blob, reader=grid_keys().holder) == certificate.model_dump_json()
    for piece in (b"futian", b"requested_by", certificate.body.encode()[:40]):
        assert piece not in blob
    for other in (grid_keys().platform, grid_keys().identity, generate_private_key()):
        with pytest.raises(EnvelopeError):
            opened(blob, reader=other)


def test_a_result_is_sealed_for_one_purpose(research):
    assert research.answered(research.request()).state == "released"
    blob = sealed(research, query=research.query)
    with pytest.raises(EnvelopeError):
        open_from(blob, private_key=grid_keys().holder, purpose="statement")


@attack(
    "an analyst's grant, with a reader of the platform's in the query",
    rule(
        "A grant is for a query by its digest, and the query names its reader.",
        "authenticity.query",
        cut("gridsecure.credentials.access:check_query", "claims.subject != expected or", ""),
    ),
)
def test_nobody_puts_a_reader_of_its_own_in_a_query(research, attacked):
    assert research.answered(research.request()).state == "released"
    claims = grant_claims(research.query.text, audience="authority")
    own = query_of(research.authority.grid, reader=grid_keys().platform.public_key)
    blob = attacked.tries(lambda: sealed(research, query=own, claims=claims))
    if blob is not None:
        assert "futian" in opened(blob, reader=grid_keys().platform)
        return
    with pytest.raises(NotFoundError) as missing:
        sealed(research, query=own)
    assert missing.value.reason == "not-found.query-result"


def test_a_query_whose_reader_is_no_point_is_refused(research):
    text = research.query.text.replace(research.query.reader, "04" + "0" * 127 + "1")
    subject = grant_claims(text).subject
    refused(research.answered(research.request(query=text, requested_by=subject)))
    with pytest.raises(InvalidMessageError):
        seal_result(research.authority.zone, grant_claims(text), query=text, now=NOW)


def test_there_is_no_result_before_and_none_for_others(research):
    subject = grant_claims(research.query.text).subject
    with pytest.raises(NotFoundError) as missing:
        query_result(research.authority.zone, subject=subject)
    with pytest.raises(NotFoundError):
        sealed(research, query=research.query)
    assert missing.value.reason == "not-found.query-result"
    research.authority.answer(research.authority.load_curve_request(research.uploads))
    for name in (subject, "clerk"):
        with pytest.raises(NotFoundError):
            query_result(research.authority.zone, subject=name)


JUNE = load_curve_query(
    "2026-06-01T00:00:00+08:00",
    "2026-07-01T00:00:00+08:00",
    reader=grid_keys().holder.public_key,
).text


def old(query: str) -> str:
    return grant_token(query, issued_at=NOW - timedelta(days=1), expires_at=NOW)


BAD_GRANTS = {
    "none": lambda _q: "",
    "nonsense": lambda _q: "a.b.c",
    "expired": old,
    "of tomorrow": lambda q: grant_token(
        q, issued_at=NOW + timedelta(hours=1), expires_at=NOW + timedelta(days=1)
    ),
    "for the platform": lambda q: grant_token(q, audience="platform"),
    "of a stranger": lambda q: grant_token(q, key=generate_private_key()),
    "of another issuer": lambda q: grant_token(q, issuer="somebody"),
    "for another query": lambda _q: grant_token(JUNE),
    "of an analyst's login": lambda q: grant_token(q, subject="lin", roles=("analyst",)),
    "with a role more": lambda q: grant_token(q, roles=("query-grant", "billing")),
}


@pytest.mark.parametrize("grant", BAD_GRANTS)
def test_research_takes_a_grant_that_holds(research, grant):
    asked = len(research.authority.view.asked)
    request = research.request(grant=BAD_GRANTS[grant](research.query.text))
    refused(research.answered(request))
    assert research.authority.certificates == []
    assert len(research.authority.view.asked) == asked, "nothing was proven"


BAD_REQUESTS = {
    "no query": {"query": ""},
    "a query of another period": {"query": JUNE, "requested_by": grant_claims(JUNE).subject},
    "another who asked": {"requested_by": "clerk"},
    "another query's name": {"requested_by": f"query/{'0' * 64}"},
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_the_request_is_what_the_query_asks(research, name):
    refused(research.answered(research.request(**BAD_REQUESTS[name])))
    assert research.authority.certificates == []


def test_a_query_in_another_spelling_is_refused(research):
    text = research.query.text.replace(",", ", ")
    subject = grant_claims(text).subject
    refused(research.answered(research.request(query=text, requested_by=subject)))


def test_a_staff_purpose_in_a_query_is_refused(research):
    text = research.query.text.replace("research", "operations")
    subject = grant_claims(text).subject
    refused(research.answered(research.request(query=text, requested_by=subject)))


@pytest.mark.parametrize("field", ["query", "grant"])
def test_staff_requests_carry_no_part_of_a_grant(research, field):
    text = research.query.text
    parts = {"query": text, "grant": grant_token(text)}
    changes = {"query": "", "grant": ""} | {field: parts[field]}
    refused(research.answered(research.request(purpose="operations", **changes)))


def test_bills_are_not_released_for_research(research):
    text = research.query.text
    transcript = research.authority.bill_transcript(research.uploads[0])
    request = research.authority.request(
        [transcript], purpose="research", query=text, grant=grant_token(text)
    )
    outcome = research.authority.answer(request)
    assert (outcome.state, outcome.reason) == ("refused", "release.purpose")


def test_a_request_is_good_for_one_grant(research):
    """A platform that failed may not go on with another analyst's grant under the same name."""
    request = research.request()
    bind_grant(research.authority.zone, ReleaseRequest.parse(request.body), now=NOW)
    own = ReleaseRequest.parse(request.body)
    other = ReleaseRequest.parse(research.request().body)
    swapped = own.model_copy(update={"grant": other.grant})
    outcome = research.answered(sign_message(swapped, key=research.authority.grid.platform_key))
    assert (outcome.state, outcome.reason) == ("refused", "release.name")
    assert research.answered(request).state == "released"


class BrokenVault:
    """A vault that does not answer."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.is_down = True

    def __getattr__(self, name: str):
        return getattr(self.authority.vault, name)

    def release_totals(self, *given):
        if self.is_down:
            raise GridSecureError("The vault is down.", reason="vault.down")
        return self.authority.vault.release_totals(*given)


def test_a_failed_request_goes_on_with_its_grant_also_after_its_end(grid, uploads, tmp_path):
    made = Authority(grid, tmp_path / "authority")
    vault = BrokenVault(made)
    made.close()
    authority = Authority(grid, tmp_path / "authority", vault=vault)
    research = Research(authority, uploads)
    request = research.request()
    outcome = research.answered(request)
    assert (outcome.state, outcome.reason) == ("failed", "vault.down")
    tomorrow = NOW + timedelta(days=2)
    other = Research(authority, uploads, day=1)
    refused(research.answered(other.request(), now=tomorrow))
    stolen = other.request(grant=ReleaseRequest.parse(request.body).grant)
    refused(research.answered(stolen))
    vault.is_down = False
    assert research.answered(request, now=tomorrow).state == "released"
    authority.close()


@attack(
    "a grant that expires while its request is proven",
    rule(
        "A grant is looked at again when it is spent, before anything is decrypted.",
        "release.grant",
        cut(
            "gridsecure.key_authority.checker.grants:bind_grant",
            "now=now)",
            "now=now.replace(day=now.day - 2))",
        ),
    ),
)
def test_a_grant_that_ends_in_the_middle_of_a_job(research, attacked):
    times = [NOW]

    class Slow(View):
        def objects(self, digests):
            times.append(NOW + timedelta(days=2))
            return super().objects(digests)

    request = research.request()
    zone, view = research.authority.zone, Slow(research.authority.grid)
    outcome = answer_approved(zone, request, view=view, clock=lambda: times[-1])
    attacked.ends(outcome.reason)
    assert len(times) > 1
    assert bool(research.authority.certificates) is attacked.goes_through


@attack(
    "a grant for one request, used for another",
    rule(
        "A grant is good for one request.",
        "release.grant",
        cut(
            "gridsecure.key_authority.checker.grants:check_grant",
            "(o.request_id, o.used) != (entry.request_id, entry.used)",
            "False",
        ),
    ),
    rule(
        "Its use is kept, under its token, before anything is decrypted.",
        "release.grant",
        cut("gridsecure.key_authority.checker.grants:_bind", "keep(session, entry)", "pass"),
    ),
)
def test_a_grant_is_used_for_another_request(research, attacked):
    token = grant_token(research.query.text)
    assert research.answered(research.request(grant=token)).state == "released"
    other_day = Research(research.authority, research.uploads, day=1)
    attacked.ends(research.answered(other_day.request(grant=token)).reason)
    if not attacked.goes_through:
        assert research.answered(other_day.request()).state == "released", "by a grant of its own"


def test_staff_requests_bind_nothing(research):
    request = ReleaseRequest.parse(research.authority.load_curve_request(research.uploads).body)
    bind_grant(research.authority.zone, request, now=NOW)
    assert research.answered(research.request()).state == "released"


def test_the_name_of_who_asked_is_the_querys_digest(grid: GridSimulator):
    text = query_of(grid).text
    assert grant_claims(text).subject == f"query/{sm3_hex(text.encode())}"


def test_nothing_is_decrypted_or_spent_for_research_that_is_refused(research, decrypted):
    """One of everything that is looked at before a proof; then the same with its grant."""
    for changes in (
        {"grant": ""},
        {"query": "", "grant": ""},
        {"grant": grant_token(research.query.text, audience="platform")},
        {"query": JUNE, "grant": grant_token(JUNE)},
        {"requested_by": "clerk"},
        {"purpose": "operations"},
    ):
        refused(research.answered(research.request(**changes)))
    assert decrypted == []
    assert research.authority.certificates == []
    assert research.answered(research.request()).state == "released"
    assert decrypted == ["release_totals"]


def test_what_was_refused_for_an_expired_grant_is_released_for_another(research):
    """The same transcripts under a new query: nothing of the first request was released."""
    late = NOW + timedelta(days=2)
    refused(research.answered(research.request(), now=late))
    again = query_of(research.authority.grid, reader=generate_private_key().public_key).text
    request = research.request(query=again, requested_by=grant_claims(again).subject)
    assert research.answered(request).state == "released"
