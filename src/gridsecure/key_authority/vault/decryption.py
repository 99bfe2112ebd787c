"""The vault: holds the secret keys, decrypts what the checker passed, rounds, seals.

1. verify the checker's signature on the order, and the officers' on what it asks for (`gate`);
2. open each output under its digest, roster and a key set of that roster's gateway;
3. decrypt, recombine exact amounts, check that every limb tells the same quantity;
4. round each line to the fen, total, seal each roster's statements to the billing office;
5. give out control totals of cells with enough members, and nothing else.

Steps 2 to 4 are done for one roster at a time: what the vault holds of a household ends with its
roster.

There is no order that decrypts a given ciphertext, and no answer that holds a single household's
value outside its sealed statement. Errors say nothing about plaintexts or noise.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gridsecure.approvals import ReleaseSubject, roster_digest
from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.crypto.envelope import Kek, seal_to
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import (
    GridSecureError,
    InvalidMessageError,
    KeyMismatchError,
    NotFoundError,
)
from gridsecure.homomorphic.column_files import open_column
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.key_authority.compared_bills import (
    ComparedBills,
    compare_versions,
    total_corrections,
    write_corrections,
)
from gridsecure.key_authority.control_totals import (
    CountedOnce,
    RosterBills,
    cells_of,
    total_cells,
)
from gridsecure.key_authority.filing import file_by_settlement_name
from gridsecure.key_authority.packages import (
    Approved,
    BilledRoster,
    CheckedBills,
    CheckedCorrections,
    CheckedPreview,
    CheckedRoster,
    CheckedTotals,
    GroundRevocation,
    Keep,
    KeyOrder,
    LockOrder,
    PreviewAnswer,
    VaultAnswer,
    check_named,
    minima_of,
    read_named,
    withheld_measures,
)
from gridsecure.key_authority.previewed_bills import preview_cells
from gridsecure.key_authority.query_orders import CheckedQuery
from gridsecure.key_authority.vault.ceremony import Carried, split_anew
from gridsecure.key_authority.vault.custody import create_key_set, open_key_set
from gridsecure.key_authority.vault.gate import Passage, ReleaseGate
from gridsecure.key_authority.vault.key_files import KeyPlace, find_place
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.key_states import KeyStates
from gridsecure.key_authority.vault.ordered_rosters import (
    OrderFiles,
    Seated,
    Seating,
    check_passage,
    check_totals,
    recombine_bills,
    tariff_of,
)
from gridsecure.key_authority.vault.queries import answer_query
from gridsecure.key_authority.vault.splitting import sealed_shares
from gridsecure.messages import (
    CellTotal,
    ColumnEntry,
    Digest,
    MessageT,
    PlanName,
    RosterManifest,
    Signed,
    SupplyTerms,
    open_message,
    sign_message,
)
from gridsecure.plans.cells import ENERGY, Minima, Place, roster_places
from gridsecure.plans.key_ring import MAX_OPEN, foreign_key_set_error
from gridsecure.plans.load_curve import (
    interval_times,
    join_pieces,
    lay_out_cells,
    total_groups,
)
from gridsecure.policy.decisions import curve_resolution
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.policy.supply import list_terms
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from gridsecure.vault_messages import GivenShare, Purpose, VaultCounts


@dataclass(frozen=True, slots=True)
class Vault:
    """The process that can decrypt.

    Args:
        folder: The vault's own.
        key_lock: The lock on the key that its key sets are sealed under.
        checker: The only key whose orders are obeyed.
        billing_office: Statements are sealed to this key.
        gate: What releases are held to, whatever the checker says.
    """

    folder: Path
    key_lock: KeyLock = field(repr=False)
    checker: Sm2PublicKey
    billing_office: Sm2PublicKey
    gate: ReleaseGate
    _opened: OrderedDict[tuple[str, str], SecretKeySet] = field(
        default_factory=OrderedDict, init=False, repr=False
    )
    states: KeyStates = field(init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _layouts: list[Seating] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        states = KeyStates(self.key_lock, clock=self.gate.now)
        states.sweep()
        object.__setattr__(self, "states", states)
        self.key_lock.when_locked(self._opened.clear)

    def create_key_set(self, envelope: Signed) -> PublicKeySet:
        """Generate a gateway's key set by a signed `KeyOrder`; the same order again finds it.

        Raises:
            AuthenticityError: Not the checker's order.
            KeyMismatchError: It was revoked (`keys.revoked`) or destroyed (`keys.destroyed`).
            ConflictError: No custodian rotated or revoked the one before it (`keys.in-force`).
            NotFoundError, StorageError: As `custody.create_key_set`.
            GridSecureError: The vault is locked (`vault.locked`).
        """
        # The signature comes first: nothing of an unsigned order reaches a file or the library.
        order = self._order(envelope, KeyOrder)
        place = KeyPlace(order.gateway, order.parameters, order.generation)
        created_at = datetime.fromisoformat(order.created_at)
        with self._lock:
            self.states.check_place(place)
            with self.key_lock.use() as kek:
                self.states.prove(kek)
                try:
                    # A repeated order must find the key it made; a second key would orphan the
                    # first's uploads.
                    key_set = open_key_set(self._keys, place, kek=kek)
                except NotFoundError:
                    self.states.check_next(place)
                    key_set = create_key_set(self._keys, place, kek=kek, created_at=created_at)
                self._keep(order.gateway, key_set)
        return key_set.public

    def read_life(self, gateway: str, key_id: str) -> Signed:
        """How a gateway's key set stands: a `KeyLife` in the vault's own word.

        Raises:
            NotFoundError: The vault never held it (`not-found.key-set`).
        """
        with self._lock:
            place = find_place(self._keys, gateway=gateway, key_id=key_id)
            life = self.states.read(key_id, place=place)
        if not life.place:
            raise NotFoundError("The vault holds no such key set.", reason="not-found.key-set")
        return sign_message(life, key=self.key_lock.key)

    def move_key_set(self, envelope: Signed) -> Signed:
        """Move a key set by a custodian's `KeyMove`; its `KeyLife` afterwards.

        An order under way is refused at its next column under it.

        Raises:
            GridSecureError: As `KeyStates.move`.
        """
        with self._lock:
            life = self.states.move(envelope)
            if life.state not in {"active", "deactivated"}:
                for name in [one for one in self._opened if one[1] == life.key_id]:
                    del self._opened[name]
        return sign_message(life, key=self.key_lock.key)

    def revoke_ground(self, envelope: Signed) -> None:
        """Let an officer's key or signed word count no more, by a signed `GroundRevocation`.

        An order under way that rests on it is refused at its next column (`approval.revoked`).

        Raises:
            AuthenticityError: Not the checker's order.
            StorageError: As `ReleaseGate.revoke`.
        """
        order = self._order(envelope, GroundRevocation)
        with self._lock:
            self.gate.revoke(order.name)

    def hold_policy(self, document: SignedPolicy) -> Signed:
        """Take a policy in by officers' signatures; what holds then: a `VaultPolicy`.

        An order under way ends under the policy that it began under.

        Raises:
            GridSecureError: As `VaultPolicies.hold`.
        """
        with self._lock:  # not while the key is split anew
            self.gate.hold_policy(document)
        return self.read_policy()

    def read_policy(self, nonce: str = "") -> Signed:
        """What holds here and what waits: a `VaultPolicy` in the vault's own word.

        Args:
            nonce: It is in the answer.

        Raises:
            InvalidMessageError: It is none (`vault.nonce`).
            StorageError: As `VaultPolicies.stand`.
        """
        return sign_message(self.gate.read_policy(nonce), key=self.key_lock.key)

    def status(self, nonce: str = "") -> Signed:
        """How the vault stands: a `VaultStatus` in its own word.

        Args:
            nonce: It is in the answer.

        Raises:
            InvalidMessageError: It is none.
        """
        with self._lock:
            return self._status(nonce)

    def _status(self, nonce: str) -> Signed:
        counts = VaultCounts(
            moves=self.states.moves,
            policies=len(self.gate.policies.kept),
            revocations=self.gate.revocations,
        )
        return self.key_lock.status(nonce, counts=counts)

    def state_challenge(self, purpose: str, *, asker: str = "") -> Signed:
        """A `Challenge` for one custodian's answer.

        Args:
            asker: As for `KeyLock.state_challenge`.

        Raises:
            InvalidMessageError: There is no such purpose (`vault.purpose`).
        """
        if purpose not in get_args(Purpose):
            raise InvalidMessageError(
                "Shares are given for nothing of that name.",
                reason="vault.purpose",
                remedy=f"Ask for one of: {', '.join(get_args(Purpose))}.",
            )
        return self.key_lock.state_challenge(cast("Purpose", purpose), asker=asker)

    def give_share(self, envelope: Signed) -> Signed:
        """Take a custodian's `GivenShare`; how the vault stands then.

        With enough shares given to unlock, it is unlocked; with enough to split, its key is a new
        one, split among whom these custodians named.

        Raises:
            GridSecureError: As `KeyLock.take_share`, `KeyStates.prove` (then it is locked), or
                `ceremony.split_anew`.
        """
        with self._lock:
            order = self.key_lock.take_share(envelope)
            self._prove_states()
            if order is not None:
                split_anew(
                    self.key_lock,
                    order,
                    folder=self.folder,
                    created_at=self.gate.now(),
                    carried=Carried(
                        self.states.lives, self.gate.policies.kept, self.gate.budgets.kept
                    ),
                )
            return self._status(GivenShare.parse(envelope.body).challenge)

    def _prove_states(self) -> None:
        """Unlock nothing where somebody put earlier states of key sets back, or wrote others."""
        if not self.key_lock.is_unlocked:
            return
        try:
            with self.key_lock.use() as kek:
                self.states.prove(kek)
        except GridSecureError:
            self.key_lock.lock()
            raise

    def hand_out_share(self, name: str) -> Signed:
        """The sealed share of a custodian, until its owner helped to unlock the vault by it.

        Raises:
            NotFoundError: There is no such custodian, or no share is handed out any more
                (`not-found.share`).
        """
        sealed = sealed_shares(self.key_lock.splitting).get(name)
        if sealed is None:
            raise NotFoundError(
                "The vault hands out no share under that name.",
                reason="not-found.share",
                remedy="A share is handed out until its owner helps to unlock the vault by it. One "
                "that was lost is replaced by splitting the key anew.",
            )
        return sealed

    def lock(self, envelope: Signed) -> Signed:
        """Lock the vault by a signed `LockOrder`; how it stands then.

        An order under way is refused at its next column (`vault.locked`).

        Raises:
            AuthenticityError: Not the checker's order.
        """
        order = self._order(envelope, LockOrder)
        with self._lock:
            self.key_lock.lock()
            return self._status(order.nonce)

    def lock_in_time(self) -> None:
        """Lock the vault if its time is over."""
        with self._lock:
            self.key_lock.lock_in_time()

    def release_bills(self, envelope: Signed, files: Iterable[bytes], keep: Keep) -> VaultAnswer:
        """Decrypt, round and seal checked bills.

        Args:
            envelope: A signed `CheckedBills`.
            files: What follows it.
            keep: Given each roster's statements, sealed to the billing office. They are good for
                nothing unless an answer follows.

        Returns:
            Control totals by cell.

        Raises:
            AuthenticityError: Not the checker's order, or another file than listed.
            CiphertextError: A file is not what the order says, or does not decrypt consistently.
            InvalidMessageError: Too few files or too many, or as `CountedOnce`: then nothing of
                the roster that comes second is decrypted.
            ReleaseRefusedError: As `ReleaseGate.open` and `Passage`.
        """
        order = self._order(envelope, CheckedBills)
        passage = self._open_gate(order.approved, plan="bill")
        check_passage(passage, order)
        # With each roster's outputs looked at and no meter point twice, it is all rosters or none.
        passage.check_count(len(order.rosters))
        remaining = OrderFiles(files)
        names: list[str] = []
        counted = CountedOnce()

        def made() -> Iterator[tuple[RosterManifest, RosterBills]]:
            for digest in order.rosters:
                item = read_named(next(remaining), digest=digest, expect=CheckedRoster)
                counted.count(item.roster.pseudonyms)
                passage.admit(item.outputs.values())
                part = self._bills(
                    order,
                    BilledRoster(roster=item.roster, outputs=item.outputs),
                    remaining,
                    passage,
                )
                bills = bills_to_json([part.bills], tariff=part.tariff)
                keep(self._seal(order, item.roster, bills, item.names))
                names.append(item.roster.roster_id)
                yield item.roster, part

        cells = total_cells(order, made())
        remaining.finish()
        return VaultAnswer(cells=cells, statements=names)

    def release_corrections(
        self, envelope: Signed, files: Iterable[bytes], keep: Keep
    ) -> VaultAnswer:
        """Decrypt two versions of checked bills; give out what the later one corrects.

        Raises:
            ReleaseRefusedError: A bill changed that was not corrected.
            AuthenticityError, CiphertextError: As `release_bills`.
        """
        order = self._order(envelope, CheckedCorrections)
        parts = self._compare(order, files, self._open_gate(order.approved, plan="rebill"))
        for item, part in zip(order.corrections, parts, strict=True):
            roster = item.after.roster
            documents = write_corrections(item, part, tariff=tariff_of(order, roster))
            keep(self._seal(order, roster, documents, item.names))
        names = [part.roster_id for part in parts]
        return VaultAnswer(cells=total_corrections(order, parts), statements=names)

    def preview_bills(self, envelope: Signed, files: Iterable[bytes]) -> PreviewAnswer:
        """Decrypt two versions of checked bills; say what would change by cell, and no more.

        Raises:
            ReleaseRefusedError, AuthenticityError, CiphertextError: As `release_corrections`.
        """
        order = self._order(envelope, CheckedPreview)
        plan = ReleaseSubject.parse(order.approved.subject).plan
        passage = self._open_gate(order.approved, plan=plan, is_preview=True)
        return PreviewAnswer(cells=preview_cells(order, self._compare(order, files, passage)))

    def release_totals(self, envelope: Signed, files: Iterable[bytes]) -> VaultAnswer:
        """Decrypt blinded columns of whole days and add them up by cell and interval.

        Raises:
            AuthenticityError, CiphertextError: As `release_bills`.
            InputError: As `interval_times`.
        """
        order = self._order(envelope, CheckedTotals)
        passage = self._open_gate(order.approved, plan="load-curve")
        columns = [entry for name in order.quantities for entry in order.outputs[name]]
        passage.check_minima(minima_of(order), resolution=curve_resolution(columns))
        passage.admit(columns)
        passage.admit_rosters(order.rosters)
        remaining = OrderFiles(files)
        seating = self._seat(order.rosters, remaining, minima=minima_of(order))
        passage.admit_terms(seating.supplied)
        passage.admit_cells(seating.places)
        layout = seating.layout
        found = withheld_measures(order.withheld)
        withheld = {place for place, measures in found.items() if ENERGY in measures}
        cells: list[CellTotal] = []
        for quantity in order.quantities:
            entries = order.outputs[quantity]
            values = (
                self._decrypt(entry, next(remaining), roster, passage)
                for entry, roster in zip(entries, seating.seated, strict=True)
            )
            day = entries[0]
            groups = total_groups(values, layout=layout, intervals=day.intervals)
            check_totals(layout, groups, highs=order.highs[quantity])
            totals = join_pieces(groups, layout=layout)
            times = interval_times(
                day.start, day.end, intervals=day.intervals, timezone=order.timezone
            )
            for own, (start, end) in zip(totals, pairwise(times), strict=True):
                cells += cells_of(
                    layout.cells, own, span=(start, end), measure=ENERGY, withheld=withheld
                )
        remaining.finish()
        return VaultAnswer(cells=cells, statements=[])

    def release_query(self, envelope: Signed, files: Iterable[bytes]) -> VaultAnswer:
        """Decrypt blinded columns of a question and add them up by group and step.

        Raises:
            GridSecureError: As `answer_query`.
        """
        order = self._order(envelope, CheckedQuery)
        passage = self._open_gate(order.approved, plan="query")
        remaining = OrderFiles(files)

        def decrypt(entry: ColumnEntry, data: bytes, roster: RosterManifest) -> NDArray[np.uint64]:
            return self._decrypt(entry, data, Seated.of(roster), passage)

        answer = answer_query(order, remaining, passage, decrypt=decrypt, lock=self._lock)
        remaining.finish()
        return answer

    def _seat(self, digests: list[Digest], texts: Iterator[bytes], *, minima: Minima) -> Seating:
        """The cells of some rosters; days that follow each other have the same ones."""
        with self._lock:
            known = self._layouts[0] if self._layouts else None
        if known is not None and (known.digests, known.minima) == (tuple(digests), minima):
            for digest in digests:
                check_named(next(texts), digest=digest)
            return known
        seated: list[Seated] = []
        supplied: list[SupplyTerms] = []
        places = set[Place]()

        def rosters() -> Iterator[RosterManifest]:
            for digest in digests:
                roster = read_named(next(texts), digest=digest, expect=RosterManifest)
                seated.append(Seated.of(roster))
                supplied.extend(one for one in list_terms([roster]) if one not in supplied)
                places.update(roster_places(roster))
                yield roster

        layout = lay_out_cells(rosters(), minima=minima)
        seating = Seating(
            tuple(digests),
            minima,
            tuple(seated),
            frozenset(places),
            layout,
            tuple(supplied),
        )
        with self._lock:
            self._layouts[:] = [seating]
        return seating

    def _order(self, envelope: Signed, expect: type[MessageT]) -> MessageT:
        return open_message(
            envelope, expect=expect, trusted={self.checker.thumbprint: self.checker}
        )

    def _open_gate(
        self, approved: Approved, *, plan: PlanName, is_preview: bool = False
    ) -> Passage:
        """The gate, which stays shut while the vault is locked."""
        with self._lock, self.key_lock.use():
            pass
        return self.gate.open(approved, plan=plan, is_preview=is_preview)

    def _compare(
        self, order: CheckedCorrections, files: Iterable[bytes], passage: Passage
    ) -> list[ComparedBills]:
        check_passage(passage, order)
        passage.admit_all(item.after.outputs.values() for item in order.corrections)
        passage.admit_compared(item.before.outputs.values() for item in order.corrections)
        remaining = OrderFiles(files)
        parts = []
        for item in order.corrections:
            before, after = (
                self._bills(order, version, remaining, passage)
                for version in (item.before, item.after)
            )
            parts.append(compare_versions(item, before, after, span=(order.start, order.end)))
        remaining.finish()
        return parts

    def _bills(
        self,
        order: CheckedBills | CheckedCorrections,
        version: BilledRoster,
        files: Iterator[bytes],
        passage: Passage,
    ) -> RosterBills:
        roster = version.roster
        passage.admit_rosters([roster_digest(roster)])
        passage.admit_terms(list_terms([roster]))
        passage.admit_cells(roster_places(roster))
        seated = Seated.of(roster)
        values = {
            name: self._decrypt(entry, next(files), seated, passage)
            for name, entry in version.outputs.items()
        }
        return recombine_bills(
            roster,
            start=order.start,
            end=order.end,
            tariff=tariff_of(order, roster),
            values=values,
        )

    def _seal(
        self,
        order: CheckedBills | CheckedCorrections,
        roster: RosterManifest,
        bills: Mapping[str, Any],
        names: Sequence[str],
    ) -> bytes:
        document = {"roster_id": roster.roster_id, **bills} | {
            "meters": file_by_settlement_name(bills["meters"], roster=roster, names=names)
        }
        return seal_to(
            json.dumps(document, separators=(",", ":")).encode(),
            recipient=self.billing_office,
            purpose=STATEMENTS_PURPOSE,
            owner=roster.roster_id,
            created_at=datetime.fromisoformat(order.created_at),
        )

    def _decrypt(
        self, entry: ColumnEntry, data: bytes, roster: Seated, passage: Passage
    ) -> NDArray[np.uint64]:
        # Held for one column, and by a revocation: once that is answered nothing more is decrypted
        # under the key set or by the approval, and it has waited for this column at most.
        # The key is asked for also where the key set is at hand: a locked vault decrypts nothing.
        with self._lock, self.key_lock.use() as kek:
            passage.check()
            key_set = self._key_set(entry, roster.gateway_id, kek=kek)
            column, label = open_column(
                data,
                digest=entry.digest,
                evaluation=key_set.public.evaluation,
                roster_id=roster.roster_id,
            )
            # The digest proves the bytes; the label proves that they are the output the order
            # means.
            said = (label.quantity, label.start, label.end)
            is_meant = said == (entry.quantity, entry.start, entry.end)
            if not is_meant or column.slots != roster.slots * entry.intervals:
                raise KeyMismatchError("An output's label differs from the order.")
            return key_set.decrypt(column)

    def _key_set(self, entry: ColumnEntry, gateway: str, *, kek: Kek) -> SecretKeySet:
        """The secret key of an output; only its own gateway's key sets are looked at."""
        self.states.check(entry.key_id, kek=kek)
        key_set = self._opened.get((gateway, entry.key_id))
        if key_set is None:
            # The gateway is the roster's, signed; were it the file's, one could name another's key.
            place = find_place(self._keys, gateway=gateway, key_id=entry.key_id)
            if place is None:
                raise foreign_key_set_error()
            key_set = open_key_set(self._keys, place, kek=kek)
        self._keep(gateway, key_set)
        if key_set.public.parameters.name != entry.parameters:
            raise KeyMismatchError("An output names another parameter set than its key set has.")
        return key_set

    @property
    def _keys(self) -> Path:
        return self.key_lock.keys_folder

    def _keep(self, gateway: str, key_set: SecretKeySet) -> None:
        """Keep a key set at hand, and the longest unused one no longer."""
        name = (gateway, key_set.public.key_id)
        self._opened[name] = key_set
        self._opened.move_to_end(name)
        while len(self._opened) > MAX_OPEN:
            self._opened.popitem(last=False)
