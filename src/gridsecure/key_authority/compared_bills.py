"""What the vault makes of two versions of a roster's bills: statements and differences, no more.

1. every slot that is not listed as corrected must have the very same bill in both versions;
2. statements are written for the listed slots: the new bill, the one it cancels, the adjustment;
3. cells give out sums of differences over their corrected slots, never a total of new bills.

A new total beside the old one would show one household's correction to everybody who subtracts. So
a cell has values only if enough of its customers were corrected and enough bills really changed
(padding a correction with unchanged slots gains nothing), in the cell and in each part of it whose
money is one function; and if the checker, which knows what was told before, did not withhold it.
Where policy limits how much of a cell one customer may be, it has none: a difference within the
limit may turn a total within it into one that is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.corrections import (
    Correction,
    correct_bills,
    corrections_to_json,
    find_changed_bills,
)
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.control_totals import RosterBills, billed_rows
from gridsecure.key_authority.packages import (
    CheckedCorrections,
    CorrectedRoster,
    minima_of,
    withheld_measures,
)
from gridsecure.messages import DOMINANCE, CellTotal, RosterManifest
from gridsecure.plans.cells import (
    ALL_MEASURES,
    MEASURES,
    NO_MEASURES,
    Member,
    Place,
    is_enough,
)
from gridsecure.plans.merging import Merged, gather_crowds, merge_cells
from gridsecure.plans.previews import is_crowd
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True, eq=False)
class ComparedBills:
    """A roster billed anew.

    Args:
        correction: Both versions of all its bills.
        slots: Its corrected slots.
        places: The cell of each of them.
        members: The member in it.
        keys: What its money depends on, before and after.
        changed: Whether its bill differs from the one before.
        energy_wh: New minus old energy [Wh] of each corrected slot.
        amount_fen: New minus old total [fen] of each corrected slot.
    """

    roster_id: str
    correction: Correction
    slots: NDArray[np.int64]
    places: tuple[Place, ...]
    members: tuple[Member, ...]
    keys: tuple[Hashable, ...]
    changed: NDArray[np.bool_]
    energy_wh: NDArray[Any]
    amount_fen: NDArray[Any]


def compare_versions(
    item: CorrectedRoster, before: RosterBills, after: RosterBills, *, span: tuple[str, str]
) -> ComparedBills:
    """Compare two versions of a roster's bills.

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
    changed = find_changed_bills(before.bills, after.bills)
    if not changed <= set(corrected):
        raise ReleaseRefusedError(
            "A bill differs although the upload does not list it as corrected.",
            reason="correction.uncorrected-slot",
            remedy="Find out what the gateway uploaded; corrections must name every changed slot.",
        )
    rows = list_corrected_rows(
        (item.before.roster, before.tariff),
        (roster, after.tariff),
        slots=item.corrected_slots,
        span=span,
    )
    places, members, keys = zip(*rows, strict=True)
    return ComparedBills(
        roster_id=roster.roster_id,
        correction=correction,
        slots=slots,
        places=places,
        members=members,
        keys=keys,
        changed=np.array([name in changed for name in corrected], dtype=bool),
        energy_wh=(after.energy_wh.astype(object) - before.energy_wh.astype(object))[slots],
        amount_fen=correction.totals_fen[slots],
    )


def write_corrections(
    item: CorrectedRoster, part: ComparedBills, *, tariff: Tariff
) -> dict[str, Any]:
    """Step 2: the documents of the corrected slots.

    Args:
        tariff: Of the new bills.
    """
    names = {item.after.roster.pseudonyms[slot] for slot in item.corrected_slots}
    return corrections_to_json(
        part.correction, version=item.revision, meter_point_ids=names, tariff=tariff
    )


def list_corrected_rows(
    before: tuple[RosterManifest, Tariff],
    after: tuple[RosterManifest, Tariff],
    *,
    slots: Sequence[int],
    span: tuple[str, str],
) -> list[tuple[Place, Member, Hashable]]:
    """Every corrected slot's cell and member, and what its difference of money depends on."""
    start, end = span
    (_, _, old), (places, members, new) = (
        zip(*billed_rows(roster, start=start, end=end, tariff=tariff), strict=True)
        for roster, tariff in (before, after)
    )
    return [(places[slot], members[slot], (old[slot], new[slot])) for slot in slots]


def total_corrections(order: CheckedCorrections, parts: Sequence[ComparedBills]) -> list[CellTotal]:
    """Step 3: differences by cell, where enough bills changed."""
    ordered = withheld_measures(order.withheld)
    merged = merge_corrected(order, parts)
    sums: dict[Place, list[int]] = {}
    members: dict[Place, list[Member]] = defaultdict(list)
    changed: dict[Place, dict[Hashable, list[Member]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        cells = [merged.into[place] for place in part.places]
        for place, energy_wh, amount_fen in zip(
            cells, part.energy_wh, part.amount_fen, strict=True
        ):
            total = sums.setdefault(place, [0, 0, 0])
            for measure, value in enumerate((1, energy_wh, amount_fen)):
                total[measure] += int(value)
        for place, member, key, is_changed in zip(
            cells, part.members, part.keys, part.changed, strict=True
        ):
            members[place].append(member)
            if is_changed:
                changed[place][key].append(member)
    withheld = {
        place: ordered.get(place, NO_MEASURES) | _list_withheld(place, merged, members, changed)
        for place in sums
    }
    limited = _list_limited(merged, members)
    return [
        CellTotal(
            zone=place[0],
            customer_class=place[1],
            start=order.start,
            end=order.end,
            measure=measure,
            members=total[0],
            value=None if measure in withheld[place] else str(total[number]),
            withheld_by=DOMINANCE if place in limited else "",
        )
        for number, measure in enumerate(MEASURES)
        for place, total in sorted(sums.items())
    ]


def _list_withheld(
    place: Place,
    merged: Merged,
    members: Mapping[Place, list[Member]],
    changed: Mapping[Place, Mapping[Hashable, list[Member]]],
) -> frozenset[str]:
    """The measures of a cell that are not told, whatever was told before."""
    fewest, those = merged.minima[place], list(changed.get(place, {}).values())
    if not fewest or place in merged.limits:
        return ALL_MEASURES
    if not _is_spread(those, within=members[place], minimum=max(fewest.values())):
        return ALL_MEASURES
    return ALL_MEASURES - fewest.keys()


def _list_limited(merged: Merged, members: Mapping[Place, list[Member]]) -> set[Place]:
    """Cells that are withheld for policy's limit of dominance, whatever bills changed."""
    return {
        place
        for place in merged.limits
        if is_enough(members[place], minimum=max(merged.minima[place].values(), default=0))
    }


def merge_corrected(order: CheckedCorrections, parts: Sequence[ComparedBills]) -> Merged:
    """The cells of corrected slots, those too small merged."""
    rows = (row for part in parts for row in zip(part.places, part.members, strict=True))
    return merge_cells(gather_crowds(rows), minima=minima_of(order))


def _is_spread(parts: Sequence[list[Member]], *, within: list[Member], minimum: int) -> bool:
    """Whether enough bills changed in a cell, and in each part of it that changed."""
    everybody = [member for part in parts for member in part]
    return is_crowd(everybody, within=within, minimum=minimum) and all(
        is_enough(part, minimum=minimum) for part in parts
    )
