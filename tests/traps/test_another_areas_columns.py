"""The attack: one gateway has another gateway's ciphertexts decrypted as its own.

It takes another area's columns, which the platform's operator and anybody on plain HTTP has, writes
the name of its own roster into their public labels, signs, uploads and commits. Before every
gateway had keys of its own, the release was granted and showed the victims' bills as the thief's;
the first test shows that the attack is that strong without the rules. The others show what stops it
at each layer; the last layer is arithmetic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gridsecure.compute import intake
from gridsecure.compute.jobs import BillJob, Worker
from gridsecure.compute.key_sets import install_key_set, read_known_keys
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import KeyMismatchError, OutOfRangeError
from gridsecure.homomorphic.column_files import column_bytes, open_column
from gridsecure.homomorphic.parameters import PARAMETER_SETS, REGISTER
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set
from gridsecure.key_authority.packages import CheckedBills, CheckedRoster
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.messages import (
    ColumnEntry,
    KeyNotice,
    RosterManifest,
    UploadManifest,
    sign_message,
)
from gridsecure.plans.bills import BillPlan
from gridsecure.plans.execution import Output, compile_bill, execute_bill, roster_data
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from tests.approving import approved_bills
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import OFFICE, own_vault, settlement
from tests.grid_simulator import NOW, GridSimulator, grid_keys
from tests.held_policy import FIFTEEN


@cache
def thiefs_keys() -> dict[str, SecretKeySet]:
    """The key sets that the authority made for the thief's gateway."""
    return {REGISTER.name: generate_key_set(PARAMETER_SETS[REGISTER.name])}


@dataclass
class Area:
    """The thief's area, and the victims' columns under its name."""

    grid: GridSimulator
    roster: RosterManifest
    seats: bytes

    @property
    def gateway(self) -> str:
        return self.roster.gateway_id

    def stolen(self, *, key_id: str = "", alter: bool = False) -> dict[ColumnEntry, bytes]:
        """The victims' settlement columns with the thief's roster in the label.

        Args:
            key_id: Also claim that they are under this key set.
            alter: Add something in a slot that nobody uses, so that no ciphertext is as before.
        """
        found = {}
        victims = self.grid.rosters[0]
        for packed in self.grid.packed(victims, days=0):
            entry = packed.entry
            evaluation = self.grid.keys.secret[entry.parameters].public.evaluation
            column, label = open_column(
                packed.data,
                digest=entry.digest,
                evaluation=evaluation,
                roster_id=victims.manifest.roster_id,
            )
            if alter:
                vector = np.zeros(evaluation.parameters.ring_degree, dtype=np.uint64)
                vector[-1] = 7
                altered = replace(column, slots=len(vector)).blind(vector)
                column = replace(altered, slots=column.slots)
            if key_id:
                column = replace(column, evaluation=replace(evaluation, key_id=key_id))
            data = column_bytes(column, label=replace(label, roster_id=self.roster.roster_id))
            changes = {"digest": sm3_hex(data), "size": len(data)}
            changes |= {"key_id": key_id} if key_id else {}
            found[entry.model_copy(update=changes).model_dump_json()] = data
        return {ColumnEntry.parse(text): data for text, data in found.items()}

    def manifest(self, stolen: Mapping[ColumnEntry, bytes]) -> UploadManifest:
        """The thief's upload of them."""
        return UploadManifest(
            roster_id=self.roster.roster_id,
            gateway_id=self.gateway,
            start=self.grid.period.start.isoformat(),
            end=self.grid.period.end.isoformat(),
            sequence=1,
            estimated_readings=0,
            columns=list(stolen),
        )

    def plan(self, manifest: UploadManifest) -> BillPlan:
        return compile_bill(
            roster_data(self.roster, manifest), tariff=self.grid.tariff(self.grid.rosters[0])
        )

    def executed(self, stolen: Mapping[ColumnEntry, bytes], *, ring: KeyRing) -> dict[str, Output]:
        """What platform and checker compute of the upload, with these key sets."""
        manifest = self.manifest(stolen)
        by_digest = {entry.digest: data for entry, data in stolen.items()}
        _, outputs = execute_bill(
            roster_data(self.roster, manifest),
            plan=self.plan(manifest),
            load=by_digest.__getitem__,
            keys=ring,
        )
        return dict(outputs)

    def billed(self, vault: Vault, outputs: Mapping[str, Output]) -> bytes:
        """What the vault seals by the order of a checker that refuses nothing."""
        victims, tariff = self.grid.rosters[0], self.roster.tariff
        text = (
            CheckedRoster(
                roster=self.roster,
                outputs={name: output.entry for name, output in outputs.items()},
                names=settlement(self.roster.domain, self.roster.pseudonyms),
            )
            .model_dump_json()
            .encode()
        )
        order = CheckedBills(
            start=self.grid.period.start.isoformat(),
            end=self.grid.period.end.isoformat(),
            created_at=NOW.isoformat(),
            rosters=[sm3_hex(text)],
            tariffs={tariff: self.grid.tariff_texts[self.grid.tariff(victims).tariff_id]},
            minima=FIFTEEN.as_message(),
            merging=FIFTEEN.merging,
            withheld=[],
            approved=approved_bills(
                self.roster,
                {name: output.entry for name, output in outputs.items()},
                start=self.grid.period.start.isoformat(),
                end=self.grid.period.end.isoformat(),
            ),
        )
        files = [text, *(output.data for output in outputs.values())]
        sealed: list[bytes] = []
        vault.release_bills(sign_message(order, key=self.grid.authority_key), files, sealed.append)
        return sealed[0]

    def notices(self, keys: Mapping[str, SecretKeySet]) -> tuple[KeyNotice, ...]:
        """These key sets, published as the thief's."""
        gateway = self.grid.keys.stranger
        return tuple(
            KeyNotice.parse(self.grid.key_notice(key_set, gateway=gateway).body)
            for key_set in keys.values()
        )

    def ring(self, notices: tuple[KeyNotice, ...]) -> KeyRing:
        sets = (*thiefs_keys().values(), *self.grid.keys.secret.values())
        objects = [
            part for s in sets for part in (s.public.public_key, s.public.relinearisation_keys)
        ]
        return KeyRing(KnownKeys(notices), {sm3_hex(data): data for data in objects}.__getitem__)

    def vault(self, folder: Path, keys: Mapping[str, SecretKeySet]) -> Vault:
        """A vault where these are the thief's key sets, and the session's are the victims'."""
        made = own_vault(folder, self.grid.authority_key)
        victim = self.grid.gateway_key.public_key.thumbprint
        for gateway, sets in ((victim, grid_keys().secret), (self.gateway, keys)):
            for key_set in sets.values():
                made._opened[gateway, key_set.public.key_id] = key_set
        return made


