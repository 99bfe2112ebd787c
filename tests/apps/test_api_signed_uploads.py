"""Gateways' requests at the platform's real routes: what is not exactly what was signed is refused.

Every refusal reads alike outside. Each case changes one thing of a request that would be taken in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from gridsecure import frames
from gridsecure.compute.tables import DenyListRow, HolderPinRow
from gridsecure.credentials.uploads import (
    COUNTER_HEADER,
    HOLDER_HEADER,
    SIGNATURE_HEADER,
    Upload,
    digest_body,
    sign_upload,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.identity_messages import DenyList
from gridsecure.messages import sign_message
from gridsecure.store.database import write_session
from gridsecure_api.platform import create_platform_app
from tests.apps.zone_apps import (
    GATEWAY,
    TestClock,
    bearer,
    gateway_auth,
    holder_token,
    platform_settings,
    refused_body,
)
from tests.attacks import Attacked, attack, cut, rule
from tests.grid_simulator import NOW, GridSimulator, GridUpload, grid_keys

KEY = grid_keys().gateway
STRANGER = grid_keys().stranger
SUBJECT = sm3_hex(KEY.public_key.point)
PATH = "/tariffs"
COUNTERS = itertools.count(100)
"""For requests to one platform, which takes each once and only upwards."""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridSimulator]:
    simulator = GridSimulator(tmp_path_factory.mktemp("grid"))
    yield simulator
    simulator.close()


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def platform(tmp_path: Path, clock: TestClock) -> Iterator[TestClient]:
    app = create_platform_app(platform_settings(tmp_path / "platform"), clock=clock)
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One platform for what it refuses before anything of it is kept."""
    settings = platform_settings(tmp_path_factory.mktemp("shared") / "platform")
    with TestClient(create_platform_app(settings, clock=TestClock())) as client:
        yield client


@dataclass(frozen=True)
class Request:
    """A request in the making; `sent_*` is what differs on the way from what was signed."""

    body: bytes
    token: str
    key: Sm2PrivateKey = KEY
    counter: int = 1
    method: str = "POST"
    path: str = PATH
    sent_body: bytes | None = None
    sent_method: str | None = None
    sent_path: str | None = None
    sent_token: str | None = None
    sent_counter: str | None = None
    holder: str | None = None
    signature: str | None = None
    without: str | None = None

    def headers(self) -> dict[str, str]:
        digest = digest_body(self.path, self.body)
        upload = Upload(self.method, self.path, self.token, self.counter, digest)
        own = sign_upload(upload, key=self.key).hex()
        counter = str(self.counter)
        found = {
            "Authorization": f"Bearer {self.sent_token or self.token}",
            HOLDER_HEADER: self.holder or self.key.public_key.point.hex(),
            COUNTER_HEADER: counter if self.sent_counter is None else self.sent_counter,
            SIGNATURE_HEADER: own if self.signature is None else self.signature,
        }
        return {name: text for name, text in found.items() if name != self.without}

    def send(self, platform: TestClient) -> httpx.Response:
        return platform.request(
            self.sent_method or self.method,
            self.sent_path or self.path,
            content=self.body if self.sent_body is None else self.sent_body,
            headers=self.headers(),
        )


@pytest.fixture
def good(grid: GridSimulator) -> Request:
    """A tariff, as the gateway sends it."""
    text = next(iter(grid.tariff_texts.values())).encode()
    return Request(text, holder_token(SUBJECT, key=KEY).token)


def kept(platform: TestClient, column: Any) -> list[Any]:
    with write_session(platform.app.state.platform.zone.engine) as session:
        return list(session.exec(select(column)))


def is_refused(answer: httpx.Response, *, status: int = 401) -> bool:
    return (answer.status_code, answer.json()) == (status, refused_body(status))


def test_what_is_signed_is_taken_in(platform: TestClient, good: Request) -> None:
    answer = good.send(platform)
    assert answer.json() == {"digest": sm3_hex(good.body)}
    assert kept(platform, HolderPinRow.subject) == [SUBJECT]


