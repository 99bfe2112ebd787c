"""The analyst's side of grants: wallets, enrolment, queries; against the real identity service."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from gridsecure.analyst.asking import Asking, QueryAnswer, enrol_analyst
from gridsecure.analyst.enrolment import IdentityService
from gridsecure.analyst.grants import QueryAddresses, QueryClient, wallet_of
from gridsecure.analyst.releases import pin_authority
from gridsecure.analyst.runs import month_bounds
from gridsecure.analyst.wallets import KeptWallet, make_wallet, open_wallet
from gridsecure.credentials.access import check_query
from gridsecure.credentials.grants import Quota
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.pinning import check_statements
from gridsecure.credentials.queries import RESULT_PURPOSE, Query, load_curve_query, parse_query
from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import (
    AuthenticityError,
    EnvelopeError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
    StorageError,
)
from gridsecure.messages import ReleaseCertificate, sign_message
from tests.analyst.zone_services import END, START, curve_cells
from tests.apps.zone_apps import TestClock, identity_app
from tests.cli.in_process import InProcess
from tests.grid_simulator import NOW, grid_keys
from tests.identity.identity_world import keys, suite
from tests.processes_beside import BESIDE

LIMIT = 4
KEYS = grid_keys()
READER = generate_private_key()
QUERY = load_curve_query(START, END, reader=READER.public_key)
RESULTS = "/query-results"
ADDRESSES = QueryAddresses("http://identity", "http://platform", "http://authority")
AUTHORITY = pin_authority(KEYS.authority.public_key.point.hex())


class Recorder(httpx.BaseTransport):
    """Carries requests to the identity service, keeps them, and loses answers when told to."""

    def __init__(self, app) -> None:
        self.carried = InProcess(app)
        self.sent: list[httpx.Request] = []
        self.lose: set[str] = set()
        self.answers: dict[str, httpx.Response] = {}
        self.prefixes: dict[str, httpx.Response] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        request.read()
        if request.url.path in self.answers:
            return self.answers[request.url.path]
        for prefix, answer in self.prefixes.items():
            if request.url.path.startswith(prefix):
                return answer
        answer = self.carried.handle_request(request)
        if request.url.path in self.lose:
            raise httpx.ReadError("lost")
        return answer


@dataclass
class Desk:
    """An analyst's machine."""

    recorder: Recorder
    http: httpx.Client
    path: Path
    clock: TestClock

    @property
    def service(self) -> IdentityService:
        return IdentityService(ADDRESSES.identity, KEYS.identity.public_key, keys().signers)

    def enrol(self, *, name: str = "lin", period: str = "2026", **changes) -> None:
        service = replace(self.service, **changes)
        enrol_analyst(
            self.http,
            service=service,
            name=name,
            key=keys().people[name],
            wallet=self.path,
            period=period,
            now=self.clock(),
        )

    @property
    def wallet(self) -> KeptWallet:
        with open_wallet(self.path, suite=suite()) as file:
            return file.require()

    @property
    def client(self) -> QueryClient:
        return QueryClient(self.http, addresses=ADDRESSES, keys=keys().public, authority=AUTHORITY)

    def grants(self) -> Wallet:
        kept = self.wallet
        terms = self.client.terms(now=self.clock())
        return wallet_of(kept.credential, terms, before=kept.grants)

    def keep(self, after: Wallet) -> None:
        with open_wallet(self.path, suite=suite()) as file:
            file.keep(replace(file.require(), grants=after))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = TestClock()
    app = identity_app(tmp_path / "identity", clock=clock, grants_per_epoch=LIMIT)
    recorder = Recorder(app)
    with httpx.Client(transport=recorder) as http:
        yield Desk(recorder, http, tmp_path / "wallet.json", clock)
    app.state.zone.close()


@pytest.fixture
def enrolled(desk: Desk) -> Desk:
    desk.enrol()
    desk.recorder.sent.clear()
    return desk


