"""A gateway whose billing periods begin on the 16th: batches, days, the month, what goes out."""

from __future__ import annotations

import pandas as pd
import pytest
from sqlmodel import select

from gridsecure.compute.tables import DaySeatRow, RosterRow, SeatRow
from gridsecure.compute.tables import UploadRow as PlatformUploadRow
from gridsecure.errors import ConflictError
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.plans.quantities import Family, find_family
from gridsecure.store.database import read_session
from gridsecure_api.gateway_peers import open_zone
from tests.apps.test_api_readings import Sources, written
from tests.gateway.gateway_world import MONTH
from tests.gateway.reading_tables import long_table

CYCLE_DAY = 16
SPAN = ("2026-06-16T00:00:00+08:00", "2026-07-16T00:00:00+08:00")
DAYS = ("2026-06-16", "2026-07-15")


@pytest.fixture
def services(tmp_path):
    made = Sources(tmp_path, cycle_day=CYCLE_DAY)
    yield made
    made.close()


def table(services) -> pd.DataFrame:
    """The readings of July, half a month earlier."""
    found = long_table(services.world)
    starts = pd.to_datetime(found["start"]) - pd.Timedelta(days=15)
    own = found.assign(start=[start.isoformat() for start in starts])
    return own[starts < pd.Timestamp(SPAN[1])]


def homes(services) -> list[str]:
    contracts = services.world.contracts()
    return contracts.loc[contracts["tariff_id"] == "flat", "meter_point_id"].tolist()


def ask(services, method, path):
    return services.client.request(method, path, headers=services.token("operator"))


def kept(services, kind):
    with read_session(services.platform.state.platform.zone.engine) as session:
        return list(session.exec(select(kind)).all())


def test_a_period_of_two_months_is_sealed_by_day_and_billed(services):
    own = table(services)
    answer = services.send(written(own, "csv"), batch="b1", sequence=1)
    assert services.receipt(answer).months == {MONTH: "waiting"}
    assert services.put_files(readings=[]).json()["contracts"] == 20
    for day in DAYS:
        assert ask(services, "POST", f"/days/{day}/seal").status_code == 202
        services.worker.wait(300)
        assert ask(services, "GET", f"/days/{day}").json()["state"] == "sealed"
    listed = ask(services, "GET", f"/months/{MONTH}/days").json()
    assert [one["day"] for one in listed] == list(DAYS)
    assert {(row.start_at, row.end_at) for row in kept(services, DaySeatRow)} == {
        tuple(pd.Timestamp(text).to_pydatetime() for text in SPAN)
    }
    done = services.processed()
    assert done["state"] == "done", done
    # Shops have sharp hours in July and none in June, and their tariff says nothing of that.
    shops = 20 - len(homes(services))
    assert done["report"]["excluded"] == {"cycle-month": shops}
    uploads = [UploadManifest.parse(r.envelope.body) for r in kept(services, PlatformUploadRow)]
    months = [upload for upload in uploads if (upload.start, upload.end) == SPAN]
    assert (len(months), len(uploads) - len(months)) == (1, 2 * len(DAYS))
    for upload in months:
        sealed = {f"{Family.INTERVALS}:{day}" for day in DAYS}
        loads = {c.quantity for c in upload.columns if find_family(c.quantity) is Family.INTERVALS}
        assert len(loads) == 28
        assert not loads & sealed
        assert upload.changed_slots == []
    assert {(row.start_at, row.end_at) for row in kept(services, SeatRow)} == {
        tuple(pd.Timestamp(text).to_pydatetime() for text in SPAN)
    }
    rosters = [RosterManifest.parse(row.envelope.body) for row in kept(services, RosterRow)]
    assert {roster.cycle_day for roster in rosters} == {CYCLE_DAY}


def test_readings_of_the_sixteenth_are_of_the_next_period(services):
    own = long_table(services.world)
    picked = own[own["start"].str[:10].isin(["2026-07-15", "2026-07-16"])]
    answer = services.send(written(picked, "csv"), batch="b1", sequence=1)
    assert services.receipt(answer).months == {"2026-07": "waiting", "2026-08": "waiting"}


def test_a_gateway_keeps_its_cycle(services):
    """Plans, days and batches are of its periods; another day would tear them."""
    with pytest.raises(ConflictError) as refused:
        open_zone(services.settings.model_copy(update={"cycle_day": 1}))
    assert refused.value.reason == "conflict.cycle"
    zone = open_zone(services.settings)
    assert zone.cycle_day == CYCLE_DAY
    zone.engine.dispose()
