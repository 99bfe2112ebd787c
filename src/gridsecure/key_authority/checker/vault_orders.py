"""Orders to the vault: what the checker proved, signed, with the outputs it derived itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gridsecure.key_authority.checker.ledger import Withheld
from gridsecure.key_authority.checker.platform_view import PlatformView, fetch_tariff
from gridsecure.key_authority.checker.seating import fetch_settlement_names
from gridsecure.key_authority.checker.verification import Proven
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import CheckedBills, CheckedTotals, list_withheld
from gridsecure.messages import CellTotal, sign_message
from gridsecure.tariffs.tariff import parse_tariff


def tariff_texts(view: PlatformView, proven: Sequence[Proven]) -> dict[str, str]:
    """The texts of the tariffs that some transcripts bill with, by digest."""
    digests = {roster.tariff for part in proven for roster in part.rosters}
    return {digest: fetch_tariff(view, digest) for digest in sorted(digests)}


def order_totals(
    zone: AuthorityZone, part: Proven, *, view: PlatformView, withheld: Withheld
) -> list[CellTotal]:
    """Have the vault total one day of load curves, but for what is withheld.

    Raises:
        GridSecureError: As the vault.
    """
    quantities = sorted({name.split("/", 1)[1] for name in part.outputs})
    tariff = parse_tariff(fetch_tariff(view, part.rosters[0].tariff))
    order = CheckedTotals(
        timezone=tariff.timezone,
        rosters=part.rosters,
        quantities=quantities,
        outputs={name: output.entry for name, output in part.outputs.items()},
        highs={
            f"{data.roster.roster_id}/{quantity}": data.entry(quantity).high
            for data in part.datas
            for quantity in quantities
        },
        withheld=list_withheld(withheld),
    )
    files = [
        part.outputs[f"{roster.roster_id}/{quantity}"].data
        for quantity in quantities
        for roster in part.rosters
    ]
    return zone.vault.release_totals(sign_message(order, key=zone.signing_key), files).cells


def order_bills(
    zone: AuthorityZone,
    proven: Sequence[Proven],
    *,
    tariffs: Mapping[str, str],
    withheld: Withheld,
    at: datetime,
) -> tuple[list[CellTotal], dict[str, str]]:
    """Have the vault bill some rosters.

    Args:
        zone: The authority.
        proven: Their transcripts.
        tariffs: Tariff texts by digest.
        withheld: What is not told of cells.
        at: Now.

    Returns:
        Control totals, and roster id -> digest of its sealed statements, which are kept.

    Raises:
        GridSecureError: As the vault; StorageError: The statements cannot be kept.
    """
    rosters = [roster for part in proven for roster in part.rosters]
    order = CheckedBills(
        start=proven[0].transcript.start,
        end=proven[0].transcript.end,
        created_at=at.isoformat(),
        rosters=rosters,
        tariffs=dict(tariffs),
        outputs=[{name: out.entry for name, out in part.outputs.items()} for part in proven],
        names=[fetch_settlement_names(roster, zone=zone) for roster in rosters],
        withheld=list_withheld(withheld),
    )
    files = [output.data for part in proven for output in part.outputs.values()]
    answer, sealed = zone.vault.release_bills(sign_message(order, key=zone.signing_key), files)
    digests = [zone.objects.put(data) for data in sealed]
    return answer.cells, dict(zip(answer.statements, digests, strict=True))
