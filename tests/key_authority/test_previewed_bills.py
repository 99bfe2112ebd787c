"""What the vault tells of bills by tariffs that somebody made up to ask about single households."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.bills import compute_bills
from gridsecure.billing.contracts import default_contracts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.compared_bills import ComparedBills, compare_versions
from gridsecure.key_authority.control_totals import RosterBills
from gridsecure.key_authority.packages import (
    Approved,
    BilledRoster,
    CheckedPreview,
    CorrectedRoster,
    WithheldCell,
)
from gridsecure.key_authority.previewed_bills import preview_cells
from gridsecure.messages import PreviewCell, RosterManifest
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import catalogue_tariffs, parse_tariff
from tests.held_policy import APART

JULY = billing_month(2026, 7, timezone="Asia/Shanghai")
SPAN = {"start": JULY.start.isoformat(), "end": JULY.end.isoformat()}
TEXT = catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8")
DEARER = ('rate = "0.66286875"', 'rate = "0.67"')
FEW, MANY, TOP = [100_000], [300_000], [700_000]
"""Below the first limit of 260 kWh, in the second tier, and beyond 600 kWh in the third."""
ROW = """
[[rates]]
charge = "%s"
rate = "%s"
unit = "CNY/%s"
source = "shenzhen-drc"
"""
MINIMUM = ROW % ("minimum", "50", "month")


def edited(*edits: tuple[str, str]) -> str:
    text = TEXT
    for edit in edits:
        assert edit[0] in text
        text = text.replace(*edit, 1)
    return text


def compared(
    name: str, usage_wh: Sequence[int], texts: tuple[str, str]
) -> tuple[CorrectedRoster, ComparedBills]:
    """A roster of households of one cell, billed by two tariffs."""
    count = len(usage_wh)
    roster = RosterManifest(
        roster_id=name, gateway_id="g", domain="d", tariff="",
        pseudonyms=[f"{name}{n:03d}" for n in range(count)], zones=["futian"] * count,
        customer_classes=["household"] * count, household_quota_wh=[0] * count,
        contracted_va=[0] * count,
    )  # fmt: skip
    versions = []
    for text in texts:
        tariff = parse_tariff(text)
        frame = pd.DataFrame(
            {
                "meter_point_id": roster.pseudonyms,
                "period_start": JULY.start,
                "total_wh": list(usage_wh),
            }
        )
        contracts = default_contracts(roster.pseudonyms)
        bills = compute_bills(frame, tariff=tariff, contracts=contracts, period=JULY)
        manifest = roster.model_copy(update={"tariff": sm3_hex(text.encode())})
        energy = np.array(usage_wh, dtype=object)
        billed = BilledRoster(roster=manifest, outputs={})
        versions.append((billed, RosterBills(bills, energy, tariff)))
    (before, old), (after, new) = versions
    item = CorrectedRoster(
        before=before, after=after, revision=1, corrected_slots=list(range(count)), names=[]
    )
    return item, compare_versions(item, old, new, span=(SPAN["start"], SPAN["end"]))


def told_of(
    *rosters: tuple[CorrectedRoster, ComparedBills], withheld: Sequence[str] = ()
) -> PreviewCell:
    cell = WithheldCell(zone="futian", customer_class="household", measures=list(withheld))
    order = CheckedPreview(
        **SPAN,
        created_at="",
        tariffs={},
        corrections=[item for item, _ in rosters],
        minima=APART.as_message(),
        withheld=[cell] if withheld else [],
        approved=Approved(subject="", grounds=[]),
    )
    (found,) = preview_cells(order, [part for _, part in rosters])
    return found


def previewed(
    usage_wh: Sequence[int], *edits: tuple[str, str], withheld: Sequence[str] = ()
) -> PreviewCell:
    """What is told of one cell of households by an edited tariff."""
    return told_of(compared("r", usage_wh, (TEXT, edited(*edits))), withheld=withheld)


def counted(cell: PreviewCell) -> tuple[int, int]:
    return cell.changed_least, cell.changed_most


def test_a_count_is_exact_where_enough_change_and_enough_do_not() -> None:
    dearer = ('rate = "0.05"', 'rate = "0.06"')
    cell = previewed(FEW * 40 + MANY * 20 + TOP * 15, dearer)
    assert counted(cell) == (35, 35)
    assert cell.amount_fen == str(20 * 40 + 15 * 340)  # at one fen more beyond the limit


@pytest.mark.parametrize("above", [0, 1, 14])
def test_few_in_a_tier_are_neither_counted_nor_summed(above: int) -> None:
    dearer = ('rate = "0.05"', 'rate = "0.06"')
    cell = previewed(FEW * 60 + MANY * above, dearer)
    assert counted(cell) == (0, 14)
    assert cell.amount_fen is None


def test_a_base_change_does_not_uncover_the_few_in_a_tier() -> None:
    """Everybody pays more; subtracted, what the one household in the tier pays would be left."""
    tier = ('rate = "0.05"', 'rate = "0.06"')
    assert previewed(FEW * 60 + MANY, DEARER).amount_fen is not None
    cell = previewed(FEW * 60 + MANY, DEARER, tier)
    assert cell.amount_fen is None
    assert counted(cell) == (47, 61)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [(260, 299, True), (260, 99, False), (260, 101, False), (600, 699, True), (600, 701, False)],
)
def test_a_new_limit_has_enough_households_on_both_sides(old: int, new: int, told: bool) -> None:
    """A limit below all, or above all but a few, would ask for the smallest or the largest."""
    usage = FEW * 5 + [200_000] * 35 + MANY * 20 + TOP * 15
    moved = (f"upper_limit_kwh = {old}", f"upper_limit_kwh = {new}")
    assert (previewed(usage, DEARER, moved).amount_fen is not None) is told


@pytest.mark.parametrize("few", [0, 1, 14])
@pytest.mark.parametrize("tier", ["0.05", "0.30"])
def test_a_known_limit_of_a_moved_tier_has_enough_on_both_sides(tier: str, few: int) -> None:
    """The few below it would be what is left of the cell's energy, and the few beyond as well."""
    dearer = (f'rate = "{tier}"', 'rate = "0.31"')
    assert previewed(FEW * 15 + MANY * 15 + TOP * 15, dearer).amount_fen is not None
    below = {"0.05": FEW, "0.30": MANY}[tier]
    assert previewed(below * few + TOP * 40, dearer).amount_fen is None
    assert previewed(FEW * 20 + MANY * 20 + TOP * few, dearer).amount_fen is None


