"""Cancel and rebill: what a new version of a bill takes back from the earlier one, and adds (退补).

An issued bill is never edited. A correction is another bill for the same meter point and period,
beside a reference to the bill that it cancels and one adjustment a line:

    adjustment [fen] = rounded amount of the new line - rounded amount of the old line

Lines are matched by charge, time-of-use period and tier, whatever their rates; a line that stands
on one side only counts as zero on the other. Adjustments are differences of rounded amounts, never
rounded differences, so for every meter point, to the fen:

    total of the first bill + all adjustments = total of the latest bill

and swapping the two versions gives the mirror image. Pure arithmetic on two `Bills`; who may be
corrected, and what of it is told to whom, is decided in `key_authority`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridsecure.billing.bill_documents import bills_to_json, fen_text
from gridsecure.billing.bills import Bills
from gridsecure.billing.charges import IntegerArray
from gridsecure.billing.rules import LineRule
from gridsecure.tariffs.tariff import Tariff

FIRST_VERSION = 1
"""The version of a bill that corrects nothing."""

LineKey = tuple[str, str | None, int | None]
"""Charge, time-of-use period and tier: what makes two lines the same line."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Two versions of the same bills, and what lies between them.

    Args:
        after: The bills that take their place; same meter points, same period.
        lines: Every line of either, those of `after` first.
        adjustments_fen: New minus old amount [fen], one row per line, one column per meter point.
        totals_fen: Their sum per meter point [fen].
    """

    before: Bills
    after: Bills
    lines: tuple[LineKey, ...]
    adjustments_fen: IntegerArray
    totals_fen: IntegerArray


def line_key(rule: LineRule) -> LineKey:
    """What a bill line is matched by."""
    return rule.charge, rule.tou_period, rule.tier


def correct_bills(before: Bills, after: Bills) -> Correction:
    """Match two versions of the same bills line by line.

    Args:
        after: The bills to issue instead, perhaps under another tariff.

    Raises:
        ValueError: They are not about the same meter points in the same order and period.
    """
    if (before.period, before.meter_point_ids) != (after.period, after.meter_point_ids):
        raise ValueError("two versions of a bill are about the same meter points and period")
    keys = [line_key(rule) for rule in (*after.rules, *before.rules)]
    lines = tuple(dict.fromkeys(keys))
    row_of = {key: row for row, key in enumerate(lines)}
    adjustments = np.zeros((len(lines), len(after.meter_point_ids)), dtype=object)
    for bills, sign in ((after, 1), (before, -1)):
        for rule, amounts in zip(bills.rules, bills.amounts_fen, strict=True):
            adjustments[row_of[line_key(rule)]] += sign * amounts.astype(object)
    return Correction(before, after, lines, adjustments, adjustments.sum(axis=0))


def find_changed_bills(before: Bills, after: Bills) -> frozenset[str]:
    """Meter points whose two versions differ in anything a statement says.

    Raises:
        ValueError: As `correct_bills`.
    """
    if (before.period, before.meter_point_ids) != (after.period, after.meter_point_ids):
        raise ValueError("two versions of a bill are about the same meter points and period")
    old, new = (bills_to_json([bills])["meters"] for bills in (before, after))
    return frozenset(name for name in new if new[name] != old[name])


def corrections_to_json(
    correction: Correction,
    *,
    version: int,
    meter_point_ids: Collection[str],
    tariff: Tariff | None = None,
) -> dict[str, Any]:
    """The public JSON of correction documents, as `bills_to_json` writes bills.

    Each period is the new bill, with `version`, `cancels` (the earlier version, its total and its
    lines, which count no more) and `adjustment` (one amount a line, and their total).

    Args:
        correction: The two versions.
        version: The new bills' version; the ones cancelled are one below.
        meter_point_ids: Whose documents to write; others were not corrected.
        tariff: Of the new bills, as for `bills_to_json`.
    """
    old = bills_to_json([correction.before])["meters"]
    new = bills_to_json([correction.after], tariff=tariff)["meters"]
    column = {name: place for place, name in enumerate(correction.after.meter_point_ids)}
    meters = {}
    for name in sorted(meter_point_ids):
        (cancelled,), (issued,) = old[name]["periods"], new[name]["periods"]
        cancels = {
            "version": version - 1,
            "total": cancelled["total"],
            "lines": cancelled["lines"],
        }
        adjustment = _adjustment(correction, column[name])
        period = {**issued, "version": version, "cancels": cancels, "adjustment": adjustment}
        meters[name] = {"periods": [period]}
    return {"meters": meters}


def _adjustment(correction: Correction, column: int) -> dict[str, Any]:
    amounts = correction.adjustments_fen[:, column]
    return {
        "lines": [
            {"charge": charge, "tou_period": tou_period, "tier": tier, "amount": fen_text(amount)}
            for (charge, tou_period, tier), amount in zip(correction.lines, amounts, strict=True)
        ],
        "total": fen_text(correction.totals_fen[column]),
    }
