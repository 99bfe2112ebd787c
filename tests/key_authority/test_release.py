"""What a release gives out: exact totals, sealed statements, nothing of small cells."""

from __future__ import annotations

import json
from collections import defaultdict

import pandas as pd
import pytest

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import Bills
from gridsecure.crypto.envelope import open_from
from gridsecure.errors import AuthenticityError, EnvelopeError, NotFoundError
from gridsecure.homomorphic.column_files import open_column
from gridsecure.key_authority.checker.answering import (
    RELEASED,
    find_certificate,
    list_certificates,
    read_sealed_statements,
)
from gridsecure.key_authority.checker.key_sets import key_ring
from gridsecure.messages import CellTotal, ReleaseCertificate, open_message
from gridsecure.plans.load_curve import day_quantity
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority, settlement
from tests.grid_simulator import (
    DAY_INTERVALS,
    OFFICE,
    GridSimulator,
    GridUpload,
    grid_keys,
    registry,
)
from tests.held_policy import FEWEST

Place = tuple[str, str]


def places(upload: GridUpload) -> dict[str, Place]:
    """Meter point -> zone and class."""
    manifest = upload.roster.manifest
    both = zip(manifest.zones, manifest.customer_classes, strict=True)
    return dict(zip(upload.roster.meter_point_ids, both, strict=True))


def oracle_control_totals(grid: GridSimulator, uploads: list[GridUpload]) -> dict[Place, list[int]]:
    """Place -> bills, energy [Wh] and amount [fen], from plaintext readings alone."""
    energy = grid.readings.groupby("meter_point_id")["energy_wh"].sum()
    totals: dict[Place, list[int]] = defaultdict(lambda: [0, 0, 0])
    for upload in uploads:
        bills = grid.bills(upload.roster)
        fen = dict(zip(bills.meter_point_ids, bills.totals_fen, strict=True))
        for meter_point, place in places(upload).items():
            added = (1, int(energy[meter_point]), int(fen[meter_point]))
            totals[place] = [a + b for a, b in zip(totals[place], added, strict=True)]
    return totals


