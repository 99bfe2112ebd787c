"""What the vault makes of two versions of a roster's bills: statements and differences, no more.

1. every slot that is not listed as corrected must have the very same bill in both versions;
2. statements are written for the listed slots: the new bill, the one it cancels, the adjustment;
3. cells give out sums of differences over their corrected slots, never a total of new bills.

A new total beside the old one would show one household's correction to everybody who subtracts. So
a cell has values only if at least `MINIMUM_MEMBERS` of its meter points were corrected and as many
bills have really changed (padding a correction with unchanged slots gains nothing), and if the
checker, which knows what was released before, did not withhold it (`correction_claims`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.corrections import (
    Correction,
    changed_bills,
    correct_bills,
    corrections_to_json,
)
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.control_totals import RosterBills
from gridsecure.key_authority.packages import CheckedCorrections, CorrectedRoster
from gridsecure.messages import CellTotal
from gridsecure.plans.load_curve import MINIMUM_MEMBERS

MEASURES: Final = ("bills", "energy_wh", "amount_fen")

Place = tuple[str, str]
"""Zone and customer class: what makes a cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Rebilled:
    """A roster billed anew.

    Args:
        roster_id: The roster of the new bills.
        statements: Its correction documents.
        places: The cell of each corrected slot.
        changed: Whether its bill differs from the one before.
        energy_wh: New minus old energy [Wh] of each corrected slot.
        amount_fen: New minus old total [fen] of each corrected slot.
    """

    roster_id: str
    statements: dict[str, Any]
    places: tuple[Place, ...]
    changed: NDArray[np.bool_]
    energy_wh: NDArray[Any]
    amount_fen: NDArray[Any]


def rebilled(item: CorrectedRoster, before: RosterBills, after: RosterBills) -> Rebilled:
    """Compare two versions of a roster's bills and write down what was corrected.

    Args:
        item: The order for this roster.
        before: The bills to cancel, in slot order.
        after: The bills to issue, in slot order.

    Raises:
        ReleaseRefusedError: A bill changed that is not listed as corrected
            (`correction.uncorrected-slot`).
    """
    roster = item.after.roster
    correction: Correction = correct_bills(before.bills, after.bills)
    slots = np.array(item.corrected_slots, dtype=np.int64)
    corrected = [roster.pseudonyms[slot] for slot in item.corrected_slots]
    # 1. nobody else's bill moves
    changed = changed_bills(before.bills, after.bills)
    if not changed <= set(corrected):
        raise ReleaseRefusedError(
            "A bill differs that the upload does not list as corrected.",
            reason="correction.uncorrected-slot",
            remedy="Find out what the gateway uploaded; a correction names every slot it changes.",
        )
    # 2. statements
    documents = corrections_to_json(
        correction, version=item.revision, meter_point_ids=set(corrected), tariff=after.tariff
    )
    return Rebilled(
        roster_id=roster.roster_id,
        statements=documents,
        places=tuple((roster.zones[n], roster.customer_classes[n]) for n in item.corrected_slots),
        changed=np.array([name in changed for name in corrected], dtype=bool),
        energy_wh=(after.energy_wh.astype(object) - before.energy_wh.astype(object))[slots],
        amount_fen=correction.totals_fen[slots],
    )


def correction_cells(order: CheckedCorrections, parts: Sequence[Rebilled]) -> list[CellTotal]:
    """Step 3: differences by cell, where enough bills changed."""
    withheld = {(cell.zone, cell.customer_class) for cell in order.withheld}
    sums: dict[Place, list[int]] = {}
    changed: dict[Place, int] = {}
    for part in parts:
        rows = zip(part.places, part.changed, part.energy_wh, part.amount_fen, strict=True)
        for place, is_changed, energy_wh, amount_fen in rows:
            total = sums.setdefault(place, [0, 0, 0])
            for measure, value in enumerate((1, energy_wh, amount_fen)):
                total[measure] += int(value)
            changed[place] = changed.get(place, 0) + int(is_changed)
    return [
        CellTotal(
            zone=place[0],
            customer_class=place[1],
            start=order.start,
            end=order.end,
            measure=measure,
            members=total[0],
            value=str(total[number])
            if changed[place] >= MINIMUM_MEMBERS and place not in withheld
            else None,
        )
        for number, measure in enumerate(MEASURES)
        for place, total in sorted(sums.items())
    ]