def query_for(reader: Sm2PrivateKey) -> Query:
    """The same question, to be read with another key."""
    return load_curve_query(START, END, reader=reader.public_key)


def plain(wallet: KeptWallet) -> tuple[object, ...]:
    """What a wallet holds, its readers' keys as bytes: two keys of one scalar are not equal."""
    grants = [(replace(one, reader=None), one.reader.to_bytes()) for one in wallet.in_use]
    return replace(wallet, in_use=()), grants


# --- wallets -----------------------------------------------------------------------------------


def test_a_wallet_comes_back_as_it_was_and_only_its_owner_reads_it(enrolled):
    grant = enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    with open_wallet(enrolled.path, suite=suite()) as file:
        wallet = file.require().add_grant(grant)
        file.keep(wallet)
    assert plain(enrolled.wallet) == plain(wallet)
    assert stat.S_IMODE(enrolled.path.stat().st_mode) == 0o600
    (kept,) = enrolled.wallet.in_use
    assert kept.reader.to_bytes() == READER.to_bytes()
    assert wallet.grant_for(QUERY, at=NOW) == grant
    assert wallet.grant_for(QUERY, at=NOW + timedelta(days=1)) is None
    assert wallet.grant_for(query_for(generate_private_key()), at=NOW) == grant
    another = QUERY.model_copy(update={"start": "2026-06-01T00:00:00+08:00", "end": START})
    assert wallet.grant_for(another, at=NOW) is None
    assert wallet.drop_grant(QUERY.text, at=NOW).in_use == ()
    assert wallet.drop_grant("another", at=NOW).in_use == (grant,)
    assert wallet.left == LIMIT - 1


def test_nothing_secret_is_shown(enrolled):
    grant = enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    wallet = enrolled.wallet.add_grant(grant)
    shown = repr(wallet) + repr(grant)
    text = json.loads(enrolled.path.read_text())
    reader = READER.to_bytes().hex()
    secrets = [str(wallet.m1), str(wallet.r1), text["m1"], text["credential"][66:], reader]
    assert not [one for one in [*secrets, grant.platform, grant.authority] if one in shown]


def test_a_wallet_that_others_may_read_is_not_used(enrolled):
    enrolled.path.chmod(0o640)
    with pytest.raises(StorageError) as refused:
        enrolled.grants()
    assert refused.value.reason == "wallet.permissions"


