"""What the checker hands the vault: only outputs it derived itself, signed with the checker's key.

The vault is given no seed and no input column. It refuses whatever is not signed by the checker it
was started with, so even a process that reaches the vault's pipe cannot have bytes decrypted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from gridsecure.circulation.agreed_releases import AgreementProof
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError
from gridsecure.messages import (
    CellTotal,
    ColumnEntry,
    Digest,
    Merging,
    Message,
    MessageT,
    PreviewCell,
    RosterManifest,
    Signed,
)
from gridsecure.plans.cells import UNMERGED, Minima, Place
from gridsecure.plans.noise import NoiseStatement
from gridsecure.vault_messages import Nonce

Keep = Callable[[bytes], object]
"""Takes a roster's sealed statements when they are made, so that nobody holds those of all."""

FewestCustomers = dict[str, dict[str, int]]
"""What policy permits an order to tell, as `plans.cells.Minima.by_class` has it."""
LargestShares = dict[str, int]
"""How much of it one customer may be [%], as `plans.cells.Minima.dominance` has it."""


class KeyOrder(Message):
    """Create a gateway's key set for a parameter set, or say which one was created before."""

    kind: ClassVar[str] = "vault-key-order"
    gateway: str
    parameters: str
    generation: int
    created_at: str


class LockOrder(Message):
    """Hold no key any more that decrypts.

    The vault takes the checker's word for it: whoever lies here can stop releases, and make none.

    Args:
        nonce: Whoever had it ordered finds it in the vault's answer.
    """

    kind: ClassVar[str] = "vault-lock"
    ordered_at: str
    nonce: Nonce = ""


class GroundRevocation(Message):
    """Let an officer's key, or one signed message of an officer, approve nothing any more.

    The vault takes the checker's word for it: whoever lies here can stop releases, and make none.

    Args:
        name: Thumbprint of the key, or digest of the message.
    """

    kind: ClassVar[str] = "vault-ground-revocation"
    name: Digest = Field(pattern=r"^[0-9a-f]{64}$")


class Approved(Message):
    """What officers approved, for the vault to check by its own keys and policy.

    Args:
        subject: The exact text of a `ReleaseSubject`.
        grounds: Signed approvals.
        level: Digest of the security level that the checker is held to; empty where there is none.
        agreement: What shows the agreement that it is under, where policy wants one.
    """

    kind: ClassVar[str] = "vault-approved"
    subject: str
    grounds: list[Signed]
    level: Digest = ""
    agreement: AgreementProof | None = None


class WithheldCell(Message):
    """Measures of a cell, merged or not, that are not given out, whatever its size."""

    kind: ClassVar[str] = "vault-withheld-cell"
    zone: str
    customer_class: str
    measures: list[str]


class CheckedRoster(Message):
    """A roster whose bills are ordered, and the outputs that hold them.

    Args:
        names: The settlement pseudonym that each slot's bill is filed under.
    """

    kind: ClassVar[str] = "vault-roster"
    roster: RosterManifest
    outputs: dict[str, ColumnEntry]
    names: list[str]


class CheckedBills(Message):
    """Decrypt, round and seal the bills of some rosters.

    What follows runs over `rosters`, the digests of their `CheckedRoster` texts: of each this text,
    then the files of its outputs. So neither side ever holds those of all.
    """

    kind: ClassVar[str] = "vault-bills"
    start: str
    end: str
    created_at: str
    rosters: list[Digest]
    tariffs: dict[Digest, str]
    minima: FewestCustomers
    withheld: list[WithheldCell]
    approved: Approved
    merging: Merging = UNMERGED
    dominance: LargestShares = Field(default={})
    customer_points: int = 0


class BilledRoster(Message):
    """One version of a roster and the outputs that hold its bills."""

    kind: ClassVar[str] = "vault-version"
    roster: RosterManifest
    outputs: dict[str, ColumnEntry]


