"""The authority's view of the platform, over its real service; and of a platform that lies."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence

import httpx
import pytest
from fastapi.testclient import TestClient

from gridsecure.compute.tables import ReleaseRequestRow
from gridsecure.errors import GridSecureError, InvalidMessageError, NotFoundError
from gridsecure.frames import join_frames
from gridsecure.key_authority.checker.answering import FAILED, REFUSED, RELEASED
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.messages import ReleaseRequest, Signed
from gridsecure.store.database import write_session
from gridsecure.store.rows import keep
from gridsecure.wire.client import PAUSES_S, Client, service_client
from gridsecure.wire.words import ServiceWords
from tests.apps.zone_apps import bearer, platform_app
from tests.authority_simulator import Authority, answer_approved
from tests.grid_simulator import NOW, GridSimulator, GridUpload

Answer = Callable[[httpx.Request], httpx.Response]
DIGEST = "a" * 64
SURROGATE = b'[{"body_kind": "x", "body": "\\ud800", "signer": "", "signature": ""}]'


@pytest.fixture
def service(grid: GridSimulator) -> Iterator[TestClient]:
    """The platform's service on the delivered grid's own folder, asked as the authority."""
    with TestClient(platform_app(grid.folder), headers=bearer("platform", "authority")) as client:
        yield client


def pull_of(client: httpx.Client, pauses: list[float] | None = None, **limits: int) -> PlatformPull:
    pause = ([] if pauses is None else pauses).append
    return PlatformPull(Client(client, ServiceWords("platform"), pause=pause, **limits))


def lying(answer: Answer, pauses: list[float] | None = None, **limits: int) -> PlatformPull:
    """A platform that answers as told."""
    transport = httpx.MockTransport(answer)
    client = httpx.Client(transport=transport, base_url="http://p", follow_redirects=True)
    return pull_of(client, pauses, **limits)


def queued(grid: GridSimulator, request: Signed) -> ReleaseRequest:
    """Put a request in the platform's queue, as its run does."""
    body = ReleaseRequest.parse(request.body)
    row = ReleaseRequestRow(
        **body.model_dump(include={"request_id", "plan", "start", "end", "purpose"}),
        closing=body.closing.digest if body.closing else None,
        digest=request.digest,
        message=request.model_dump_json(),
        state="waiting",
        at=NOW,
    )
    with write_session(grid.platform_zone.engine) as session:
        keep(session, row)
    return body


def test_a_request_is_pulled_proved_and_answered_over_http(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload], service: TestClient
) -> None:
    pull = pull_of(service)
    body = queued(grid, authority.bill_request(uploads))
    (envelope,) = pull.list_waiting()
    outcome = answer_approved(authority.zone, envelope, view=pull)
    assert (outcome.state, outcome.request_id) == (RELEASED, body.request_id)
    assert list(pull.list_waiting()) == [envelope], "it waits until it is answered"
    pull.report(body.request_id, outcome.state)
    assert list(pull.list_waiting()) == []
    pull.report(body.request_id, outcome.state)


def test_what_the_platform_does_not_have_is_not_found(service: TestClient) -> None:
    pull = pull_of(service)
    with pytest.raises(NotFoundError) as refused:
        list(pull.objects([DIGEST]))
    assert refused.value.reason == "not-found.object"
    with pytest.raises(NotFoundError) as refused:
        pull.message("upload", DIGEST)
    assert refused.value.reason == "not-found.upload"


def test_an_object_gone_at_the_platform_is_a_refusal(
    authority: Authority, uploads: list[GridUpload], service: TestClient
) -> None:
    """The platform signed that it has it; nothing is left to wait for."""
    gone = next(iter(authority.bill_transcript(uploads[0]).inputs.values()))
    request = authority.bill_request(uploads[:1])

    class Forgetful(PlatformPull):
        def objects(self, digests: Sequence[str]) -> Iterator[bytes]:
            return super().objects([DIGEST if one == gone else one for one in digests])

    view = Forgetful(service_client(service, name="platform", pause=[].append))
    outcome = answer_approved(authority.zone, request, view=view)
    assert (outcome.state, outcome.reason) == (REFUSED, "not-found.object")