@pytest.mark.parametrize(
    "change",
    [
        {"m1": "f" * 64},
        {"m1": "12"},
        {"credential": "05" * 66},
        {"next_nonce": -1},
        {"limit": 1, "epoch": "2026-08"},
        {"name": "lin"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_damaged_wallet_says_so_and_shows_nothing(enrolled, change):
    text = json.loads(enrolled.path.read_text()) | change
    enrolled.path.write_text(json.dumps(text))
    with pytest.raises(StorageError) as refused, open_wallet(enrolled.path, suite=suite()):
        pass
    assert refused.value.reason == "wallet.damaged"
    assert text["r1"] not in str(refused.value)


def test_without_a_wallet_one_is_told_to_enrol(desk):
    with pytest.raises(NotFoundError) as missing:
        desk.grants()
    assert missing.value.reason == "wallet.missing"
    assert not desk.path.exists()


def test_a_disk_that_refuses_leaves_the_wallet_as_it_was(enrolled, monkeypatch):
    before = enrolled.path.read_bytes()

    def full(*_given):
        raise OSError(28, "No space left on device")

    with open_wallet(enrolled.path, suite=suite()) as file:
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StorageError):
            file.keep(make_wallet(file.require().keys, suite=suite()))
        monkeypatch.undo()
    assert enrolled.path.read_bytes() == before
    assert sorted(p.name for p in enrolled.path.parent.iterdir() if p.is_file()) == [
        "wallet.json", "wallet.json.lock",
    ]  # fmt: skip


def _next_nonce(path: Path, uses: int) -> None:
    """Use nonces, as a command of its own does."""
    for _ in range(uses):
        with open_wallet(path, suite=suite()) as file:
            wallet = file.require()
            file.keep(replace(wallet, grants=replace(
                wallet.grants, next_nonce=wallet.grants.next_nonce + 1
            )))  # fmt: skip


def test_two_commands_never_take_one_nonce(enrolled):
    quota = Quota(Context("analyst", "2026"), "2026-08", 64)
    enrolled.keep(Wallet(enrolled.wallet.credential, quota))
    others = [BESIDE.Process(target=_next_nonce, args=(enrolled.path, 5)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert enrolled.wallet.grants.next_nonce == 10


# --- enrolment ---------------------------------------------------------------------------------


def test_secrets_are_kept_before_the_order_is_sent_and_ask_again(desk):
    desk.recorder.lose = {"/enrolments"}
    with pytest.raises(GridSecureError):
        desk.enrol()
    first = desk.wallet
    assert first.credential is None
    desk.recorder.lose = set()
    desk.enrol()
    assert (desk.wallet.m1, desk.wallet.r1) == (first.m1, first.r1)
    assert desk.wallet.credential.context == Context("analyst", "2026")
    desk.enrol(period="2027")
    assert (desk.wallet.m1, desk.wallet.credential.context.period) == (first.m1, "2027")


def test_one_analyst_has_one_wallet(enrolled, tmp_path):
    second = replace(enrolled, path=tmp_path / "second.json")
    with pytest.raises(AuthenticityError) as refused:
        second.enrol()
    assert refused.value.reason.startswith("conflict.")


@pytest.mark.parametrize("wrong", ["service key", "signer", "period"])
def test_enrolment_is_with_the_pinned_authority(desk, wrong):
    stranger = generate_private_key().public_key
    changes = {
        "service key": {"key": stranger},
        "signer": {"signers": {**keys().signers, "regulator": stranger}},
        "period": {"period": "2031"},
    }[wrong]
    with pytest.raises(GridSecureError):
        desk.enrol(**changes)
    if desk.path.exists():
        assert desk.wallet.credential is None


def test_other_keys_than_before_are_refused(enrolled):
    with open_wallet(enrolled.path, suite=suite()) as file:
        said = check_statements(keys().statements, signers=keys().signers)
        file.keep(replace(file.require(), keys=said.model_copy(update={"issuer": "02" * 99})))
    with pytest.raises(AuthenticityError) as refused:
        enrolled.enrol()
    assert refused.value.reason == "identity.keys-changed"


# --- grants ------------------------------------------------------------------------------------


def test_a_grant_is_kept_before_it_is_sent(enrolled):
    """Killed at any moment, the next request has another nonce."""
    grants = enrolled.grants()

    def dies(_after: Wallet) -> None:
        raise StorageError("The disk is full.")

    enrolled.recorder.sent.clear()
    with pytest.raises(StorageError):
        enrolled.client.grant(grants, QUERY, reader=READER, keep=dies)
    assert enrolled.recorder.sent == []

    enrolled.recorder.lose = {"/grants"}
    with pytest.raises(GridSecureError):
        enrolled.client.grant(grants, QUERY, reader=READER, keep=enrolled.keep)
    enrolled.recorder.lose = set()
    assert enrolled.grants().next_nonce == 1
    grant = enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    assert enrolled.grants().next_nonce == 2
    assert grant.is_valid(at=NOW)


def test_tokens_are_for_the_query_at_both_services(enrolled):
    grant = enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    for audience, token in (("platform", grant.platform), ("authority", grant.authority)):
        claims = verify_token(
            token, key=KEYS.identity.public_key, audience=audience,
            issuer="gridsecure-identity", now=NOW,
        )  # fmt: skip
        check_query(claims, query=QUERY.text.encode())


def test_no_more_grants_than_the_month_has(enrolled):
    for _ in range(LIMIT):
        enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    enrolled.recorder.sent.clear()
    with pytest.raises(InputError) as refused:
        enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    assert refused.value.reason == "grants.none-left"
    assert [one.url.path for one in enrolled.recorder.sent] == ["/grants/terms"]
    enrolled.clock.advance(days=31)
    assert enrolled.grants().next_nonce == 0


def test_a_wallet_from_a_backup_is_told_so(enrolled):
    old = enrolled.grants()
    enrolled.client.grant(old, QUERY, reader=READER, keep=enrolled.keep)
    with pytest.raises(AuthenticityError) as refused:
        enrolled.client.grant(old, QUERY, reader=READER, keep=enrolled.keep)
    assert refused.value.reason == "grants.refused"
    assert "backup" in refused.value.remedy


def test_grant_requests_share_nothing_and_name_nobody(enrolled):
    """Two requests of one analyst: no point, scalar or other piece is in both."""
    for _ in range(2):
        enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)
    sent = [one for one in enrolled.recorder.sent if one.url.path == "/grants"]
    one, two = (bytes.fromhex(json.loads(request.content)["request"]) for request in sent)
    pieces = {one[at : at + 32] for at in range(len(one) - 31)}
    assert not pieces & {two[at : at + 32] for at in range(len(two) - 31)}
    kept = enrolled.path.read_text()
    for request in sent:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers
        assert set(json.loads(request.content)) == {"digest", "request"}
        assert b"lin" not in bytes(request.url.raw_path) + request.content
        assert not [v for v in json.loads(kept).values() if isinstance(v, str) and len(v) == 64
                    and v.encode() in request.content]  # fmt: skip


def answer_of(terms: dict) -> httpx.Response:
    return httpx.Response(200, json=terms)


@pytest.mark.parametrize(
    "changed",
    [{"epoch": "2026-08-03"}, {"epoch": "2026-07"}, {"epoch": "2026-09"}, {"period": "2027"}],
    ids=str,
)
def test_terms_of_another_month_are_refused(enrolled, changed):
    said = {"period": "2026", "epoch": "2026-08", "limit": LIMIT} | changed
    enrolled.recorder.answers["/grants/terms"] = answer_of(said)
    with pytest.raises(AuthenticityError) as refused:
        enrolled.client.terms(now=NOW)
    assert refused.value.reason == "grants.terms"


def test_terms_do_not_change_within_a_month_nor_go_back(enrolled):
    before = enrolled.grants()
    credential, context = enrolled.wallet.credential, before.quota.context
    for epoch, limit in (("2026-08", LIMIT + 1), ("2026-07", LIMIT)):
        with pytest.raises(AuthenticityError) as refused:
            wallet_of(credential, Quota(context, epoch, limit), before=before)
        assert refused.value.reason == "grants.terms"
    with pytest.raises(InputError) as other:
        wallet_of(credential, Quota(Context("analyst", "2027"), "2027-01", 4), before=before)
    assert other.value.reason == "grants.period"


# --- answers -----------------------------------------------------------------------------------


def certificate(grant, **changes) -> ReleaseCertificate:
    fields = {
        "release_id": "ab" * 16, "plan": "load-curve", "plan_version": 1, "start": START,
        "end": END, "purpose": "research", "requested_by": f"query/{grant.digest.hex()}",
        "released_at": NOW.isoformat(), "transcripts": ["ab" * 32], "outputs_digest": "cd" * 32,
        "minimum_members": 15, "cells": curve_cells(), "statements": {}, "evidence_head": "12" * 32,
    }  # fmt: skip
    return ReleaseCertificate(**fields | changes)


def offer(desk: Desk, grant, *, key=KEYS.authority, reader=None, **changes) -> None:
    """Have the key authority answer, sealed to the query's reader unless told otherwise."""
    envelope = sign_message(certificate(grant, **changes), key=key)
    sealed = seal_to(
        envelope.model_dump_json().encode(),
        recipient=reader or grant.query.reader_key,
        purpose=RESULT_PURPOSE,
        owner=f"query/{grant.digest.hex()}",
        created_at=NOW,
    )
    desk.recorder.answers[RESULTS] = httpx.Response(200, content=sealed)


@pytest.fixture
def granted(enrolled):
    return enrolled.client.grant(enrolled.grants(), QUERY, reader=READER, keep=enrolled.keep)


def test_a_result_is_the_pinned_authoritys_answer_to_this_query(enrolled, granted):
    offer(enrolled, granted)
    release = enrolled.client.result(granted)
    assert release.requested_by == f"query/{granted.digest.hex()}"
    assert any(cell.value is not None for cell in release.cells)
    request = enrolled.recorder.sent[-1]
    assert (request.method, request.url.path) == ("POST", RESULTS)
    assert json.loads(request.content) == {"query": QUERY.text}
    assert request.headers["authorization"] == f"Bearer {granted.authority}"


def test_a_result_for_another_reader_or_in_the_open_is_not_read(enrolled, granted):
    offer(enrolled, granted, reader=generate_private_key().public_key)
    with pytest.raises(EnvelopeError):
        enrolled.client.result(granted)
    offer(enrolled, granted)
    with pytest.raises(EnvelopeError):
        enrolled.client.result(replace(granted, reader=generate_private_key()))
    envelope = sign_message(certificate(granted), key=KEYS.authority)
    enrolled.recorder.answers[RESULTS] = httpx.Response(200, content=envelope.model_dump_json())
    with pytest.raises(EnvelopeError):
        enrolled.client.result(granted)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": generate_private_key()},
        {"requested_by": "clerk"},
        {"purpose": "operations"},
        {"start": "2026-06-01T00:00:00+08:00"},
        {"end": "2026-09-01T00:00:00+08:00"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_any_other_result_is_refused(enrolled, granted, changes):
    offer(enrolled, granted, **changes)
    with pytest.raises(SignatureError):
        enrolled.client.result(granted)


def state(**changes) -> dict:
    said = {"run_id": "r", "state": "done", "done": 1, "of": 1, "reason": None, "message": None,
            "request_id": "q", "request_state": "waiting"}  # fmt: skip
    return said | changes


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"state": "failed", "reason": "load-curve.grid", "message": "\x1b[2J"}, "load-curve.grid"),
        ({"request_state": "refused"}, "release.refused"),
    ],
    ids=["failed", "refused"],
)
def test_an_answer_that_will_not_come_is_not_waited_for(enrolled, granted, said, reason):
    answers = enrolled.recorder.answers
    answers["/queries"] = httpx.Response(202, json={"run_id": "r"})
    answers[f"/queries/{granted.digest.hex()}"] = answer_of(state(**said))
    with pytest.raises(GridSecureError) as refused:
        enrolled.client.answer(granted, pause=lambda _progress: pytest.fail("it waits"))
    assert refused.value.reason == reason
    assert "\x1b" not in refused.value.message, "it is read on a terminal"