class CorrectedRoster(Message):
    """The bills of a roster before and after a correction.

    Args:
        before: As released before.
        after: As corrected.
        corrected_slots: The slots that may differ.
        names: The settlement pseudonym of every slot.
    """

    kind: ClassVar[str] = "vault-corrected-roster"
    before: BilledRoster
    after: BilledRoster
    revision: int
    corrected_slots: list[int]
    names: list[str]


class CheckedCorrections(Message):
    """Decrypt both versions of some rosters' bills; round and seal what was corrected.

    The files that follow run over corrections, within one over `before` and `after`, and within
    one of these over its outputs.
    """

    kind: ClassVar[str] = "vault-corrections"
    start: str
    end: str
    created_at: str
    tariffs: dict[Digest, str]
    minima: FewestCustomers
    corrections: list[CorrectedRoster]
    withheld: list[WithheldCell]
    approved: Approved
    merging: Merging = UNMERGED
    dominance: LargestShares = Field(default={})
    customer_points: int = 0


class CheckedPreview(CheckedCorrections):
    """Decrypt both versions of some rosters' bills, and say what would change by cell.

    Nothing is sealed, and corrections hold no settlement names.
    """

    kind: ClassVar[str] = "vault-preview"


class CheckedTotals(Message):
    """Decrypt blinded columns of whole days and add them up by cell and interval.

    The texts of all rosters follow, then the files of the outputs over quantities and, within one,
    over rosters.

    Args:
        timezone: Local time, in which a day's intervals are named.
        rosters: Digests of the rosters' texts.
        quantities: The days; every roster has one output for each.
        outputs: Of each quantity, by roster.
        highs: Largest value of a slot before blinding, likewise.
    """

    kind: ClassVar[str] = "vault-totals"
    timezone: str
    rosters: list[Digest]
    quantities: list[str]
    outputs: dict[str, list[ColumnEntry]]
    highs: dict[str, list[int]]
    minima: FewestCustomers
    withheld: list[WithheldCell]
    approved: Approved
    merging: Merging = UNMERGED
    dominance: LargestShares = Field(default={})
    customer_points: int = 0


def minima_of(order: CheckedBills | CheckedCorrections | CheckedTotals) -> Minima:
    """What policy permits an order to tell."""
    return Minima(order.minima, order.merging, order.dominance, order.customer_points)


def read_named(text: bytes, *, digest: Digest, expect: type[MessageT]) -> MessageT:
    """A part of an order that names it by the digest of its text.

    Raises:
        EnvelopeError: It is another one.
        InvalidMessageError: Another shape.
    """
    check_named(text, digest=digest)
    return expect.parse(text)


def check_named(text: bytes, *, digest: Digest) -> None:
    """Refuse another text than an order names.

    Raises:
        EnvelopeError: It is another one.
    """
    if sm3_hex(text) != digest:
        raise EnvelopeError("A part of an order is not the one it names.")


def withheld_measures(cells: Sequence[WithheldCell]) -> dict[Place, frozenset[str]]:
    """By cell, the measures that an order withholds."""
    return {(cell.zone, cell.customer_class): frozenset(cell.measures) for cell in cells}


def list_withheld(withheld: Mapping[Place, frozenset[str]]) -> list[WithheldCell]:
    """What an order says of `withheld_measures`."""
    return [
        WithheldCell(zone=zone, customer_class=name, measures=sorted(measures))
        for (zone, name), measures in sorted(withheld.items())
    ]


class VaultAnswer(Message):
    """What comes back: cells, and the rosters whose statements came before, in their order.

    Args:
        noise: What was added to the cells' values, where that was asked for.
    """

    kind: ClassVar[str] = "vault-answer"
    cells: list[CellTotal]
    statements: list[str]
    noise: NoiseStatement | None = None


class PreviewAnswer(Message):
    """What comes back of a preview."""

    kind: ClassVar[str] = "vault-preview-answer"
    cells: list[PreviewCell]
