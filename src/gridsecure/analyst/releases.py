"""Release certificates, verified before anything of them is shown.

Invariants:
- A `Release` exists only if its SM2 signature verified under the pinned key of the authority.
- A cell with fewer members than the certificate's policy wants of it, or of which it permits
  nothing, carries no value; a certificate that says otherwise is refused as a whole.
- Nor does one that it says is withheld for its policy's limit of dominance, and no other cell says
  so. Where energy is withheld for it, so is money.
- The cells are those that the policy's steps make of the counts in the certificate
  (`merged_cells`); a certificate with others is refused as a whole.
- Values are whole numbers in the unit of their measure; nothing is estimated or filled in.

Not here: whether the authority may be trusted. Its key is pinned from outside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from gridsecure.analyst.merged_cells import CellRules, list_policies
from gridsecure.crypto.sm2 import Sm2PublicKey, cross_check
from gridsecure.errors import (
    AuthenticityError,
    InputError,
    InvalidMessageError,
    ReleaseRefusedError,
    SignatureError,
)
from gridsecure.messages import CellTotal, ReleaseCertificate, open_message
from gridsecure.plans.cells import ENERGY, MONEY, WHOLE, Place
from gridsecure.released_values import SignedCertificate, attach_values
from gridsecure.wire.answers import read_aware_time

BILL: Final = "bill"
LOAD_CURVE: Final = "load-curve"
QUERY: Final = "query"
REBILL: Final = "rebill"

MEASURES: Final[Mapping[str, frozenset[str]]] = {
    BILL: frozenset({"bills", "energy_wh", "amount_fen"}),
    LOAD_CURVE: frozenset({"energy_wh"}),
    QUERY: frozenset({"energy_wh"}),
    REBILL: frozenset({"bills", "energy_wh", "amount_fen"}),
}
"""What each plan releases: bills [count], energy [Wh], amount [fen]; of corrections, the
differences between the new bills and the ones they cancel."""

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")  # 18 digits: sums stay within 64 bits


@dataclass(frozen=True, slots=True)
class PinnedAuthority:
    """The one key whose releases are believed; make it with `pin_authority`."""

    key: Sm2PublicKey

    @property
    def thumbprint(self) -> str:
        """The key's name, 64 hexadecimal digits."""
        return self.key.thumbprint


