"""Receipts of bills: what a gateway commits to before it encrypts, and what a customer holds of it.

    salt      SM3(salt)                               32 random bytes, for one bill alone
    facts     SM3(salt ‖ JSON of `BillFacts`)
    readings  SM3(salt ‖ `readings_bytes`)
    leaf      JSON of `BillCommitment`, which has those three
    filling   leaves over random bytes, up to the power of two that the whole roster takes
    root      of the tree over leaves and filling (RFC 6962, SHA-256), in the order of their hashes
    entry     `bills.committed` in the gateway's log, whose record has the root

One entry stands for a roster. The receipt goes the way of the statement, through the billing
office; the salt goes with the readings, from the gateway to whoever may read them. So the office
learns digests that it can try no guesses on, and who holds both parts can count again. The order of
leaves is that of random digests, and a correction's tree is filled to the size of the first one's:
neither place nor size says anything of slots, which would name pseudonyms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError
from gridsecure.messages import FIRST_REVISION, Digest, Message, PlanName
from gridsecure.transparency.tree import (
    Frontier,
    Node,
    hash_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    verify_inclusion,
)

COMMITTED_BILLS: Final = "bills.committed"
"""What the log says was done with a tree."""
ROOT: Final = "root"
"""What the detail of its entry calls the root."""
LEAVES: Final = "leaves"
"""What it calls their number."""
SALT_BYTES: Final = 32

_READINGS: Final = "gridsecure-readings-1"
_NARROW: Final = 1 << 32
_MOST_LEVELS: Final = 32
_MOST_FILLED: Final = 1 << 20
_NUMBER_BYTES: Final = 4


class BillFacts(Message):
    """What a bill needs beside readings and tariff.

    Energies are in Wh and capacities in VA. `held_from` and `held_until` are the days that the
    holder had of the period, ISO 8601; empty for the whole of it.
    """

    kind: ClassVar[str] = "bill-facts"
    zone: str
    customer_class: str
    household_quota_wh: int
    contracted_va: int
    free_quota_wh: int = 0
    service_from: str = ""
    unheld_days: int = 0
    year_before_wh: int = 0
    cycle_day: int
    held_from: str = ""
    held_until: str = ""


class BillCommitment(Message):
    """What a gateway commits to of one bill.

    Args:
        version: 1 for a first bill, and one more for each correction.
        tariff: Of the tariff's text.
        salt: Of the salt, so that a wrong one is known for what it is.
        corrects: Digest of the commitment of the version that it replaces; empty for a first bill,
            and where that one has none.
    """

    kind: ClassVar[str] = "bill-commitment"
    meter_point_id: str
    start: str
    end: str
    version: int = Field(ge=FIRST_REVISION)
    plan: PlanName
    plan_version: int
    tariff: Digest
    salt: Digest
    facts: Digest
    readings: Digest
    corrects: str = ""

    @property
    def text(self) -> bytes:
        """The leaf."""
        return self.model_dump_json().encode()

    @property
    def digest(self) -> Digest:
        """Its name."""
        return sm3_hex(self.text)


class BillReceipt(Message):
    """A commitment with the proof that it is in the gateway's log.

    Args:
        index: Its place among the leaves.
        path: From its sibling up, hexadecimal.
        log_proof: That the tree's root is in the log (c2sp.org/tlog-proof).
    """

    kind: ClassVar[str] = "bill-receipt"
    commitment: BillCommitment
    index: int = Field(ge=0)
    size: int = Field(ge=1)
    path: list[Digest] = Field(max_length=_MOST_LEVELS)
    log_proof: str

    def check_tree(self, detail: Mapping[str, Any]) -> None:
        """Return if the commitment is in the tree that an entry of the log names.

        Raises:
            AuditBrokenError: It is not (`receipt.tree`).
        """
        try:
            if detail.get(LEAVES) != self.size:
                raise ValueError("of a tree of another size")
            verify_inclusion(
                leaf_hash(self.commitment.text),
                index=self.index,
                size=self.size,
                path=[bytes.fromhex(one) for one in self.path],
                root=bytes.fromhex(str(detail.get(ROOT))),
            )
        except (AuditBrokenError, ValueError) as error:
            raise AuditBrokenError(
                "The commitment is not among those that the gateway's log has.",
                reason="receipt.tree",
                remedy="The receipt was changed, or its log proof is of another one. Ask the "
                "utility for it again; keep this one if it stays.",
            ) from error


class DeliveredReceipt(Message):
    """A receipt as it comes with a statement.

    Args:
        period: The bill, as the bill document has it, without the receipt.
    """

    kind: ClassVar[str] = "delivered-receipt"
    meter_point_id: str
    period: dict[str, Any]
    receipt: BillReceipt


class Filling(Message):
    """What a tree holds beside commitments, so that it does not tell how many there are.

    Customers are not given it: to them, a leaf that is filled looks like any other.

    Args:
        size: Leaves of the tree, those of commitments among them.
        seed: What the others are drawn from, hexadecimal.
    """

    kind: ClassVar[str] = "receipt-filling"
    size: int = Field(ge=1, le=_MOST_FILLED)
    seed: str = Field(pattern=r"^[0-9a-f]{64}$")

    def leaves(self, own: Sequence[bytes]) -> list[bytes]:
        """The tree's leaf hashes in their order, of those of commitments."""
        seed = bytes.fromhex(self.seed)
        others = range(self.size - len(own))
        filled = (leaf_hash(seed + number.to_bytes(_NUMBER_BYTES, "big")) for number in others)
        return sorted([*own, *filled])


