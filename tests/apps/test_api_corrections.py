"""Corrections through the gateway's service: by files, by late batches, after kills."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from gridsecure.errors import GridSecureError
from gridsecure.gateway import outbox, preparation
from gridsecure.gateway.correction_plan import list_corrections
from gridsecure.gateway.correction_versions import compute_expected_corrections
from gridsecure.gateway.month_files import load_files
from gridsecure.statement_checks import bill_digests
from gridsecure_api import gateway as gateway_app
from tests.apps.test_api_readings import REAL_PACKING, Sources
from tests.gateway.gateway_world import MONTH, Killed

FIRST = "2026-07-01 00:00"
HEADER = "meter_point_id,start,kwh,quality\n"


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A gateway whose month is done, from files."""
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    made = Sources(tmp_path)
    made.put_files()
    assert made.processed()["state"] == "done"
    yield made
    made.close()


def zone_of(services):
    return services.app.state.service.zone


def meter(services, place=0) -> str:
    return services.world.simulated.meter_point_ids[place]


def line(name: str, kwh: str, quality: str = "actual", start: str = FIRST) -> str:
    return f"{name},{start},{kwh},{quality}\n"


def late(services, text: str, *, batch: str, sequence: int):
    answer = services.send((HEADER + text).encode(), batch=batch, sequence=sequence)
    assert answer.status_code == 200, answer.text
    return services.receipt(answer)


def months_of(services, batch: str) -> dict:
    return services.senders["headend"].get(f"/v1/sources/headend/batches/{batch}").json()["months"]


def corrected(services, *, readings=(), tariffs=()) -> dict:
    """Start a correction, wait for its end, and give where it stands."""
    parts = [("readings", ("r.csv", text.encode())) for text in readings]
    parts += [("tariffs", ("t.toml", text.encode())) for text in tariffs]
    asked = {"files": parts, "params": {"reason": "read on site"}} if parts else {}
    started = services.call("POST", "/corrections", **asked)
    assert started.status_code == 202, started.text
    services.worker.wait(300)
    found = services.call("GET", "/corrections").json()
    return next(one for one in found if one["name"] == started.json()["name"])


def expected(services, place: int) -> dict:
    """The oracle's documents of a month's correction, by roster and settlement pseudonym."""
    zone = zone_of(services)
    files = list_corrections(zone, MONTH)[place].files
    return compute_expected_corrections(zone, load_files(zone, MONTH), correction=files)


def energies(documents: dict) -> list[str]:
    return sorted(
        period["adjustment"]["total"]
        for roster in documents.values()
        for document in roster.values()
        for period in document["periods"]
    )


def test_late_batches_and_files_correct_a_month_version_by_version(finished):
    receipt = late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)
    assert receipt.months == {MONTH: "late"}
    first = corrected(finished)
    assert (first["state"], first["number"], first["report"]["corrected"]) == ("done", 1, 1)
    assert months_of(finished, "late") == {MONTH: "corrected"}

    # The same reading from a file gives the same version: nothing is left to change.
    same = corrected(finished, readings=[HEADER + line(meter(finished), "9.000")])
    assert (same["state"], same["number"], same["report"]["corrected"]) == ("done", 2, 0)

    # An estimate that comes after an actual reading changes nothing, and is taken up all the same.
    late(finished, line(meter(finished), "1.000", "estimated"), batch="guess", sequence=2)
    assert months_of(finished, "guess") == {MONTH: "late"}
    guess = corrected(finished)
    assert (guess["state"], guess["report"]["corrected"]) == ("done", 0)
    assert months_of(finished, "guess") == {MONTH: "corrected"}

    # A later actual one does; what a file said before it no longer counts.
    late(finished, line(meter(finished), "8.000"), batch="later", sequence=3)
    last = corrected(finished)
    assert (last["number"], last["report"]["corrected"]) == (4, 1)
    up, down = energies(expected(finished, 0)), energies(expected(finished, 3))
    assert len(up) == len(down) == 1
    assert float(up[0]) != 0 > float(down[0])
    assert finished.call("POST", "/corrections").json()["reason"] == "correction.nothing"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_correction_of_late_batches_is_resumed_by_asking_again(finished, monkeypatch):
    late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)

    def kill(*_given: object, **_more: object) -> int:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        killed = corrected(finished)
        assert killed["state"] == "interrupted"
    finished.start()
    again = corrected(finished)
    assert (again["name"], again["state"]) == (killed["name"], "done")
    assert finished.call("POST", "/corrections").json()["reason"] == "correction.nothing"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_correction_that_was_killed_is_finished_before_the_next(finished, monkeypatch):
    late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)

    def kill(*_given: object, **_more: object) -> int:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        assert corrected(finished)["state"] == "interrupted"
    assert months_of(finished, "late") == {MONTH: "corrected"}  # it is fixed that they count

    finished.start()  # as after the end of the process
    late(finished, line(meter(finished, 1), "9.000"), batch="more", sequence=2)
    second = corrected(finished)
    states = [(one["number"], one["state"]) for one in finished.call("GET", "/corrections").json()]
    assert states == [(1, "done"), (2, "done")]
    assert second["report"]["corrected"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_correction_that_waits_for_an_earlier_one_says_so_and_fails_with_it(
    finished, monkeypatch
):
    late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)
    begun, go_on = threading.Event(), threading.Event()

    def told() -> list[tuple]:
        found = finished.call("GET", "/corrections").json()
        return [(one["number"], one["state"], one["reason"]) for one in found]

    def kill(*_given: object, **_more: object) -> int:
        raise Killed

    def fail(*_given: object, **_more: object) -> int:
        begun.set()
        assert go_on.wait(60)
        raise GridSecureError("The platform is away.", reason="peer.away", remedy="Wait.")

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        assert corrected(finished)["state"] == "interrupted"
    late(finished, line(meter(finished, 1), "9.000"), batch="more", sequence=2)
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", fail)
        started = finished.call("POST", "/corrections")
        assert (started.status_code, started.json()["state"]) == (202, "running")
        assert begun.wait(60)
        assert told() == [(1, "running", None), (None, "running", None)]
        go_on.set()
        finished.worker.wait(300)
        assert told() == [(1, "failed", "peer.away"), (None, "failed", "peer.away")]
    assert corrected(finished)["name"] == started.json()["name"]
    assert told() == [(1, "done", None), (2, "done", None)]


