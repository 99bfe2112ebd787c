"""Orders to the vault: what the checker proved, signed, with the outputs it derived itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gridsecure.billing.tariffs import parse_tariff
from gridsecure.key_authority.packages import CheckedBills, CheckedTotals
from gridsecure.key_authority.platform_view import PlatformView, tariff_text
from gridsecure.key_authority.seating import settlement_names
from gridsecure.key_authority.verification import Proven
from gridsecure.key_authority.zone import AuthorityZone
from gridsecure.messages import CellTotal, signed


def ordered_totals(zone: AuthorityZone, part: Proven, *, view: PlatformView) -> list[CellTotal]:
    """Have the vault total one day of load curves.

    Raises:
        GridSecureError: As the vault.
    """
    quantities = sorted({name.split("/", 1)[1] for name in part.outputs})
    tariff = parse_tariff(tariff_text(view, part.rosters[0].tariff))
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
    )
    files = [
        part.outputs[f"{roster.roster_id}/{quantity}"].data
        for quantity in quantities
        for roster in part.rosters
    ]
    return zone.vault.release_totals(signed(order, key=zone.signing_key), files).cells


def ordered_bills(
    zone: AuthorityZone, proven: Sequence[Proven], *, view: PlatformView, at: datetime
) -> tuple[list[CellTotal], dict[str, str]]:
    """Have the vault bill some rosters.

    Returns:
        Control totals, and roster id -> digest of its sealed statements, which are kept.

    Raises:
        GridSecureError: As the vault; StorageError: The statements cannot be kept.
    """
    rosters = [roster for part in proven for roster in part.rosters]
    tariffs = {roster.tariff for roster in rosters}
    order = CheckedBills(
        start=proven[0].transcript.start,
        end=proven[0].transcript.end,
        created_at=at.isoformat(),
        rosters=rosters,
        tariffs={digest: tariff_text(view, digest) for digest in sorted(tariffs)},
        outputs=[{name: out.entry for name, out in part.outputs.items()} for part in proven],
        names=[settlement_names(roster, zone=zone) for roster in rosters],
    )
    files = [output.data for part in proven for output in part.outputs.values()]
    answer, sealed = zone.vault.release_bills(signed(order, key=zone.signing_key), files)
    digests = [zone.objects.put(data) for data in sealed]
    return answer.cells, dict(zip(answer.statements, digests, strict=True))