class ReceiptTree(Message):
    """The commitments of one roster's version, for the billing office.

    Args:
        commitments: In the order of their leaves.
        filling: What stands between them.
        log_proof: As in a receipt.
    """

    kind: ClassVar[str] = "receipt-tree"
    commitments: list[BillCommitment]
    filling: Filling
    log_proof: str

    def receipts(self) -> list[BillReceipt]:
        """Each commitment with its own path."""
        own = [leaf_hash(one.text) for one in self.commitments]
        leaves = self.filling.leaves(own)
        levels, places = _levels(leaves), {leaf: index for index, leaf in enumerate(leaves)}

        def read(nodes: list[Node]) -> dict[Node, bytes]:
            return {node: levels[node.level][node.number] for node in nodes}

        size = len(leaves)
        return [
            BillReceipt(
                commitment=one,
                index=index,
                size=size,
                path=[part.hex() for part in hash_ranges(inclusion_ranges(index, size), read)],
                log_proof=self.log_proof,
            )
            for one, index in zip(self.commitments, map(places.__getitem__, own), strict=True)
        ]


class EstimatedReading(Message):
    """A reading that the bill counts in place of one that was not there."""

    kind: ClassVar[str] = "estimated-reading"
    start: str
    energy_wh: int


class ReadingsOpening(Message):
    """What opens a commitment, for whoever may read the meter point's readings.

    Args:
        salt: Hexadecimal.
        estimates: Readings that nobody read, as the bill counts them.
    """

    kind: ClassVar[str] = "readings-opening"
    meter_point_id: str
    start: str
    end: str
    version: int
    salt: str = Field(pattern=r"^[0-9a-f]{64}$")
    facts: BillFacts
    estimates: list[EstimatedReading] = Field(default=[])


_OPENINGS: Final = TypeAdapter(list[ReadingsOpening])


def read_openings(content: bytes) -> list[ReadingsOpening]:
    """Openings of a meter point's month, as the gateway gives them out.

    Raises:
        ValueError: They are none.
    """
    return _OPENINGS.validate_json(content)


@dataclass(frozen=True, slots=True, eq=False)
class CountedReadings:
    """The readings of one meter point that a bill counts, in order of time.

    Args:
        starts: Of the intervals [minutes since 1970, UTC].
        lengths: Of the intervals [minutes].
        energy_wh: In each interval, none negative.
        reactive_varh: Of the period, where it was read.
        export_wh: Fed in over the period, where it was read.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    energy_wh: NDArray[np.int64]
    reactive_varh: int | None = None
    export_wh: int | None = None

    @property
    def runs(self) -> list[list[int]]:
        """Stretches of intervals of one length without a gap: first start, length, how many."""
        starts, lengths = self.starts, self.lengths
        if not len(starts):
            return []
        is_new = (starts[1:] != starts[:-1] + lengths[:-1]) | (lengths[1:] != lengths[:-1])
        first = np.concatenate([[0], np.flatnonzero(is_new) + 1])
        counts = np.diff(np.concatenate([first, [len(starts)]]))
        rows = zip(starts[first].tolist(), lengths[first].tolist(), counts.tolist(), strict=True)
        return [list(row) for row in rows]


def readings_bytes(readings: CountedReadings, *, runs: Sequence[Sequence[int]] = ()) -> bytes:
    """Readings as they are committed to: a line of JSON, then the energies, big-endian.

    Args:
        runs: Its runs, where they are known already; many meter points have the same.
    """
    energies = readings.energy_wh
    width = 4 if not len(energies) or int(energies.max()) < _NARROW else 8
    head: list[Any] = [
        _READINGS,
        runs or readings.runs,
        readings.reactive_varh,
        readings.export_wh,
        width,
    ]
    return json.dumps(head).encode() + b"\n" + energies.astype(f">u{width}").tobytes()


def tree_root(leaves: Sequence[bytes]) -> str:
    """The root over leaf hashes in their order, hexadecimal."""
    return Frontier().grow(leaves).root.hex()


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    """The full subtrees of a tree, by level."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)])
    return levels