def test_a_correction_is_done_once_the_last_of_its_work_is_over(finished, monkeypatch):
    late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)
    begun, go_on = threading.Event(), threading.Event()

    def held(*_given: object) -> None:
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr(gateway_app, "_count", held)
    assert finished.call("POST", "/corrections").status_code == 202
    assert begun.wait(60)
    (told,) = finished.call("GET", "/corrections").json()
    assert told["state"] == "running"  # its report is there, and nothing else may begin
    assert finished.call("POST", "/corrections").json()["reason"] == "conflict.month-busy"
    go_on.set()
    finished.worker.wait(300)
    (told,) = finished.call("GET", "/corrections").json()
    assert (told["state"], told["report"]["corrected"]) == ("done", 1)


def test_a_correction_that_cannot_be_made_says_why_and_fixes_nothing(finished):
    wrong = HEADER + line(meter(finished), "1.000", start="2026-07-01 00:10")
    sent = {"files": [("readings", ("r.csv", wrong.encode()))]}
    refused = finished.call("POST", "/corrections", params={"reason": "read on site"}, **sent)
    assert (refused.status_code, refused.json()["reason"]) == (400, "correction.interval")
    unsaid = finished.call("POST", "/corrections", **sent)
    assert (unsaid.status_code, unsaid.json()["reason"]) == (400, "approval.reason")
    assert list_corrections(zone_of(finished), MONTH) == []
    assert finished.call("GET", "/corrections").json() == []
    assert list((finished.months / MONTH / "versions").iterdir()) == []
    for given in ({"files": [("other", ("x", b"x"))]}, {"params": {"reason": "why"}}):
        refused = finished.call("POST", "/corrections", **given)
        assert refused.json()["reason"] == "message.correction-files"
    late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)
    assert corrected(finished)["state"] == "done"


def test_an_altered_late_batch_corrects_nothing(finished):
    receipt = late(finished, line(meter(finished), "9.000"), batch="late", sequence=1)
    path = zone_of(finished).folder / "readings" / f"{receipt.readings_digest}.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    failed = corrected(finished)
    assert (failed["state"], failed["reason"]) == ("failed", "storage.read")


def test_an_open_month_is_not_corrected(tmp_path):
    services = Sources(tmp_path)
    services.put_files()
    refused = services.call("POST", "/corrections")
    assert (refused.status_code, refused.json()["reason"]) == (409, "correction.month-open")
    assert services.call("GET", "/corrections").json() == []
    services.close()


def test_the_office_is_told_the_versions_that_were_released_and_no_later_one(finished):
    for sequence, kwh in enumerate(("9.000", "8.000", "7.000"), start=1):
        late(finished, line(meter(finished), kwh), batch=f"late-{sequence}", sequence=sequence)
        corrected(finished)
    (roster,) = expected(finished, 0)
    (name,) = expected(finished, 0)[roster]
    first = finished.certificate(roster, release_id="1" * 32)

    def rebill(number: int):
        return finished.certificate(roster, plan="rebill", release_id=f"{number:032x}")

    def told(*certificates) -> dict:
        return dict(finished.told(*certificates).digests)

    assert told(first).keys() == {(roster, 1)}
    assert told(rebill(2)).keys() == {(roster, 2)}
    assert told(rebill(2), rebill(2)).keys() == {(roster, 2)}, "one release, shown twice"
    digests = told(first, rebill(2), rebill(3))
    assert digests.keys() == {(roster, 1), (roster, 2), (roster, 3)}
    assert digests[roster, 3] == bill_digests(expected(finished, 1))[roster, 3]
    assert digests[roster, 2].keys() == digests[roster, 3].keys() == {name}
    assert len(told(*(rebill(number) for number in range(9)))) == 3, "it knows of three"


