"""Shadow runs at the platform: kept apart from what is released, and from what waits for it."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlmodel import select

from gridsecure.compute.closings import next_runs
from gridsecure.compute.jobs import LocalPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import list_waiting, list_waiting_requests, record_answer
from gridsecure.compute.runs import RunOrder, run_plan
from gridsecure.compute.shadows import (
    admit_order,
    keep_order,
    record_preview,
)
from gridsecure.compute.tables import ReleaseRequestRow, TranscriptRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InputError, NotFoundError, SignatureError
from gridsecure.messages import (
    ReleaseRequest,
    ShadowOrder,
    ShadowRequest,
    Signed,
    Transcript,
    open_message,
    sign_message,
)
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked
from tests.correction_simulator import CHEAPER, changed, correction
from tests.grid_simulator import FLAT, NOW, OFFICE, GridSimulator, GridUpload, registry


def ordered(grid: GridSimulator, *uploads: str, tariff: str = "", **changes: object) -> Signed:
    """An order of the office, as the platform takes it."""
    order = grid.order("bill")
    content = ShadowOrder(
        start=order.start,
        end=order.end,
        ordered_at=NOW.isoformat(),
        tariff=sm3_hex(tariff.encode()) if tariff else "",
        uploads=sorted(uploads),
    )
    envelope = sign_message(content.model_copy(update=changes), key=OFFICE)
    admit_order(grid.platform_zone, envelope, tariff=tariff)
    with write_session(grid.platform_zone.engine) as session:
        keep_order(session, envelope, at=NOW)
    return envelope


def run(grid: GridSimulator, order: RunOrder) -> Signed:
    zone = grid.platform_zone
    with closing(LocalPool(zone.objects.store, read_known_keys(zone.engine))) as pool:
        return run_plan(zone, order, pool=pool, clock=lambda: NOW, progress=lambda *_: None)


def waiting_texts(zone: PlatformZone) -> list[str]:
    with read_session(zone.engine) as session:
        texts, after = list_waiting(session, PageAsked())
    assert after is None
    return texts


def shadow(grid: GridSimulator, envelope: Signed) -> RunOrder:
    content = ShadowOrder.parse(envelope.body)
    span = {"start": content.start, "end": content.end}
    return RunOrder(
        plan=content.plan, **span, purpose="shadow", requested_by="clerk", kind="shadow",
        shadow=envelope.digest,
    )  # fmt: skip


def test_a_tariff_is_tried_beside_the_month_and_no_release_request_comes_of_it(
    grid: GridSimulator, first: GridUpload
) -> None:
    zone = grid.platform_zone
    text = grid.tariff_texts[FLAT].replace(*CHEAPER)
    envelope = ordered(grid, first.upload_id, tariff=text)
    asked = run(grid, shadow(grid, envelope))
    trusted = registry(grid.platform_key)
    request = open_message(asked, expect=ShadowRequest, trusted=trusted)
    with pytest.raises(SignatureError):
        open_message(asked, expect=ReleaseRequest, trusted=trusted)
    assert request.order == envelope
    (transcript,) = [Transcript.parse(one.body) for one in request.transcripts]
    assert transcript.tariff == sm3_hex(text.encode())
    assert run(grid, shadow(grid, envelope)) == asked, "it is asked once"
    assert list_waiting_requests(zone) == []
    assert waiting_texts(zone) == [asked.model_dump_json()]
    start, end = grid.order().start, grid.order().end
    assert next_runs(zone, start=start, end=end)["bill"] == "ready"
    # The month's own run makes a transcript of its own.
    released = ReleaseRequest.parse(run(grid, grid.order("bill")).body)
    (own,) = [Transcript.parse(one.body) for one in released.transcripts]
    assert (own.tariff, own.inputs) == ("", transcript.inputs)
    assert own.outputs != transcript.outputs


def test_an_answer_is_kept_once_and_is_never_a_release(
    grid: GridSimulator, first: GridUpload
) -> None:
    zone = grid.platform_zone
    envelope = ordered(grid, first.upload_id, tariff=grid.tariff_texts[FLAT])
    name = ShadowRequest.parse(run(grid, shadow(grid, envelope)).body).request_id
    with pytest.raises(ConflictError) as refused:
        record_preview(zone, name, answer="released", at=NOW)
    assert refused.value.reason == "conflict.answer"
    for _ in range(2):
        record_preview(zone, name, answer="previewed", at=NOW)
    assert waiting_texts(zone) == []
    with pytest.raises(ConflictError):
        record_preview(zone, name, answer="refused", at=NOW)
    with pytest.raises(NotFoundError):
        record_preview(zone, "0" * 32, answer="previewed", at=NOW)
    with pytest.raises(NotFoundError):
        record_answer(zone, name, answer="released", at=NOW)


def test_a_correction_that_was_tried_still_waits_for_its_release(
    grid: GridSimulator, first: GridUpload
) -> None:
    zone = grid.platform_zone
    name = ReleaseRequest.parse(run(grid, grid.order("bill")).body).request_id
    record_answer(zone, name, answer="released", at=NOW)
    envelope = ordered(grid)
    with pytest.raises(NotFoundError) as nothing:
        run(grid, shadow(grid, envelope))
    assert nothing.value.reason == "run.empty"
    readings = changed(grid, grid.readings, first, slots=[3])
    second = correction(grid, first, readings=readings, slots=[3])
    grid.deliver(second)
    asked = ShadowRequest.parse(run(grid, shadow(grid, envelope)).body)
    record_preview(zone, asked.request_id, answer="previewed", at=NOW)
    released = ReleaseRequest.parse(run(grid, grid.order("rebill")).body)
    assert [one.digest for one in released.transcripts] == [
        one.digest for one in asked.transcripts
    ], "what was computed once is not computed again"
    with read_session(zone.engine) as session:
        assert len(session.exec(select(TranscriptRow)).all()) == 2
        states = session.exec(select(ReleaseRequestRow.state)).all()
    assert states == ["released", "waiting"]


def test_an_order_is_about_closed_first_uploads_and_its_own_tariff(
    grid: GridSimulator, first: GridUpload
) -> None:
    text = grid.tariff_texts[FLAT]
    for uploads, changes in (
        (["0" * 64], {}),
        ([first.upload_id], {"start": "2026-06-01T00:00:00+08:00"}),
    ):
        with pytest.raises(InputError) as refused:
            ordered(grid, *uploads, tariff=text, **changes)
        assert refused.value.reason == "shadow.upload"
    with pytest.raises(InputError) as refused:
        ordered(grid, first.upload_id, tariff=text.replace("Asia/Shanghai", "Asia/Hong_Kong"))
    assert refused.value.reason == "shadow.columns"
    envelope = ordered(grid, first.upload_id, tariff=text)
    for other in ("", text.replace(*CHEAPER)):
        with pytest.raises(InputError) as refused:
            admit_order(grid.platform_zone, envelope, tariff=other)
        assert refused.value.reason == "shadow.tariff"
