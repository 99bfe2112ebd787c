"""The gateway service, with the real identity service and platform behind it."""

from __future__ import annotations

import json
import resource
import stat
import threading
from itertools import islice

import pytest

from gridsecure.credentials.seats import settlement_domain
from gridsecure.credentials.settlement import verify_settlements
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import EnvelopeError, InputError, StorageError
from gridsecure.gateway import outbox, preparation
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_report as gateway_stored_report
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.statement_checks import EXPECTED_PURPOSE, check_statements
from gridsecure.tariffs.tariff import catalogue_tariffs
from gridsecure_api import gateway as gateway_module
from gridsecure_api.gateway_peers import SEED_FILE, open_zone
from tests.apps.gateway_services import Services
from tests.apps.identity_peers import account
from tests.cli.in_process import client_of
from tests.gateway.gateway_world import (
    MONTH,
)
from tests.identity.identity_world import suite

REAL_PACKING = preparation.pack_energies
SECRET = "77.31"


@pytest.fixture
def services(tmp_path):
    made = Services(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    """Services without any month, for requests that change nothing."""
    made = Services(tmp_path_factory.mktemp("resting"))
    yield made
    made.close()


@pytest.fixture
def _short(monkeypatch):
    """The real packing, cut short, where the number of columns does not matter."""
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )


def test_a_month_goes_from_files_to_reconciled_statements(services):
    assert services.put_files().json() == {"readings_files": 1, "contracts": 20}
    assert services.call("GET", "").json()["state"] == "waiting"
    status = services.processed()
    report = status["report"]
    assert (status["state"], status["reason"]) == ("done", None)
    assert (report["readings"], report["billed_meters"], report["rosters"]) == (20 * 744, 20, 2)
    assert report["bytes_uploaded"] == report["bytes_stored"] > 0
    assert report["columns"] == 2 * (31 + 3)
    zone = services.app.state.service.zone
    bills = compute_expected_bills(zone, load_files(zone, MONTH))
    told = services.told(services.certificate(*bills))
    assert told.month == MONTH
    found = check_statements(told.digests, statements=statements_of(bills))
    assert (found.bills, found.mismatches, found.differing) == (20, 0, ())
    roster = next(iter(bills.values()))
    name = min(roster)
    roster[name]["periods"][0]["total"] += "0"
    altered = check_statements(told.digests, statements=statements_of(bills))
    assert (altered.mismatches, altered.differing) == (1, (name,))

    # Of what was not released nothing is told, whoever asks, and nobody else is believed.
    first, *_ = bills
    assert services.told(services.certificate(first)).digests.keys() == {(first, 1)}
    assert services.told().versions == []
    assert services.told(services.certificate("roster of another gateway")).versions == []
    forged = services.certificate(*bills, key=generate_private_key())
    assert services.expect(forged).status_code == 401
    assert services.told(services.certificate(*bills, plan="rebill")).versions == []
    for changes in ({"plan": "load-curve"}, {"start": told.month}):
        other = services.certificate(*bills, **changes)
        assert services.expect(other).json()["reason"] == "message.certificate"

    # The role of the billing office does not do: only its key opens the answer.
    sealed = services.expect(services.certificate(*bills)).content
    assert not any(name.encode() in sealed for meters in bills.values() for name in meters)
    with pytest.raises(EnvelopeError):
        open_from(sealed, private_key=generate_private_key(), purpose=EXPECTED_PURPOSE)


@pytest.mark.usefixtures("_short")
def test_a_gateway_nobody_has_met_makes_its_secrets_and_enrols(tmp_path):
    services = Services(tmp_path, met=False)
    try:
        seed = services.folder / SEED_FILE
        assert (len(seed.read_bytes()), stat.S_IMODE(seed.stat().st_mode)) == (32, 0o600)
        services.put_files()
        unlisted, *listed = services.world.simulated.meter_point_ids
        frame = services.world.contracts()
        rows = zip(frame["meter_point_id"], frame["zone"], frame["customer_class"], strict=True)
        books = [
            account(name, gateway=services.key) | {"zone": zone, "customer_class": kind}
            for name, zone, kind in rows
            if name in listed
        ]
        answer = client_of(services.identity).put(
            "/books", json=books, headers=services.token("operator", audience="identity")
        )
        assert answer.json() == {"accounts": 19}
        report = services.processed()["report"]
        assert report["excluded"] == {"identity.unknown-account": 1}
        assert (report["billed_meters"], report["meters"]) == (19, 20)
        assert unlisted in (services.months / MONTH / "exceptions.csv").read_text()
    finally:
        services.close()


