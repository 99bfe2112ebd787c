"""What a release policy changes of a release, and that nobody computes by another one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlmodel import select

from gridsecure.analyst.releases import pin_authority, verify_release
from gridsecure.compute.runs import plan_run
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker.answering import FAILED, REFUSED, RELEASED
from gridsecure.key_authority.checker.tables import ToldSetRow
from gridsecure.messages import ReleaseCertificate
from gridsecure.plans.cells import MEASURES
from gridsecure.policy.decisions import asked_for, curve_resolution, find_minima
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.packs import load_pack
from gridsecure.released_values import detach_values, sign_certificate
from gridsecure.store.database import read_session
from tests.approving import vault_policies
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW, GridSimulator, GridUpload
from tests.held_policy import POLICY

LARGE = ("futian", "household")


def hold(authority: Authority, policy: Policy) -> None:
    """Give checker and vault another policy."""
    authority.zone = replace(authority.zone, policy=policy)
    own = authority.folder / "policies" / policy.digest
    authority.vault.gate.policies = vault_policies(own, policy)


def policy_of(*pairs: tuple[str, str], pack: str = "uniform-15") -> Policy:
    text = load_pack(pack).text
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_policy(text)


def told(certificates: Iterable[ReleaseCertificate]) -> set[str]:
    """Measures that some cell has a value of."""
    return {c.measure for one in certificates for c in one.cells if c.value is not None}


def test_a_certificate_names_the_policy_and_what_it_wants_of_each_cell(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    (certificate,) = authority.certificates
    assert (certificate.policy, certificate.policy_name) == (POLICY.digest, "uniform-15")
    assert certificate.policy_version == POLICY.version
    assert certificate.minima == {"monthly": {"*": dict.fromkeys(MEASURES, 15)}}
    assert told([certificate]) == set(MEASURES)
    (entry,) = authority.entries("release.granted")
    assert POLICY.digest in entry.detail


def test_under_the_strict_policy_a_cell_of_fewer_than_a_hundred_homes_has_no_value(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    hold(authority, load_pack("strict"))
    outcome = authority.answer(authority.bill_request(uploads))
    assert outcome.state == RELEASED
    (certificate,) = authority.certificates
    assert told([certificate]) == set()
    assert certificate.minima["monthly"]["household"] == dict.fromkeys(MEASURES, 100)
    assert len(certificate.statements) == len(uploads), "bills are issued whatever is withheld"


def test_a_measure_that_no_rule_permits_is_withheld_beside_the_others(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    hold(authority, policy_of(('"bills", "energy_wh", "amount_fen"', '"bills", "energy_wh"')))
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    assert told(authority.certificates) == {"bills", "energy_wh"}


@pytest.mark.parametrize(("minimum", "is_told"), [(26, True), (27, False)])
def test_a_raised_minimum_holds_at_once(
    authority: Authority, uploads: list[GridUpload], minimum: int, is_told: bool
) -> None:
    """Under the same policy but for the number, a cell of 26 is told of or is not."""
    apart = ("merge = true\n", "")
    hold(authority, policy_of(apart, ("minimum = 15", f"minimum = {minimum}")))
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    assert told(authority.certificates) == (set(MEASURES) if is_told else set())
    with read_session(authority.zone.engine) as session:
        kept = {row.minimum for row in session.exec(select(ToldSetRow))}
    assert kept == ({minimum} if is_told else set())


@pytest.mark.parametrize("pack", ["strict", "billing-office"])
def test_a_load_curve_of_another_policy_is_refused(
    authority: Authority, uploads: list[GridUpload], decrypted: list[str], pack: str
) -> None:
    request = authority.load_curve_request(uploads)
    hold(authority, load_pack(pack))
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (REFUSED, "release.policy")
    assert decrypted == []
    hold(authority, POLICY)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (RELEASED, None)


def test_before_its_day_a_policy_lets_requests_wait(
    authority: Authority, uploads: list[GridUpload], decrypted: list[str]
) -> None:
    start = (NOW + timedelta(days=1)).isoformat()
    hold(authority, policy_of(("2026-01-01T00:00:00+00:00", start)))
    request = authority.bill_request(uploads)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "policy.early")
    assert decrypted == []
    hold(authority, POLICY)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (RELEASED, None)


def test_the_platform_lays_load_curves_out_by_its_policy(grid: GridSimulator) -> None:
    zone = grid.platform_zone
    order = grid.order("load-curve")
    named = {}
    for pack, purpose in (
        ("uniform-15", "operations"),
        ("uniform-15", "tariff-design"),
        ("strict", "operations"),
    ):
        own = replace(zone, policy=load_pack(pack))
        run = plan_run(own, replace(order, purpose=purpose), at=NOW)
        assert {spec.policy for spec in run.specs.values()} == {load_pack(pack).digest}
        named[pack, purpose] = set(run.specs)
        fewest = 100 if pack == "strict" else 15
        assert {s.minima.of(LARGE)["energy_wh"] for s in run.specs.values()} == {fewest}
    # Purposes that policy holds alike share what was computed; another policy shares nothing.
    assert named["uniform-15", "operations"] == named["uniform-15", "tariff-design"]
    assert named["uniform-15", "operations"].isdisjoint(named["strict", "operations"])


def test_a_reader_refuses_a_value_that_the_certificates_policy_does_not_permit(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    authority.answer(authority.bill_request(uploads))
    (certificate,) = authority.certificates
    pinned = pin_authority(grid.authority_key.public_key.point.hex())

    def read(minima: dict[str, dict[str, dict[str, int]]]) -> None:
        # As before cells were merged; those of others are refused for that (`release.merged`).
        said = certificate.model_copy(update={"minima": minima, "places": [], "merging": {}})
        text = sign_certificate(*detach_values(said), key=grid.authority_key).model_dump_json()
        verify_release(text.encode(), release_id=certificate.release_id, authority=pinned)

    read(certificate.minima)
    read({})  # as before there were policies: by its one minimum
    for minima in (
        {"monthly": {}},
        {"monthly": {"household": {}, "*": dict.fromkeys(MEASURES, 15)}},
        {"monthly": {"*": dict.fromkeys(MEASURES, 100)}},
    ):
        with pytest.raises(ReleaseRefusedError) as refused:
            read(minima)
        assert refused.value.reason == "release.unsuppressed"


@pytest.mark.parametrize(("times", "intervals", "resolution"), [
    ([("01T00", "02T00")], 1, "daily"),
    ([("01T00", "02T00")], 48, "interval"),
    ([("01T00", "01T12")], 1, "interval"),
    ([("01T00", "01T12"), ("01T12", "02T00")], 1, "interval"),
])  # fmt: skip
def test_a_number_is_daily_where_it_is_of_a_whole_local_day(
    times: list[tuple[str, str]], intervals: int, resolution: str
) -> None:
    """A gateway could send each hour as a column of one interval."""
    columns = [
        SimpleNamespace(
            start=f"2026-07-{start}:00:00+08:00",
            end=f"2026-07-{end}:00:00+08:00",
            intervals=intervals,
        )
        for start, end in times
    ]
    assert curve_resolution(columns) == resolution


def test_a_policy_is_decided_in_less_than_a_millisecond() -> None:
    policy = load_pack("strict")
    begun = time.process_time()
    for _ in range(100):
        find_minima(policy, asked_for("billing", resolution="monthly"))
    assert (time.process_time() - begun) / 100 < 0.001