@pytest.mark.parametrize("price", ["0.30", "0.20"])
def test_prices_under_a_minimum_are_not_swept_for_the_largest(price: str) -> None:
    """Told, two of them would differ by ten fen a kWh of the one bill above 50 yuan."""
    usage = [100_000 + 1_000 * n for n in range(39)] + [259_777]
    before = TEXT + MINIMUM
    after = before.replace('rate = "0.66286875"', f'rate = "{price}"', 1)
    cell = told_of(compared("r", usage, (before, after)))
    assert (counted(cell), cell.amount_fen) == ((0, 40), None)


@pytest.mark.parametrize("fee", ["20", "100"])
def test_a_fee_under_a_minimum_is_not_public(fee: str) -> None:
    """All but one pay it in full, so told, it would be what that one lacked to the minimum."""
    before = TEXT + MINIMUM
    after = before + ROW % ("basic", fee, "month")
    cell = told_of(compared("r", [200_000] * 39 + [31_234], (before, after)))
    assert (counted(cell), cell.amount_fen) == ((0, 40), None)


def test_a_minimum_alone_is_a_limit_like_others() -> None:
    texts = tuple(TEXT + MINIMUM.replace('"50"', f'"{amount}"') for amount in (70, 80))
    told = told_of(compared("r", FEW * 20 + MANY * 20, (texts[0], texts[1])))
    assert (counted(told), told.amount_fen) == ((20, 20), str(20 * 1000))
    few = told_of(compared("r", FEW + MANY * 39, (texts[0], texts[1])))
    assert (counted(few), few.amount_fen) == ((0, 14), None)


def test_what_the_order_withholds_is_neither_counted_nor_summed() -> None:
    dearer = ('rate = "0.05"', 'rate = "0.06"')
    money = previewed(FEW * 40 + MANY * 20, dearer, withheld=["amount_fen"])
    assert (counted(money), money.energy_wh, money.amount_fen) == ((0, 60), "0", None)
    every = ["amount_fen", "bills", "energy_wh"]
    cell = previewed(FEW * 40 + MANY * 20, dearer, withheld=every)
    assert (counted(cell), cell.energy_wh, cell.amount_fen) == ((0, 60), None, None)


def test_a_small_cell_tells_nothing_at_all() -> None:
    cell = previewed(FEW * 14, DEARER)
    assert (counted(cell), cell.energy_wh, cell.amount_fen) == ((0, 14), None, None)


def test_a_tiny_price_is_no_limit() -> None:
    """Bills rounded one by one would say how many reach 200 kWh, where half a fen is reached."""
    tiny = ('rate = "0.66286875"', 'rate = "0.66287525"')  # 0.13 fen more of 200 kWh
    cell = previewed([200_000] * 57 + [100_000] * 3, tiny)
    assert cell.amount_fen == "8"  # 57 bills of one fen more would be 57, and three are not
    assert counted(cell) == (46, 60)


def test_households_of_another_tariff_hide_nobody() -> None:
    """Forty that are billed by the new tariff already do not change, as everybody knows."""
    new = edited(('rate = "0.05"', 'rate = "0.06"'))
    tried = compared("a", FEW * 3 + MANY * 20, (TEXT, new))
    others = compared("b", MANY * 40, (new, new))
    assert counted(told_of(tried)) == (9, 23)
    cell = told_of(tried, others)
    assert counted(cell) == (9, 23 + 14)
    assert cell.amount_fen is None


def test_parts_by_two_tariffs_are_told_where_each_may_be() -> None:
    new = edited(('rate = "0.05"', 'rate = "0.06"'))
    other = edited(('rate = "0.05"', 'rate = "0.04"'))
    first = compared("a", FEW * 20 + MANY * 20 + TOP * 15, (TEXT, new))
    second = compared("b", FEW * 15 + MANY * 15 + TOP * 15, (other, new))
    cell = told_of(first, second)
    assert counted(cell) == (65, 65)
    assert cell.amount_fen == str(20 * 40 + 15 * 340 + 15 * 80 + 15 * 680)