# --- late readings that cannot be used ----------------------------------------------------------


def day_of(name: str, kwh: str, *, minutes: int = 60) -> str:
    """One day of a meter point, in intervals of a length."""
    starts = [divmod(n * minutes, 60) for n in range(1440 // minutes)]
    return "".join(line(name, kwh, start=f"2026-07-05 {h:02}:{m:02}") for h, m in starts)


def work(services) -> dict[tuple[str, str], tuple[str, bool]]:
    """The work list: state of each, and whether it keeps something unbilled."""
    token = services.token("operator")
    found = services.client.get("/v1/exceptions", params={"month": MONTH}, headers=token).json()
    return {(one["meter_point_id"], one["rule"]): (one["state"], one["unbilled"]) for one in found}


def month_reason(services) -> str | None:
    (shown,) = services.client.get("/months", headers=services.token("operator")).json()
    return shown["reason"]


def became(services) -> dict[str, dict[str, int]]:
    """Why readings of the month are quarantined or wait; what came in is all accounted for."""
    asked = {"params": {"month": MONTH}, "headers": services.token("operator")}
    told = services.client.get("/v1/reconciliation", **asked).json()
    assert told["adds_up"], told
    return told["total"]["reasons"]


def test_late_readings_in_other_intervals_stop_the_corrections_of_nobody_else(finished):
    bad, good = meter(finished), meter(finished, 1)
    both = day_of(bad, "0.400", minutes=20) + line(good, "9.000")
    late(finished, both, batch="bad", sequence=1)
    first = corrected(finished)
    assert (first["state"], first["report"]["corrected"]) == ("done", 1)
    assert first["left_out"] == {"late-interval": 1}
    assert month_reason(finished) == "late-interval"
    assert work(finished) == {(bad, "late-interval"): ("open", False)}
    assert became(finished)["quarantined"]["late-interval"] == 72

    # What is still wrong stays open and stops nobody.
    late(finished, line(good, "8.000"), batch="other", sequence=2)
    second = corrected(finished)
    assert (second["report"]["corrected"], second["left_out"]) == (1, {"late-interval": 1})
    assert work(finished) == {(bad, "late-interval"): ("open", False)}

    # The day in the intervals that were billed corrects the meter point and closes the work.
    late(finished, day_of(bad, "1.200"), batch="better", sequence=3)
    third = corrected(finished)
    assert (third["report"]["corrected"], third["left_out"]) == (1, {})
    assert work(finished) == {(bad, "late-interval"): ("resolved", False)}
    assert month_reason(finished) is None
    assert became(finished)["quarantined"]["late-interval"] == 72


def test_better_readings_of_the_same_correction_count_beside_those_that_do_not_fit(finished):
    bad = meter(finished)
    late(finished, day_of(bad, "0.400", minutes=20), batch="bad", sequence=1)
    late(finished, day_of(bad, "1.200"), batch="better", sequence=2)
    told = corrected(finished)
    assert (told["report"]["corrected"], told["left_out"]) == (1, {})
    assert work(finished) == {}
    assert became(finished)["quarantined"]["late-interval"] == 72


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_readings_that_cannot_be_billed_wait_and_the_bill_of_their_meter_point_stands(
    finished, monkeypatch
):
    bad, good = meter(finished), meter(finished, 1)
    both = day_of(bad, "-0.400") + line(bad, "7.000") + line(good, "9.000")
    late(finished, both, batch="bad", sequence=1)

    def kill(*_given: object, **_more: object) -> int:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        assert corrected(finished)["state"] == "interrupted"
    finished.start()  # as after the end of the process
    first = corrected(finished)
    assert (first["state"], first["report"]["corrected"]) == ("done", 1)
    assert first["left_out"] == {"net-metered": 1}
    assert month_reason(finished) == "net-metered"
    assert work(finished)[bad, "negative"] == ("open", True)
    assert {name for name, _ in work(finished)} == {bad}
    assert became(finished)["quarantined"]["left-out"] == 25

    late(finished, day_of(bad, "1.200"), batch="better", sequence=2)
    second = corrected(finished)
    assert (second["report"]["corrected"], second["left_out"]) == (1, {})
    assert {state for state, _ in work(finished).values()} == {"resolved"}
    # The 7 kWh that waited count now too.
    assert "left-out" not in became(finished)["quarantined"]
    (up,) = energies(expected(finished, 1))
    assert float(up) != 0
