"""The client of the ingestion API: lost connections, repeats, receipts of somebody else."""

from __future__ import annotations

import asyncio

import httpx
import pandas as pd
import pytest

from gridsecure.client.meter_data import AsyncMeterDataSystem, MeterDataSystem
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InputError,
    InvalidReadingsError,
)
from gridsecure.head_end.sender import LONGEST_WAIT_S, Sender
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from tests.apps.test_api_readings import HEADER, LINE, Sources
from tests.cli.in_process import InProcess

BODY = (HEADER + LINE).encode()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    made = Sources(tmp_path_factory.mktemp("senders"))
    yield made
    made.close()


class Failing(InProcess):
    """Loses the answers of the first requests, once the gateway has them."""

    def __init__(self, app, lost: int) -> None:
        super().__init__(app)
        self.lost = lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if self.lost and request.method == "POST":
            self.lost -= 1
            raise httpx.ReadError("lost")
        return answer


def sender(sources, *, lost=0, key=None, pauses=None, headers=None):
    auth = sources.senders["headend"].auth
    transport, url = Failing(sources.app, lost), "http://gateway"
    http = httpx.Client(transport=transport, base_url=url, auth=auth, headers=headers)
    theirs = (key or sources.key).public_key
    pause = (pauses if pauses is not None else []).append
    return Sender(http, source="headend", gateway_key=theirs, pause=pause)


def test_a_lost_answer_is_asked_for_again_and_is_the_first_receipt(sources):
    pauses: list[float] = []
    became = sender(sources, lost=2, pauses=pauses).send(BODY, sequence=7, batch_id="lost")
    assert len(pauses) == 2
    assert (became.receipt.batch_id, became.receipt.sequence) == ("lost", 7)
    again = sender(sources).find("lost")
    assert again == became
    found = [one for one in sender(sources).receipts() if one.batch_id == "lost"]
    assert found == [became.receipt]
    assert sender(sources).gaps()[0].first == 1


def test_a_receipt_that_is_not_the_gateways_or_of_another_body_is_refused(sources):
    other = sender(sources, key=generate_private_key())
    with pytest.raises(AuthenticityError) as forged:
        other.send(BODY, sequence=8, batch_id="forged")
    assert forged.value.reason == "source.receipt"
    honest = sender(sources).send(BODY, sequence=8, batch_id="forged")  # it was taken in

    def first_again(request: httpx.Request) -> httpx.Response:
        answer = {"state": "done", "receipt": sender_receipt, "months": honest.months}
        return httpx.Response(200, json=answer)

    sender_receipt = (
        sources.senders["headend"].get("/v1/sources/headend/batches/forged").json()["receipt"]
    )
    http = httpx.Client(transport=httpx.MockTransport(first_again), base_url="http://gateway")
    swapped = Sender(http, source="headend", gateway_key=sources.key.public_key)
    with pytest.raises(AuthenticityError) as another:
        swapped.send(BODY + b"MP-3,2026-07-01 00:00,1,actual\n", sequence=9)
    assert another.value.reason == "source.receipt"


def test_a_refusal_says_which_lines_are_wrong(sources):
    wrong = b"MP-1,2026-07-01 01:00,eleven,actual\nMP-1,2026-07-01 02:00,1e9,actual\n" * 20
    with pytest.raises(InvalidReadingsError) as refused:
        sender(sources).send(BODY + wrong, sequence=10)
    assert "line 4" in str(refused.value.problems)
    first, second = refused.value.faults
    assert (first.rule, first.place, first.count) == ("kwh-not-a-number", "line", 20)
    assert (second.rule, second.count) == ("kwh-scientific", 20)
    assert list(first.firsts) == list(first.lasts) == list(range(4, 44, 2))
    assert list(second.firsts) == list(range(5, 45, 2))


def test_an_identity_service_that_is_not_ready_is_asked_again(sources):
    answers = iter([503, 500])

    class Starting(InProcess):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            status = next(answers, None)
            return super().handle_request(request) if status is None else httpx.Response(status)

    identity = httpx.Client(transport=Starting(sources.identity), base_url="http://identity")
    login = ServiceLoginClient(identity, sources.keys["headend"], sources.world.clock)
    auth = ServiceAuth(login, audience="gateway")
    http = httpx.Client(transport=InProcess(sources.app), base_url="http://gateway", auth=auth)
    pauses: list[float] = []
    key = sources.key.public_key
    sending = Sender(http, source="headend", gateway_key=key, pause=pauses.append)
    assert sending.send(BODY, sequence=20, batch_id="starting").receipt.readings == 2
    assert len(pauses) == 2


