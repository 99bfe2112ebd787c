"""Releasing corrections: the checker's protocol for requests of the plan "rebill".

As for bills (`checker`), with two versions of everything: proof of both, one order that holds both,
and a certificate whose cells are differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.checker.correction_proofs import ProvenCorrection, prove_correction
from gridsecure.key_authority.checker.counted_places import CountedPlaces
from gridsecure.key_authority.checker.reexecution import Derived
from gridsecure.key_authority.checker.releases import Granted
from gridsecure.key_authority.checker.seating import fetch_settlement_names
from gridsecure.key_authority.checker.told_cells import Prepared, prepare_corrections
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import (
    Approved,
    BilledRoster,
    CheckedCorrections,
    CorrectedRoster,
    list_withheld,
)
from gridsecure.messages import ReleaseRequest, sign_message
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.execution import RosterData
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.purposes import BILLING
from gridsecure.plans.transcript_inputs import PlatformView, fetch_tariff

OrderT = TypeVar("OrderT", bound=CheckedCorrections)


def release_corrections(
    zone: AuthorityZone,
    request: ReleaseRequest,
    approved: Approved,
    *,
    view: PlatformView,
    keys: KeyRing,
    clock: Callable[[], datetime],
) -> Granted:
    """Prove, claim and have decrypted what some corrections change.

    Raises:
        GridSecureError: As `correction_proofs.prove_correction`,
            `told_cells.prepare_corrections` and the vault.
    """
    parts = [prove_correction(one, zone=zone, view=view, keys=keys) for one in request.transcripts]
    digests = {data.roster.tariff for part in parts for data in (part.before, part.data)}
    tariffs = {digest: fetch_tariff(view, digest) for digest in sorted(digests)}
    minima = zone.find_minima(BILLING, resolution="monthly")
    prepared = prepare_corrections(zone, parts, tariffs=tariffs, minima=minima, at=clock())
    names = [fetch_settlement_names(part.data.roster, zone=zone) for part in parts]
    order, files = order_corrections(
        CheckedCorrections,
        parts,
        names=names,
        terms=CorrectionOrder(tariffs, prepared, approved),
        at=clock(),
    )
    kept: list[str] = []
    answer = zone.vault.release_corrections(
        sign_message(order, key=zone.signing_key),
        files,
        lambda sealed: kept.append(zone.objects.put(sealed)),
    )
    counted = CountedPlaces()
    derived = [output.entry.digest for part in parts for output in part.after.outputs.values()]
    return Granted(
        plan_version=BILL_PLAN_VERSION,
        cells=tuple(counted.refer(answer.cells, prepared)),
        statements=dict(zip(answer.statements, kept, strict=True)),
        outputs_digest=sm3_hex("".join(derived).encode()),
        giving=prepared.giving,
        minima={"monthly": minima},
        places=tuple(counted.places),
        versions=tuple(part.version for part in parts),
    )


@dataclass(frozen=True, slots=True)
class CorrectionOrder:
    """On what terms corrections are ordered.

    Args:
        tariffs: Tariff texts by digest.
        prepared: What policy permits, and what is not told of cells.
        approved: What officers approved.
    """

    tariffs: Mapping[str, str]
    prepared: Prepared
    approved: Approved


def order_corrections(
    kind: type[OrderT],
    parts: Sequence[ProvenCorrection],
    *,
    names: Sequence[list[str]],
    terms: CorrectionOrder,
    at: datetime,
) -> tuple[OrderT, Iterator[bytes]]:
    """What the vault is told, and the outputs in the order it lists them.

    Args:
        names: By correction, the settlement pseudonym of every slot; none for a preview.
    """
    pairs = [
        ((part.before, part.outputs_before), (part.data, part.after.outputs)) for part in parts
    ]
    order = kind(
        start=parts[0].data.upload.start,
        end=parts[0].data.upload.end,
        created_at=at.isoformat(),
        tariffs=dict(terms.tariffs),
        corrections=[
            CorrectedRoster(
                before=_billed(*before),
                after=_billed(*after),
                revision=part.version.revision,
                corrected_slots=part.data.upload.corrected_slots,
                names=own,
            )
            for part, own, (before, after) in zip(parts, names, pairs, strict=True)
        ],
        minima=terms.prepared.minima.as_message(),
        withheld=list_withheld(terms.prepared.withheld),
        approved=terms.approved,
        merging=terms.prepared.minima.merging,
        dominance=dict(terms.prepared.minima.dominance),
        customer_points=terms.prepared.minima.customer_points,
    )
    files = (out.data for pair in pairs for _, outputs in pair for out in outputs.values())
    return order, files


def _billed(data: RosterData, outputs: dict[str, Derived]) -> BilledRoster:
    return BilledRoster(
        roster=data.roster, outputs={name: out.entry for name, out in outputs.items()}
    )