@pytest.mark.usefixtures("_short")
def test_the_billing_office_is_shown_whose_bill_is_whose(services):
    services.put_files()
    services.processed()
    challenge = "ab" * 32
    answer = services.call(
        "POST", "/settlement-proofs", role="billing", json={"challenge": challenge}
    )
    pseudonyms, g = answer.json()["pseudonyms"], suite().g
    assert pseudonyms.keys() == set(services.world.simulated.meter_point_ids)
    zone = services.app.state.service.zone
    bills = compute_expected_bills(zone, load_files(zone, MONTH))
    subjects = verify_settlements(
        [
            (
                bytes.fromhex(pseudonyms[name]),
                suite().group.multiply(g, scalar=services.world.meter_point(name).m1),
            )
            for name in sorted(pseudonyms)
        ],
        bytes.fromhex(answer.json()["proof"]),
        domain=settlement_domain(MONTH),
        challenge=bytes.fromhex(challenge),
        suite=suite(),
    )
    assert set(subjects) == {subject for meters in bills.values() for subject in meters}


@pytest.mark.parametrize("challenge", ["", "0" * 63, "G" * 64, 5, None])
def test_a_challenge_of_another_form_is_refused(resting, challenge):
    refused = resting.call(
        "POST", "/settlement-proofs", role="billing", json={"challenge": challenge}
    )
    assert refused.status_code == 422


def test_a_damaged_seed_and_one_key_for_both_openers_are_refused(tmp_path):
    services = Services(tmp_path)
    try:
        once = services.settings.utility_public_key
        with pytest.raises(InputError) as refusal:
            open_zone(services.settings.model_copy(update={"regulator_public_key": once}))
        assert refusal.value.reason == "identity.openers"
        (services.folder / SEED_FILE).write_bytes(b"short")
        with pytest.raises(StorageError) as damaged:
            open_zone(services.settings)
        assert damaged.value.reason == "keys.damaged"
    finally:
        services.close()


def statements_of(bills):
    return [
        json.dumps({"roster_id": name, "meters": meters}).encode() for name, meters in bills.items()
    ]


@pytest.mark.usefixtures("_short")
def test_a_finished_month_survives_a_restart_and_is_not_sent_again(services):
    services.put_files()
    done = services.processed()
    requests = len(services.platform_requests)
    services.start()
    assert services.call("GET", "").json() == done
    assert services.processed() == done
    assert len(services.platform_requests) == requests
    refused = services.put_files()
    assert (refused.status_code, refused.json()["reason"]) == (409, "conflict.month-files")


@pytest.mark.usefixtures("_short")
def test_an_unreachable_platform_fails_the_month_and_the_next_start_finishes_it(
    services, monkeypatch
):
    monkeypatch.setattr("gridsecure.wire.client.PAUSES_S", ())
    services.platform_is_down = True
    services.put_files()
    failed = services.processed()
    assert (failed["state"], failed["reason"]) == ("failed", "platform.unreachable")
    assert "nothing is lost" in failed["message"]
    services.start()
    assert services.call("GET", "").json() == failed
    services.platform_is_down = False
    assert services.processed()["state"] == "done"


@pytest.mark.usefixtures("_short")
def test_a_month_that_was_cut_off_says_interrupted_and_resumes(services, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_args, **_kwargs):
        raise Killed

    services.put_files()
    with monkeypatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda _args: None)
        patch.setattr(outbox, "deliver", killed)
        assert services.processed()["state"] == "interrupted"
    services.start()
    assert services.call("GET", "").json()["state"] == "interrupted"
    assert services.processed()["state"] == "done"


