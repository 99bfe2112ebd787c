"""Trap: a forged ciphertext that a gateway signed. What does a release give its sender?

The platform cannot have chosen bytes decrypted: what no gateway signed is not even fetched
(tests/key_authority/test_refusals.py). A gateway may sign what it likes, and its column is then an
input like any other. These tests say honestly what that is worth:

- the key's residues fit no bill and no total, so nothing is released, sealed or kept;
- the limbs of a rate do not show that where the rate is zero; the bound of the column does;
- one bit remains: released or refused. A gateway that sends columns altered a little more each time
  learns about the key from that, one signed and logged upload a bit. It is the reaction attack that
  no scheme of this family resists (docs/threat-model.md), and why gateways are registered, refusals
  are entered, and keys are replaced.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.rosters import Roster
from gridsecure.homomorphic.column_files import column_bytes, open_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import PARAMETER_SETS, Parameters
from gridsecure.key_authority.checker.answering import (
    REFUSED,
    RELEASED,
    Outcome,
    list_certificates,
    read_sealed_statements,
)
from gridsecure.messages import ColumnEntry
from gridsecure.plans.load_curve import day_quantity
from gridsecure.plans.quantities import TOTAL_QUANTITY
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority
from tests.grid_simulator import OFFICE, GridUpload, delivered_grid

FREE_OF_CHARGE = ('rate = "0.69986875"', 'rate = "0"')


def whole_key(parameters: Parameters) -> int:
    """floor(q/t): added to the second polynomial, it adds the secret key to the message."""
    return math.prod(parameters.primes[: parameters.fresh_primes]) // parameters.plain_modulus


class RogueGateway:
    """A registered gateway that signs forged columns, and the authority that meets them."""

    def __init__(self, authority: Authority, upload: GridUpload) -> None:
        self.authority = authority
        self.upload = upload

    def forged(self, *quantities: str, share: float) -> GridUpload:
        """The upload with a part of the secret key added to some columns."""
        changed = {entry.quantity: entry for entry in self.upload.manifest.columns}
        objects = dict(self.upload.objects)
        for quantity in quantities:
            changed[quantity], data = self._altered(changed[quantity], share)
            objects[changed[quantity].digest] = data
        manifest = self.upload.manifest.model_copy(
            update={"columns": list(changed.values()), "sequence": 999}
        )
        grid = self.authority.grid
        return self._shown(GridUpload(self.upload.roster, manifest, grid.sign(manifest), objects))

    def free_of_charge(self) -> RogueGateway:
        """The same gateway with a tariff of its own making whose rate is zero."""
        grid, old = self.authority.grid, self.upload.roster
        (text,) = [text for text in grid.tariff_texts.values() if FREE_OF_CHARGE[0] in text]
        tariff = text.replace(*FREE_OF_CHARGE)
        grid.tariff_texts["free of charge"] = tariff
        grid.platform_zone.objects.put(tariff.encode())
        changed = old.manifest.model_copy(update={"tariff": sm3_hex(tariff.encode())})
        roster = Roster(grid.seated(changed), old.meter_point_ids)
        return RogueGateway(self.authority, grid.upload(roster))

    def billed(self, upload: GridUpload) -> Outcome:
        return self.authority.answer(self.authority.bill_request([upload]))

    def _altered(self, entry: ColumnEntry, share: float) -> tuple[ColumnEntry, bytes]:
        parameters = PARAMETER_SETS[entry.parameters]
        evaluation = self.authority.grid.keys.secret[entry.parameters].public.evaluation
        column, label = open_column(
            self.upload.objects[entry.digest],
            digest=entry.digest,
            evaluation=evaluation,
            roster_id=self.upload.roster.manifest.roster_id,
        )
        residues = evaluation.ring.coefficients(column.chunks[0]).copy()
        added = int(share * whole_key(parameters)) or 1
        for i, prime in enumerate(parameters.primes[: residues.shape[1]]):
            residues[1, i, 0] = (int(residues[1, i, 0]) + added) % prime
        forged = EncryptedColumn(evaluation, column.slots, (evaluation.ring.ciphertext(residues),))
        data = column_bytes(forged, label=label)
        return entry.model_copy(update={"digest": sm3_hex(data), "size": len(data)}), data

    def _shown(self, upload: GridUpload) -> GridUpload:
        """The platform takes it in: it is signed, and its format is right."""
        grid, view = self.authority.grid, self.authority.view
        roster = grid.signed_roster(upload.roster)
        view.messages |= {roster.digest: roster, upload.upload_id: upload.message}
        for data in upload.objects.values():
            grid.platform_zone.objects.put(data)
        return upload


@pytest.fixture
def rogue(tmp_path: Path) -> Iterator[RogueGateway]:
    with delivered_grid(tmp_path / "platform") as grid:
        authority = Authority(grid, tmp_path / "authority")
        (upload,) = [upload for upload in grid.uploads if upload.roster.manifest.slots == 39]
        yield RogueGateway(authority, upload)
        authority.close()


def assert_nothing_came_out(
    authority: Authority, outcome: Outcome, *, purpose: str = "billing"
) -> None:
    assert (outcome.state, outcome.reason) == (REFUSED, "bill.inconsistent")
    assert list_certificates(authority.zone) == []
    (entry,) = authority.entries("release.refused")
    assert json.loads(entry.detail) == {
        "request": outcome.request_id,
        "reason": "bill.inconsistent",
        "error": "OutOfRangeError",
        "purpose": purpose,
        "requested_by": "clerk",
    }


def test_the_key_fits_no_bill(rogue: RogueGateway) -> None:
    outcome = rogue.billed(rogue.forged(TOTAL_QUANTITY, share=1))
    assert_nothing_came_out(rogue.authority, outcome)


@attack(
    "residues of the secret key as bills at a price of zero",
    rule(
        "A decrypted value lies in the range that its plan proved.",
        "bill.inconsistent",
        cut(
            "gridsecure.plans.recombination:_check_range",
            "(part < output.low).any() or (part > output.high).any()",
            "False",
        ),
    ),
    rule(
        "No energy is larger than its column may hold.",
        "bill.inconsistent",
        cut("gridsecure.plans.recombination:_check_quantities", "bound is not None", "False"),
    ),
)
def test_a_rate_of_zero_does_not_let_it_through(rogue: RogueGateway, attacked: Attacked) -> None:
    """Limbs agree, whatever they are. Without the bounds, a statement lists residues of the key."""
    upload = rogue.free_of_charge().forged(TOTAL_QUANTITY, share=1)
    outcome = rogue.billed(upload)
    attacked.ends(outcome.reason)
    if not attacked.goes_through:
        assert_nothing_came_out(rogue.authority, outcome)
        return
    roster_id = upload.roster.manifest.roster_id
    sealed = read_sealed_statements(rogue.authority.zone, outcome.request_id, roster_id)
    statement = json.loads(open_from(sealed, private_key=OFFICE, purpose=STATEMENTS_PURPOSE))
    energies = [
        float(meter["periods"][0]["lines"][0]["quantity"]) for meter in statement["meters"].values()
    ]
    assert np.median(energies) > 1e12, "thousands of TWh: no energies, but residues of the key"


def test_the_key_fits_no_total(rogue: RogueGateway) -> None:
    """A total of 26 households is below 2**21 of 2**31 residues: one in a thousand would fit.

    What is added to a coefficient reaches every slot, so all 24 totals of the day would have to.
    """
    authority = rogue.authority
    upload = rogue.forged(day_quantity("2026-07-01"), share=1)
    transcript = authority.load_curve_transcript([upload])
    outcome = authority.answer(authority.request([transcript], seeds=[SEED]))
    assert_nothing_came_out(authority, outcome, purpose="operations")


@pytest.mark.parametrize(("share", "state"), [(0, RELEASED), (0.5, REFUSED)])
def test_one_bit_remains(rogue: RogueGateway, share: float, state: str) -> None:
    """A change that drowns in the rounding is billed as if nothing were; a larger one is not."""
    outcome = rogue.billed(rogue.forged(TOTAL_QUANTITY, share=share))
    assert outcome.state == state
    if state == RELEASED:
        (certificate,) = rogue.authority.certificates
        honest = rogue.authority.grid.bills(rogue.upload.roster)
        released = [c for c in certificate.cells if c.measure == "amount_fen" and c.value]
        places = rogue.upload.roster.manifest.zones
        ids = rogue.upload.roster.meter_point_ids
        fen = dict(zip(honest.meter_point_ids, honest.totals_fen, strict=True))
        for cell in released:
            inside = [i for i, zone in zip(ids, places, strict=True) if zone == cell.zone]
            assert cell.value == str(sum(int(fen[i]) for i in inside))