@pytest.fixture
def area(tmp_path: Path) -> Iterator[Area]:
    grid = GridSimulator(tmp_path / "platform")
    grid.install()
    thief = grid.keys.stranger
    draft = grid.rosters[0].manifest.model_copy(
        update={"gateway_id": thief.public_key.thumbprint, "contracted_va": [1] * 39}
    )
    word = grid.vouched({sm3_hex(thief.public_key.point): thief}, role="gateway")
    roster = grid.seated(draft, gateway=word)
    yield Area(grid, roster, grid.keys.seats[roster.seats])
    grid.close()


@pytest.mark.parametrize("alter", [False, True])
@attack(
    "another gateway's columns as the thief's own",
    rule(
        "Intake, plan and checker compute on a column under its own gateway's key sets alone.",
        "keys.gateway",
        cut("gridsecure.plans.key_ring:KeyRing._notice", "notice.gateway != gateway", "False"),
    ),
    rule(
        "The vault decrypts a column with its own gateway's key sets alone.",
        "keys.gateway",
        cut(
            "gridsecure.key_authority.vault.decryption:Vault._key_set",
            "self._opened.get((gateway, entry.key_id))",
            "next(one for (_, name), one in self._opened.items() if name == entry.key_id)",
        ),
    ),
)
def test_the_thief_gets_no_victims_bills(
    area: Area, tmp_path: Path, alter: bool, attacked: Attacked
) -> None:
    """Taken in, computed, checked and decrypted, they are the victims' bills under its names."""
    zone, thief = area.grid.platform_zone, area.grid.keys.stranger
    intake.register_roster(zone, sign_message(area.roster, key=thief), seats=area.seats, at=NOW)
    columns = area.stolen(alter=alter)
    known = tuple(KeyNotice.parse(notice.body) for notice in area.grid.key_notices)
    vault = area.vault(tmp_path, thiefs_keys())

    def steal() -> bytes:
        intake.begin_upload(zone, sign_message(area.manifest(columns), key=thief), at=NOW)
        return area.billed(vault, area.executed(columns, ring=area.ring(known)))

    stolen = attacked.tries(steal)
    if stolen is not None:
        honest = area.grid.rosters[0]
        victims = Area(area.grid, honest.manifest, b"")
        theirs = {packed.entry: packed.data for packed in area.grid.packed(honest, days=0)}
        own = victims.billed(vault, victims.executed(theirs, ring=area.ring(known)))
        opened = [
            json.loads(open_from(blob, private_key=OFFICE, purpose=STATEMENTS_PURPOSE))["meters"]
            for blob in (stolen, own)
        ]
        assert len(opened[0]) == honest.manifest.slots
        assert opened[0] == opened[1]