def conflict() -> httpx.Response:
    return httpx.Response(409, json={"reason": "conflict.asked", "detail": "m", "remedy": "r"})


def test_what_was_released_for_the_query_is_read_where_it_was_asked_before(enrolled, granted):
    enrolled.recorder.answers["/queries"] = conflict()
    missing = httpx.Response(404, json={"reason": "not-found.query-result"})
    enrolled.recorder.answers[RESULTS] = missing
    with pytest.raises(GridSecureError) as refused:
        enrolled.client.answer(granted, pause=lambda _progress: None)
    assert refused.value.reason == "conflict.asked"
    offer(enrolled, granted)
    assert enrolled.client.answer(granted, pause=lambda _progress: None).purpose == "research"


class GaveUpError(Exception):
    """The caller has no patience left."""


def give_up(_progress) -> None:
    raise GaveUpError


def running(desk: Desk) -> None:
    """The platform takes every query and is never done with it."""
    desk.recorder.answers["/queries"] = httpx.Response(202, json={"run_id": "r"})
    desk.recorder.prefixes["/queries/"] = answer_of(state(state="running"))


def asking(desk: Desk) -> Asking:
    return Asking(desk.http, ADDRESSES, AUTHORITY, desk.clock, give_up)


def ask(desk: Desk, month: str = "2026-07") -> QueryAnswer:
    start, end = month_bounds(month, timezone="Asia/Shanghai")
    return asking(desk).load_curve(desk.path, start=start, end=end)