@dataclass(frozen=True, slots=True)
class ReleasedCell:
    """One cell of a released table.

    Args:
        start: Start of the period or interval, aware, local.
        end: Its end, exclusive.
        measure: What the value counts, with its unit.
        members: Meter points in the cell.
        value: The value; None if the cell is suppressed, or withheld from the reader.
        minimum: Fewest meter points that it may be about; None where policy permits none.
        parts: The zones and classes that it is made of; more than one where they were merged.
        limit: Largest share of it that one customer may have [%]; 100 is no limit.
        is_dominated: Whether it is withheld for that limit: one customer may have more, or nobody
            compared.
    """

    zone: str
    customer_class: str
    start: datetime
    end: datetime
    measure: str
    members: int
    value: int | None
    minimum: int | None
    parts: tuple[Place, ...]
    limit: int = WHOLE
    is_dominated: bool = False

    @property
    def is_small(self) -> bool:
        """Whether policy withholds it for what it is about, and not for what was told before."""
        return self.minimum is None or self.members < self.minimum


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose signature was verified.

    Args:
        start: Start of the period, aware, local.
        end: Its end, exclusive.
        purpose: Why it was asked for.
        released_at: When it was released, aware.
        minimum_members: The smallest that its policy wants of any cell [meter points].
        policy: The policy's name; empty where there was none yet.
        cells: All cells, also the suppressed ones.
        transcripts: Digests of the transcripts it rests on.
        statements: Digests of the sealed statements, by roster.
        outputs_digest: Digest over the outputs that were decrypted.
        evidence_head: Head of the authority's evidence log when it was released.
        signer: Thumbprint of the key that signed it.
        signed_text: The signed certificate as received, so that it can be checked elsewhere;
            None when values were taken out after it was verified.
        values_shown: Whether the reader's role sees values. Where it does, a cell without one was
            withheld by a rule of release.
        question: The salted digest of a sealed query's question; else empty.
        certificate_digest: What the certificate is called in the evidence log and elsewhere (SM3).
    """

    release_id: str
    plan: str
    plan_version: int
    start: datetime
    end: datetime
    purpose: str
    requested_by: str
    released_at: datetime
    minimum_members: int
    policy: str
    cells: tuple[ReleasedCell, ...]
    transcripts: tuple[str, ...]
    statements: Mapping[str, str]
    outputs_digest: str
    evidence_head: str
    signer: str
    signed_text: str | None
    values_shown: bool = True
    question: str = ""
    certificate_digest: str = ""

    @property
    def largest_minimum(self) -> int:
        """The largest minimum of any cell: every small cell is about fewer [meter points]."""
        return max((cell.minimum or 0 for cell in self.cells), default=self.minimum_members)

    def hide_values(self) -> Release:
        """The same release with no value in any cell, for readers who may not see values."""
        if all(cell.value is None for cell in self.cells):
            return replace(self, values_shown=False)
        blank = tuple(replace(cell, value=None) for cell in self.cells)
        return replace(self, cells=blank, signed_text=None, values_shown=False)


def pin_authority(point: str) -> PinnedAuthority:
    """Read the authority's public key and prove that this process verifies signatures rightly.

    Args:
        point: 130 hexadecimal digits, `04 ‖ X ‖ Y`.

    Raises:
        InputError: Not a point of the curve (`settings.authority-key`).
        GridSecureError: The SM2 engines do not agree (`crypto.engine.mismatch`).
    """
    cross_check()
    try:
        return PinnedAuthority(Sm2PublicKey(bytes.fromhex(point)))
    except (ValueError, InvalidMessageError) as error:
        raise InputError(
            "The pinned key of the key authority is not an SM2 public key.",
            reason="settings.authority-key",
            remedy="Give its point as 130 hexadecimal digits that begin with 04.",
        ) from error


def verify_release(
    content: bytes, *, authority: PinnedAuthority, release_id: str | None = None
) -> Release:
    """Verify a signed certificate, then read it.

    1. the signature, under the pinned key and no other, and that the values beside it are its own;
    2. that it is the release that was asked for;
    3. that every cell keeps the certificate's own rule.

    Args:
        release_id: The release that was asked for; None where a query was, which whoever asked it
            finds in the release.

    Raises:
        SignatureError: Another signer, a forged text, or another release than asked for
            (`release.signature`, `release.swapped`), or with other values (`release.values`).
        InvalidMessageError: Signed, but of another shape.
        ReleaseRefusedError: A cell below the minimum carries a value (`release.unsuppressed`), or
            one that is withheld for the limit of dominance does (`release.dominance`), or cells are
            not those that the policy makes of the counts (`release.merged`).
    """
    envelope = SignedCertificate.parse(content)
    # 1. the signature
    try:
        certificate = open_message(
            envelope, expect=ReleaseCertificate, trusted={authority.thumbprint: authority.key}
        )
    except AuthenticityError as refused:
        raise SignatureError(
            "The release certificate is not signed by the pinned key authority.",
            reason="release.signature",
            remedy="Nothing of it is shown. Compare the pinned key with the authority's; "
            "if they agree, tell the security officer.",
        ) from refused
    certificate = attach_values(certificate, envelope)
    # 2. the right one
    if release_id not in (None, certificate.release_id):
        raise SignatureError(
            "The key authority sent another release than the one asked for.",
            reason="release.swapped",
            remedy="Nothing of it is shown. Tell the security officer.",
        )
    # 3. its cells
    return _release(certificate, envelope)


def _release(certificate: ReleaseCertificate, envelope: SignedCertificate) -> Release:
    rules = CellRules(
        certificate.cells,
        places=certificate.places,
        policies=list_policies(certificate),
        least=certificate.minimum_members,
        is_hidden=certificate.plan == QUERY,
    )
    cells = tuple(_cell(cell, certificate, rules) for cell in certificate.cells)
    _check_dominance(certificate.cells)
    return Release(
        release_id=certificate.release_id,
        plan=certificate.plan,
        plan_version=certificate.plan_version,
        start=_moment(certificate.start),
        end=_moment(certificate.end),
        purpose=certificate.purpose,
        requested_by=certificate.requested_by,
        released_at=_moment(certificate.released_at),
        minimum_members=certificate.minimum_members,
        policy=certificate.policy_name,
        cells=cells,
        transcripts=tuple(certificate.transcripts),
        statements=dict(certificate.statements),
        outputs_digest=certificate.outputs_digest,
        evidence_head=certificate.evidence_head,
        signer=envelope.signer,
        signed_text=envelope.model_dump_json(),
        question=certificate.question,
        certificate_digest=envelope.digest,
    )


def _cell(cell: CellTotal, certificate: ReleaseCertificate, rules: CellRules) -> ReleasedCell:
    rule = rules.find(cell)
    if cell.measure not in MEASURES[certificate.plan]:
        raise _malformed("measure")
    if cell.value is not None and not _WHOLE_NUMBER.fullmatch(cell.value):
        raise _malformed("value")
    if (cell.told or cell.value is not None) and not rule.is_met:
        raise ReleaseRefusedError(
            "The release gives a value to a cell below its own minimum of meter points.",
            reason="release.unsuppressed",
            remedy="Nothing of it is shown. Tell the security officer.",
        )
    if cell.withheld_by and (cell.told or rule.limit == WHOLE):
        raise _unlimited()
    return ReleasedCell(
        zone=cell.zone,
        customer_class=cell.customer_class,
        start=_moment(cell.start),
        end=_moment(cell.end),
        measure=cell.measure,
        members=cell.members,
        value=None if cell.value is None else int(cell.value),
        minimum=rule.minimum,
        parts=rule.parts,
        limit=rule.limit,
        is_dominated=bool(cell.withheld_by),
    )


def _check_dominance(cells: Sequence[CellTotal]) -> None:
    """Refuse money beside energy that is withheld for the limit: it tells of the same customer."""
    above, told = (
        {
            (cell.zone, cell.customer_class, cell.start, cell.end)
            for cell in cells
            if cell.measure == measure and (cell.told if measure == MONEY else cell.withheld_by)
        }
        for measure in (ENERGY, MONEY)
    )
    if above & told:
        raise _unlimited()


def _unlimited() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "The release gives a value that it says is withheld for the limit of dominance, or names "
        "such a limit where its policy has none.",
        reason="release.dominance",
        remedy="Nothing of it is shown. Tell the security officer.",
    )


# A month of load curves names each of its intervals once a cell.
@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime:
    return read_aware_time(text, on_error=lambda: _malformed("time"))


def _malformed(field: str) -> InvalidMessageError:
    return InvalidMessageError(
        f"A cell or field of the release certificate has an unknown form: {field}.",
        reason="release.malformed",
        remedy="Run the same release of every service.",
    )