@pytest.mark.parametrize("name", ["", "../../objects", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_names_that_could_address_another_route_are_not_asked_for(name: str) -> None:
    def unasked(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    pull = lying(unasked)
    with pytest.raises(InvalidMessageError):
        list(pull.objects([name]))
    with pytest.raises(InvalidMessageError):
        pull.message("roster", name)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[1]",
        b'[{"body": 1}]',
        b"[[]]",
        b"[" * 100_000,
        b'["\\ud800"]',
        SURROGATE,
    ],
)
def test_a_queue_in_another_form_is_refused(body: bytes) -> None:
    pull = lying(lambda _request: httpx.Response(200, content=body))
    with pytest.raises(InvalidMessageError) as refused:
        list(pull.list_waiting())
    assert refused.value.reason == "platform.answer"


@pytest.mark.parametrize("status", [401, 403])
def test_no_access_is_a_failure_and_never_a_refusal(
    authority: Authority, uploads: list[GridUpload], status: int
) -> None:
    """A clock that is wrong, or a key not registered yet, must not refuse a month's bills."""
    body = {"reason": "authenticity.refused", "detail": "", "remedy": ""}
    pull = lying(lambda _request: httpx.Response(status, json=body))
    request = authority.bill_request(uploads)
    outcome = answer_approved(authority.zone, request, view=pull)
    assert (outcome.state, outcome.reason) == (FAILED, "platform.access")
    assert authority.answer(request).state == RELEASED
    with pytest.raises(GridSecureError) as refused:
        pull.report("ab", "released")
    assert refused.value.reason == "platform.access"


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [(500, "platform.failed", 6), (503, "platform.failed", 6), (302, "platform.redirect", 1)],
)
def test_a_platform_in_trouble_is_asked_a_bounded_number_of_times(
    authority: Authority, uploads: list[GridUpload], status: int, reason: str, attempts: int
) -> None:
    asked, pauses = [], []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, headers={"location": "http://elsewhere/"})

    request = authority.bill_request(uploads)
    outcome = answer_approved(
        authority.zone, request, view=lying(answer, pauses), clock=lambda: NOW
    )
    assert (outcome.state, outcome.reason) == (FAILED, reason)
    assert len(asked) == attempts
    assert pauses == list(PAUSES_S)[: attempts - 1]
    assert authority.certificates == []


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_endless_answer_is_not_read_to_its_end(encoding: str) -> None:
    """Compressed too: what counts is what it would take in memory."""
    given = 0

    def endless() -> Iterator[bytes]:
        nonlocal given
        packer = zlib.compressobj(wbits=31)
        while given < 10_000:
            given += 1
            part = bytes(4096)
            yield part if encoding == "identity" else packer.compress(part) + packer.flush(2)

    pull = lying(
        lambda _r: httpx.Response(200, content=endless(), headers={"content-encoding": encoding}),
        max_answer_bytes=100_000,
    )
    with pytest.raises(GridSecureError) as refused:
        list(pull.objects([DIGEST]))
    assert refused.value.reason == "platform.too-large"
    assert given < 100


def test_an_answer_at_the_limit_is_read() -> None:
    body = join_frames([b"x" * 1000])
    pull = lying(lambda _r: httpx.Response(200, content=body), max_answer_bytes=len(body))
    assert list(pull.objects([DIGEST])) == [b"x" * 1000]


def test_what_does_not_fit_an_answer_is_asked_for_again() -> None:
    asked: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["digests"])
        return httpx.Response(200, content=join_frames([d[:2].encode() for d in asked[-1][:2]]))

    names = [f"{number:02}" + "0" * 62 for number in range(5)]
    assert list(lying(answer).objects(names)) == [b"00", b"01", b"02", b"03", b"04"]
    assert asked == [names, names[2:], names[4:]]


@pytest.mark.parametrize("sent", [[], [b"1", b"2"]])
def test_fewer_than_one_object_or_more_than_were_asked_for_are_refused(sent: list[bytes]) -> None:
    pull = lying(lambda _r: httpx.Response(200, content=join_frames(sent)))
    with pytest.raises(InvalidMessageError):
        list(pull.objects([DIGEST]))


def test_messages_of_a_refusal_are_cleaned_and_hold_no_token(service: TestClient) -> None:
    with pytest.raises(NotFoundError) as refused:
        list(pull_of(service).objects([DIGEST]))
    said = json.dumps([refused.value.message, refused.value.remedy])
    assert service.headers["Authorization"].split()[1] not in said


def test_nothing_of_the_platform_is_written(grid: GridSimulator, service: TestClient) -> None:
    """Reading needs no more than the authority's role; others may not, but for a regulator."""
    wanted = {"digests": [DIGEST]}
    for role in ("gateway", "billing", "analyst", "operator"):
        answer = service.post("/objects", headers=bearer("platform", role), json=wanted)
        assert answer.status_code == 403
