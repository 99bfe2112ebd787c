"""What the checker has the vault decrypt of what it proved: bills, days of load curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.checker.seating import fetch_settlement_names, find_timezone
from gridsecure.key_authority.checker.told_cells import Prepared
from gridsecure.key_authority.checker.verification import Proven
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import (
    Approved,
    CheckedBills,
    CheckedRoster,
    CheckedTotals,
    list_withheld,
)
from gridsecure.messages import CellTotal, sign_message
from gridsecure.plans.transcript_inputs import PlatformView, fetch_tariff


def tariff_texts(view: PlatformView, proven: Sequence[Proven]) -> dict[str, str]:
    """The texts of the tariffs that some transcripts bill with, by digest."""
    digests = {roster.tariff for part in proven for roster in part.rosters}
    return {digest: fetch_tariff(view, digest) for digest in sorted(digests)}


def order_totals(
    zone: AuthorityZone,
    part: Proven,
    approved: Approved,
    *,
    view: PlatformView,
    prepared: Prepared,
) -> list[CellTotal]:
    """Have the vault total one day of load curves, but for what is withheld.

    Raises:
        GridSecureError: As the vault.
    """
    quantities = sorted({name.split("/", 1)[1] for name in part.outputs})
    outputs = {
        quantity: [part.outputs[f"{roster.roster_id}/{quantity}"] for roster in part.rosters]
        for quantity in quantities
    }

    def texts() -> Iterator[bytes]:
        return (roster.model_dump_json().encode() for roster in part.rosters)

    order = CheckedTotals(
        timezone=find_timezone(part.rosters[0].tariff, zone=zone, view=view),
        rosters=[sm3_hex(text) for text in texts()],
        quantities=quantities,
        outputs={name: [output.entry for output in own] for name, own in outputs.items()},
        highs={name: [data.entry(name).high for data in part.datas] for name in quantities},
        minima=prepared.minima.as_message(),
        withheld=list_withheld(prepared.withheld),
        merging=prepared.minima.merging,
        dominance=dict(prepared.minima.dominance),
        customer_points=prepared.minima.customer_points,
        approved=approved,
    )
    files = chain(texts(), (output.data for own in outputs.values() for output in own))
    return zone.vault.release_totals(sign_message(order, key=zone.signing_key), files).cells


@dataclass(frozen=True, slots=True)
class BillOrder:
    """On what terms rosters are billed.

    Args:
        tariffs: Tariff texts by digest.
        prepared: What policy permits, and what is not told of cells.
        approved: What officers approved.
    """

    tariffs: Mapping[str, str]
    prepared: Prepared
    approved: Approved


def order_bills(
    zone: AuthorityZone, proven: Sequence[Proven], terms: BillOrder, *, at: datetime
) -> tuple[list[CellTotal], dict[str, str]]:
    """Have the vault bill some rosters.

    Returns:
        Control totals, and roster id -> digest of its sealed statements, which are kept.

    Raises:
        GridSecureError: As the vault; StorageError: The statements cannot be kept.
    """
    # Names are a roster's only once it is written: until then they lie in half the bytes.
    names = [
        bytes.fromhex("".join(fetch_settlement_names(part.rosters[0], zone=zone)))
        for part in proven
    ]

    def texts() -> Iterator[bytes]:
        return (_checked_text(part, own) for part, own in zip(proven, names, strict=True))

    order = CheckedBills(
        start=proven[0].transcript.start,
        end=proven[0].transcript.end,
        created_at=at.isoformat(),
        rosters=[sm3_hex(text) for text in texts()],
        tariffs=dict(terms.tariffs),
        minima=terms.prepared.minima.as_message(),
        withheld=list_withheld(terms.prepared.withheld),
        merging=terms.prepared.minima.merging,
        dominance=dict(terms.prepared.minima.dominance),
        customer_points=terms.prepared.minima.customer_points,
        approved=terms.approved,
    )
    files = (
        data
        for text, part in zip(texts(), proven, strict=True)
        for data in chain([text], (output.data for output in part.outputs.values()))
    )
    digests: list[str] = []
    answer = zone.vault.release_bills(
        sign_message(order, key=zone.signing_key),
        files,
        lambda sealed: digests.append(zone.objects.put(sealed)),
    )
    return answer.cells, dict(zip(answer.statements, digests, strict=True))


def _checked_text(part: Proven, names: bytes) -> bytes:
    """What the vault is told of a roster.

    Args:
        names: The settlement pseudonyms of its slots, 32 bytes each.
    """
    text = names.hex()
    checked = CheckedRoster(
        roster=part.rosters[0],
        outputs={name: output.entry for name, output in part.outputs.items()},
        names=[text[start : start + 64] for start in range(0, len(text), 64)],
    )
    return checked.model_dump_json().encode()
