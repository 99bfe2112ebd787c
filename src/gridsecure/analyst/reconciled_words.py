"""The line that joins a month's figures, in Chinese and English: one wording wherever it stands.

The closing of `gridsecure run` and the pages of the dashboard say it with these words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.analyst.reconciliation import Accounts

RECONCILED_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    "line": (
        "接收 {taken_in} 个计量点 = 所在分组全部公布 {shown} + 所在分组有数值未公布 {withheld}"
        "（分组数：{groups}） + 待发布 {unreleased} + 未计费 {left_out}",
        "{taken_in} meter points taken in = {shown} billed, their group shown in full "
        "+ {withheld} billed, a figure of their group withheld (groups: {groups}) "
        "+ {unreleased} not released yet + {left_out} not billed",
    ),
    "line_open": (
        "数字对不上，请联系运营员核查。",
        "These figures do not reconcile. Ask the operator to check them.",
    ),
    "merged_cells": (
        "户数不足而合并公布的分组：{cells}",
        "Groups too small for themselves, shown together: {cells}",
    ),
    "energy_agrees": (
        "账单电量 = 负荷曲线电量：{kwh} kWh（双方均已公布的分组）。",
        "Energy of bills = energy of load curves: {kwh} kWh, in the groups that both show.",
    ),
    "energy_differs": (
        "账单电量 {bills} kWh 与负荷曲线电量 {curves} kWh 不一致，差异分组：{cells}。"
        "原因可能是更正、示数计费或迟到的读数。",
        "Energy of bills ({bills} kWh) and of load curves ({curves} kWh) differ, in: {cells}. "
        "Corrections, bills by register readings, or late readings make them differ.",
    ),
    "energy_only_bills": ("仅有账单电量的分组：{cells}", "Groups that only bills show: {cells}"),
    "energy_only_curves": (
        "仅有负荷曲线电量的分组：{cells}",
        "Groups that only load curves show: {cells}",
    ),
}


def line_terms(accounts: Accounts) -> dict[str, str]:
    """The figures of the line, written for people."""
    terms = {
        "taken_in": accounts.taken_in,
        "shown": accounts.shown,
        "withheld": accounts.withheld,
        "groups": accounts.withheld_cells,
        "unreleased": accounts.unreleased,
        "left_out": sum(accounts.not_billed.values()),
    }
    return {name: f"{number:,}" for name, number in terms.items()}
