"""The lines that close a run: every term is named, and what does not add up is said in red."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from apps.cli.tables import reconciliation_lines
from gridsecure.analyst.reconciliation import Accounts, EnergyCheck, Reconciliation

ACCOUNTS = Accounts(
    taken_in=4105,
    shown=4091,
    withheld=7,
    withheld_cells=1,
    unreleased=0,
    not_billed={"gaps": 4, "no-readings": 3},
)
ENERGY = EnergyCheck(Decimal("1234.567"), Decimal("1234.567"), (), (("yantian", "shop"),), ())
TOTALS = Reconciliation(ACCOUNTS, 4091, Decimal("1234.567"), Decimal("99.01"), 1, ENERGY)


def test_every_term_is_named_with_its_reasons() -> None:
    accounts, energy = reconciliation_lines(TOTALS)
    assert accounts.plain == (
        "Meter points: 4,105 taken in = 4,091 billed and shown in full + 7 billed, in 1 cell with"
        " something withheld + 7 not billed (4 × gaps, 3 × no-readings)."
    )
    assert energy.plain == (
        "Energy of the cells that both show: 1,234.567 kWh in bills = 1,234.567 kWh in load curves,"
        " estimates included. Shown by bills alone: yantian shop."
    )
    assert not accounts.style
    assert not energy.style


def test_what_does_not_add_up_is_said() -> None:
    lost = replace(ACCOUNTS, taken_in=4106)
    other = replace(ENERGY, curves_kwh=Decimal("1234.568"), different=(("futian", "household"),))
    accounts, energy = reconciliation_lines(replace(TOTALS, accounts=lost, energy=other))
    assert accounts.plain.endswith("This does not add up.")
    assert "1,234.567 kWh in bills ≠ 1,234.568 kWh in load curves" in energy.plain
    assert energy.plain.endswith("Different: futian household.")
    assert accounts.style == energy.style == "bold red"


def test_what_is_not_released_yet_is_a_term() -> None:
    late = replace(ACCOUNTS, shown=4000, unreleased=91)
    (accounts,) = reconciliation_lines(replace(TOTALS, accounts=late, energy=None))
    assert "+ 91 not released yet +" in accounts.plain
    assert list(reconciliation_lines(replace(TOTALS, accounts=None, energy=None))) == []