@pytest.mark.usefixtures("_short")
def test_a_month_is_done_once_the_last_of_its_work_is_over(services, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def held(*_given: object) -> None:
        begun.set()
        go_on.wait(20)

    monkeypatch.setattr(gateway_module, "_count", held)
    services.put_files()
    assert services.call("POST", "/process").status_code == 202
    assert begun.wait(60)
    zone = services.app.state.service.zone
    assert gateway_stored_report(zone, MONTH) is not None
    assert services.call("GET", "").json()["state"] == "running"  # nothing else may begin
    assert services.call("POST", "/process").json()["reason"] == "conflict.month-busy"
    go_on.set()
    services.worker.wait(300)
    assert services.call("GET", "").json()["state"] == "done"


def test_one_month_at_a_time_and_no_new_files_meanwhile(services, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def held(zone, *, files, peers, clock, progress):
        progress("validate", 3, 7)
        begun.set()
        go_on.wait(20)
        raise StorageError("It stops here.")

    monkeypatch.setattr(gateway_module, "process_month", held)
    services.put_files()
    assert services.call("POST", "/process").status_code == 202
    begun.wait(20)
    status = services.call("GET", "").json()
    assert [status[name] for name in ("state", "stage", "done", "of")] == [
        "running",
        "validate",
        3,
        7,
    ]
    busy = [services.call("POST", "/process"), services.put_files()]
    assert [(b.status_code, b.json()["reason"]) for b in busy] == [(409, "conflict.month-busy")] * 2
    go_on.set()
    services.worker.wait(20)
    assert services.call("GET", "").json()["state"] == "failed"


def test_who_asks_does_not_wait_while_files_are_taken_in(services):
    begun, go_on = threading.Event(), threading.Event()

    def held() -> int:
        begun.set()
        assert go_on.wait(20)
        return 1

    services.put_files()
    sending = threading.Thread(target=services.worker.keep_files, args=(MONTH, held))
    sending.start()
    assert begun.wait(20)
    assert services.call("GET", "").json()["state"] == "waiting"
    assert services.put_files().json()["reason"] == "conflict.month-busy"
    go_on.set()
    sending.join(20)
    assert services.put_files().status_code == 200


def test_where_a_month_stands_is_told_without_reading_its_tariffs(services):
    (_, tariff), *_ = catalogue_tariffs().items()
    assert services.put_files(tariffs=[tariff.read_bytes()]).status_code == 200
    (kept,) = services.months.rglob("*.toml")
    kept.unlink()
    assert services.call("GET", "").json()["state"] == "waiting"
    assert services.call("POST", "/process").status_code == 507


def test_an_error_nobody_expected_says_nothing(services, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(gateway_module, "process_month", broken)
    services.put_files()
    status = services.processed()
    assert (status["state"], status["reason"]) == ("failed", "internal")
    assert SECRET not in json.dumps(status)


def test_bad_readings_fail_the_month_with_a_reason_and_no_value(services):
    bad = f"meter_point_id,start,kwh\nm,2026-07-01 00:00,{SECRET}kWh\n".encode()
    services.put_files(readings=[bad])
    status = services.processed()
    assert (status["state"], status["reason"]) == ("failed", "readings.energy")
    assert SECRET not in json.dumps(status)
    services.put_files()
    assert services.call("GET", "").json()["state"] == "waiting"


def test_files_are_private_and_named_by_the_gateway(services):
    services.put_files(readings=[b"a,b\n1,2\n", b"c"])
    files = [path for path in services.months.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == [
        "input.json",
        "readings-0001",
        "readings-0002",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((services.months / MONTH).stat().st_mode) == 0o700


def test_what_a_killed_writer_left_is_gone_after_the_next_start(services):
    services.put_files()
    kept = inputs(services)
    (services.months / MONTH / ".draft-0011223344556677-quarantine.csv").write_bytes(b"half")
    (services.folder / "outbox").mkdir()
    (services.folder / "outbox" / ".draft-8899aabbccddeeff-roster.columns").write_bytes(b"half")
    services.start()
    assert inputs(services) == kept
    assert list((services.folder / "outbox").iterdir()) == []


def inputs(services):
    return {
        path.relative_to(services.months): path.read_bytes()
        for path in services.months.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"contracts": b"meter_point_id,strange\nm,1\n"}, 400, "contract.unknown-column"),
        ({"contracts": b""}, 400, "contract.unreadable"),
        ({"tariffs": [b"tariff_id = 1"]}, 400, "tariff.missing-key"),
        ({"tariffs": [b"\xff\xfe"]}, 400, "tariff.unreadable"),
        ({"checks": [b"meter_point_id,kwh\nm,1\n"]}, 400, "readings.columns"),
        ({"readings": []}, 400, "month.no-readings"),
    ],
)
def test_a_set_that_cannot_be_used_leaves_the_earlier_one(services, change, status, reason):
    services.put_files()
    before = inputs(services)
    refused = services.put_files(**change)
    assert (refused.status_code, refused.json()["reason"]) == (status, reason)
    assert inputs(services) == before


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_full_disk_leaves_the_earlier_set_and_nothing_half_written(services, monkeypatch, limit):
    services.put_files()
    before = inputs(services)
    real, calls = gateway_module.save_files.__globals__["write_private"], []

    def full(path, parts, *, what):
        calls.append(path)
        if len(calls) < limit:
            return real(path, parts, what=what)

        def cut():
            yield b"half"
            raise OSError(28, "No space left on device")

        return real(path, cut(), what=what)

    monkeypatch.setitem(gateway_module.save_files.__globals__, "write_private", full)
    refused = services.put_files()
    assert (refused.status_code, refused.json()["reason"]) == (507, "storage.failed")
    assert inputs(services) == before


def test_a_file_size_limit_of_the_system_is_a_storage_error_too(services):
    services.put_files()
    before = inputs(services)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        refused = services.put_files()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (refused.status_code, refused.json()["reason"]) == (507, "storage.failed")
    assert inputs(services) == before


def test_too_large_a_body_is_refused_before_it_is_kept(resting):
    refused = resting.put_files(readings=[b"x" * 5_000_000])
    assert (refused.status_code, refused.json()["reason"]) == (413, "message.too-large")
    assert not resting.months.exists()


def test_readings_alone_are_refused_while_nobody_holds_anything(resting):
    refused = resting.call("PUT", "/files", files=[("readings", ("r", b"x"))])
    assert (refused.status_code, refused.json()["reason"]) == (400, "month.no-contracts")


@pytest.mark.parametrize(
    "files",
    [
        [("contracts", ("c", b"x")), ("contracts", ("c", b"x")), ("readings", ("r", b"x"))],
        [("contracts", ("c", b"x")), ("readings", ("r", b"x")), ("other", ("o", b"x"))],
    ],
)
def test_other_parts_than_a_month_has_are_refused(resting, files):
    refused = resting.call("PUT", "/files", files=files)
    assert (refused.status_code, refused.json()["reason"]) == (422, "message.month-files")


def test_a_field_in_place_of_a_file_and_no_form_at_all_are_refused(resting):
    assert resting.call("PUT", "/files", data={"contracts": SECRET}).status_code == 400
    assert resting.call("PUT", "/files", content=b"no form").status_code == 422
    assert SECRET not in resting.call("PUT", "/files", data={"contracts": SECRET}).text


@pytest.mark.parametrize("month", ["2026-13", "..", "2026-7", "2026-07.", "%2e%2e%2fsigning"])
def test_only_months_become_paths(resting, month):
    answer = resting.client.get(f"/months/{month}", headers=resting.token("operator"))
    assert answer.status_code in (400, 404)


def test_an_unknown_month_and_one_not_processed_are_told_apart(services):
    unknown = services.call("GET", "")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "month.unknown")
    assert services.call("POST", "/process").status_code == 404
    services.put_files()
    early = services.expect()
    assert (early.status_code, early.json()["reason"]) == (404, "month.not-processed")


ROUTES = [
    ("PUT", "/files", {"operator"}),
    ("POST", "/process", {"operator"}),
    ("GET", "", {"operator", "billing"}),
    ("POST", "/expected-bills", {"billing"}),
    ("POST", "/settlement-proofs", {"billing"}),
]


@pytest.mark.parametrize(("method", "path", "roles"), ROUTES)
def test_each_route_is_for_its_roles(resting, method, path, roles):
    for role in ("operator", "billing", "analyst", "custodian", "regulator", "platform", "gateway"):
        answer = resting.call(method, path, role=role)
        assert (answer.status_code == 403) == (role not in roles), role
    url = f"/months/{MONTH}{path}"
    assert resting.client.request(method, url).status_code == 401
    elsewhere = resting.token("operator", "billing", audience="platform")
    assert resting.client.request(method, url, headers=elsewhere).status_code == 403


def test_the_service_describes_itself(resting):
    about = resting.client.get("/about").json()
    assert about["zone"] == "gateway"
    paths = resting.client.get("/openapi.json").json()["paths"]
    assert "multipart/form-data" in str(paths["/months/{month}/files"]["put"]["requestBody"])
