"""Query grants over HTTP: so many a month, each for one query, none of them anybody's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from gridsecure.credentials.access import check_query
from gridsecure.credentials.grants import Question, Quota, request_grant, trial_quota
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.returned_grants import GrantOrder, hidden_digest, returned_quota
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.crypto.tokens import verify_token
from gridsecure.messages import sign_message
from tests.apps.identity_peers import Ordering, enrolled, person_token
from tests.apps.zone_apps import TestClock, identity_app, refused_body
from tests.attacks import attack, cut, rule
from tests.grid_simulator import NOW, grid_keys
from tests.identity.identity_world import keys, new_holder, suite

KEYS = grid_keys()
QUERY = b"load curve of futian"


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def service(tmp_path, clock):
    app = identity_app(tmp_path / "identity", clock=clock, grants_per_epoch=4)
    with TestClient(app) as client:
        yield client


def terms(service) -> dict:
    return service.get("/grants/terms").json()


@pytest.fixture
def wallet(service) -> Wallet:
    said = terms(service)
    headers = person_token(service, "lin")
    order = Ordering(service, headers, keys().people["lin"], "analyst", said["period"])
    credential = enrolled(order, {"lin": new_holder()})["lin"]
    quota = Quota(Context("analyst", said["period"]), said["epoch"], said["limit"])
    return Wallet(credential, quota)


def ask(wallet: Wallet, query: bytes = QUERY, audience: str = "platform") -> tuple[Wallet, str]:
    after, message = wallet.ask(
        audience=audience, digest=sm3_digest(query), keys=keys().public, suite=suite()
    )
    return after, message.hex()


def grant(service, message: str, query: bytes = QUERY):
    return service.post("/grants", json={"digest": sm3_digest(query).hex(), "request": message})


def test_terms_are_public_and_of_the_month(service, clock):
    assert terms(service) == {"period": "2026", "epoch": "2026-08", "limit": 4}
    clock.now = clock.now.replace(year=2027, month=1)
    assert terms(service) == {"period": "2027", "epoch": "2027-01", "limit": 4}


def test_grants_are_for_a_query_at_both_who_check_it_and_name_nobody(service, wallet):
    wallet, message = ask(wallet)
    given = grant(service, message).json()
    assert list(given["tokens"]) == ["platform", "authority"]
    for audience, token in given["tokens"].items():
        claims = verify_token(
            token,
            key=KEYS.identity.public_key,
            audience=audience,
            issuer="gridsecure-identity",
            now=NOW,
        )
        check_query(claims, query=QUERY)
        assert claims.holder_thumbprint is None
        assert claims.expires_at.isoformat() == given["expires_at"]
        assert (claims.expires_at - NOW).days == 1


def test_a_grant_is_used_once_also_after_a_restart(service, wallet, tmp_path, clock):
    _, message = ask(wallet)
    assert grant(service, message).status_code == 200
    again = grant(service, message)
    assert (again.status_code, again.json()) == (401, refused_body(401))
    _, other = ask(wallet, b"another query")
    assert grant(service, other, b"another query").json() == refused_body(401)
    app = identity_app(tmp_path / "identity", clock=clock, grants_per_epoch=4)
    with TestClient(app) as restarted:
        assert grant(restarted, message).json() == refused_body(401)


def test_a_grant_is_for_its_digest_audience_and_month(service, wallet, clock):
    _, message = ask(wallet)
    assert grant(service, message, b"another query").json() == refused_body(401)
    _, elsewhere = ask(wallet, audience="authority")
    assert grant(service, elsewhere).json() == refused_body(401)
    clock.advance(days=31)
    assert grant(service, message).json() == refused_body(401)


def test_four_grants_a_month_and_no_fifth(service, wallet):
    for number in range(4):
        wallet, message = ask(wallet, b"%d" % number)
        assert grant(service, message, b"%d" % number).status_code == 200
    with pytest.raises(ValueError, match="below its limit"):
        ask(wallet)
    wider = Question(
        Quota(wallet.credential.context, wallet.quota.epoch, 8), "platform", sm3_digest(QUERY)
    )
    message = request_grant(
        wallet.credential, nonce=4, question=wider, issuer=keys().public.issuer, suite=suite()
    )
    answer = grant(service, message.hex())
    assert (answer.status_code, answer.json()["reason"]) == (422, "identity.length")


def quota_of(wallet: Wallet, more: Callable[[Quota], Quota]) -> Wallet:
    return Wallet(wallet.credential, more(wallet.quota))


@attack(
    "a grant more, as if one had come back",
    rule(
        "A returned grant is given by the key authority's order alone.",
        "authenticity.signature",
        cut(
            "gridsecure_api.identity_zone:IdentityZone.authorities",
            '"authority" in one.roles',
            "True",
        ),
    ),
)
def test_returned_grants_are_ordered_by_the_key_authority(service, wallet, attacked):
    """By nobody else who is registered: a platform has no say in it."""
    returned = quota_of(wallet, returned_quota)
    digest, salt = sm3_digest(QUERY), b"\5" * 32

    def given(key: Sm2PrivateKey, about: bytes = digest):
        hidden = hidden_digest(about, salt=salt).hex()
        order = sign_message(GrantOrder(digest=hidden), key=key).model_dump()
        _, message = ask(returned)
        body = {"digest": digest.hex(), "request": message, "order": order, "salt": salt.hex()}
        return service.post("/grants/returned", json=body)

    forged = given(KEYS.platform)
    if forged.status_code == 200:
        attacked.ends("")
        return
    assert forged.json() == refused_body(401)
    attacked.ends("authenticity.signature")
    assert given(KEYS.authority, bytes(32)).json() == refused_body(401)
    assert given(KEYS.authority).status_code == 200
    assert given(KEYS.authority).json() == refused_body(401), "its number was used"


def test_grants_returned_grants_and_passes_are_counted_apart(service, wallet):
    """A request for one is none for another, and all have numbers of their own."""
    body = {"digest": sm3_digest(QUERY).hex()}
    _, message = ask(wallet)
    said = service.post("/grants/trials", json=body | {"request": message})
    assert said.json() == refused_body(401)
    _, of_pass = ask(quota_of(wallet, trial_quota), audience="authority")
    assert grant(service, of_pass).json() == refused_body(401)
    given = service.post("/grants/trials", json=body | {"request": of_pass}).json()
    key = KEYS.identity.public_key
    claims = verify_token(
        given["token"], key=key, audience="authority", issuer="gridsecure-identity", now=NOW
    )
    assert (claims.roles, claims.subject) == (("query-trial",), f"trial/{body['digest']}")
    assert grant(service, message).status_code == 200


@pytest.mark.parametrize(
    "change", [{"digest": "ab"}, {"request": "abc"}, {"request": ""}, {"more": 1}], ids=str
)
def test_malformed_wishes_are_refused(service, change):
    body = {"digest": "ab" * 32, "request": "00"} | change
    assert service.post("/grants", json=body).status_code == 422