def test_control_totals_equal_the_sums_of_plaintext_bills(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    (certificate,) = authority.certificates
    expected = oracle_control_totals(grid, uploads)
    for number, measure in enumerate(("bills", "energy_wh", "amount_fen")):
        cells = [c for c in certificate.cells if c.measure == measure]
        assert sorted(place for c in cells for place in parts_of(certificate, c)) == sorted(
            expected
        )
        for cell in cells:
            parts = parts_of(certificate, cell)
            count, *_ = totals = [sum(own) for own in zip(*map(expected.get, parts), strict=True)]
            assert cell.members == count
            # The parts of a merged cell are on several tariffs, each of too few.
            is_told = count >= FEWEST and (measure != "amount_fen" or len(parts) == 1)
            assert cell.value == (str(totals[number]) if is_told else None)
    assert {len(cell.parts) for cell in certificate.cells} == {1, len(expected) - 1}


def parts_of(certificate: ReleaseCertificate, cell: CellTotal) -> list[tuple[str, str]]:
    places = [certificate.places[number] for number in cell.parts]
    return [(place.zone, place.customer_class) for place in places]


def test_small_cells_have_no_value_anywhere(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    """Not in the certificate's text, not in what the vault answers, not in the evidence."""
    authority.answer(authority.bill_request(uploads))
    authority.answer(authority.load_curve_request(uploads))
    texts = [c.model_dump_json() for c in list_certificates(authority.zone)]
    texts += [entry.detail for entry in authority.evidence]
    expected = oracle_control_totals(grid, uploads)
    small = [totals for totals in expected.values() if totals[0] < FEWEST]
    assert small
    for _, energy, fen in small:
        assert not any(f'"{value}"' in text for text in texts for value in (energy, fen))


def test_statements_are_the_oracles_bills_and_open_for_the_billing_office_only(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    request = authority.bill_request(uploads)
    release_id = authority.answer(request).request_id
    for upload in uploads:
        roster = upload.roster
        sealed = read_sealed_statements(authority.zone, release_id, roster.manifest.roster_id)
        with pytest.raises(EnvelopeError):
            open_from(sealed, private_key=grid.authority_key, purpose=STATEMENTS_PURPOSE)
        statement = json.loads(open_from(sealed, private_key=OFFICE, purpose=STATEMENTS_PURPOSE))
        filed = settlement(roster.manifest.domain, roster.manifest.pseudonyms)
        names = dict(zip(roster.meter_point_ids, filed, strict=True))
        bills = bills_to_json([renamed(grid.bills(roster), names)], tariff=grid.tariff(roster))
        assert statement == {"roster_id": roster.manifest.roster_id, **bills}
        # Neither pseudonym nor slot shows in what the office opens.
        assert list(statement["meters"]) == sorted(filed) != filed
        assert not any(name in json.dumps(statement) for name in roster.manifest.pseudonyms)
        assert not any(name.encode() in sealed for name in names.values())


def renamed(bills: Bills, names: dict[str, str]) -> Bills:
    return Bills(
        rules=bills.rules,
        period=bills.period,
        meter_point_ids=tuple(names[name] for name in bills.meter_point_ids),
        quantities=bills.quantities,
        amounts=bills.amounts,
        amounts_fen=bills.amounts_fen,
        totals=bills.totals,
        totals_fen=bills.totals_fen,
    )


def test_the_certificate_is_signed_and_names_its_entry_in_the_evidence_log(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    request = authority.bill_request(uploads)
    outcome = authority.answer(request)
    envelope = find_certificate(authority.zone, outcome.request_id)
    trusted = registry(grid.authority_key)
    certificate = open_message(envelope, expect=ReleaseCertificate, trusted=trusted)
    (entry,) = authority.entries("release.granted")
    assert certificate.evidence_head == entry.hash
    assert set(certificate.statements) == {u.roster.manifest.roster_id for u in uploads}
    with pytest.raises(AuthenticityError):
        open_message(envelope, expect=ReleaseCertificate, trusted=registry(grid.keys.stranger))


def test_unknown_releases_and_rosters_are_not_found(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    release_id = authority.answer(authority.bill_request(uploads)).request_id
    for release, roster in ((release_id, "../zone.db"), ("../../x", "y"), (release_id, "")):
        with pytest.raises(NotFoundError):
            read_sealed_statements(authority.zone, release, roster)


def test_load_curve_totals_equal_the_plaintext_sums_of_every_interval(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    (certificate,) = authority.certificates
    of_meter = {name: place for upload in uploads for name, place in places(upload).items()}
    readings = grid.readings.assign(place=grid.readings["meter_point_id"].map(of_meter))
    sums = readings.groupby(["start", "place"])["energy_wh"].sum()
    members = {place: list(of_meter.values()).count(place) for place in of_meter.values()}
    told = [place for cell in certificate.cells for place in parts_of(certificate, cell)]
    assert sorted(told) == sorted([*members] * DAY_INTERVALS)
    for cell in certificate.cells:
        parts = parts_of(certificate, cell)
        found = sum(int(sums[(pd.Timestamp(cell.start), place)]) for place in parts)
        assert cell.members == sum(members[place] for place in parts)
        assert cell.value == str(found)
    # One cell of its own, and one of all that are too small for themselves.
    assert len(certificate.cells) == 2 * DAY_INTERVALS


@attack(
    "single slots of a total, read by whoever decrypts it",
    rule(
        "A total's column is blinded: each slot is uniformly random, and only sums are right.",
        WITHHELD,
        cut("gridsecure.plans.load_curve:run_day", "column.blind(own)", "column"),
    ),
)
def test_a_single_decrypted_slot_of_a_load_curve_tells_no_reading(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload], attacked: Attacked
) -> None:
    """Look at what the vault's own key set sees in each slot: never the reading."""
    seen = set[bool]()
    transcript = authority.load_curve_transcript(uploads)
    again = authority.load_curve_transcript(uploads, seed=bytes(32))
    keys = key_ring(authority.zone)
    for upload in uploads:
        roster = upload.roster
        name = f"{roster.manifest.roster_id}/{day_quantity(f'{grid.month}-01')}"
        blinded = []
        for source in (transcript, again):
            entry = source.outputs[name]
            column, _ = open_column(
                grid.platform_zone.objects.get(entry.digest),
                digest=entry.digest,
                evaluation=keys.evaluation(entry, gateway=roster.manifest.gateway_id),
                roster_id=roster.manifest.roster_id,
            )
            values = grid_keys().secret[entry.parameters].decrypt(column)
            blinded.append(values.reshape(DAY_INTERVALS, -1))
        starts = sorted(grid.readings["start"].unique())
        for hour in range(DAY_INTERVALS):
            at = grid.readings[grid.readings["start"] == starts[hour]].set_index("meter_point_id")
            plain = at.loc[list(roster.meter_point_ids), "energy_wh"].to_numpy()
            seen |= {bool(one) for one in blinded[0][hour] == plain}
        # Another seed gives other slots: they come from the blinding, not from the readings.
        seen |= {bool(one) for one in (blinded[0] == blinded[1]).flat}
    assert len(seen) == 1, "all of them, or none"
    attacked.ends(None if seen.pop() else WITHHELD)


def test_seeds_never_reach_the_vault(
    authority: Authority, uploads: list[GridUpload], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    release = type(authority.vault).release_totals

    def watched(vault, order, files):
        seen.append(order.body)
        return release(vault, order, files)

    monkeypatch.setattr(type(authority.vault), "release_totals", watched)
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    assert len(seen) == 1
    assert SEED.hex() not in seen[0]
