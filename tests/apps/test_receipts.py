"""Receipts: what they sign of rejected readings and of what happens next, and who checks it."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError
from gridsecure.gateway.ingestion import bodies, body_pieces
from gridsecure.head_end.sender import Sender
from gridsecure.messages import BatchReceipt, rejected_line, sign_message
from gridsecure.month_texts import read_moment
from tests.apps.test_api_readings import HEADER, Sources
from tests.cli.in_process import InProcess
from tests.gateway.gateway_world import MONTH

SEQUENCES = iter(range(1, 10_000))
START = read_moment("2026-07-01T00:00:00+08:00")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    made = Sources(tmp_path_factory.mktemp("receipts"))
    made.register("headend", stamps="start", meter_points=["MP-1", "MP-3"])
    yield made
    made.close()


def rows(count, *, form="csv", quality=True):
    """Readings of three meter points, of which the second one is not in the scope."""
    lines = []
    for place in range(count):
        start = (START + timedelta(minutes=30) * (place // 3)).isoformat()
        values = [f"MP-{1 + place % 3}", start, "0.4"]
        values += [("actual", "guessed")[place % 7 == 6]] if quality else []
        lines.append(values)
    names = ("meter_point_id", "start", "kwh", "quality")[: len(lines[0])]
    if form == "json":
        return json.dumps([dict(zip(names, one, strict=True)) for one in lines]).encode()
    return "\n".join(map(",".join, [names, *lines, ()])).encode()


def sender(sources, transport=None):
    http = httpx.Client(
        transport=transport or InProcess(sources.app),
        base_url="http://gateway",
        auth=sources.senders["headend"].auth,
    )
    return Sender(http, source="headend", gateway_key=sources.key.public_key)


def sent(sources, body):
    number = next(SEQUENCES)
    return sender(sources).send(body, batch_id=f"b{number}", sequence=number).receipt


def test_a_receipt_names_and_counts_what_is_billed_nowhere(sources):
    head = f"meter_point_id,date,channel,{','.join(f'p{n}' for n in range(1, 25))}"
    kinds = (("正向有功", "0.5"), ("正向无功", "0.2"), ("反向无功", "0.1"))
    lines = [f"MP-1,2026-07-03,{kind}{f',{value}' * 24}" for kind, value in kinds]
    receipt = sent(sources, "\n".join([head, *lines, ""]).encode())
    assert (receipt.readings, receipt.passed_over) == (24, {"reactive-fed-in": 24})


BODIES = {
    "lines": rows(60),
    "plainest lines": rows(60, quality=False),
    "json": rows(60, form="json"),
    "nothing rejected": (HEADER + f"MP-1,{START.isoformat()},0.4,actual\n").encode(),
}


@pytest.mark.parametrize("form", BODIES)
def test_the_list_that_is_served_is_the_one_that_the_receipt_signs(sources, form):
    receipt = sent(sources, BODIES[form])
    listed = list(sender(sources).rejected(receipt.batch_id))
    lines = "".join(
        rejected_line(one.number, one.meter_point_id, start=read_moment(one.start), rule=one.rule)
        for one in listed
    )
    assert receipt.rejected_digest == sm3_hex(lines.encode())
    assert len(listed) == sum(receipt.rejected.values())
    became = sender(sources).verify(receipt.batch_id, BODIES[form])
    assert became.receipt == receipt
    assert receipt.readings == sum(receipt.rejected.values()) + sum(receipt.next_steps.values())


def test_places_go_on_through_the_pieces_of_a_large_body(sources, monkeypatch):
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(body_pieces, "PIECE_BYTES", 2000)
    receipt = sent(sources, rows(300))
    numbers = [one.number for one in sender(sources).rejected(receipt.batch_id)]
    assert numbers == [n for n in range(1, 301) if n % 3 == 2 or n % 7 == 0]


class Altering(InProcess):
    """Changes the list of rejected readings on its way."""

    def __init__(self, app, alter) -> None:
        super().__init__(app)
        self._alter = alter

    def handle_request(self, request):
        answer = super().handle_request(request)
        if request.url.path.endswith("/rejected"):
            listed = json.loads(answer.read())
            return httpx.Response(200, json=self._alter(listed), request=request)
        return answer


@pytest.mark.parametrize(
    "alter",
    [
        lambda listed: listed[:-1],
        lambda listed: [*listed, listed[0]],
        lambda listed: [listed[1], listed[0], *listed[2:]],
        lambda listed: [listed[0] | {"meter_point_id": "MP-9"}, *listed[1:]],
        lambda listed: [listed[0] | {"start": "2026-07-01T00:30:00+08:00"}, *listed[1:]],
        lambda listed: [listed[0] | {"rule": listed[2]["rule"]}, *listed[1:]],
    ],
)
def test_a_list_that_is_another_one_is_noticed(sources, alter):
    receipt = sent(sources, rows(21))
    forged = sender(sources, Altering(sources.app, alter))
    for check in (
        lambda: list(forged.rejected(receipt.batch_id)),
        lambda: forged.verify(receipt.batch_id),
    ):
        with pytest.raises(AuthenticityError) as refused:
            check()
        assert refused.value.reason == "source.rejected-list"
    assert list(sender(sources).rejected(receipt.batch_id))


def test_another_body_is_not_the_one_that_was_taken_in(sources):
    receipt = sent(sources, rows(9))
    with pytest.raises(AuthenticityError) as refused:
        sender(sources).verify(receipt.batch_id, rows(12))
    assert refused.value.reason == "source.other-file"


def test_a_receipt_of_an_earlier_release_signs_the_counts_of_its_list(sources):
    receipt = sent(sources, rows(21))
    said = receipt.model_dump(
        exclude={"rejected_digest", "next_steps", "without_contract", "passed_over"}
    )
    body = json.dumps(said)
    old = BatchReceipt.parse(body)
    assert (old.rejected_digest, old.next_steps) == ("", {})
    signed = sign_message(receipt, key=sources.key)
    kept = sign_message(old, key=sources.key)
    assert kept.signer == signed.signer

    class Earlier(Altering):
        def handle_request(self, request):
            answer = super().handle_request(request)
            if request.url.path.endswith(receipt.batch_id):
                shown = json.loads(answer.read()) | {"receipt": kept.model_dump()}
                return httpx.Response(200, json=shown, request=request)
            return answer

    same = sender(sources, Earlier(sources.app, lambda listed: listed))
    assert same.verify(receipt.batch_id).receipt == old
    fewer = sender(sources, Earlier(sources.app, lambda listed: listed[1:]))
    with pytest.raises(AuthenticityError):
        fewer.verify(receipt.batch_id)


def test_what_happens_next_is_told_by_month_and_contract(tmp_path):
    made = Sources(tmp_path)
    made.put_files()
    known, stranger = made.world.simulated.meter_point_ids[0], "nobody's"

    def told(start, *, batch, sequence):
        lines = f"{known},{start},0.4,actual\n{stranger},{start},0.4,actual\n"
        body = (HEADER + lines).encode()
        return made.receipt(made.send(body, batch=batch, sequence=sequence))

    before = told(f"{MONTH}-01 00:00", batch="before", sequence=1)
    assert (before.next_steps, before.without_contract) == ({"billing": 2}, 1)
    assert made.processed()["state"] == "done"
    after = told(f"{MONTH}-01 00:30", batch="after", sequence=2)
    assert (after.next_steps, after.without_contract) == ({"correction": 2}, 1)
    assert after.months == {MONTH: "late"}
    made.close()