def test_intake_refuses_it_by_key_id(area: Area) -> None:
    zone, thief = area.grid.platform_zone, area.grid.keys.stranger
    intake.register_roster(zone, sign_message(area.roster, key=thief), seats=area.seats, at=NOW)
    for alter in (False, True):
        manifest = area.manifest(area.stolen(alter=alter))
        with pytest.raises(KeyMismatchError) as refused:
            intake.begin_upload(zone, sign_message(manifest, key=thief), at=NOW)
        assert refused.value.reason == "keys.gateway"


def test_the_platforms_plan_refuses_it_by_key_id(area: Area) -> None:
    """As if intake had taken it."""
    zone, stolen = area.grid.platform_zone, area.stolen()
    for data in stolen.values():
        zone.objects.put(data)
    job = BillJob("bill", area.roster.model_dump_json(), area.manifest(stolen).model_dump_json())
    with pytest.raises(KeyMismatchError) as refused:
        Worker(zone.objects.store, read_known_keys(zone.engine)).run(job)
    assert refused.value.reason == "keys.gateway"


def test_the_checker_refuses_it_before_it_loads_anything(area: Area) -> None:
    """As if intake and platform had taken it. The checker runs the same plan with its own keys."""
    stolen = area.stolen()
    known = tuple(KeyNotice.parse(notice.body) for notice in area.grid.key_notices)

    def never(_digest: str) -> bytes:
        raise AssertionError("nothing may be loaded")

    manifest = area.manifest(stolen)
    with pytest.raises(KeyMismatchError) as refused:
        execute_bill(
            roster_data(area.roster, manifest),
            plan=area.plan(manifest),
            load=never,
            keys=KeyRing(KnownKeys(known), never),
        )
    assert refused.value.reason == "keys.gateway"


@pytest.mark.parametrize("alter", [False, True])
def test_under_a_false_key_id_it_decrypts_to_noise_and_is_refused(
    area: Area, tmp_path: Path, alter: bool
) -> None:
    """The thief writes its own key id on the victims' columns: every layer lets them pass."""
    zone = area.grid.platform_zone
    own = thiefs_keys()[REGISTER.name]
    notice = area.grid.key_notice(own, gateway=area.grid.keys.stranger)
    install_key_set(zone, notice, keys=(own.public.public_key,), at=NOW)
    stolen = area.stolen(key_id=own.public.key_id, alter=alter)
    outputs = area.executed(stolen, ring=area.ring(area.notices(thiefs_keys())))
    vault = area.vault(tmp_path, thiefs_keys())
    with pytest.raises(OutOfRangeError) as refused:
        area.billed(vault, outputs)
    assert refused.value.reason == "bill.inconsistent"
    # And what it decrypts to lies all over the residues, where energies are tiny.
    ((entry, data),) = list(stolen.items())[:1]
    column, _ = open_column(
        data, digest=entry.digest, evaluation=own.public.evaluation, roster_id=area.roster.roster_id
    )
    shares = own.decrypt(column) / REGISTER.plain_modulus
    assert 0.2 < shares.mean() < 0.8
    assert shares.max() > 0.8