def test_a_batch_that_waits_is_followed_to_its_receipt_or_its_refusal(sources, tmp_path):
    reader = sources.app.state.intake.reader
    reader.stop()
    states: list[str] = []

    def show(status):
        states.append(status.state)
        if len(states) == 2:
            reader.start()
            reader.wait(60)

    file = tmp_path / "large.csv"
    file.write_bytes(BODY)
    slow = sender(sources, headers={"Prefer": "respond-async"})
    became = slow.send(file, sequence=30, batch_id="waits", progress=show)
    assert (became.receipt.batch_id, became.receipt.body_digest) == ("waits", sm3_hex(BODY))
    assert states == ["waiting", "waiting"]
    assert slow.find("waits") == became
    reader.start()
    with pytest.raises(InvalidReadingsError) as refused:
        slow.send(BODY + b"MP-1,2026-07-01 01:00,eleven,actual\n", sequence=31, batch_id="bad")
    assert "line 4" in str(refused.value.problems)
    with pytest.raises(InvalidReadingsError):
        slow.find("bad")


def test_a_gateway_that_does_not_read_is_waited_for_and_not_for_ever(sources):
    reader = sources.app.state.intake.reader
    reader.stop()
    pauses: list[float] = []
    slow = sender(sources, pauses=pauses, headers={"Prefer": "respond-async"})
    with pytest.raises(GridSecureError) as waiting:
        slow.send(BODY, sequence=32, batch_id="never")
    assert waiting.value.reason == "source.waiting"
    assert LONGEST_WAIT_S <= sum(pauses) < LONGEST_WAIT_S + 10
    reader.start()
    assert slow.find("never").receipt.sequence == 32


def test_a_file_that_cannot_be_read_is_said_so(sources, tmp_path):
    with pytest.raises(InputError) as missing:
        sender(sources).send(tmp_path / "none.csv", sequence=33)
    assert missing.value.reason == "source.file"


def system(sources) -> MeterDataSystem:
    """What programs use, its connections carried to the services."""
    carried = {
        "all://identity": InProcess(sources.identity),
        "all://gateway": InProcess(sources.app),
    }
    return MeterDataSystem(
        identity="http://identity",
        gateway="http://gateway",
        source="headend",
        key=sources.keys["headend"],
        gateway_key=sources.key.public_key.point.hex(),
        clock=sources.world.clock,
        open_connection=lambda: httpx.Client(mounts=carried),
    )


def test_programs_send_frames_and_are_answered_with_frames(sources):
    start = pd.Timestamp("2026-07-01 00:00+08:00")
    starts = [start, start + pd.Timedelta(minutes=15)]
    readings = pd.DataFrame({"meter_point_id": "MP-7", "start": starts, "kwh": [0.25, 0.5]})
    flagged = readings.assign(quality=["actual", "odd"])
    with system(sources) as ours:
        first = ours.send(readings, sequence=40, batch_id="frame")
        assert ours.send(readings, sequence=40, batch_id="frame") == first, "one batch, not two"
        assert ours.verify("frame", readings) == first
        with pytest.raises(AuthenticityError) as other:
            ours.verify("frame", readings.assign(kwh=[0.25, 0.75]))
        assert other.value.reason == "source.other-file"
        ours.send(flagged, sequence=41, batch_id="flagged")
        rejected = ours.rejected("flagged")
        assert rejected[["number", "meter_point_id", "rule"]].to_numpy().tolist() == [
            [2, "MP-7", "quality-flag"]
        ]
        assert list(ours.rejected("frame").columns) == list(rejected.columns), "also if empty"
        assert ours.receipts().set_index("batch_id").loc["frame", "readings"] == 2
        with pytest.raises(InvalidReadingsError):
            ours.send(readings.assign(kwh=0.1 + 0.2), sequence=42)


def test_programs_with_a_loop_await_several_answers_at_once(sources):
    async def ask():
        async with AsyncMeterDataSystem(system(sources)) as ours:
            became = await ours.send(BODY, sequence=50, batch_id="awaited")
            found, gaps = await asyncio.gather(ours.find("awaited"), ours.gaps())
            return became, found, gaps

    became, found, gaps = asyncio.run(ask())
    assert found == became
    assert gaps["first"].min() == 1