def test_objects_are_signed_by_their_digests_in_their_order(
    shared: TestClient, good: Request
) -> None:
    """Whoever could exchange one on the way would have the platform keep what nobody signed."""
    objects = [b"first", b"second", bytes(9)]
    path = f"/uploads/{'0' * 64}/objects"
    signed = replace(good, body=frames.join_frames(objects), path=path)
    answer = replace(signed, counter=next(COUNTERS)).send(shared)
    assert answer.status_code == 404, "signed as it is, but of no upload"
    others = [objects[::-1], objects[:2], [*objects, b""], [b"First", *objects[1:]], []]
    for sent in (*map(frames.join_frames, others), signed.body[:-1], b"none of them"):
        changed = replace(signed, counter=next(COUNTERS), sent_body=sent)
        assert is_refused(changed.send(shared))


# --- one thing differs ---------------------------------------------------------------------------


def swapped_body(good: Request) -> Request:
    return replace(good, sent_body=good.body.replace(b"0", b"1", 1))


def longer_body(good: Request) -> Request:
    return replace(good, sent_body=good.body + b"\n")


def no_body(good: Request) -> Request:
    return replace(good, sent_body=b"")


def another_path(good: Request) -> Request:
    return replace(good, path="/rosters", sent_path=PATH)


def path_with_a_slash(good: Request) -> Request:
    return replace(good, path=f"{PATH}/")


def another_method(good: Request) -> Request:
    return replace(good, method="GET", sent_method="POST")


def another_counter(good: Request) -> Request:
    return replace(good, sent_counter="2")


def another_token_of_its_own(good: Request) -> Request:
    """The signature is over the token: another one, as good, is another request."""
    return replace(good, sent_token=holder_token(SUBJECT, key=KEY).token)


def stolen_token(good: Request) -> Request:
    """The thief signs with a key of its own, and says so."""
    return replace(good, key=STRANGER)


def stolen_token_and_a_borrowed_name(good: Request) -> Request:
    """The thief signs with a key of its own, and names the holder's."""
    return replace(good, key=STRANGER, holder=KEY.public_key.point.hex())


def signed_by_nobody(good: Request) -> Request:
    return replace(good, signature="00" * 64)


def flipped_signature(good: Request) -> Request:
    own = good.headers()[SIGNATURE_HEADER]
    return replace(good, signature=own[:-1] + format(int(own[-1], 16) ^ 1, "x"))


def short_signature(good: Request) -> Request:
    return replace(good, signature=good.headers()[SIGNATURE_HEADER][:-2])


def signature_of_letters(good: Request) -> Request:
    return replace(good, signature="signature")


def holder_that_is_no_point(good: Request) -> Request:
    return replace(good, holder="04" + "0" * 128)


def holder_of_letters(good: Request) -> Request:
    return replace(good, holder="holder")


def without(header: str) -> Callable[[Request], Request]:
    return lambda good: replace(good, without=header)


def sent_counter(text: str) -> Callable[[Request], Request]:
    return lambda good: replace(good, sent_counter=text)


def signed_counter(number: int) -> Callable[[Request], Request]:
    return lambda good: replace(good, counter=number)