def test_a_command_that_gave_up_goes_on_with_its_grant_and_reader(enrolled):
    """One grant for a month, however often the command is called before the release."""
    running(enrolled)
    for _ in range(2):
        with pytest.raises(GaveUpError):
            ask(enrolled)
    assert enrolled.wallet.left == LIMIT - 1
    (kept,) = enrolled.wallet.in_use
    asked = [one for one in enrolled.recorder.sent if one.url.path == "/queries"]
    assert [json.loads(one.content)["query"] for one in asked] == [kept.query.text] * 2
    assert kept.query.reader == kept.reader.public_key.point.hex()
    enrolled.recorder.prefixes["/queries/"] = answer_of(state(request_state="released"))
    offer(enrolled, kept)
    answer = ask(enrolled)
    assert (answer.left, answer.limit) == (LIMIT - 1, LIMIT)
    assert answer.release.requested_by == f"query/{kept.digest.hex()}"
    assert enrolled.wallet.in_use == ()


def test_two_queries_of_one_analyst_share_no_reader(enrolled):
    """Neither two months nor the same month again, when its first answer was read."""
    running(enrolled)
    readers = []
    for month in ("2026-06", "2026-07", "2026-07"):
        with pytest.raises(GaveUpError):
            ask(enrolled, month)
        kept = enrolled.wallet.in_use[-1]
        readers.append(kept.query.reader)
        if len(readers) == 2:
            with open_wallet(enrolled.path, suite=suite()) as file:
                file.keep(file.require().drop_grant(kept.query.text, at=NOW))
    assert len(set(readers)) == 3
    person = keys().people["lin"].public_key.point.hex()
    assert person not in readers


