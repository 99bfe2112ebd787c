"""Days that a gateway seals from batches: what goes out, what stays, what the month says."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from itertools import islice

import pandas as pd
import pytest
from sqlmodel import select

from gridsecure.compute import seating
from gridsecure.compute.tables import DaySeatRow, RosterRow, SeatRow
from gridsecure.compute.tables import UploadRow as PlatformUploadRow
from gridsecure.errors import InputError
from gridsecure.gateway import day_sealing, outbox, preparation
from gridsecure.gateway.sealed_days import find_day, load_sealed
from gridsecure.identity.enrolments.accounts import find_accounts
from gridsecure.identity.enrolments.books import write_books
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.periods import local_day
from gridsecure.plans.quantities import Family, find_family
from gridsecure.store.database import read_session
from gridsecure_api.gateway_timetable import Due, Timetable
from tests.apps.test_api_readings import REAL_PACKING, Sources, written
from tests.gateway.gateway_world import MONTH, Killed
from tests.gateway.reading_tables import long_table
from tests.grid_simulator import NOW

DAY, NEXT = "2026-07-01", "2026-07-02"


@pytest.fixture
def services(tmp_path):
    made = Sources(tmp_path)
    yield made
    made.close()


def table_of(services, *days: str) -> pd.DataFrame:
    table = long_table(services.world)
    return table[table["start"].str[:10].isin(days)] if days else table


def send(services, table, sequence: int) -> None:
    answer = services.send(written(table, "csv"), batch=f"b{sequence}", sequence=sequence)
    assert answer.status_code == 200, answer.text


def hand_in_contracts(services) -> None:
    assert services.put_files(readings=[]).json() == {"readings_files": 0, "contracts": 20}


def ask(services, method: str, path: str, *, role: str = "operator"):
    return services.client.request(method, path, headers=services.token(role))


def sealed(services, day: str) -> dict:
    started = ask(services, "POST", f"/days/{day}/seal")
    assert started.status_code == 202, started.text
    services.worker.wait(300)
    return ask(services, "GET", f"/days/{day}").json()


def uploads(services) -> list[UploadManifest]:
    """What the platform committed, oldest first."""
    engine = services.platform.state.platform.zone.engine
    with read_session(engine) as session:
        rows = session.exec(select(PlatformUploadRow).order_by(PlatformUploadRow.id)).all()
        assert {row.state for row in rows} == {"committed"}
        return [UploadManifest.parse(row.envelope.body) for row in rows]


def seats(services, table) -> int:
    with read_session(services.platform.state.platform.zone.engine) as session:
        return len(session.exec(select(table)).all())


def zone_of(services):
    return services.app.state.service.zone


def test_no_day_is_sealed_for_who_is_another_gateways_later_in_the_month(services):
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)
    books, name = (
        services.identity.state.zone.enrolments,
        services.world.simulated.meter_point_ids[0],
    )
    with read_session(books) as session:
        account = find_accounts(session, [name])[name]
    write_books(books, [replace(account, valid_to="2026-07-16")], actor="ops", now=NOW)
    assert sealed(services, DAY)["report"]["meters"] == 19


def test_a_day_goes_out_alone_and_the_month_without_it(services):
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)
    assert ask(services, "GET", f"/days/{DAY}").json()["state"] == "waiting"
    first = sealed(services, DAY)
    assert first["state"] == "sealed", first
    report = first["report"]
    assert (report["readings"], report["meters"], report["silent"]) == (480, 20, 0)
    assert report["intervals"] == 24
    days = uploads(services)
    assert {(upload.start, upload.end) for upload in days} == {
        ("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00")
    }
    assert all([c.quantity for c in upload.columns] == [f"intervals:{DAY}"] for upload in days)
    assert (seats(services, DaySeatRow), seats(services, SeatRow)) == (20, 0)
    (folder,) = (services.months / MONTH / "days").iterdir()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    # What is sealed stays as it is, whatever comes later; the same order again sends nothing.
    changed = table_of(services).copy()
    late = (changed["meter_point_id"] == changed["meter_point_id"].iloc[0]) & (
        changed["start"].str[:10] == DAY
    )
    changed.loc[late, "kwh"] = "0.123"
    send(services, changed, 2)
    requests = len(services.platform_requests)
    assert sealed(services, DAY)["report"] == report
    assert len(services.platform_requests) == requests
    assert sealed(services, NEXT)["state"] == "sealed"
    assert seats(services, DaySeatRow) == 20  # of the month, not of each day

    # The month bills the later readings, and says whose changed since they were sealed.
    done = services.processed()
    assert done["state"] == "done", done
    month = [upload for upload in uploads(services) if upload.end.startswith("2026-08-01")]
    assert {item.roster_id for item in month} == {item.roster_id for item in days}
    held = {
        column.quantity.partition(":")[2]
        for upload in month
        for column in upload.columns
        if find_family(column.quantity) is Family.INTERVALS
    }
    assert held == {f"2026-07-{day:02d}" for day in range(3, 32)}
    assert sum(len(upload.changed_slots) for upload in month) == 1
    listed = ask(services, "GET", f"/months/{MONTH}/days", role="billing").json()
    assert [(one["day"], one["state"]) for one in listed] == [(DAY, "sealed"), (NEXT, "sealed")]
    late_day = sealed(services, "2026-07-05")
    assert (late_day["state"], late_day["reason"]) == ("failed", "day.month-fixed")


def test_a_meter_point_without_a_complete_day_keeps_its_slot_without_energy(services):
    table = table_of(services, DAY, NEXT)
    name = table["meter_point_id"].iloc[0]
    lost = (table["meter_point_id"] == name) & (table["start"].str[:10] == NEXT)
    send(services, table[~lost], 1)
    hand_in_contracts(services)
    assert sealed(services, DAY)["report"]["silent"] == 0
    assert sealed(services, NEXT)["report"]["silent"] == 1
    zone = zone_of(services)
    first, second = find_day(zone, DAY), find_day(zone, NEXT)
    assert set(first.rosters) == set(second.rosters)
    assert sum(len(upload.silent_slots) for upload in uploads(services)) == 1
    idle = sum(
        int((energies.sum(axis=1) == 0).sum()) for energies in load_sealed(zone, NEXT).values()
    )
    assert idle == 1


@pytest.mark.parametrize("step", ["fix_day", "pack_day", "put", "send"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_killed_anywhere_a_day_goes_out_once(services, monkeypatch, step):
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)

    def kill(*_given: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        where = outbox if step in ("put", "send") else day_sealing
        patched.setattr(where, step, kill)
        state = sealed(services, DAY)["state"]
    assert state == ("waiting" if step == "fix_day" else "interrupted")
    services.start()
    # Later readings change nothing of a day that is fixed.
    send(services, table_of(services, DAY).assign(kwh="0.001"), 2)
    assert sealed(services, DAY)["state"] == "sealed"
    found = uploads(services)
    assert len({upload.roster_id for upload in found}) == len(found)
    total = sum(int(part.sum()) for part in load_sealed(zone_of(services), DAY).values())
    assert (total == 480) == (step == "fix_day")


def test_an_edit_of_another_day_holds_up_no_day(services):
    table = table_of(services, DAY, NEXT)
    send(services, table, 1)
    hand_in_contracts(services)
    of_next = table[table["start"].str[:10] == NEXT].iloc[:1].assign(kwh="7.000")
    made = services.client.post(
        "/v1/edits",
        params={"month": MONTH, "reason": "read on site"},
        content=written(of_next, "csv"),
        headers=services.token("operator"),
    )
    assert made.json()["state"] == "in-force", made.text
    assert [sealed(services, day)["state"] for day in (DAY, NEXT)] == ["sealed", "sealed"]
    (found,) = (one for one in load_sealed(zone_of(services), NEXT).values() if (one == 7000).any())
    assert (found == 7000).sum() == 1


def test_the_platform_is_asked_again_after_it_was_down(services):
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)
    services.platform_is_down = True
    failed = sealed(services, DAY)
    assert (failed["state"], failed["reason"]) == ("failed", "platform.unreachable")
    services.platform_is_down = False
    assert sealed(services, DAY)["state"] == "sealed"


@pytest.mark.parametrize(
    ("day", "reason"),
    [("2026-07-20", "day.no-readings"), ("2026-08-03", "day.not-over")],
)
def test_what_cannot_be_sealed_says_why(services, day, reason):
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)
    refused = sealed(services, day)
    assert (refused["state"], refused["reason"]) == ("failed", reason)


@pytest.mark.parametrize("day", ["2026-7-1", "2026-02-30", "..%2F..", "20260701", "9999-12-31"])
def test_what_is_no_day_is_refused(services, day):
    answer = ask(services, "POST", f"/days/{day}/seal")
    assert answer.status_code in (400, 404), answer.text
    assert ask(services, "POST", f"/days/{DAY}/seal", role="billing").status_code == 403


def test_a_day_is_sealed_by_itself_when_it_is_due(services):
    send(services, table_of(services, "2026-07-30", "2026-07-31"), 1)
    hand_in_contracts(services)
    own = services.app.state.service
    now = services.world.clock()

    def look(hours: float) -> list[str]:
        Timetable(own.zone, own.worker, lambda: now, Due(None, None, hours)).begin_due()
        services.worker.wait(300)
        days = ask(services, "GET", f"/months/{MONTH}/days").json()
        return [one["day"] for one in days if one["state"] == "sealed"]

    end = pd.Timestamp("2026-08-01T00:00:00+08:00").to_pydatetime()
    hours = (now - end) / timedelta(hours=1)
    assert look(hours + 1) == ["2026-07-30"]
    assert look(hours + 1) == ["2026-07-30"]  # the last day is not due yet
    assert look(hours - 1) == ["2026-07-30", "2026-07-31"]
    assert look(0) == ["2026-07-30", "2026-07-31"]


def test_who_is_not_sealed_by_day_sits_in_rosters_of_the_month_alone(services, monkeypatch):
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    table = table_of(services)
    names = sorted(table["meter_point_id"].unique())
    lines = services.world.contracts_csv().splitlines(keepends=True)
    few = [line for line in lines if not line.startswith(f"{names[0]},".encode())]
    send(services, table, 1)
    assert services.put_files(readings=[], contracts=b"".join(few)).json()["contracts"] == 19
    assert sealed(services, DAY)["report"]["meters"] == 19
    hand_in_contracts(services)
    assert services.processed()["state"] == "done"
    found = uploads(services)
    days = {item.roster_id for item in found if item.end.startswith("2026-07-02")}
    months = {item.roster_id for item in found if item.end.startswith("2026-08-01")}
    assert days < months
    assert len(months - days) == 1


def test_a_revocation_within_the_month_stops_no_later_day(services, monkeypatch):
    send(services, table_of(services, DAY, NEXT), 1)
    hand_in_contracts(services)
    assert sealed(services, DAY)["state"] == "sealed"
    named = {name for upload in uploads(services) for name in members(services, upload)}
    monkeypatch.setattr(seating, "list_denied_subjects", lambda _session: frozenset({min(named)}))
    assert sealed(services, NEXT)["state"] == "sealed"


def members(services, upload: UploadManifest) -> list[str]:
    with read_session(services.platform.state.platform.zone.engine) as session:
        row = session.exec(select(RosterRow).where(RosterRow.roster_id == upload.roster_id)).one()
    return RosterManifest.parse(row.envelope.body).pseudonyms


def test_a_roster_that_is_refused_holds_up_no_other(services, monkeypatch):
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)
    real, sent = outbox.send, []

    def refuse_first(zone, outgoing, **rest):
        sent.append(outgoing.name)
        if len(sent) == 1:
            raise InputError("It seats somebody revoked.", reason="identity.revoked")
        return real(zone, outgoing, **rest)

    monkeypatch.setattr(outbox, "send", refuse_first)
    failed = sealed(services, DAY)
    assert (failed["state"], failed["reason"]) == ("failed", "identity.revoked")
    rosters = len(find_day(zone_of(services), DAY).rosters)
    assert rosters > 1
    assert len(uploads(services)) == rosters - 1
    assert sealed(services, DAY)["state"] == "sealed"


def test_a_day_without_a_beginning_at_midnight_is_not_sealed(services, monkeypatch):
    """Where the clock moves at midnight, the day has no text that the platform takes."""
    send(services, table_of(services, DAY), 1)
    hand_in_contracts(services)
    day = local_day("2026-04-24", timezone="Africa/Cairo")  # no 00:00 that day
    monkeypatch.setattr(day_sealing, "local_day", lambda *_, **__: day)
    refused = sealed(services, DAY)
    assert (refused["state"], refused["reason"]) == ("failed", "identity.period")
    assert find_day(zone_of(services), DAY) is None
