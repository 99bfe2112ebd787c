"""A month of register faces sent by batches: receipts, bills, what comes late."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pandas as pd
import pytest

from gridsecure.gateway import preparation
from gridsecure.gateway.collection import read_files
from gridsecure.gateway.correction_plan import find_readings, list_corrections
from gridsecure.gateway.month_files import load_files
from tests.apps.test_api_corrections import corrected, months_of
from tests.apps.test_api_readings import Sources
from tests.gateway.gateway_world import MONTH

REAL_PACKING = preparation.pack_energies
HEAD = "meter_point_id,start,register_kwh"


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    made = Sources(tmp_path)
    yield made
    made.close()


def faces_of(world) -> pd.DataFrame:
    """What the registers of the simulated month show, the last time as it ends."""
    readings = world.simulated.readings().sort_values(["meter_point_id", "start"])
    by_meter = readings.groupby("meter_point_id", observed=True)["energy_wh"]
    first = readings.assign(face=by_meter.cumsum() - readings["energy_wh"])
    last = readings.assign(face=by_meter.cumsum(), start=readings["start"] + pd.Timedelta(hours=1))
    last = last.groupby("meter_point_id", observed=True).tail(1)
    return pd.concat([first, last], ignore_index=True)[["meter_point_id", "start", "face"]]


def table(faces: pd.DataFrame) -> bytes:
    rows = [
        f"{name},{at.isoformat()},{(face + 5_000_000) // 1000}.{face % 1000:03d}"
        for name, at, face in faces.itertuples(index=False)
    ]
    return "\n".join([HEAD, *rows, ""]).encode()


def totals_now(services) -> dict[str, int]:
    """Energy of each meter point by the newest version of the month [Wh]."""
    zone = services.app.state.service.zone
    period = zone.period(MONTH)
    versions = [
        find_readings(zone, one.files, period=period) for one in list_corrections(zone, MONTH)
    ]
    files = replace(load_files(zone, MONTH), later=tuple(versions))
    (read,) = read_files(files, timezone=zone.timezone, period=period)
    return read.readings.groupby("meter_point_id", observed=True)["energy_wh"].sum().to_dict()


def totals_of(world) -> dict[str, int]:
    readings = world.simulated.readings()
    return readings.groupby("meter_point_id", observed=True)["energy_wh"].sum().to_dict()


def test_a_month_of_faces_is_billed_as_its_energies_and_a_late_face_corrects_it(sources):
    faces = faces_of(sources.world)
    name = sources.world.simulated.meter_point_ids[0]
    own, at = faces["meter_point_id"] == name, faces["start"]
    # One is never read, and what it would tell is known; the last one comes late.
    never, late = (
        own & (at == pd.Timestamp(day)) for day in ("2026-07-07T05+08", "2026-08-01T00+08")
    )
    assert never.sum() == late.sum() == 1
    kept = faces[~(never | late)]
    days = [day for _, day in kept.groupby(kept["start"].dt.strftime("%Y-%m-%d"))]
    # The newest day first: a face waits for the one before it.
    for number, day in enumerate(reversed(days), start=1):
        answer = sources.send(table(day), batch=f"d{number}", sequence=number)
        assert answer.status_code == 200, answer.text
        receipt = sources.receipt(answer)
        assert (receipt.readings, receipt.rejected) == (len(day), {})
    # The first batch held the faces that end July, the last one those that begin it.
    assert months_of(sources, "d1") == {"2026-07": "waiting", "2026-08": "waiting"}
    assert months_of(sources, "d2") == {"2026-07": "waiting"}
    assert months_of(sources, "d32") == {"2026-06": "waiting", "2026-07": "waiting"}

    assert sources.put_files(readings=[]).json() == {"readings_files": 0, "contracts": 20}
    report = sources.processed()["report"]
    assert (report["billed_meters"], report["readings"]) == (20, 20 * 744 - 1)
    assert report["problems"]["register-gap"] == 1
    assert months_of(sources, "d1") == {"2026-07": "done", "2026-08": "waiting"}

    answer = sources.send(table(faces[late]), batch="late", sequence=99)
    assert sources.receipt(answer).months == {"2026-07": "late", "2026-08": "waiting"}
    done = corrected(sources)
    assert (done["state"], done["report"]["corrected"]) == ("done", 1)
    assert months_of(sources, "late") == {"2026-07": "corrected", "2026-08": "waiting"}
    assert totals_now(sources) == totals_of(sources.world)


def test_a_face_of_the_future_is_kept_and_rejected(sources):
    rows = ["MP-1,2026-07-01 00:00,100", "MP-1,2099-07-01 00:00,101", ""]
    answer = sources.send("\n".join([HEAD, *rows]).encode())
    receipt = sources.receipt(answer)
    assert (receipt.readings, receipt.rejected) == (2, {"future": 1})
    assert set(receipt.months) == {"2026-06", "2026-07"}