def test_a_query_whose_reader_is_no_point_is_refused():
    off_curve = "04" + "0" * 127 + "1"
    text = QUERY.text.replace(QUERY.reader, off_curve)
    assert text != QUERY.text
    with pytest.raises(InvalidMessageError):
        parse_query(text)
    assert parse_query(QUERY.text) == QUERY


@pytest.mark.parametrize(
    "reader",
    ["", "02" + "1" * 64, "04" + "1" * 126, "04" + "g" * 128],
    ids=["none", "compressed", "short", "no-digits"],
)
def test_a_query_whose_reader_has_another_shape_is_refused(reader):
    with pytest.raises(InvalidMessageError):
        parse_query(QUERY.text.replace(QUERY.reader, reader))
    with pytest.raises(InvalidMessageError):
        parse_query(QUERY.text.replace(QUERY.reader, QUERY.reader.upper()))


def test_a_kept_grant_with_a_damaged_reader_is_not_used(enrolled, granted):
    with open_wallet(enrolled.path, suite=suite()) as file:
        file.keep(file.require().add_grant(granted))
    text = json.loads(enrolled.path.read_text())
    reader = text["grants"][0]["reader"]
    text["grants"][0]["reader"] = "0" * 64
    enrolled.path.write_text(json.dumps(text))
    with pytest.raises(StorageError) as refused, open_wallet(enrolled.path, suite=suite()):
        pass
    assert refused.value.reason == "wallet.damaged"
    assert reader not in str(refused.value)