REFUSALS: dict[str, Callable[[Request], Request]] = {
    "a swapped body": swapped_body,
    "a longer body": longer_body,
    "no body": no_body,
    "another path": another_path,
    "a path with a slash": path_with_a_slash,
    "another method": another_method,
    "another counter": another_counter,
    "another token of its own": another_token_of_its_own,
    "a stolen token and a borrowed name": stolen_token_and_a_borrowed_name,
    "signed by nobody": signed_by_nobody,
    "a flipped signature": flipped_signature,
    "a short signature": short_signature,
    "a signature of letters": signature_of_letters,
    "a holder that is no point": holder_that_is_no_point,
    "a holder of letters": holder_of_letters,
    "without a holder": without(HOLDER_HEADER),
    "without a counter": without(COUNTER_HEADER),
    "without a signature": without(SIGNATURE_HEADER),
    "a counter of letters": sent_counter("one"),
    "a counter with a sign": sent_counter("+1"),
    "a negative counter": sent_counter("-1"),
    "a counter in other digits": sent_counter("\u0661"),
    "a counter beyond all": sent_counter("9" * 30),
    "no counter at all": signed_counter(0),
    "a counter above the highest": signed_counter(10**18 + 1),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_one_thing_differs(name: str, shared: TestClient, good: Request) -> None:
    platform, number = shared, next(COUNTERS)
    good = replace(good, counter=number, body=good.body + f"# {number}\n".encode())
    bad = REFUSALS[name](good)
    if bad.sent_counter is not None and not bad.sent_counter.isascii():
        answer = platform.request(
            "POST",
            PATH,
            content=bad.body,
            headers=[(n, t.encode()) for n, t in bad.headers().items()],
        )
    else:
        answer = bad.send(platform)
    assert is_refused(answer)
    assert not platform.app.state.platform.zone.objects.has(sm3_hex(good.body))
    # The genuine request is as good as before: no refusal took its counter.
    assert good.send(platform).status_code == 200


@attack(
    "a gateway's token, stolen, and signed with by the thief",
    rule(
        "Who uploads signs with the key that the token names.",
        "authenticity.refused",
        cut(
            "gridsecure.credentials.uploads:check_upload",
            "claims.holder_thumbprint != holder.thumbprint",
            "False",
        ),
    ),
    rule(
        "A pseudonym keeps the first key that it came with.",
        "authenticity.refused",
        cut("gridsecure.compute.holder_uploads:admit_upload", "pin_holder(engine,", "dict("),
    ),
)
def test_a_stolen_token(platform: TestClient, good: Request, attacked: Attacked) -> None:
    assert good.send(platform).status_code == 200
    answer = stolen_token(replace(good, counter=2)).send(platform)
    attacked.ends(None if answer.is_success else answer.json()["reason"])
    assert attacked.goes_through or answer.json() == refused_body(answer.status_code)


# --- counters and pins ---------------------------------------------------------------------------


def test_a_counter_is_taken_once_in_whatever_order_it_comes(
    platform: TestClient, good: Request
) -> None:
    for counter in (200, 198, 201):
        assert replace(good, counter=counter).send(platform).status_code == 200
    for replayed in (200, 198, 201):
        assert is_refused(replace(good, counter=replayed).send(platform))


def test_a_counter_is_taken_whatever_becomes_of_the_request(
    platform: TestClient, good: Request
) -> None:
    useless = replace(good, body=b"no tariff")
    answer = useless.send(platform)
    assert answer.status_code == 400
    assert is_refused(useless.send(platform))
    assert is_refused(good.send(platform)), "the same counter, for something else"


def test_a_restart_forgets_no_counter(tmp_path: Path, good: Request) -> None:
    settings = platform_settings(tmp_path / "platform")
    for expected in (200, 401):
        with TestClient(create_platform_app(settings, clock=TestClock())) as platform:
            assert good.send(platform).status_code == expected


def test_a_pseudonym_keeps_its_first_key(platform: TestClient, good: Request) -> None:
    """Not even the token service puts another in its place: the token is genuine."""
    assert good.send(platform).status_code == 200
    token = holder_token(SUBJECT, key=STRANGER).token
    assert is_refused(
        replace(good, key=STRANGER, token=token, counter=2).send(platform), status=403
    )
    assert replace(good, counter=2).send(platform).status_code == 200


def test_every_pseudonym_counts_for_itself(platform: TestClient, good: Request) -> None:
    other = sm3_hex(STRANGER.public_key.point)
    token = holder_token(other, key=STRANGER).token
    for request in (good, replace(good, key=STRANGER, token=token)):
        assert request.send(platform).status_code == 200


# --- tokens --------------------------------------------------------------------------------------


def part(fields: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()


def parts_of(token: str) -> tuple[dict[str, object], dict[str, object]]:
    head, body, _ = token.split(".")
    one, two = (json.loads(base64.urlsafe_b64decode(text + "==")) for text in (head, body))
    return one, two


def unsigned(token: str) -> str:
    head, claims = parts_of(token)
    return f"{part(head | {'alg': 'none'})}.{part(claims)}."


def unsigned_with_a_signature(token: str) -> str:
    head, claims = parts_of(token)
    return f"{part(head | {'alg': 'none'})}.{part(claims)}.{token.split('.')[2]}"


def hmac_under_the_public_key(token: str) -> str:
    head, claims = parts_of(token)
    text = f"{part(head | {'alg': 'HS256'})}.{part(claims)}"
    key = grid_keys().identity.public_key.point
    mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def another_algorithm_name(token: str) -> str:
    head, claims = parts_of(token)
    return f"{part(head | {'alg': 'ES256'})}.{part(claims)}.{token.split('.')[2]}"


def a_key_in_the_header(token: str) -> str:
    head, claims = parts_of(token)
    own = {"kty": "EC", "crv": "SM2", "x": STRANGER.public_key.point.hex()}
    text = f"{part(head | {'jwk': own})}.{part(claims)}"
    signature = STRANGER.sign(text.encode())
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def another_holder_written_in(token: str) -> str:
    head, claims = parts_of(token)
    changed = claims | {"cnf": {"sm3": STRANGER.public_key.thumbprint}}
    return f"{part(head)}.{part(changed)}.{token.split('.')[2]}"


TRICKS: dict[str, Callable[[str], str]] = {
    "none": unsigned,
    "none, with a signature": unsigned_with_a_signature,
    "HMAC under the public key": hmac_under_the_public_key,
    "another algorithm's name": another_algorithm_name,
    "a key in the header": a_key_in_the_header,
    "another holder written in": another_holder_written_in,
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_with_a_tokens_algorithm(name: str, shared: TestClient, good: Request) -> None:
    token, counter = TRICKS[name](good.token), next(COUNTERS)
    for key in (KEY, STRANGER):
        assert is_refused(replace(good, token=token, key=key, counter=counter).send(shared))


WRONG: dict[str, tuple[dict[str, object], int]] = {
    "for the key authority": ({"audience": "authority"}, 403),
    "of another issuer": ({"issuer": "somebody"}, 403),
    "that expired": ({"issued_at": NOW - timedelta(minutes=9), "expires_at": NOW}, 401),
    "of the future": ({"issued_at": NOW + timedelta(minutes=2)}, 401),
    "of a meter point": ({"roles": ("meter-point",)}, 403),
    "of an operator": ({"roles": ("operator",)}, 403),
    "of two roles": ({"roles": ("gateway", "operator")}, 403),
    "of no role": ({"roles": ()}, 403),
    "bound to no key": ({"holder_thumbprint": None}, 403),
    "bound to another key": ({"holder_thumbprint": "f" * 64}, 401),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token(name: str, shared: TestClient, good: Request) -> None:
    changes, status = WRONG[name]
    subject = sm3_hex(name.encode())
    token = holder_token(subject, key=KEY, **changes).token
    assert is_refused(replace(good, token=token).send(shared), status=status)
    assert subject not in kept(shared, HolderPinRow.subject)


def test_a_token_of_the_gateways_service_key_is_not_enough(
    platform: TestClient, good: Request
) -> None:
    """It has a name in it, and must never accompany a pseudonym."""
    token = bearer("platform", "gateway")["Authorization"].removeprefix("Bearer ")
    assert is_refused(replace(good, token=token).send(platform), status=403)


def test_a_bound_token_is_not_a_bearers(platform: TestClient) -> None:
    """Where no signature is looked at, a token that needs one opens nothing, whatever its role."""
    token = holder_token(SUBJECT, key=KEY, roles=("operator",)).token
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/status", "/runs", "/key-sets"):
        assert is_refused(platform.get(path, headers=headers), status=403)


# --- whose message, whose upload -----------------------------------------------------------------


def roster_body(grid: GridSimulator, *, key: Sm2PrivateKey | None = None) -> bytes:
    roster = grid.rosters[0]
    envelope = grid.signed_roster(roster, key=key).model_dump_json().encode()
    return frames.join_frames([envelope, grid.keys.seats[roster.manifest.seats]])


@pytest.fixture
def filled(platform: TestClient, grid: GridSimulator) -> TestClient:
    """A platform with key sets, tariffs and the grid's rosters."""
    for notice in grid.key_notices:
        body = frames.join_frames([notice.model_dump_json().encode(), *grid.key_objects(notice)])
        assert platform.post("/key-sets", content=body, auth=GATEWAY).is_success
    for text in grid.tariff_texts.values():
        assert platform.post("/tariffs", content=text.encode(), auth=GATEWAY).is_success
    assert platform.post("/rosters", content=roster_body(grid), auth=GATEWAY).is_success
    return platform


@pytest.fixture
def upload(grid: GridSimulator) -> GridUpload:
    return grid.upload(grid.rosters[0], days=0)


def test_a_roster_is_sent_by_the_gateway_that_signed_it(
    filled: TestClient, grid: GridSimulator
) -> None:
    """Another gateway has the bytes, and a pseudonym, token and key of its own."""
    other = gateway_auth(STRANGER)
    assert is_refused(filled.post("/rosters", content=roster_body(grid), auth=other))


def test_an_upload_is_begun_by_the_gateway_that_signed_it(
    filled: TestClient, upload: GridUpload
) -> None:
    body = upload.message.model_dump()
    assert is_refused(filled.post("/uploads", json=body, auth=gateway_auth(STRANGER)))
    assert filled.post("/uploads", json=body, auth=GATEWAY).json()["state"] == "pending"


def test_nobody_else_goes_on_with_an_upload_or_sees_it(
    filled: TestClient, upload: GridUpload
) -> None:
    assert filled.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY).is_success
    path, body = f"/uploads/{upload.upload_id}", frames.join_frames(upload.objects.values())
    other = gateway_auth(STRANGER)
    answers = [
        filled.get(path, auth=other),
        filled.post(f"{path}/objects", content=body, auth=other),
        filled.post(f"{path}/commit", auth=other),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["reason"]) == (404, "not-found.upload")
    assert filled.post(f"{path}/objects", content=body, auth=GATEWAY).is_success
    assert filled.post(f"{path}/commit", auth=GATEWAY).json()["state"] == "committed"


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_a_roster_comes_with_its_seats_and_nothing_else(
    platform: TestClient, grid: GridSimulator, parts: int
) -> None:
    body = frames.join_frames((frames.split_frames(roster_body(grid)) * 2)[:parts])
    answer = platform.post("/rosters", content=body, auth=GATEWAY)
    assert (answer.status_code, answer.json()["reason"]) == (422, "message.invalid")


def test_a_body_of_a_whole_batch_is_signed_for(filled: TestClient, upload: GridUpload) -> None:
    """Sixteen megabytes, hashed as they are; none of it is an object of the upload."""
    assert filled.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY).is_success
    path, body = f"/uploads/{upload.upload_id}/objects", frames.join_frames([b"x" * 16_000_000])
    answer = filled.post(path, content=body, auth=GATEWAY)
    assert (answer.status_code, answer.json()["reason"]) == (400, "upload.unnamed-object")


# --- revoked -------------------------------------------------------------------------------------


def denied(*subjects: str, sequence: int = 1, key: Sm2PrivateKey | None = None) -> dict[str, str]:
    given = DenyList(sequence=sequence, issued_at=NOW.isoformat(), subjects=list(subjects))
    return sign_message(given, key=key or grid_keys().identity).model_dump()


def deny(platform: TestClient, *subjects: str, role: str = "operator", **choices: object):
    headers = bearer("platform", role)
    return platform.post("/deny-lists", json=denied(*subjects, **choices), headers=headers)


def test_a_revoked_gateway_does_nothing_more(filled: TestClient, upload: GridUpload) -> None:
    begun = filled.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY)
    assert begun.is_success
    assert deny(filled, SUBJECT).json() == {"sequence": 1, "subjects": 1}
    path = f"/uploads/{upload.upload_id}"
    for answer in (
        filled.post("/tariffs", content=b"x", auth=GATEWAY),
        filled.get(path, auth=GATEWAY),
        filled.post(f"{path}/commit", auth=GATEWAY),
        filled.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY),
    ):
        assert is_refused(answer)
    assert filled.post("/tariffs", content=b"x", auth=gateway_auth(STRANGER)).status_code == 400


