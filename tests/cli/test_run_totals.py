"""The lines that close a run: every term is named, and what does not add up is said in red."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from gridsecure.analyst.reconciled_words import RECONCILED_PHRASES, line_terms
from gridsecure.analyst.reconciliation import Accounts, EnergyCheck, Reconciliation
from gridsecure.cli.tables import reconciliation_lines
from gridsecure_dashboard.phrases import PHRASES

ACCOUNTS = Accounts(
    taken_in=4105,
    shown=4091,
    withheld=7,
    withheld_cells=1,
    unreleased=0,
    not_billed={"gaps": 4, "no-readings": 3},
)
ENERGY = EnergyCheck(Decimal("1234.567"), Decimal("1234.567"), (), ((("yantian", "shop"),),), ())
TOTALS = Reconciliation(ACCOUNTS, 4091, Decimal("1234.567"), Decimal("99.01"), 1, (), ENERGY)


SENTENCE = (
    "4,105 meter points taken in = 4,091 billed, their group shown in full + 7 billed, a figure of"
    " their group withheld (groups: 1) + 0 not released yet + 7 not billed"
)


def test_every_term_is_named_with_its_reasons() -> None:
    accounts, energy, alone = reconciliation_lines(TOTALS)
    assert accounts.plain == f"{SENTENCE} (gaps 4, no-readings 3)."
    assert energy.plain == (
        "Energy of bills = energy of load curves: 1,234.567 kWh, in the groups that both show."
    )
    assert alone.plain == "Groups that only bills show: yantian shop"
    assert not accounts.style
    assert not energy.style


def test_the_dashboard_says_the_same_line() -> None:
    assert PHRASES["line"][1].format(**line_terms(ACCOUNTS)) == SENTENCE
    assert {key: PHRASES[key] for key in RECONCILED_PHRASES} == RECONCILED_PHRASES


def test_what_does_not_add_up_is_said() -> None:
    lost = replace(ACCOUNTS, taken_in=4106)
    other = replace(ENERGY, curves_kwh=Decimal("1234.568"), different=((("futian", "household"),),))
    accounts, energy, _ = reconciliation_lines(replace(TOTALS, accounts=lost, energy=other))
    assert "do not reconcile" in accounts.plain
    assert "(1,234.567 kWh) and of load curves (1,234.568 kWh) differ" in energy.plain
    assert "in: futian household." in energy.plain
    assert accounts.style == energy.style == "bold red"


def test_what_is_not_released_yet_is_a_term() -> None:
    late = replace(ACCOUNTS, shown=4000, unreleased=91)
    (accounts,) = reconciliation_lines(replace(TOTALS, accounts=late, energy=None))
    assert "+ 91 not released yet +" in accounts.plain
    assert list(reconciliation_lines(replace(TOTALS, accounts=None, energy=None))) == []