def test_a_gateway_is_told_that_a_seat_was_revoked_so_that_it_builds_anew(
    filled: TestClient, grid: GridSimulator, upload: GridUpload
) -> None:
    deny(filled, *grid.rosters[0].manifest.pseudonyms[:2])
    answer = filled.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY)
    assert (answer.status_code, answer.json()["reason"]) == (400, "identity.revoked")
    assert "2 pseudonyms" in answer.json()["detail"]


@pytest.mark.parametrize("role", ["operator", "custodian", "regulator", "authority"])
def test_a_deny_list_may_be_carried_by(role: str, shared: TestClient) -> None:
    assert deny(shared, "a" * 64, role=role).json() == {"sequence": 1, "subjects": 1}


@pytest.mark.parametrize("role", ["gateway", "billing", "analyst", "query-grant"])
def test_a_deny_list_is_not_carried_by(role: str, shared: TestClient) -> None:
    refused = deny(shared, "a" * 64, role=role, sequence=9)
    assert (refused.status_code, refused.json()["reason"]) == (403, "authenticity.role")


def test_a_deny_list_is_the_identity_authoritys(platform: TestClient) -> None:
    assert is_refused(deny(platform, "a" * 64, key=grid_keys().platform))
    assert kept(platform, DenyListRow.sequence) == []
